"""The API killed in the middle of imports, and while clients follow tasks."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from api.demo.service_client import ServiceClient
from domain import db, idempotency
from tests.e2e.line import CREATE, Child, Line, create, free_port, lives, make_international
from tests.e2e.private_engines import PrivateEngines
from tests.e2e.promises import check_promises, eventually, moments, phones, reached
from tests.e2e.uploads import Uploads
from tests.e2e.watcher import watching

pytestmark = pytest.mark.faults

WINDOW = 50
MADE_OF = ("task", "message", "rejected_row", "chunk", "task_counter")
"""The tables that have rows of a task nobody has begun to send."""
IMPORTED = 300_000


@dataclass
class Import:
    """One that is killed again and again."""

    file: Path
    order: dict[str, Any]

    async def run(self, client: ServiceClient) -> dict[str, Any]:
        """Ask for it; the payload."""
        payload: dict[str, Any] = (
            await client.upload(CREATE, self.file, "input.recipients.file", input=self.order)
        )["createTask"]
        return payload


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.long_form)])
async def test_an_api_killed_in_the_middle_of_an_import_leaves_nothing(
    private_line: Line, private: PrivateEngines, tmp_path: Path, chance: random.Random, kills: int
) -> None:
    line, port, uploads = private_line, free_port(), Uploads(tmp_path / "uploads")
    api, client = await line.api(port)
    wanted = _import_of(IMPORTED, await make_international(client, "Hello"), tmp_path)
    for times in range(1, kills + 1):
        await _kill_at(_moment(chance, api, uploads), api, wanted, client)
        await _check_nothing_made()
        api, client = await line.api(port)
        # What the dead one left is removed at the next start.
        await uploads.emptied()
        # Its key is free again after a while.
        await private.set_clock_ahead(times * (idempotency.LEASE + timedelta(seconds=1)))
    # When all its rows are written and only its chunks and the commit are missing.
    async with _locked_against_writing("chunk") as somebody_waits:
        await _kill_at(somebody_waits, api, wanted, client)
    await _check_nothing_made()
    api, client = await line.api(port)
    await private.set_clock_ahead((kills + 1) * (idempotency.LEASE + timedelta(seconds=1)))

    # Killed as soon as it is made, so most likely without an answer.
    importing = asyncio.create_task(wanted.run(client))
    await eventually(lambda: db.fetchval("SELECT count(*) FROM task"))
    await api.stop(signal.SIGKILL)
    with suppress(httpx.TransportError):
        await importing
    _, client = await line.api(port)
    first, second = await wanted.run(client), await wanted.run(client)
    assert first["errors"] == second["errors"] == []
    assert first["task"] == second["task"]
    assert await db.fetchval("SELECT count(*) FROM task") == 1
    assert first["task"]["recipients"] == {"imported": IMPORTED, "invalid": 1, "duplicates": 1}
    assert await db.fetchval("SELECT count(*) FROM message") == IMPORTED
    assert await db.fetchval("SELECT count(*) FROM rejected_row") == 2
    await uploads.emptied()


def _moment(chance: random.Random, api: Child, uploads: Uploads) -> Callable[[], Awaitable[object]]:
    """Whether some point of an import has come: in its upload, its reading or its COPY."""
    # In the first half of the COPY, for its end must not be there before anybody has looked.
    octets, rows = chance.randrange(1, 12 * IMPORTED), chance.randrange(1, IMPORTED // 2)
    return chance.choice([lambda: uploads.arrived(octets), lambda: _is_read(api), lambda: _copied(rows)])


def _import_of(count: int, made_from: dict[str, str], folder: Path) -> Import:
    recipients = phones(count)
    file = folder / "many.csv"
    file.write_text("\n".join([*recipients, "no number", recipients[0]]))
    order = {
        "name": "Many",
        **made_from,
        "recipients": {"file": None},
        "sendAt": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
        "idempotencyKey": "once",
    }
    return Import(file, order)


async def _kill_at(
    moment: Callable[[], Awaitable[object]], api: Child, wanted: Import, client: ServiceClient
) -> None:
    importing = asyncio.create_task(wanted.run(client))
    async with asyncio.timeout(120):
        while not await moment():
            assert not importing.done(), "the moment never came"
            await asyncio.sleep(0)
    await api.stop(signal.SIGKILL)
    with pytest.raises(httpx.TransportError):
        await importing


async def _is_read(api: Child) -> bool:
    """Whether the file is being read, by a process of its own."""
    return any(
        "domain.recipient_file.child" in child.cmdline()
        for child in psutil.Process(api.process.pid).children()
        if child.is_running()
    )


async def _copied(rows: int) -> bool:
    """Whether so many numbers have been copied by a transaction that is under way."""
    copied = await db.fetchval("SELECT max(tuples_processed) FROM pg_stat_progress_copy")
    return copied is not None and copied >= rows


@asynccontextmanager
async def _locked_against_writing(table: str) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """An import gets as far as this table; yields whether it has."""

    async def somebody_waits() -> bool:
        return bool(
            await db.fetchval(
                "SELECT count(*) FROM pg_locks WHERE relation = $1::text::regclass AND NOT granted", table
            )
        )

    async with db.transaction() as conn:
        await conn.execute(f"LOCK TABLE {table} IN SHARE MODE")
        yield somebody_waits


async def _check_nothing_made() -> None:
    await eventually(_nobody_is_at_work)
    for table in MADE_OF:
        assert await db.fetchval(f"SELECT count(*) FROM {table}") == 0
    assert await db.fetchval("SELECT count(*) FROM idempotency_key WHERE answer IS NOT NULL") == 0


async def _nobody_is_at_work() -> bool:
    """No connection but the asking one is inside a statement or a transaction on this database."""
    return not await db.fetchval(
        """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend'
          AND state <> 'idle' AND pid <> pg_backend_pid()
        """
    )


@pytest.mark.parametrize("kills", [2, pytest.param(12, marks=pytest.mark.long_form)])
async def test_followers_of_a_killed_api_come_back_and_miss_nothing(
    private_line: Line, chance: random.Random, kills: int
) -> None:
    line, port = private_line, free_port()
    await line.message_centre("--receipt-delay", "0.05", query=f"window={WINDOW}&rate=100")
    api, client = await line.api(port)
    # Through another process: it lives, and makes what the followers of the first are not to miss.
    other, maker = await line.api()
    worker = await line.worker()
    made_from = await make_international(maker, "Hello")
    recipients = phones(400 * (kills + 1))
    task_id = await create(maker, made_from, recipients)
    changes = await _changes_cursor(client)
    made = [task_id]
    async with watching(client, task_id) as watcher, watching(client, task_id) as second:
        for moment in moments(chance, kills, len(recipients)):
            await reached(line, moment)
            await api.stop(signal.SIGKILL)
            made.append(await create(maker, made_from, phones(3, after=len(made) * 1000)[:1], **_later()))
            api, client = await line.api(port)
        await check_promises(line, client, task_id, recipients, in_doubt_at_most=0, watcher=watcher)
        assert (await second.end())["status"] == "COMPLETED"
        assert watcher.cut_off >= kills
    assert await _tasks_changed_since(client, changes) >= set(made[1:])
    assert lives(other, worker)


def _later() -> dict[str, str]:
    return {"sendAt": (datetime.now(UTC) + timedelta(days=2)).isoformat()}


async def _changes_cursor(client: ServiceClient) -> str:
    data = await client.execute("{ tasks(first: 1) { changeCursor } }")
    cursor: str = data["tasks"]["changeCursor"]
    return cursor


async def _tasks_changed_since(client: ServiceClient, cursor: str) -> set[str]:
    """The ids of the tasks that tasksChanged replays, until it has told of the newest change."""
    found: set[str] = set()
    newest = await _changes_cursor(client)
    document = "subscription ($since: String) { tasksChanged(since: $since) { cursor taskId } }"
    async with asyncio.timeout(60):
        async for event in client.subscribe(document, since=cursor):
            found.add(event["tasksChanged"]["taskId"])
            if event["tasksChanged"]["cursor"] == newest:
                break
    return found
