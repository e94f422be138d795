"""Server-sent events as a client reads them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.integration.api_client import WITHIN, Client, data_of


class EventStream:
    """The events of one operation."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def block(self) -> dict[str, str] | None:
        """The fields of the next event, or of a comment under an empty name; None at the end."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(WITHIN):
            async for line in self._lines:
                if not line:
                    return fields
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
        return None

    async def next(self) -> dict[str, Any]:
        """The result that the next event tells of."""
        while (block := await self.block()) is not None:
            if "event" in block:
                assert block["event"] == "next", block
                result: dict[str, Any] = json.loads(block["data"])
                return result
        raise AssertionError("the stream has ended")

    async def data(self) -> dict[str, Any]:
        """The data of the next event, which must have no errors."""
        return data_of(await self.next())

    async def rest(self) -> list[str]:
        """The names of all further events."""
        return [block["event"] async for block in self._blocks() if "event" in block]

    async def _blocks(self) -> AsyncIterator[dict[str, str]]:
        while (block := await self.block()) is not None:
            yield block


@asynccontextmanager
async def streaming(
    http: httpx.AsyncClient, url: str, body: dict[str, object], **headers: str
) -> AsyncIterator[EventStream]:
    """The stream that answers an operation."""
    asked = {"Accept": "text/event-stream", **headers}
    async with http.stream("POST", f"{url}/graphql", json=body, headers=asked) as response:
        assert response.headers["content-type"].startswith("text/event-stream"), await response.aread()
        yield EventStream(response)


@asynccontextmanager
async def following(client: Client, document: str, **variables: object) -> AsyncIterator[EventStream]:
    """What a client is told of an operation."""
    body: dict[str, object] = {"query": document, "variables": variables}
    async with streaming(client.http, client.url, body, **client.headers) as events:
        yield events
