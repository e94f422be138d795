"""Gauges of what the database knows, and counters of what takes a lease's time to happen."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

from domain import db, queue_gauges, sweep, tasks
from domain.metrics import REGISTRY
from domain.ports import ReceiptState
from tests.integration.conftest import Travel
from tests.integration.dispatching import RecordingGateway, dispatching, handed_over
from tests.integration.world import GATEWAY, World, eventually, receipt
from workers import metrics


def shown(name: str, **labels: str) -> float | None:
    """A sample as it would be scraped now."""
    return REGISTRY.get_sample_value(name, labels)


async def test_gauges_of_the_database_show_what_waits_and_for_how_long(world: World, travel: Travel) -> None:
    await world.create(2, after=timedelta(hours=1))
    await world.create(2, after=timedelta(hours=9))
    running = await world.running(10)
    claim = await world.claim(running)
    await world.hand_over(claim)
    await world.receive(receipt(claim, 1), receipt(claim, 2, ReceiptState.FAILED))
    await world.running(7)
    await world.receive(receipt(claim, 3, number="+8613899999999"))
    await world.claim(await world.running(1))
    canceled = await world.create(3, after=timedelta(hours=8))
    await tasks.cancel_task(world.viewer, canceled, world.bell)
    await tasks.delete_task(world.viewer, canceled, world.bell)
    await travel(timedelta(hours=1, seconds=30))

    await queue_gauges.read()

    assert {status: shown("groupsms_tasks", status=status) for status in ("SCHEDULED", "SENDING")} == {
        "SCHEDULED": 2,
        "SENDING": 3,
    }
    assert 29 <= (shown("groupsms_task_overdue_seconds") or 0) < 90
    assert shown("groupsms_queue_messages", gateway=GATEWAY) == 8
    assert 3600 < (shown("groupsms_queue_oldest_seconds", gateway=GATEWAY) or 0) < 3700
    results = ("waiting", "delivered", "failed", "unknown", "in_doubt", "not_sent")
    assert [shown("groupsms_messages", result=result) for result in results] == [8, 1, 1, 8, 0, 0]
    assert shown("groupsms_leases_lapsed") == 1
    assert shown("groupsms_receipts_waiting") == 1
    assert (shown("groupsms_receipts_overdue_seconds") or 0) > 3600
    assert shown("groupsms_deletions_waiting") == 1
    assert 3600 < (shown("groupsms_deletions_oldest_seconds") or 0) < 3700

    before = shown("groupsms_leases_recovered_total") or 0
    await sweep.recover(world.bell, 0)
    assert shown("groupsms_leases_recovered_total") == before + 1


async def test_a_gateway_without_tasks_has_no_queue(world: World) -> None:
    await queue_gauges.read()
    assert shown("groupsms_queue_messages", gateway=GATEWAY) is None
    assert shown("groupsms_tasks", status="SENDING") == 0


async def test_a_lost_lease_is_counted(world: World) -> None:
    metrics.begin([GATEWAY], [])
    task_id = await world.running(50)
    gateway = RecordingGateway(window=10)
    gateway.held.set()
    async with dispatching(world, gateway):
        await eventually(lambda: asyncio.sleep(0, len(gateway.under_way) == 10))
        await db.fetch("UPDATE chunk SET owner = $1 WHERE owner IS NOT NULL", uuid4())
        gateway.let_go()

        async def counted() -> bool:
            return bool(shown("groupsms_leases_lost_total", gateway=GATEWAY))

        await eventually(counted)
    assert not await handed_over(world, task_id, 1)()


async def test_the_gauges_statement_scans_no_messages(world: World) -> None:
    await world.sent(3)
    plan = "\n".join(row[0] for row in await db.fetch(f"EXPLAIN {queue_gauges.STATEMENT}"))
    assert "task_counter" in plan
    assert " on message" not in plan
    assert " on segment" not in plan
