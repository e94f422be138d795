"""APIs and workers restarted one after another while a task runs: whoever follows or asks notices nothing.

Connections that are refused, reset or closed with 1001, 1006 or 1012 are made again by every client library,
those of queries as well. An error in an answer, or a close that graphql-ws calls fatal, is not.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from api.demo.service_client import ServiceClient
from tests.e2e.line import FOLLOW, Child, Line, create_from_file, lives, make_international
from tests.e2e.promises import check_promises, phones, reached, status_of

pytestmark = pytest.mark.faults

CLOSED_IN_PASSING = (1001, 1006, 1012)
"""1006 is what a client calls a connection that ended without a close."""
ABNORMAL = 1006
AGAIN_AFTER = 0.5
"""Seconds; graphql-ws waits one, and longer each time."""


@dataclass
class Follower:
    """A subscriber as graphql-ws is one: it subscribes anew after a connection is lost, and only then."""

    url: str
    token: str
    task_id: str
    seen: list[dict[str, Any]] = field(default_factory=list)
    connections: int = 0

    async def follow(self) -> None:
        """Return when the service says that all is told."""
        while True:
            try:
                async with connect(self.url, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
                    self.connections += 1
                    init = {"type": "connection_init", "payload": {"authorization": f"Bearer {self.token}"}}
                    await socket.send(json.dumps(init))
                    while self._go_on(message := json.loads(await socket.recv())):
                        if message["type"] == "connection_ack":
                            asked = {"query": FOLLOW, "variables": {"id": self.task_id}}
                            await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": asked}))
                    return
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd is not None else ABNORMAL
                assert code in CLOSED_IN_PASSING, f"closed with {code}"
            except (OSError, InvalidHandshake):
                pass  # refused, or reset before it was a socket: a browser says 1006
            await asyncio.sleep(AGAIN_AFTER)

    def _go_on(self, message: dict[str, Any]) -> bool:
        """Take in a message; whether more are to come."""
        if message["type"] == "next":
            assert not message["payload"].get("errors"), message["payload"]["errors"]
            update = message["payload"]["data"]["taskUpdated"]
            assert not self.seen or update["revision"] >= self.seen[-1]["revision"]
            self.seen.append(update)
        assert message["type"] != "error", message["payload"]
        return bool(message["type"] != "complete")


async def ask_again_and_again(client: ServiceClient, task_id: str) -> None:
    """Query the task until it is completed; a query that did not come through is asked again."""
    status = ""
    while status != "COMPLETED":
        with suppress(httpx.TransportError):
            status = await status_of(client, task_id)
        await asyncio.sleep(0.2)


@dataclass
class Fleet:
    """Two APIs and two workers, of which one at a time is restarted."""

    line: Line
    ports: list[int] = field(default_factory=list)
    apis: list[Child] = field(default_factory=list)
    workers: list[Child] = field(default_factory=list)
    clients: list[ServiceClient] = field(default_factory=list)

    async def start(self) -> None:
        """Start all."""
        for _ in range(2):
            api, client = await self.line.api()
            self.apis.append(api)
            self.clients.append(client)
            self.ports.append(int(client.base_url.rpartition(":")[2]))
            self.workers.append(await self.line.worker())

    async def restart_api(self, which: int) -> None:
        """Stop an API as process managers do, and start it anew under its address."""
        assert await self.apis[which].stop() == 0
        self.apis[which], _ = await self.line.api(self.ports[which])

    async def restart_worker(self, which: int) -> None:
        """Likewise a worker."""
        assert await self.workers[which].stop() == 0
        self.workers[which] = await self.line.worker()


@asynccontextmanager
async def crowd(fleet: Fleet, task_id: str, each: int) -> AsyncIterator[list[Follower]]:
    """So many subscribers and one who polls at each API, for the length of a block; all see the end."""
    followers = [
        Follower(f"ws://127.0.0.1:{port}/graphql", fleet.line.token, task_id)
        for port in fleet.ports
        for _ in range(each)
    ]
    async with asyncio.TaskGroup() as group, asyncio.timeout(600):
        for follower in followers:
            group.create_task(follower.follow())
        for client in fleet.clients:
            group.create_task(ask_again_and_again(client, task_id))
        yield followers


@pytest.mark.parametrize(
    ("count", "each", "rate"),
    [(4_500, 5, "&rate=250"), pytest.param(100_000, 50, "", marks=pytest.mark.long_form)],
)
async def test_a_rolling_restart_is_noticed_by_nobody(
    private_line: Line, tmp_path: Path, count: int, each: int, rate: str
) -> None:
    line = private_line
    await line.message_centre(
        *("--response-delay", "0.02", "--receipt-delay", "0.1", "--resend-after", "1"),
        query=f"window=50&binds=4{rate}",
    )
    fleet = Fleet(line)
    await fleet.start()
    recipients = phones(count)
    file = tmp_path / "recipients.csv"
    file.write_text("\n".join(recipients))
    client = fleet.clients[0]
    task_id = await create_from_file(client, await make_international(client, "Hello"), file)
    async with crowd(fleet, task_id, each) as followers:
        for step, restart in enumerate((fleet.restart_api, fleet.restart_worker) * 2):
            await reached(line, (2 * step + 1) * count // 10)
            await restart(step // 2)
        await reached(line, 9 * count // 10)
        assert await status_of(client, task_id) == "SENDING", "all were restarted while it ran"
    found = await check_promises(line, client, task_id, recipients, in_doubt_at_most=0)
    assert len(found) == count
    assert lives(*fleet.apis, *fleet.workers)
    for follower in followers:
        assert follower.connections > 1
        last = follower.seen[-1]
        assert (last["status"], last["counts"]["delivered"]) == ("COMPLETED", count - count // 50)
