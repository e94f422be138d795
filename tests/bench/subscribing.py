"""A task's change told to thousands of subscribers of one process, beside a bare server writing the same."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import psutil

from api.demo.service_client import ServiceClient
from tests.bench.figures import Figure
from tests.bench.socket_load import Crowd
from tests.bench.stage import LIFTED, stage, stopwatch
from tests.e2e.line import Child, create, make_international

SUBSCRIBERS = int(os.environ.get("BENCH_SUBSCRIBERS", "5_000"))
SLOW = 200
ROUNDS = 8
BETWEEN = 0.6
"""Seconds between two changes: nobody is told of a task more often than every 0.25 s."""
SPARE = 500
"""File descriptors for everything but the subscribers."""
FOLLOW = """subscription ($id: ID!) { taskUpdated(id: $id) { id status revision sendAt
  counts { total waiting unknown delivered failed notSent inDoubt } progress { percent } } }"""
AT_LENGTH = f"""subscription ($id: ID!) {{ taskUpdated(id: $id) {{ revision
  {" ".join(f"a{number}: text" for number in range(3000))} }} }}"""
"""Fills what the system buffers for a slow reader within a few changes."""
RESCHEDULE = """mutation ($input: RescheduleTaskInput!) { rescheduleTask(input: $input) {
  task { revision } errors { message } } }"""


async def bench() -> AsyncIterator[Figure]:
    """Bare first; then ours; then ours with readers who have stopped reading."""
    _allow_files(SUBSCRIBERS + SLOW + SPARE)
    # Thousands of clients live in this process: the collector is to stop neither side's clock.
    gc.set_threshold(50_000, 20, 100)
    async with stage() as line:
        child, client = await line.api(None, **LIFTED)
        made = await make_international(client, "Our new store opens on Saturday.")
        task = await create(client, made, ["+447400000001"], sendAt=_in(days=1))
        socket = client.base_url.replace("http", "ws", 1) + "/graphql"
        idle = _memory(child)
        crowd = Crowd(socket, [_hello(line.token), _subscribe(FOLLOW, task)])
        with stopwatch() as opening:
            await crowd.open(SUBSCRIBERS)
        each = (_memory(child) - idle) / SUBSCRIBERS / 1024
        told = await _best(crowd, lambda: _reschedule(client, task))
        frame = crowd.clients[0].last.decode()
        slow = Crowd(socket, [_hello(line.token), _subscribe(AT_LENGTH, task)], slow=True)
        await slow.open(SLOW)
        slow.pause()
        held_up = await _best(crowd, lambda: _reschedule(client, task))
        kept = (_memory(child) - idle - each * 1024 * SUBSCRIBERS) / SLOW / 1024
        slow.close()
        crowd.close()
        await child.stop()
        server, url = await line.start("tests.bench.bare_sockets", until="listening on ")
        idle = _memory(server)
        bare_crowd = Crowd(url, ["hello"])
        with stopwatch() as bare_opening:
            await bare_crowd.open(SUBSCRIBERS)
        bare_each = (_memory(server) - idle) / SUBSCRIBERS / 1024

        async def say() -> None:
            bare_crowd.clients[0].send(frame)

        bare = await _best(bare_crowd, say)
        bare_crowd.close()
    beside = "a bare websockets server writing the same frames"
    who = f"{SUBSCRIBERS:,} subscribers"
    yield Figure(f"{who} have a change of their task", told * 1000, "ms", bare * 1000, beside, at_most=3)
    yield Figure(
        f"… beside {SLOW} who have stopped reading", held_up * 1000, "ms", bare * 1000, beside, at_most=3
    )
    yield Figure("memory of a subscriber", each, "KiB", bare_each, "a connection of that server")
    yield Figure("… of one who has stopped reading", kept, "KiB", each, "of one who reads")
    yield Figure(
        f"{who} connect and have the present state", opening[0], "s", bare_opening[0], "of that server"
    )


async def _best(crowd: Crowd, change: Callable[[], Awaitable[None]]) -> float:
    """Seconds from before the change is asked for until everybody has it: the best of several."""
    rounds = []
    for _ in range(ROUNDS):
        await asyncio.sleep(BETWEEN)
        crowd.expect_one()
        with stopwatch() as took:
            await change()
            await crowd.have_it()
        rounds.append(took[0])
    return min(rounds)


async def _reschedule(client: ServiceClient, task: str) -> None:
    answer = await client.execute(RESCHEDULE, input={"id": task, "sendAt": _in(days=2)})
    assert answer["rescheduleTask"]["errors"] == [], answer


def _in(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


def _hello(token: str) -> str:
    return json.dumps({"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}})


def _subscribe(query: str, task: str) -> str:
    # As long as the ids that graphql-ws makes.
    payload = {"query": query, "variables": {"id": task}}
    return json.dumps({"id": "2f4d5f1c-0d1e-4a53-8f4b-0b9f6a3c9a11", "type": "subscribe", "payload": payload})


def _memory(child: Child) -> int:
    return int(psutil.Process(child.process.pid).memory_info().rss)


def _allow_files(count: int) -> None:
    """Raise the limit of this process and of those it starts; raises AssertionError if it can't be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    assert max(soft, allowed) >= count, f"{count} files are needed, {hard} allowed: see ulimit -Hn"
