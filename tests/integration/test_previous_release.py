"""An upgrade: the database of the release before, taken while it was at work, goes on under this one.

`previous_release.sql.gz` is a pg_dump of what that release left behind: it ran with an API and a worker, made
a task for every status there is, and had its worker killed in the middle of the last one. Migration 2 was its
newest. A later release adds a dump of its own beside it, and another name to `DUMPS`.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import openpyxl
import pytest

from api.schema.global_ids import encode
from domain import db, receipts
from domain.bus import open_bus
from domain.engines import Engines
from domain.ports import Receipt, ReceiptState
from domain.settings import Settings
from tests.integration.api_client import Client, serving
from tests.integration.conftest import Travel
from tests.integration.world import eventually
from workers.main import WorkerProcess

DUMPS = ("previous_release.sql.gz",)
TAKEN_AT = datetime(2026, 11, 22, 22, 23, 57, tzinfo=UTC)
TOKEN = "gsms_cZP8TzTgY858NEQhkCWM6LF-OamBG-0ESK-4goADWVg"
"""A MANAGER's and OPERATOR's, made by that release; it opens nothing but this database."""
FAST = "simulator://?window=500&delay=0.01&receipt_delay=0.02"

TASKS = """{ tasks(first: 20) { totalCount nodes {
    id name status counts { total waiting delivered failed unknown notSent inDoubt }
    failedNumbersUrl
} } }"""
RESUME = "mutation($id: ID!) { resumeTask(input: {id: $id}) { task { status } errors { message } } }"
CREATE = """mutation($input: CreateTaskInput!) {
    createTask(input: $input) { task { id } errors { code message } }
}"""


@pytest.fixture(params=DUMPS)
async def database_url(engines: Engines, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The URL of the old database, migrated a minute after it was left."""
    name = f"old_{uuid4().hex}"
    server = await asyncpg.connect(engines.database_url)
    try:
        await server.execute(f"CREATE DATABASE {name}")
        offset = (TAKEN_AT + timedelta(minutes=1) - datetime.now(UTC)).total_seconds()
        await server.execute(f"ALTER SYSTEM SET groupsms.clock_offset = '{offset} seconds'")
        await server.execute("SELECT pg_reload_conf()")
        url = urlunsplit(urlsplit(engines.database_url)._replace(path=f"/{name}"))
        old = await asyncpg.connect(url)
        try:
            await old.execute(gzip.decompress((Path(__file__).parent / request.param).read_bytes()).decode())
        finally:
            await old.close()
        assert "3_20261122183000_binds.py" in await db.migrate(url)
        yield url
    finally:
        await server.execute("ALTER SYSTEM RESET groupsms.clock_offset")
        await server.execute("SELECT pg_reload_conf()")
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await server.close()


@asynccontextmanager
async def working(engines: Engines, redis_url: str) -> AsyncIterator[None]:
    """A worker of this release, with the gateways that the old one had."""
    gateways = {"default": FAST, "slow": FAST}
    settings = Settings(database_url=engines.database_url, redis_url=redis_url, gateways=gateways)
    async with open_bus(redis_url) as bus:
        worker = WorkerProcess(settings, bus, redis_url)
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run())
            try:
                yield
            finally:
                worker.stop()


async def tasks(client: Client) -> dict[str, dict[str, Any]]:
    """What the list shows, by name."""
    return {task["name"]: task for task in (await client.run(TASKS))["tasks"]["nodes"]}


async def become(client: Client, **statuses: str) -> None:
    """Wait until the tasks are so; underscores stand for blanks in their names."""

    async def are() -> bool:
        shown = await tasks(client)
        return all(shown[name.replace("_", " ")]["status"] == status for name, status in statuses.items())

    await eventually(are, 30)


async def report_late(gateway: str, name: str) -> int:
    """Let receipts come in for all that the old release had handed over of a task; how many."""
    rows = await db.fetch(
        """
        SELECT s.gateway_message_id, s.number FROM segment s JOIN task t ON t.id = s.task_id
        WHERE t.name = $1 AND s.gateway = $2 AND s.result = 1 AND s.gateway_message_id IS NOT NULL
          AND s.submitted_at < $3
        """,
        name,
        gateway,
        TAKEN_AT,
    )
    await receipts.store(
        gateway,
        [
            Receipt(
                row["gateway_message_id"],
                f"+{row['number']}",
                ReceiptState.DELIVERED,
                "DELIVRD",
                None,
                TAKEN_AT,
            )
            for row in rows
        ],
    )
    return len(rows)


