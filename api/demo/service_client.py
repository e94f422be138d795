"""A small client of the service, as a frontend would be one: HTTP, multipart uploads, a WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class ServiceError(Exception):
    """The service answered with an error that is no data."""


class ServiceClient:
    """Speaks GraphQL with the service at `base_url`, with a bearer token."""

    def __init__(self, base_url: str, token: str) -> None:
        self.base_url = base_url
        self._authorization = f"Bearer {token}"
        self._socket_url = base_url.replace("http", "ws", 1) + "/graphql"
        self._http = httpx.AsyncClient(
            base_url=base_url, headers={"authorization": self._authorization}, timeout=60, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def execute(self, document: str, **variables: object) -> dict[str, Any]:
        """Run a query or mutation and return its data. Raises `ServiceError`."""
        answer = await self._http.post("/graphql", json={"query": document, "variables": variables})
        return _data(answer)

    async def upload(self, document: str, file: Path, at: str, **variables: object) -> dict[str, Any]:
        """Run a mutation with a file in the variable at the dotted path `at`. Raises `ServiceError`."""
        operations = json.dumps({"query": document, "variables": variables})
        with file.open("rb") as content:
            answer = await self._http.post(
                "/graphql",
                headers={"Apollo-Require-Preflight": "true"},
                data={"operations": operations, "map": json.dumps({"0": [f"variables.{at}"]})},
                files={"0": (file.name, content, _XLSX)},
            )
        return _data(answer)

    async def subscribe(self, document: str, **variables: object) -> AsyncGenerator[dict[str, Any]]:
        """The events of a subscription (graphql-transport-ws). Raises `ServiceError`."""
        async with connect(self._socket_url, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
            await socket.send(
                json.dumps({"type": "connection_init", "payload": {"authorization": self._authorization}})
            )
            subscribed = {"query": document, "variables": variables}
            async for text in socket:
                message = json.loads(text)
                match message["type"]:
                    case "connection_ack":
                        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": subscribed}))
                    case "ping":
                        await socket.send(json.dumps({"type": "pong"}))
                    case "next":
                        yield _checked(message["payload"])
                    case "error":
                        raise ServiceError(json.dumps(message["payload"]))
                    case "complete":
                        return

    async def download(self, url: str, target: Path) -> None:
        """Save what a signed link leads to. Raises `ServiceError`."""
        answer = await self._http.get(url)
        if answer.status_code != httpx.codes.OK:
            raise ServiceError(f"{answer.status_code}: {answer.text}")
        await asyncio.to_thread(target.write_bytes, answer.content)


def _data(answer: httpx.Response) -> dict[str, Any]:
    if answer.headers.get("content-type", "").startswith("application/json"):
        return _checked(answer.json())
    raise ServiceError(f"{answer.status_code}: {answer.text}")


def _checked(result: dict[str, Any]) -> dict[str, Any]:
    if result.get("errors"):
        raise ServiceError("; ".join(error["message"] for error in result["errors"]))
    data: dict[str, Any] = result["data"]
    return data
