"""Giving a scheduled task another time."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from domain import db, sweep, task_control, tasks
from domain.errors import SendTimeError, TooLate
from domain.schedule import month_later
from domain.states import Role, TaskStatus
from tests.integration.api_client import serving
from tests.integration.api_operations import (
    RESCHEDULE_TASK,
    do,
    in_minutes,
    refused,
)
from tests.integration.conftest import Travel
from tests.integration.task_changes import (
    put_off,
)
from tests.integration.world import World, eventually

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = 24 * HOUR


@pytest.mark.parametrize(("margin", "in_time"), [(2 * SECOND, True), (timedelta(), False)])
async def test_rescheduling_ends_five_minutes_before_to_the_second(
    world: World, travel: Travel, margin: timedelta, in_time: bool
) -> None:
    """Rule "Life of a task": at least 5 minutes before its time, as for canceling."""
    task_id = await world.create(3, after=2 * HOUR)
    deadline = (await world.read(task_id)).send_at - 5 * MINUTE
    await travel.to(deadline - margin)
    if in_time:
        await put_off(world, task_id)
        assert (await world.check(task_id)).send_at > deadline + HOUR
    else:
        with pytest.raises(TooLate) as refusal:
            await put_off(world, task_id)
        assert refusal.value.deadline == deadline
        assert (await world.check(task_id)).send_at == deadline + 5 * MINUTE


async def test_a_rescheduled_task_goes_by_its_new_time(world: World, travel: Travel) -> None:
    """Rule "Life of a task": not executed within 24 hours after its time, it is overdue."""
    early, late = await world.create(3, after=2 * HOUR), await world.create(3, after=2 * HOUR)
    old = (await world.read(early)).send_at
    new = old + 40 * HOUR
    for task_id in (early, late):
        await task_control.reschedule_task(world.viewer, task_id, new, world.bell)
        assert world.bell.due[-1] == (task_id, new)
        assert world.bell.changed[-1] == (world.viewer.account_id, task_id)
    await travel.to(old + 30 * HOUR)
    # The job of the old time is still in the queue.
    assert await tasks.start_task(early, world.bell) is None
    await sweep.start_due(world.bell)
    assert (await world.check(early)).status is TaskStatus.SCHEDULED
    await travel.to(new + DAY - 5 * SECOND)
    assert await tasks.start_task(early, world.bell) is TaskStatus.SENDING
    await world.hand_over(await world.claim(early))
    await travel.to(new + DAY)
    assert await tasks.start_task(late, world.bell) is TaskStatus.CANCELED


async def test_a_task_can_be_put_forward(world: World) -> None:
    task_id = await world.create(1, after=HOUR)
    now: datetime = await db.fetchval("SELECT groupsms_now()")
    await task_control.reschedule_task(world.viewer, task_id, now + SECOND, world.bell)

    async def started() -> bool:
        return await tasks.start_task(task_id, world.bell) is TaskStatus.SENDING

    await eventually(started)


async def test_a_new_time_obeys_the_rules_of_a_new_task(world: World) -> None:
    """Rule "Life of a task": in the future, within a calendar month, with an offset."""
    task_id = await world.create(1, after=HOUR)
    before = await world.read(task_id)
    now: datetime = await db.fetchval("SELECT groupsms_now()")
    latest = month_later(now, world.viewer.time_zone)
    for wrong in (now - SECOND, latest + MINUTE, (now + HOUR).replace(tzinfo=None)):
        with pytest.raises(SendTimeError) as refusal:
            await task_control.reschedule_task(world.viewer, task_id, wrong, world.bell)
        assert refusal.value.path == ("sendAt",)
        assert abs(refusal.value.latest - latest) < MINUTE
    assert (await world.read(task_id)).send_at == before.send_at
    await task_control.reschedule_task(world.viewer, task_id, latest - MINUTE, world.bell)


async def test_a_task_is_rescheduled_by_mutation(
    world: World, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    await world.create(1, after=HOUR)
    async with serving(database_url, redis_url, tmp_path) as api:
        sender = await api.client(Role.SENDER)
        global_id = (await sender.run("{ tasks { nodes { id } } }"))["tasks"]["nodes"][0]["id"]
        wanted = in_minutes(120)
        task = (await do(sender, RESCHEDULE_TASK, id=global_id, sendAt=wanted))["task"]
        assert datetime.fromisoformat(task["sendAt"]) == datetime.fromisoformat(wanted)
        assert datetime.fromisoformat(task["cancelDeadline"]) == datetime.fromisoformat(wanted) - 5 * MINUTE
        (error,) = await refused(sender, RESCHEDULE_TASK, id=global_id, sendAt="2019-11-25T08:00:00+08:00")
        assert (error["code"], error["path"]) == ("SEND_TIME", ["input", "sendAt"])
        # The new job is in the queue, beside the old one that will find nothing to do.
        soon = in_minutes(4)
        await do(sender, RESCHEDULE_TASK, id=global_id, sendAt=soon)
        (error,) = await refused(sender, RESCHEDULE_TASK, id=global_id, sendAt=wanted)
        assert error["code"] == "TOO_LATE"
        assert datetime.fromisoformat(error["deadline"]) == datetime.fromisoformat(soon) - 5 * MINUTE
