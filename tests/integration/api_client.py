"""The API as clients meet it: served by uvicorn in this process, spoken to over HTTP and WebSocket."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import uvicorn
import websockets

from api.app import build
from api.server import PatientSocket, listen
from domain import accounts
from domain.settings import PREFIX, Settings
from domain.states import Role

WITHIN = 15.0
"""Seconds in which whatever is waited for must happen."""
SUBPROTOCOL = websockets.Subprotocol("graphql-transport-ws")


class ResultError(AssertionError):
    """The answer has errors where none were expected."""


@dataclass
class Client:
    """Someone with a token, or without."""

    url: str
    token: str | None
    http: httpx.AsyncClient

    @property
    def headers(self) -> dict[str, str]:
        """What identifies them."""
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}

    async def answer(self, document: str, **variables: object) -> dict[str, Any]:
        """The whole answer to an operation."""
        body = {"query": document, "variables": variables}
        response = await self.http.post(f"{self.url}/graphql", json=body, headers=self.headers)
        found: dict[str, Any] = response.json()
        return found

    async def run(self, document: str, **variables: object) -> dict[str, Any]:
        """The data of the answer, which must have no errors."""
        return data_of(await self.answer(document, **variables))

    async def refusal(self, document: str, **variables: object) -> tuple[str, str]:
        """The code and message of the one error of the answer."""
        (error,) = (await self.answer(document, **variables))["errors"]
        return error["extensions"]["code"], error["message"]

    async def upload(
        self, document: str, content: bytes, filename: str = "numbers.xlsx", **variables: object
    ) -> dict[str, Any]:
        """The data of a mutation whose `input.recipients.file` is this file."""
        parts: dict[str, tuple[str | None, str | bytes]] = {
            "operations": (None, json.dumps({"query": document, "variables": variables})),
            "map": (None, json.dumps({"0": ["variables.input.recipients.file"]})),
            "0": (filename, content),
        }
        headers = {**self.headers, "Apollo-Require-Preflight": "true"}
        response = await self.http.post(f"{self.url}/graphql", files=parts, headers=headers)
        return data_of(response.json())

    @asynccontextmanager
    async def socket(self, payload: dict[str, object] | None = None) -> AsyncIterator[Socket]:
        """A socket on which connection_init has been sent."""
        address = f"{self.url.replace('http', 'ws', 1)}/graphql"
        async with websockets.connect(address, subprotocols=[SUBPROTOCOL]) as connection:
            socket = Socket(connection)
            params = payload if payload is not None else {"authorization": f"Bearer {self.token}"}
            await socket.send({"type": "connection_init", "payload": params})
            yield socket

    @asynccontextmanager
    async def subscribe(self, document: str, **variables: object) -> AsyncIterator[Events]:
        """The events of a subscription on a socket of its own."""
        async with self.socket() as socket:
            assert (await socket.receive())["type"] == "connection_ack"
            await socket.subscribe("1", document, variables)
            yield Events(socket)


@dataclass
class Socket:
    """Messages of graphql-transport-ws."""

    connection: websockets.ClientConnection

    async def send(self, message: dict[str, object]) -> None:
        """Send one."""
        await self.connection.send(json.dumps(message))

    async def subscribe(self, key: str, document: str, variables: dict[str, object]) -> None:
        """Begin an operation."""
        payload = {"query": document, "variables": variables}
        await self.send({"id": key, "type": "subscribe", "payload": payload})

    async def receive(self) -> dict[str, Any]:
        """The next one."""
        async with asyncio.timeout(WITHIN):
            message: dict[str, Any] = json.loads(await self.connection.recv())
        return message

    async def close_code(self) -> int | None:
        """The code the other side closes with."""
        async with asyncio.timeout(WITHIN):
            await self.connection.wait_closed()
        return self.connection.close_code


class Events:
    """The results of one subscription."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    async def next(self) -> dict[str, Any]:
        """The data of the next event."""
        message = await self._socket.receive()
        if message["type"] != "next":
            raise ResultError(message)
        return data_of(message["payload"])

    async def refusal(self) -> tuple[str, str]:
        """The code and message of the error it ends with."""
        message = await self._socket.receive()
        errors = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
        return errors[0]["extensions"]["code"], errors[0]["message"]

    async def rest(self) -> list[dict[str, Any]]:
        """All further events until it ends by itself."""
        found = []
        while (message := await self._socket.receive())["type"] == "next":
            found.append(data_of(message["payload"]))
        assert message["type"] == "complete", message
        return found


def data_of(answer: dict[str, Any]) -> dict[str, Any]:
    """The data of an answer without errors."""
    if answer.get("errors"):
        raise ResultError(answer["errors"])
    data: dict[str, Any] = answer["data"]
    return data


class _Server(uvicorn.Server):
    """Leaves the signals of the test run alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class Api:
    """A running API, and clients of it."""

    url: str
    settings: Settings
    database_url: str
    redis_url: str
    http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=WITHIN))

    async def client(self, role: Role = Role.OPERATOR, account: str = "Acme") -> Client:
        """Someone with a new token."""
        return self.holding(await accounts.create_token(account, role))

    def holding(self, token: str | None) -> Client:
        """Someone with this token."""
        return Client(self.url, token, self.http)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()

    @asynccontextmanager
    async def another(self, token: str | None) -> AsyncIterator[Client]:
        """Someone at a second API, a process of its own on the same database and Valkey."""
        with listen("127.0.0.1", 0) as reserved:
            port = reserved.getsockname()[1]
        environment = {
            **os.environ,
            f"{PREFIX}DATABASE_URL": self.database_url,
            f"{PREFIX}REDIS_URL": self.redis_url,
            f"{PREFIX}DATA_DIR": str(self.settings.data_dir),
            f"{PREFIX}PORT": str(port),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "api", env=environment, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(2 * WITHIN):
                assert await process.stdout.readline(), "the second API did not start"
            yield Client(f"http://127.0.0.1:{port}", token, self.http)
        finally:
            process.terminate()
            async with asyncio.timeout(WITHIN):
                await process.wait()


@asynccontextmanager
async def serving(
    database_url: str, redis_url: str, data_dir: Path, **settings: object
) -> AsyncIterator[Api]:
    """Serve the API in this process, which shares its pool."""
    with listen("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        chosen = Settings.model_validate({"data_dir": data_dir, "port": port, **settings})
        (data_dir / "uploads").mkdir(exist_ok=True)
        app = build(chosen, database_url, redis_url)
        server = _Server(
            uvicorn.Config(
                app,
                ws=PatientSocket,
                log_config=None,
                timeout_graceful_shutdown=2,
                proxy_headers=False,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        try:
            async with asyncio.timeout(WITHIN):
                while not server.started:
                    assert not serving.done(), "the API did not start"
                    await asyncio.sleep(0.005)
            async with Api(f"http://127.0.0.1:{port}", chosen, database_url, redis_url) as api:
                yield api
        finally:
            server.should_exit = True
            await serving
