"""The limits of what one token may ask for, and of what an address may that has shown none.

All of it is decided from memory, before anything is looked up. A token that was good before is metered by
itself. Any other, and whoever has none, uses what its address may ask for, and gets it back if the token
turns out to be good: so trying out tokens is slow, and costs us little.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from api import auth, metrics
from api.answers import ledger_of
from api.client_address import client_address
from api.rates.exchange import Exchange, exchanging
from api.rates.meter import Allowance, Meter, whole_seconds
from api.rates.places import Full, Places
from api.top_level_errors import TopLevelCode, TopLevelError
from api.transport import Execute, Respond
from domain.access import Viewer
from domain.errors import TooManyAtOnce
from domain.settings import Settings

TOLD_HEADERS = ("RateLimit", "RateLimit-Policy", "Retry-After")
"""What answers tell of the limits."""
BURST_SECONDS = 10
"""A token's burst: what it gets in so many seconds."""
ANONYMOUS_BURST_SECONDS = 50
"""The same for an address that has shown no token."""
PLACE_SECONDS = 5
"""After how many seconds to ask again for a place: nobody knows when one becomes free."""
KNOWN = 100_000
"""Tokens of which a process remembers that they were good."""


class Identified(Protocol):
    """A context, of which it is known who is asking."""

    @property
    def viewer(self) -> Viewer | None:
        """Who is asking; None without a valid token."""


class RateLimits:
    """The limits as one process holds them, with the others."""

    def __init__(self, settings: Settings) -> None:
        self._requests = _meter(settings.requests_per_second, BURST_SECONDS)
        self._anonymous = _meter(settings.anonymous_per_second, ANONYMOUS_BURST_SECONDS)
        self._imports = Places(settings.imports_at_once)
        self._sockets = Places(settings.sockets_at_once)
        self._subscriptions = Places(settings.subscriptions_at_once)
        self._known: OrderedDict[bytes, str] = OrderedDict()
        meters = {"requests": self._requests, "anonymous": self._anonymous}
        self._exchange = Exchange(
            {name: meter for name, meter in meters.items() if meter is not None},
            {
                "imports": self._imports,
                "sockets": self._sockets,
                "subscriptions": self._subscriptions,
            },
        )
        self._policy = _policy(self._requests)

    @asynccontextmanager
    async def shared(self, redis_url: str) -> AsyncIterator[None]:
        """Share the limits with all processes that use this Redis."""
        async with exchanging(self._exchange, redis_url):
            yield

    # --- requests over HTTP -------------------------------------------------------------------------

    def respond(self, answer: Respond) -> Respond:
        """`answer`, for whom the limits allow it; 429 for others."""

        async def within_limits(request: Request, execute: Execute) -> Response:
            inquiry = auth.inquiry_of(request.headers.get(auth.HEADER))
            token_hash = inquiry.token_hash if inquiry else b""
            caller = self._known.get(token_hash)
            if caller is None:
                return await self._answer_stranger(request, execute, answer, token_hash)
            allowance = self._requests.take(caller) if self._requests else None
            if allowance and allowance.wait:
                return self._refusal(allowance)
            response = await answer(request, execute)
            ledger = ledger_of(request)
            if ledger is None or ledger.standing is None:
                self._known.pop(token_hash, None)
            if allowance:
                self._tell(response, allowance)
            return response

        return within_limits

    async def _answer_stranger(
        self, request: Request, execute: Execute, answer: Respond, token_hash: bytes
    ) -> Response:
        address = address_key(request)
        if self._anonymous and (allowance := self._anonymous.take(address)).wait:
            return _too_many(
                "anonymous", allowance, "Too many requests without a valid token from this address."
            )
        met: list[Allowance | None] = []

        async def execute_if_allowed(request: Request) -> Response:
            met.append(self._meet(request, token_hash, address))
            if (allowance := met[0]) and allowance.wait:
                return self._refusal(allowance)
            return await execute(request)

        response = await answer(request, execute_if_allowed)
        if not met:  # answered without executing anything
            met.append(self._meet(request, token_hash, address))
        if (granted := met[0]) and not granted.wait:
            self._tell(response, granted)
        return response

    def _meet(self, request: Request, token_hash: bytes, address: str) -> Allowance | None:
        """Count the request for its token instead of its address, if the token has turned out to be good."""
        ledger = ledger_of(request)
        if ledger is None or ledger.standing is None:
            return None
        caller = self._known[token_hash] = caller_key(ledger.standing.viewer)
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)
        if self._anonymous:
            self._anonymous.give_back(address)
        return self._requests.take(caller) if self._requests else None

    def _refusal(self, allowance: Allowance) -> Response:
        response = _too_many("requests", allowance, self._rule())
        self._tell(response, allowance)
        return response

    def _rule(self) -> str:
        assert self._requests is not None
        return f"This token has used up its requests: {self._requests.per_second:g} a second on average."

    def _tell(self, response: Response, allowance: Allowance) -> None:
        """Say what is left, as draft-ietf-httpapi-ratelimit-headers has it."""
        left = f'"requests";r={allowance.left};t={whole_seconds(allowance.full_in)}'
        response.raw_headers.append((b"ratelimit-policy", self._policy))
        response.raw_headers.append((b"ratelimit", left.encode()))

    # --- sockets, and what goes on over them --------------------------------------------------------

    @contextmanager
    def socket(self, connection: HTTPConnection) -> Iterator[SocketPlace]:
        """Count a socket for as long as it is open: its address', until it has said whose it is.

        Raises `TopLevelError`.
        """
        address = address_key(connection)
        if self._anonymous and (allowance := self._anonymous.take(address)).wait:
            raise _limited(
                "anonymous", "Too many sockets without a valid token from this address.", allowance.wait
            )
        place = SocketPlace(self, address)
        try:
            yield place
        finally:
            if place.caller is not None:
                self._sockets.leave(place.caller)

    def take(self, place: SocketPlace, viewer: Viewer) -> None:
        """Count a socket as its token's. Raises `TopLevelError` if that has too many."""
        if self._anonymous:
            self._anonymous.give_back(place.address)
        caller = caller_key(viewer)
        try:
            self._sockets.enter(caller)
        except Full:
            message = f"This token may have {self._sockets.most} sockets at once."
            raise _limited("sockets", message, PLACE_SECONDS) from None
        place.caller = caller

    def request(self, context: Identified) -> None:
        """Count an operation over a socket. Raises `TopLevelError`."""
        if self._requests is None or context.viewer is None:
            return
        allowance = self._requests.take(caller_key(context.viewer))
        if allowance.wait:
            raise _limited("requests", self._rule(), allowance.wait)

    @contextmanager
    def subscription(self, context: Identified) -> Iterator[None]:
        """Count a subscription for as long as it lasts. Raises `TopLevelError`."""
        if context.viewer is None:
            yield
            return
        caller = caller_key(context.viewer)
        try:
            self._subscriptions.enter(caller)
        except Full:
            message = f"This token may have {self._subscriptions.most} subscriptions at once."
            raise _limited("subscriptions", message, PLACE_SECONDS) from None
        try:
            yield
        finally:
            self._subscriptions.leave(caller)

    # --- imports ------------------------------------------------------------------------------------

    @contextmanager
    def importing(self, viewer: Viewer) -> Iterator[None]:
        """Count an import for as long as it lasts. Raises `TooManyAtOnce`."""
        caller = caller_key(viewer)
        try:
            self._imports.enter(caller)
        except Full:
            metrics.RATE_LIMITED.labels("imports").inc()
            raise TooManyAtOnce(
                f"This token may have {self._imports.most} imports under way at once. Wait until one ends.",
                retry_at=datetime.now(UTC) + timedelta(seconds=PLACE_SECONDS),
            ) from None
        try:
            yield
        finally:
            self._imports.leave(caller)


