"""Asking an HTTP server the same or many things, over connections that are kept alive."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of it."""

    seconds: float
    waits: list[float] = field(repr=False)
    """Seconds from each request to the end of its answer, in the order of the answers."""

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.waits) / self.seconds

    @property
    def median(self) -> float:
        """Seconds that half of the answers took at most."""
        return sorted(self.waits)[len(self.waits) // 2]


async def ask(
    url: str, operations: Sequence[dict[str, object]], *, token: str = "", clients: int, seconds: float
) -> Asked:
    """POST the operations, one after the other and again, from several clients at once, for so long.

    Raises AssertionError for an answer that is not 200, or that has errors.
    """
    requests = itertools.cycle([_request(url, operation, token) for operation in operations])
    loop = asyncio.get_running_loop()
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    made = [
        await loop.create_connection(lambda: _Client(requests), parts.hostname, parts.port)
        for _ in range(clients)
    ]
    asking = [client for _, client in made]
    began = loop.time()
    for client in asking:
        client.begin(until=began + seconds)
    await asyncio.gather(*(client.ended for client in asking))
    for transport, _ in made:
        transport.close()
    return Asked(loop.time() - began, [wait for client in asking for wait in client.waits])


def _request(url: str, operation: dict[str, object], token: str) -> bytes:
    parts = urlsplit(url)
    body = json.dumps(operation).encode()
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Client(asyncio.Protocol):
    """One connection, with one request under way at a time."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self._requests = requests
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._asked_at = self._until = 0.0
        self.waits: list[float] = []
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def begin(self, until: float) -> None:
        """Ask until then."""
        self._until = until
        self._ask()

    def _ask(self) -> None:
        self._asked_at = self._loop.time()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._is_whole():
            return
        now = self._loop.time()
        self.waits.append(now - self._asked_at)
        if not self._received.startswith(b"HTTP/1.1 200 ") or b'"errors":[{' in self._received:
            self.ended.set_exception(AssertionError(self._received[:2000].decode(errors="replace")))
            return
        self._received.clear()
        if now < self._until:
            self._ask()
        else:
            self.ended.set_result(None)

    def _is_whole(self) -> bool:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._received[:end]).lower()
        start = head.index(b"content-length:") + len(b"content-length:")
        length = int(head[start : start + 12].split(b"\r\n")[0])
        return len(self._received) >= end + 4 + length

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(exc or ConnectionError("the server closed the connection"))