async def test_what_the_release_before_left_goes_on_under_this_one(
    engines: Engines, redis_url: str, connected: str, travel: Travel, tmp_path: Path
) -> None:
    await travel.to(TAKEN_AT + timedelta(minutes=1))
    async with serving(connected, redis_url, tmp_path) as api:
        client = api.holding(TOKEN)
        shown = await tasks(client)
        assert {name: task["status"] for name, task in shown.items()} == {
            "Completed": "COMPLETED",
            "Awaiting receipts": "SENT",
            "Paused": "PAUSED",
            "Stopped": "STOPPED",
            "Scheduled": "SCHEDULED",
            "Scheduled abroad": "SCHEDULED",
            "Canceled": "CANCELED",
            "Interrupted": "SENDING",
        }
        assert shown["Completed"]["counts"] == counts(delivered=25, failed=2)
        assert shown["Stopped"]["counts"] == counts(unknown=12, notSent=28)
        assert shown["Canceled"]["counts"] == counts(notSent=5)
        await the_failed_numbers_are_there(client, shown["Completed"]["failedNumbersUrl"])
        await the_same_key_gives_the_same_task(client, shown["Completed"]["id"])

        async with working(engines, redis_url):
            # What the killed worker had on the wire is in doubt, and the rest goes out.
            await become(client, Interrupted="SENT")
            assert (await tasks(client))["Interrupted"]["counts"] == counts(
                delivered=28, unknown=12, inDoubt=4
            )
            assert await report_late("slow", "Interrupted") == 8 * 2
            assert await report_late("slow", "Awaiting receipts") == 6 * 2
            assert await report_late("slow", "Paused") == 12 * 2
            await become(client, Awaiting_receipts="COMPLETED")
            assert (await client.run(RESUME, id=shown["Paused"]["id"]))["resumeTask"]["errors"] == []
            await become(client, Paused="COMPLETED")
            await travel.to(TAKEN_AT + timedelta(days=3, minutes=1))
            await become(client, Scheduled="COMPLETED", Scheduled_abroad="COMPLETED")
        after = await tasks(client)
    assert after["Awaiting receipts"]["counts"] == counts(delivered=6)
    assert after["Paused"]["counts"] == counts(delivered=40)
    assert after["Interrupted"]["counts"] == counts(delivered=36, unknown=4, inDoubt=4)
    assert after["Scheduled"]["counts"] == counts(delivered=3)
    assert after["Scheduled abroad"]["counts"] == counts(delivered=10)
    assert {name: task for name, task in after.items() if name in ("Completed", "Canceled", "Stopped")} == {
        name: {**shown[name], "failedNumbersUrl": after[name]["failedNumbersUrl"]}
        for name in ("Completed", "Canceled", "Stopped")
    }


def counts(**some: int) -> dict[str, int]:
    """The counts of a task: these, none of the others, and their total."""
    none = dict.fromkeys(("waiting", "delivered", "failed", "unknown", "notSent", "inDoubt"), 0)
    return {"total": sum(some.values()) - some.get("inDoubt", 0), **none, **some}


async def the_failed_numbers_are_there(client: Client, url: str) -> None:
    answer = await client.http.get(url)
    assert answer.status_code == 200, answer.text
    sheet = openpyxl.load_workbook(BytesIO(answer.content)).active
    assert sheet is not None
    numbers = {str(row[0]) for row in sheet.iter_rows(values_only=True)}
    assert {"+447400120001", "+447400120009"} <= numbers
    assert len(numbers) <= 3, "these, and a header"


async def the_same_key_gives_the_same_task(client: Client, task_id: str) -> None:
    """Whoever tries again after the upgrade, with the key of before, gets the task of before."""
    application, template = await db.fetchrow(  # type: ignore[misc]
        "SELECT application_id, template_id FROM task WHERE name = 'Completed'"
    )
    numbers = [f"+4474001{index:05d}" for index in range(100, 125)]
    wanted = {
        "name": "Completed",
        "applicationId": encode("Application", application),
        "templateId": encode("Template", template),
        "recipients": {"numbers": [*numbers, "+447400120001", "+447400120009", "nobody", "+447400100100"]},
        "idempotencyKey": "first-order",
    }
    created = (await client.run(CREATE, input=wanted))["createTask"]
    assert created == {"task": {"id": task_id}, "errors": []}
