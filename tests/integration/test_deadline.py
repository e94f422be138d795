"""The deadline inside a running task: 24 hours after its time, what still waits is never sent."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from domain import db, dispatch, message_reads, sweep, task_control, tasks
from domain.errors import TooLate
from domain.message_reads import MessageFilter
from domain.states import SendResult, TaskStatus
from tests.integration.conftest import Travel
from tests.integration.dispatching import RecordingGateway, dispatching, handed_over, is_at
from tests.integration.world import World, eventually, phones, receipt, settlements

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = 24 * HOUR


@pytest.mark.usefixtures("long_chunks")
async def test_what_waits_24_hours_after_its_time_is_not_sent(world: World, travel: Travel) -> None:
    """Rule "Life of a task": 24 hours after its time what is still waiting becomes NOT_SENT."""
    task_id = await world.running(2_500)
    first = await world.claim(task_id)
    await world.hand_over(first)
    await travel(DAY)
    await sweep.recover(world.bell, 0)
    task = await world.check(task_id)
    assert (task.status, task.counts.unknown, task.counts.not_sent) == (TaskStatus.SENT, 1_000, 1_500)
    page = await message_reads.list_messages(task_id, MessageFilter([SendResult.NOT_SENT]), first=1)
    assert [message.position for message in page.items] == [1_001]
    await world.receive(*(receipt(first, position) for position in first.numbers))
    task = await world.advance(task_id)
    assert (task.status, task.counts.delivered, task.counts.not_sent) == (TaskStatus.COMPLETED, 1_000, 1_500)


@pytest.mark.usefixtures("long_chunks")
async def test_just_before_its_deadline_a_task_is_still_sent(world: World, travel: Travel) -> None:
    task_id = await world.running(1_500)
    await travel(DAY - MINUTE)
    await sweep.recover(world.bell, 0)
    assert (await world.check(task_id)).status is TaskStatus.SENDING
    await world.hand_over(await world.claim(task_id))
    await world.hand_over(await world.claim(task_id))
    task = await world.advance(task_id)
    assert (task.status, task.counts.unknown, task.counts.not_sent) == (TaskStatus.SENT, 1_500, 0)


async def test_a_scheduled_task_has_24_hours_from_its_time(world: World, travel: Travel) -> None:
    task_id = await world.create(3, after=2 * HOUR)
    await travel(2 * HOUR + SECOND)
    await sweep.start_due(world.bell)
    await travel(DAY + HOUR)
    await sweep.recover(world.bell, 0)
    assert (await world.check(task_id)).status is TaskStatus.SENDING
    await travel(DAY + 2 * HOUR)
    await sweep.recover(world.bell, 0)
    assert (await world.check(task_id)).counts.not_sent == 3


async def test_what_is_in_flight_at_the_deadline_is_settled_first(world: World, travel: Travel) -> None:
    task_id = await world.running(100)
    await travel(DAY - 5 * SECOND)
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 20, [])
    await travel(DAY + 5 * SECOND)
    assert not await dispatch.mark(claim, 30, [])
    await sweep.recover(world.bell, 0)
    task = await world.check(task_id)
    assert (task.status, task.counts.waiting) == (TaskStatus.SENDING, 100)
    assert await dispatch.settle(claim, settlements(claim, range(1, 21)), 0)
    assert await dispatch.release(claim, 20, [])
    assert await dispatch.claim(task_id, uuid4()) is None
    task = await world.advance(task_id)
    assert (task.status, task.counts.unknown, task.counts.not_sent) == (TaskStatus.SENT, 20, 80)


async def test_what_a_dead_worker_had_at_the_deadline_is_in_doubt(world: World, travel: Travel) -> None:
    task_id = await world.running(100)
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 20, [])
    await travel(DAY)
    await sweep.recover(world.bell, 0)
    task = await world.check(task_id)
    assert (task.counts.in_doubt, task.counts.not_sent) == (20, 80)
    assert not await dispatch.settle(claim, settlements(claim, [90]), 0)
    await world.check(task_id)


@pytest.mark.usefixtures("long_chunks")
async def test_a_paused_task_waits_for_its_resumption(world: World, travel: Travel) -> None:
    task_id = await world.running(1_500)
    await task_control.pause_task(world.viewer, task_id, world.bell)
    await travel(100 * HOUR)
    await sweep.recover(world.bell, 0)
    task = await world.check(task_id)
    assert (task.status, task.counts.waiting) == (TaskStatus.PAUSED, 1_500)
    await task_control.resume_task(world.viewer, task_id, world.bell)
    await world.hand_over(await world.claim(task_id))
    await travel(100 * HOUR + DAY + MINUTE)
    await sweep.recover(world.bell, 0)
    task = await world.check(task_id)
    assert (task.status, task.counts.unknown, task.counts.not_sent) == (TaskStatus.SENT, 1_000, 500)


async def test_past_its_deadline_no_task_is_paused(world: World, travel: Travel) -> None:
    """Nobody buys a task another day by pausing it before the sweep has looked."""
    task_id = await world.running(3)
    deadline = await db.fetchval("SELECT deadline_at FROM task")
    await travel(DAY)
    with pytest.raises(TooLate) as refusal:
        await task_control.pause_task(world.viewer, task_id, world.bell)
    assert refusal.value.deadline == deadline
    await task_control.stop_task(world.viewer, task_id, world.bell)
    assert (await world.check(task_id)).counts.not_sent == 3


class Away(RecordingGateway):
    """A carrier that is away until `back` is set."""

    def __init__(self) -> None:
        super().__init__(window=50)
        self.back = asyncio.Event()
        self.back.set()

    async def ready(self) -> None:
        """When it is back."""
        await self.back.wait()


async def test_a_carrier_away_for_longer_than_the_deadline(world: World, travel: Travel) -> None:
    """Rule "Life of a task": the rest is NOT_SENT, also when the carrier comes back."""
    task_id = await world.running(3_000)
    gateway = Away()
    async with dispatching(world, gateway) as dispatcher:
        await eventually(handed_over(world, task_id, 300))
        gateway.back.clear()

        async def given_back() -> bool:
            return not await db.fetch("SELECT FROM chunk WHERE state = 1")

        await eventually(given_back)
        await travel(DAY)
        await sweep.recover(world.bell, 0)
        await eventually(is_at(world, task_id, TaskStatus.SENT))
        gateway.back.set()
        later = await world.running(phones(1_000, first=5_000))
        dispatcher.look()
        await eventually(is_at(world, later, TaskStatus.SENT))
    task = await world.check(task_id)
    assert len(set(gateway.reached)) == len(gateway.reached)
    assert set(gateway.reached) >= set(phones(1_000, first=5_000))
    assert task.counts.unknown == len(gateway.reached) - 1_000
    assert task.counts.not_sent == 4_000 - len(gateway.reached)
    assert (task.counts.waiting, task.counts.in_doubt) == (0, 0)


async def test_a_worker_that_is_sending_stops_at_the_deadline(world: World) -> None:
    task_id = await world.running(5_000)
    gateway = RecordingGateway(window=20)
    async with dispatching(world, gateway):
        await eventually(handed_over(world, task_id, 100))
        await db.fetch("UPDATE task SET deadline_at = groupsms_now()")
        await eventually(is_at(world, task_id, TaskStatus.SENT), 2.0)
    task = await world.check(task_id)
    assert task.counts.unknown == len(gateway.reached)
    assert task.counts.not_sent == 5_000 - len(gateway.reached) > 0


async def test_several_who_find_the_deadline_passed_end_the_task_once(world: World, travel: Travel) -> None:
    task_id = await world.running(10)
    before = (await world.check(task_id)).revision
    await travel(DAY)
    await asyncio.gather(*(tasks.advance_task(task_id, world.bell) for _ in range(30)))
    task = await world.check(task_id)
    # Nothing was handed over, so it is SENT and COMPLETED at once.
    assert (task.status, task.counts.not_sent, task.revision) == (TaskStatus.COMPLETED, 10, before + 2)
