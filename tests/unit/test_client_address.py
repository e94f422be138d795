"""The client's address: believed of trusted proxies only, from right to left."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from starlette.requests import Request
from starlette.types import Message, Scope

from api.client_address import TrustedProxies, client_address

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


async def address_seen(peer: str | None, *forwarded: str) -> str:
    """What an application behind the middleware takes for the client's address."""
    seen: list[str] = []

    async def application(scope: Scope, _: object, __: object) -> None:
        seen.append(client_address(Request(scope)))

    async def receive() -> Message:
        raise AssertionError("nothing is received")

    async def send(message: Message) -> None:
        raise AssertionError(f"nothing is sent: {message}")

    scope: Scope = {
        "type": "http",
        "client": (peer, 50000) if peer is not None else None,
        "headers": [(b"x-forwarded-for", value.encode("latin1")) for value in forwarded],
    }
    await TrustedProxies(application, TRUSTED)(scope, receive, send)
    return seen[0]


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", (), "203.0.113.9"),
        ("203.0.113.9", ("198.51.100.1",), "203.0.113.9"),  # not trusted: an invention
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("1.1.1.1, 198.51.100.1",), "198.51.100.1"),  # the client brought the header along
        ("10.0.0.1", ("1.1.1.1", "198.51.100.1"), "198.51.100.1"),  # … or one more of them
        ("10.0.0.1", ("198.51.100.1, 10.2.3.4",), "198.51.100.1"),
        ("10.0.0.1", ("10.9.9.9, 10.2.3.4",), "10.9.9.9"),
        ("10.0.0.1", ("198.51.100.1, unknown",), "10.0.0.1"),
        ("10.0.0.1", ("198.51.100.1, <script>, 10.2.3.4",), "10.2.3.4"),
        ("10.0.0.1", ("",), "10.0.0.1"),
        ("10.0.0.1", ("198.51.100.1:4711",), "198.51.100.1"),
        ("10.0.0.1", ("[2001:db8::7]:4711",), "2001:db8::7"),
        ("10.0.0.1", ("2001:DB8:0::7",), "2001:db8::7"),
        ("::ffff:10.0.0.1", ("::ffff:198.51.100.1",), "198.51.100.1"),
        ("fd00::1", ("198.51.100.1",), "198.51.100.1"),
        ("fe80::1%eth0", (), "fe80::1"),
        (None, ("198.51.100.1",), ""),
        ("", ("198.51.100.1",), ""),
        ("testclient", ("198.51.100.1",), ""),
    ],
)
async def test_client_is_who_the_trusted_proxies_say(
    peer: str | None, forwarded: tuple[str, ...], expected: str
) -> None:
    assert await address_seen(peer, *forwarded) == expected


async def test_a_chain_without_end_is_not_followed() -> None:
    assert await address_seen("10.0.0.1", ",".join(["198.51.100.1", *["10.1.1.1"] * 50])) == "10.1.1.1"