class SocketPlace:
    """Whom an open socket is counted for."""

    def __init__(self, limits: RateLimits, address: str) -> None:
        self._limits = limits
        self.address = address
        self.caller: str | None = None
        """None until it is known."""

    def take(self, viewer: Viewer) -> None:
        """Have it counted for its token from now on. Raises `TopLevelError` if that has too many."""
        self._limits.take(self, viewer)


def caller_key(viewer: Viewer) -> str:
    """What a caller's use is counted under: the same in all processes."""
    if viewer.token_id is None:
        return f"{viewer.account_id} {viewer.subject}"
    return str(viewer.token_id)


def address_key(connection: HTTPConnection) -> str:
    """What the use of an address is counted under: of IPv6 the network of 64 bits, one customer's."""
    address = client_address(connection)
    if ":" not in address:
        return address
    return str(ipaddress.ip_network(f"{address}/64", strict=False))


def _meter(per_second: float, burst_seconds: float) -> Meter | None:
    return Meter(per_second, max(1, round(per_second * burst_seconds))) if per_second else None


def _policy(requests: Meter | None) -> bytes:
    return b"" if requests is None else f'"requests";q={requests.burst};w={round(requests.window)}'.encode()


def _limited(limit: str, message: str, wait: float) -> TopLevelError:
    metrics.RATE_LIMITED.labels(limit).inc()
    seconds = whole_seconds(wait)
    retry_at = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds")
    return TopLevelError(
        f"{message} Ask again in {seconds} s.",
        TopLevelCode.RATE_LIMITED,
        retryAfter=seconds,
        retryAt=retry_at,
    )


def _too_many(limit: str, allowance: Allowance, message: str) -> Response:
    error = _limited(limit, message, allowance.wait)
    return JSONResponse(
        {"data": None, "errors": [error.formatted]},
        429,
        {"Retry-After": str(whole_seconds(allowance.wait)), "Cache-Control": "no-store"},
    )
