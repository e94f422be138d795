"""The same task changed by many at the same moment: exactly one wins."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from domain import db, tasks
from domain.errors import WrongStatus
from domain.states import TaskStatus
from tests.integration.dispatching import (
    RecordingGateway,
    dispatching,
    handed_over,
)
from tests.integration.task_changes import (
    AT_ONCE,
    all_at_once,
    cancel,
    pause,
    put_off,
    resume,
    stop,
    succeeded,
    task_at,
)
from tests.integration.world import World, eventually, phones

HOUR = timedelta(hours=1)


async def test_of_many_who_do_the_same_exactly_one_wins(world: World) -> None:
    task_id = await world.running(1)
    assert await all_at_once(world, task_id, pause) == [1]
    assert await all_at_once(world, task_id, resume) == [1]
    assert await all_at_once(world, task_id, stop) == [1]
    # Started, paused, resumed, stopped, the rest settled.
    assert (await world.check(task_id)).revision == 6


async def test_of_many_pauses_and_stops_exactly_one_stop_wins(world: World) -> None:
    for _ in range(3):
        task_id = await world.running(1)
        paused, stopped = await all_at_once(world, task_id, pause, stop)
        assert (paused <= 1, stopped) == (True, 1)
        task = await world.check(task_id)
        assert (task.status, task.counts.not_sent) == (TaskStatus.STOPPED, 1)


async def test_of_many_resumes_and_stops_exactly_one_stop_wins(world: World) -> None:
    for _ in range(3):
        task_id = await task_at(world, TaskStatus.PAUSED)
        resumed, stopped = await all_at_once(world, task_id, resume, stop)
        assert (resumed <= 1, stopped) == (True, 1)
        assert (await world.check(task_id)).status is TaskStatus.STOPPED


async def test_of_a_cancel_and_many_reschedules_the_cancel_ends_it(world: World) -> None:
    for _ in range(3):
        task_id = await world.create(1, after=HOUR)
        _, canceled = await all_at_once(world, task_id, put_off, cancel)
        assert canceled == 1
        task = await world.check(task_id)
        assert task.status is TaskStatus.CANCELED
        with pytest.raises(WrongStatus):
            await put_off(world, task_id)


async def test_of_many_reschedules_and_a_start_exactly_one_side_wins(world: World) -> None:
    """The task's time comes at some moment among them: who moves it before keeps it from starting."""
    for among in (0, 4, 50, AT_ONCE):
        task_id = await world.create(1, after=HOUR)
        gate = asyncio.Event()

        async def start(task_id: int = task_id, gate: asyncio.Event = gate) -> bool:
            await gate.wait()
            await db.fetch(
                "UPDATE task SET send_at = groupsms_now() WHERE id = $1 AND send_at < $2",
                task_id,
                datetime.now(UTC) + HOUR,
            )
            return await tasks.start_task(task_id, world.bell) is TaskStatus.SENDING

        attempts = [asyncio.create_task(succeeded(put_off, world, task_id, gate)) for _ in range(AT_ONCE)]
        attempts.insert(among, asyncio.create_task(start()))
        gate.set()
        outcomes = await asyncio.gather(*attempts)
        started = outcomes.pop(among)
        task = await world.check(task_id)
        assert task.status is (TaskStatus.SENDING if started else TaskStatus.SCHEDULED)
        assert any(outcomes) is not started
        assert (task.send_at > datetime.now(UTC) + HOUR) is not started


async def test_a_stop_among_workers_leaves_no_message_undecided(world: World) -> None:
    """Whenever it comes: what reached the gateway is UNKNOWN, everything else NOT_SENT, nothing twice."""
    for wait_for in (0, 1, 500, 1_500):
        numbers = phones(3_000, first=10_000 * wait_for)
        task_id = await world.running(numbers)
        one, other = RecordingGateway(window=40), RecordingGateway(window=40)
        async with dispatching(world, one), dispatching(world, other):
            await eventually(handed_over(world, task_id, wait_for))
            await stop(world, task_id)
        task = await world.advance(task_id)
        reached = one.reached + other.reached
        assert len(set(reached)) == len(reached) == task.counts.unknown
        assert (task.counts.not_sent, task.counts.waiting) == (3_000 - len(reached), 0)
