"""PostgreSQL killed and restarted, and its connections cut, in the middle of a task."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import psutil
import pytest

from api.demo.service_client import ServiceClient
from domain.engines.layout import Kind
from tests.e2e.line import Child, Line, create, lives, make_international
from tests.e2e.private_engines import PrivateEngines
from tests.e2e.promises import DELIVERED, FAILED, check_promises, moments, phones, reached
from tests.e2e.watcher import watching

pytestmark = pytest.mark.faults

WINDOW = 50
ENDS = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
"""Told to end, told to end at once, and not told."""
TASKS = "{ tasks(first: 5) { nodes { id name application { name } counts { total } } } }"
CENTRE = ("--receipt-delay", "0.05", "--resend-after", "0.5")


async def test_postgresql_killed_three_times_in_one_task(
    private_line: Line, private: PrivateEngines, chance: random.Random
) -> None:
    line = private_line
    await line.message_centre(*CENTRE, query=f"window={WINDOW}&rate=150")
    api, client = await line.api()
    worker = await line.worker()
    recipients = phones(1500)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    async with watching(client, task_id) as watcher:
        for moment, number in zip(moments(chance, 3, len(recipients)), ENDS, strict=True):
            await reached(line, moment)
            await asyncio.to_thread(private.kill, Kind.POSTGRESQL, number)
        back_for_good = datetime.now(UTC)
        # No process of ours died: each message handed over is settled once the database is back.
        found = await check_promises(line, client, task_id, recipients, in_doubt_at_most=0, watcher=watcher)
    assert lives(api, worker)
    assert {result for result, _ in found.values()} == {DELIVERED, FAILED}
    assert warnings_since(worker, back_for_good + timedelta(seconds=5)) == []


@pytest.mark.parametrize("times", [4, pytest.param(40, marks=pytest.mark.long_form)])
async def test_connections_cut_again_and_again_in_one_task(
    private_line: Line, private: PrivateEngines, chance: random.Random, times: int
) -> None:
    line = private_line
    await line.message_centre(*CENTRE, query=f"window={WINDOW}&binds=2&rate=200")
    api, client = await line.api()
    workers = [await line.worker(), await line.worker()]
    recipients = phones(400 + 200 * times)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    async with watching(client, task_id) as watcher:
        for moment in moments(chance, times, len(recipients)):
            await reached(line, moment)
            await cut_all_connections(private.database_url)
        await check_promises(line, client, task_id, recipients, in_doubt_at_most=0, watcher=watcher)
    assert lives(api, *workers)


async def test_postgresql_frozen_keeps_nobody_waiting_beyond_the_limit(
    private_line: Line, private: PrivateEngines
) -> None:
    line = private_line
    api, client = await line.api(GROUPSMS_QUERY_SECONDS="1")
    made_from = await make_international(client, "Hello")
    with frozen(private, Kind.POSTGRESQL):
        async with asyncio.timeout(20):
            answers = await asyncio.gather(*(asked(client, line.token) for _ in range(40)))
    assert {code for _, code in answers} <= {"TIMEOUT", "UNAVAILABLE"}
    # What hung is let go, so that all connections are good again.
    await create(client, made_from, phones(10))
    answers = await asyncio.gather(*(asked(client, line.token) for _ in range(40)))
    assert set(answers) == {(200, None)}
    assert lives(api)


async def asked(client: ServiceClient, token: str) -> tuple[int, str | None]:
    """Ask for the tasks: the status and the code of the error, if any."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http:
        answer = await http.post(f"{client.base_url}/graphql", json={"query": TASKS}, timeout=30)
    errors = answer.json().get("errors")
    return answer.status_code, errors[0]["extensions"]["code"] if errors else None


@contextmanager
def frozen(private: PrivateEngines, kind: Kind) -> Iterator[None]:
    """Stop an engine and all its processes without ending them, as a machine does that hangs."""
    pid = private.pid(kind)
    assert pid is not None
    server = psutil.Process(pid)
    # The server first, for it to make no more of them.
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in reversed(processes):
            process.resume()


async def cut_all_connections(database_url: str) -> None:
    """End every session of the server but the one that asks for it, whatever it is doing."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()


def warnings_since(child: Child, moment: datetime) -> list[str]:
    """What a process complained of after that moment."""
    return [
        f"{entry['event']}: {entry.get('error')}"
        for entry in child.entries()
        if entry["level"] != "info" and datetime.fromisoformat(entry["timestamp"]) > moment
    ]
