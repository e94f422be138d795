"""SMPP over TLS, with a centre whose certificate is for `localhost` and signed by an authority of the tests.

`certificates/` was made once with OpenSSL and is valid until 2120; the key in it guards nothing.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from domain.ports import Gateway, Inbound, Outcome, Submission
from domain.segments import segment
from domain.states import Region
from tests.integration.message_centre import (
    ScriptedCentre,
    Visitor,
    answer_bind,
    is_submit,
    scripted_centre,
    submit_resp,
    until,
)
from workers.gateways import open_gateway
from workers.smpp.pdu import Command, Frame

CERTIFICATES = Path(__file__).parent / "certificates"
AUTHORITY = CERTIFICATES / "authority.pem"
MESSAGE = Submission(segment("Your parcel is here.", Region.INTERNATIONAL), "+8613800131234", "10690")


def accept(visitor: Visitor, frame: Frame) -> None:
    answer_bind(visitor, frame)
    if is_submit(frame):
        visitor.write(submit_resp(frame, "id"))
    elif frame.command_id == Command.UNBIND:
        visitor.close()


@asynccontextmanager
async def tls_centre() -> AsyncIterator[ScriptedCentre]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATES / "localhost.pem")
    async with scripted_centre(accept, context) as centre:
        yield centre


@asynccontextmanager
async def started(url: str) -> AsyncIterator[Gateway]:
    async def sink(inbound: Sequence[Inbound]) -> None:
        raise AssertionError(inbound)

    gateway = open_gateway("default", url)
    await gateway.start(sink)
    try:
        yield gateway
    finally:
        await gateway.close()


async def sent(gateway: Gateway) -> Outcome:
    async with asyncio.timeout(10):
        await gateway.ready()
        return (await gateway.submit(MESSAGE)).outcome


def said(logs: Sequence[Any], event: str) -> list[str]:
    return [entry["reason"] for entry in logs if entry["event"] == event]


async def test_a_verified_centre_is_bound_to() -> None:
    with structlog.testing.capture_logs() as logs:
        async with (
            tls_centre() as centre,
            started(f"smpps://u:p@localhost:{centre.port}?ca={AUTHORITY}&binds=2") as gateway,
        ):
            assert await sent(gateway) is Outcome.ACCEPTED

    assert {entry["log_level"] for entry in logs} == {"info"}


async def test_an_authority_nobody_knows_is_refused_once_and_not_hammered() -> None:
    with structlog.testing.capture_logs() as logs:
        async with tls_centre() as centre, started(f"smpps://u:p@localhost:{centre.port}?binds=4") as gateway:
            await until(lambda: said(logs, "smpp_certificate_refused"))
            refused = await gateway.submit(MESSAGE)
            assert not any(visitor.received for visitor in centre.visitors), "no password was sent"

    assert refused.outcome is Outcome.NOT_HANDED_OVER
    assert refused.retry_after > 30
    assert [entry["event"] for entry in logs] == ["smpp_certificate_refused"]
    (reason,) = said(logs, "smpp_certificate_refused")
    assert "the certificate does not verify: " in reason
    assert "\n" not in reason


async def test_a_certificate_for_another_host_is_refused() -> None:
    with structlog.testing.capture_logs() as logs:
        async with tls_centre() as centre, started(f"smpps://u:p@127.0.0.1:{centre.port}?ca={AUTHORITY}"):
            await until(lambda: said(logs, "smpp_certificate_refused"))

    (reason,) = said(logs, "smpp_certificate_refused")
    assert "certificate is not valid for '127.0.0.1'" in reason


async def test_verifying_can_be_left_out_with_one_warning() -> None:
    with structlog.testing.capture_logs() as logs:
        async with (
            tls_centre() as centre,
            started(f"smpps://u:p@127.0.0.1:{centre.port}?verify=no&binds=3") as gateway,
        ):
            assert await sent(gateway) is Outcome.ACCEPTED

    assert len(said(logs, "smpp_certificate_not_verified")) == 1


async def test_a_centre_that_does_not_speak_tls_is_one_line() -> None:
    with structlog.testing.capture_logs() as logs:
        async with (
            scripted_centre(lambda visitor, _: visitor.close()) as centre,
            started(f"smpps://u:p@localhost:{centre.port}?ca={AUTHORITY}&response_timeout=0.5"),
        ):
            await until(lambda: said(logs, "smpp_not_connected"))
            await until(lambda: len(centre.visitors) == 2)

    assert len(said(logs, "smpp_not_connected")) == 1
