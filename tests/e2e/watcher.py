"""A client that follows a task as client libraries do: cut off, it connects again and goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import WebSocketException

from api.demo.service_client import ServiceClient
from tests.e2e.line import FOLLOW

CONNECT_AGAIN_AFTER = 0.1
FINAL = ("COMPLETED", "CANCELED", "STOPPED")


@dataclass
class Watcher:
    """What a subscriber of `taskUpdated` has seen so far."""

    client: ServiceClient
    task_id: str
    seen: list[dict[str, Any]] = field(default_factory=list)
    cut_off: int = 0
    """How often its connection was lost or refused."""
    _following: asyncio.Task[None] | None = None

    async def end(self, within: float = 60) -> dict[str, Any]:
        """Wait for the subscription to end of itself; the last it told. Raises what it met."""
        assert self._following is not None
        async with asyncio.timeout(within):
            await asyncio.shield(self._following)
        return self.seen[-1]

    async def _follow(self) -> None:
        # An error that the service sends as an answer is not caught: no library asks again after one.
        while not (self.seen and self.seen[-1]["status"] in FINAL):
            try:
                async with aclosing(self.client.subscribe(FOLLOW, id=self.task_id)) as events:
                    async for event in events:
                        self._note(event["taskUpdated"])
            except (OSError, WebSocketException):
                self.cut_off += 1
                await asyncio.sleep(CONNECT_AGAIN_AFTER)

    def _note(self, update: dict[str, Any]) -> None:
        if self.seen:
            assert update["revision"] >= self.seen[-1]["revision"], "nobody is told of older things again"
        self.seen.append(update)


@asynccontextmanager
async def watching(client: ServiceClient, task_id: str) -> AsyncIterator[Watcher]:
    """A subscriber for the length of a block."""
    watcher = Watcher(client, task_id)
    watcher._following = following = asyncio.create_task(watcher._follow())
    try:
        yield watcher
    finally:
        following.cancel()
        await asyncio.wait([following])
