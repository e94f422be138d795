"""Thousands of WebSocket clients in one process, with no more in each than it takes to see its messages."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

AT_A_TIME = 100
"""Handshakes under way at once."""
_SMALL_BUFFER = 4096
"""Octets a slow reader has room for."""


class SocketClient(asyncio.Protocol):
    """One WebSocket: sends texts, counts and keeps the last of those it gets."""

    def __init__(self, url: str, on_message: Callable[[SocketClient], None]) -> None:
        self._parts = urlsplit(url)
        self._on_message = on_message
        self._received = bytearray()
        self._loop = asyncio.get_running_loop()
        self.is_open: asyncio.Future[None] = self._loop.create_future()
        self.messages = 0
        self.last = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            (
                f"GET {self._parts.path or '/'} HTTP/1.1\r\nHost: {self._parts.netloc}\r\n"
                f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
            ).encode()
        )

    def send(self, text: str) -> None:
        """Send a text of less than 64 KiB."""
        content = text.encode()
        head = bytes([0x81, 0x80 | len(content)]) if len(content) < 126 else (
            bytes([0x81, 0x80 | 126]) + len(content).to_bytes(2, "big")
        )  # fmt: skip
        # Masked with zeros, it is as it was.
        self.transport.write(head + bytes(4) + content)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self.is_open.done():
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            assert self._received.startswith(b"HTTP/1.1 101"), bytes(self._received[:end])
            del self._received[: end + 4]
            self.is_open.set_result(None)
        while (frame := self._frame()) is not None:
            kind, content = frame
            if kind == 1:
                self.messages += 1
                self.last = content
                self._on_message(self)
            elif kind == 9:
                self.transport.write(bytes([0x8A, 0x80 | len(content)]) + bytes(4) + content)

    def _frame(self) -> tuple[int, bytes] | None:
        received = self._received
        if len(received) < 2:
            return None
        length, start = received[1] & 127, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            if len(received) < start:
                return None
            length = int.from_bytes(received[2:start], "big")
        if len(received) < start + length:
            return None
        content = bytes(received[start : start + length])
        kind = received[0] & 15
        del received[: start + length]
        return kind, content

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.is_open.done():
            self.is_open.set_exception(exc or ConnectionError("the server closed the connection"))


class Crowd:
    """Clients that do the same."""

    def __init__(self, url: str, texts: Sequence[str], *, slow: bool = False) -> None:
        """Each sends `texts` in turn: the first when it is open, each other after a message."""
        self._url = url
        self._texts = texts
        self._slow = slow
        self.clients: list[SocketClient] = []
        self._awaited = 0
        self._missing = 0
        self._all_have: asyncio.Event = asyncio.Event()

    async def open(self, count: int) -> None:
        """Open so many, and return when each has had as many messages as it sent texts."""
        self._await(len(self._texts), count)
        for first in range(0, count, AT_A_TIME):
            await asyncio.gather(*(self._open() for _ in range(min(AT_A_TIME, count - first))))
        await self._have()

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        parts = urlsplit(self._url)
        sock = socket.socket()
        if self._slow:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        sock.setblocking(False)
        await loop.sock_connect(sock, (parts.hostname, parts.port))
        _, client = await loop.create_connection(lambda: SocketClient(self._url, self._got), sock=sock)
        self.clients.append(client)
        await client.is_open
        client.send(self._texts[0])

    def _got(self, client: SocketClient) -> None:
        if client.messages < len(self._texts):
            client.send(self._texts[client.messages])
        if client.messages == self._awaited:
            self._missing -= 1
            if not self._missing:
                self._all_have.set()

    def _await(self, messages: int, clients: int) -> None:
        self._awaited, self._missing = messages, clients
        self._all_have.clear()

    def expect_one(self) -> None:
        """From now on, wait for one more message each; all have had equally many."""
        self._await(self._awaited + 1, len(self.clients))

    async def _have(self) -> None:
        async with asyncio.timeout(120):
            await self._all_have.wait()

    async def have_it(self) -> None:
        """Return when everyone has had what was expected."""
        await self._have()

    def pause(self) -> None:
        """Read nothing from now on."""
        for client in self.clients:
            client.transport.pause_reading()

    def close(self) -> None:
        """Close them all."""
        for client in self.clients:
            client.transport.abort()
