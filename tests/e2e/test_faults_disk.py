"""A full disk under PostgreSQL in the middle of a task: refused honestly, nothing lost, and on it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from api.demo.service_client import ServiceClient, ServiceError
from domain import db
from tests.conftest import wait_until
from tests.e2e.disk import Disk, FillableDisks, FillableServer, fillable_postgresql
from tests.e2e.line import Line, create, create_from_file, lives, make_international, running_line
from tests.e2e.promises import check_promises, phones, reached
from tests.e2e.uploads import Uploads
from tests.e2e.watcher import watching

pytestmark = pytest.mark.faults

WINDOW = 50
NO_SPACE = "No space left on device"


@pytest.fixture
def server(data_dir: Path) -> Iterator[FillableServer]:
    with fillable_postgresql(data_dir) as running:
        yield running


@pytest.fixture
async def line(server: FillableServer, redis_url: str, tmp_path: Path) -> AsyncIterator[Line]:
    await db.migrate(server.server.url)
    async with running_line(server.server.url, redis_url, tmp_path) as running:
        yield running


@pytest.mark.parametrize("disk", [Disk.TABLES, pytest.param(Disk.WAL, marks=pytest.mark.long_form)])
async def test_a_disk_full_in_the_middle_of_a_task(line: Line, server: FillableServer, disk: Disk) -> None:
    await line.message_centre(
        "--receipt-delay", "0.05", "--resend-after", "0.5", query=f"window={WINDOW}&binds=2&rate=200"
    )
    api, client = await line.api()
    workers = [await line.worker(), await line.worker()]
    made_from = await make_international(client, "Hello")
    recipients = phones(1000)
    task_id = await create(client, made_from, recipients)
    async with watching(client, task_id) as watcher:
        await reached(line, 200)
        server.disks.fill(disk)
        await asyncio.to_thread(wait_until, lambda: server.said(NO_SPACE) > 0, 60)
        await _check_refused(client, made_from)
        await asyncio.to_thread(server.make_room)
        # No process of ours died: each message handed over is settled once there is room.
        await check_promises(line, client, task_id, recipients, in_doubt_at_most=0, watcher=watcher)
    assert lives(api, *workers)
    assert server.said("PANIC") == 0 or disk is Disk.WAL
    assert await db.fetchval("SELECT count(*) FROM task") == 1, "what was refused was not made"
    again = phones(300, after=60_000_000)
    again_id = await create(client, made_from, again)
    await check_promises(line, client, again_id, again, in_doubt_at_most=0)


async def _check_refused(client: ServiceClient, made_from: dict[str, str]) -> None:
    """A task of numbers that need room is refused, by an answer that says whose fault it is not."""
    with pytest.raises(ServiceError, match="takes nothing more"):
        await create(client, made_from, phones(5000, after=30_000_000), idempotencyKey="once")


async def test_no_room_for_an_upload(database_url: str, redis_url: str, data_dir: Path) -> None:
    disks, uploads = FillableDisks(data_dir), Uploads(data_dir / "uploads")
    file = data_dir / "recipients.csv"
    async with running_line(database_url, redis_url, data_dir) as line:
        api, client = await line.api(None, **disks.environment)
        made_from = await make_international(client, "Hello")
        disks.fill(Disk.UPLOADS)
        for count in (50, 100_000):
            file.write_text("\n".join(phones(count)))
            with pytest.raises(ServiceError, match="takes nothing more"):
                await create_from_file(client, made_from, file)
        await uploads.emptied()
        disks.make_room()
        await create_from_file(client, made_from, file)
        await uploads.emptied()
        assert await db.fetchval("SELECT count(*) FROM task") == 1
        errors = [entry["event"] for entry in api.entries() if entry["level"] == "error"]
        assert errors == ["operation failed"] * 2, "it is told once, and nothing fails because of it later"
