"""Whose address a request comes from, also behind proxies."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

HEADER = "X-Forwarded-For"

_MOST_HOPS = 20
"""A longer chain of proxies is none; this bounds what a header can make us read."""

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network


def client_address(connection: HTTPConnection) -> str:
    """The IP address of the client, as far as trusted proxies vouch for it; empty if there is none.

    IPv4 addresses are written as such also where the socket is one of IPv6.
    """
    address = _address(connection.client.host) if connection.client else None
    return str(address) if address else ""


class TrustedProxies:
    """ASGI middleware: takes the client's address from X-Forwarded-For, if trusted proxies wrote it.

    Each proxy adds, at the right, whom it was asked by. From the right, the first address that is none of the
    trusted ones is the client's: what stands further to the left may be anybody's invention. The header of a
    peer that isn't trusted counts for nothing.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[_Network]) -> None:
        self._app = app
        self._trusted = tuple(trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if self._trusted and scope["type"] in ("http", "websocket"):
            peer = _address(scope["client"][0]) if scope.get("client") else None
            if peer is not None and self._trusts(peer):
                client = self._vouched_for(Headers(scope=scope).getlist(HEADER), peer)
                scope = {**scope, "client": (str(client), 0)}
        await self._app(scope, receive, send)

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self._trusted)

    def _vouched_for(self, headers: Sequence[str], peer: _Address) -> _Address:
        nearest = peer
        for hop in reversed(",".join(headers).rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]):
            address = _address(_without_port(hop.strip()))
            if address is None:
                break  # not an address: whoever is known to have passed it on is the nearest to the client
            nearest = address
            if not self._trusts(address):
                break
        return nearest


@lru_cache(maxsize=4096)
def _address(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])  # without the zone of a link-local one
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _without_port(hop: str) -> str:
    """Some proxies write 203.0.113.7:51234 or [2001:db8::7]:51234."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
