"""A gateway of several binds to a scripted message centre."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

from domain.ports import Gateway, Handover, Inbound, Outcome, Receipt, Submission
from domain.segments import segment
from domain.states import Region
from tests.integration.message_centre import (
    ScriptedCentre,
    Visitor,
    answer_bind,
    is_submit,
    submit_resp,
)
from workers.gateways import open_gateway
from workers.smpp import pdu
from workers.smpp.pdu import Address, Command, Frame, ShortMessage

SHORT = segment("Your parcel is here.", Region.INTERNATIONAL)
LONG = segment("x" * 400, Region.INTERNATIONAL)
RECEIPT = ShortMessage(
    Address(1, 1, "8613800131234"),
    Address(3, 0, "10690"),
    b"id:7 sub:001 dlvrd:001 submit date:2611221200 done date:2611221200 stat:DELIVRD err:000 text:",
    esm_class=pdu.DELIVERY_RECEIPT,
).encode()


class Inbox:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []

    async def __call__(self, inbound: Sequence[Inbound]) -> None:
        self.receipts.extend(said for said in inbound if isinstance(said, Receipt))


def accept(visitor: Visitor, frame: Frame) -> None:
    """Do what a good message centre does."""
    answer_bind(visitor, frame)
    if is_submit(frame):
        visitor.write(submit_resp(frame, f"id{frame.sequence_number}"))
    elif frame.command_id == Command.UNBIND:
        visitor.write(pdu.encode(Command.UNBIND_RESP, 0, frame.sequence_number))


@asynccontextmanager
async def started(gateway: Gateway, inbox: Inbox | None = None) -> AsyncIterator[Gateway]:
    await gateway.start(inbox or Inbox())
    try:
        yield gateway
    finally:
        await gateway.close(within=2)


def opened(centre: ScriptedCentre, query: str, *, shared: bool = False) -> Gateway:
    url = f"smpp://u:p@127.0.0.1:{centre.port}?{query}"
    return open_gateway("carrier", url, uuid4() if shared else None)


def message(at: int, content: object = SHORT) -> Submission:
    assert content in (SHORT, LONG)
    return Submission(LONG if content is LONG else SHORT, f"+861380013{at:04d}", "10690")


async def ready(gateway: Gateway) -> None:
    async with asyncio.timeout(10):
        await gateway.ready()


async def outcomes(futures: Sequence[asyncio.Future[Handover]]) -> Counter[Outcome]:
    async with asyncio.timeout(10):
        return Counter([(await future).outcome for future in futures])


def bound(centre: ScriptedCentre) -> list[Visitor]:
    """The connections that are up and have bound."""
    return [
        visitor
        for visitor in centre.visitors
        if not visitor.gone.is_set() and any(frame.command_id in pdu.BINDS for frame in visitor.received)
    ]


def bound_as(visitor: Visitor) -> int:
    return visitor.received[0].command_id


# --- several of them -----------------------------------------------------------------------------
