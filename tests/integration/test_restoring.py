"""After a restore: nothing that may have been sent since the backup is ever sent again by itself."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from domain import db, feed, message_stores, restoring
from domain.engines import Engines
from domain.states import TaskStatus
from domain.task_control import pause_task
from tests.integration.conftest import Travel
from tests.integration.dispatching import is_at, worker
from tests.integration.world import World, eventually, phones

FAST = "simulator://?window=500&delay=0.01&receipt_delay=0.02"


async def test_what_may_have_been_sent_is_in_doubt_and_the_rest_goes_on(
    world: World, travel: Travel, engines: Engines, redis_url: str
) -> None:
    running = await world.running(phones(20))
    paused = await world.running(phones(5, first=100))
    await pause_task(world.viewer, paused, world.bell)
    due = await world.create(phones(4, first=200), after=timedelta(hours=1))
    later = await world.create(phones(3, first=300), after=timedelta(hours=3))
    seen = await feed.newest_place(world.viewer.account_id)
    await travel(timedelta(hours=2))

    doubted = await restoring.doubt_what_may_have_been_sent()

    assert [(task.task_id, task.messages) for task in doubted] == [(running, 20), (paused, 5), (due, 4)]
    assert await restoring.doubt_what_may_have_been_sent() == []
    assert (await feed.extent(world.viewer.account_id)).oldest > seen, "who has read so far is to read anew"
    async with worker(engines, redis_url, FAST):
        await eventually(is_at(world, due, TaskStatus.SENT))
        await eventually(is_at(world, running, TaskStatus.SENT))
        await travel(timedelta(hours=4))
        await eventually(is_at(world, later, TaskStatus.COMPLETED))
    for task_id, count in ((running, 20), (paused, 5), (due, 4)):
        counts = (await world.read(task_id)).counts
        assert (counts.unknown, counts.in_doubt, counts.waiting) == (count, count, 0)
    assert (await world.read(later)).counts.delivered == 3
    assert await db.fetchval("SELECT count(*) FROM segment WHERE gateway_message_id IS NOT NULL") == 3


async def test_no_store_is_looked_into_but_those_of_the_tasks_in_question(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With thousands of stores the server would run out of memory for locks."""
    monkeypatch.setattr(message_stores, "OWN_FROM", 3)
    later = await world.create(3, after=timedelta(hours=3))
    running = await world.running(2)
    async with db.connection() as other, other.transaction():
        await other.execute(f"LOCK TABLE message_{later // message_stores.TASKS}")
        async with asyncio.timeout(10):
            doubted = await restoring.doubt_what_may_have_been_sent()
    assert [(task.task_id, task.messages) for task in doubted] == [(running, 2)]


async def test_what_was_due_after_the_loss_was_not_sent(world: World, travel: Travel) -> None:
    await world.create(phones(4), after=timedelta(hours=2))
    until = datetime.now(UTC) + timedelta(hours=1)
    await travel(timedelta(hours=3))
    assert await restoring.doubt_what_may_have_been_sent(until) == []


async def test_it_refuses_while_a_worker_holds_something(world: World) -> None:
    await world.claim(await world.running(3))
    with pytest.raises(restoring.StillRunning):
        await restoring.doubt_what_may_have_been_sent()
