"""Pausing, resuming, stopping and rescheduling tasks, by several at once and while workers are sending."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from domain import db, dispatch, message_reads, sweep, task_control, tasks
from domain.bus import open_bus
from domain.engines import Engines
from domain.errors import NotFound, SendTimeError, TooLate, WrongStatus
from domain.message_reads import MessageFilter
from domain.schedule import month_later
from domain.states import Role, SendResult, TaskStatus
from domain.task_control import HandoverCounts
from tests.integration.api_client import serving
from tests.integration.api_operations import (
    PAUSE_TASK,
    RESCHEDULE_TASK,
    RESUME_TASK,
    STOP_TASK,
    do,
    in_minutes,
    refused,
)
from tests.integration.conftest import Travel
from tests.integration.dispatching import (
    RecordingGateway,
    dispatching,
    each_once,
    handed_over,
    is_at,
    worker,
)
from tests.integration.message_centre import simulated_centre
from tests.integration.world import World, eventually, phones, receipt, settlements

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = 24 * HOUR
LEASE_OVER = dispatch.LEASE + SECOND
AT_ONCE = 200
"""How many try the same thing at the same moment."""


async def pause(world: World, task_id: int) -> None:
    await task_control.pause_task(world.viewer, task_id, world.bell)


async def resume(world: World, task_id: int) -> None:
    await task_control.resume_task(world.viewer, task_id, world.bell)


async def stop(world: World, task_id: int) -> None:
    await task_control.stop_task(world.viewer, task_id, world.bell)


async def cancel(world: World, task_id: int) -> None:
    await tasks.cancel_task(world.viewer, task_id, world.bell)


async def put_off(world: World, task_id: int) -> None:
    now: datetime = await db.fetchval("SELECT groupsms_now()")
    await task_control.reschedule_task(world.viewer, task_id, now + 2 * HOUR, world.bell)


Change = Callable[[World, int], Awaitable[None]]


async def counts(world: World, task_id: int) -> tuple[int, int, int]:
    """How many are handed over, in flight, left."""
    found: HandoverCounts = await task_control.handover_counts(world.viewer, task_id)
    return found.handed_over, found.in_flight, found.left


async def nothing_is_held() -> bool:
    return not await db.fetch("SELECT FROM chunk WHERE state = 1")


async def succeeded(change: Change, world: World, task_id: int, gate: asyncio.Event) -> bool:
    await gate.wait()
    try:
        await change(world, task_id)
    except (WrongStatus, TooLate):
        return False
    return True


async def all_at_once(world: World, task_id: int, *changes: Change) -> list[int]:
    """Let each change be tried by many at the same moment; returns how many of each succeeded."""
    gate = asyncio.Event()
    tried = [
        asyncio.gather(*(succeeded(change, world, task_id, gate) for _ in range(AT_ONCE // len(changes))))
        for change in changes
    ]
    gate.set()
    return [sum(await each) for each in tried]


# --- from which status ----------------------------------------------------------------------------


async def task_at(world: World, status: TaskStatus) -> int:
    """A task that has got to this status."""
    task_id = await world.create(
        3, after=HOUR if status in (TaskStatus.SCHEDULED, TaskStatus.CANCELED) else None
    )
    if status is TaskStatus.CANCELED:
        await cancel(world, task_id)
    if status in (TaskStatus.SCHEDULED, TaskStatus.CANCELED):
        return task_id
    await tasks.start_task(task_id, world.bell)
    if status is TaskStatus.PAUSED:
        await pause(world, task_id)
    elif status is TaskStatus.STOPPED:
        await stop(world, task_id)
    elif status is not TaskStatus.SENDING:
        claim = await world.claim(task_id)
        await world.hand_over(claim)
        if status is TaskStatus.COMPLETED:
            await world.receive(*(receipt(claim, position) for position in claim.numbers))
        await world.advance(task_id)
    return task_id


ALLOWED: dict[Change, set[TaskStatus]] = {
    pause: {TaskStatus.SENDING},
    resume: {TaskStatus.PAUSED},
    stop: {TaskStatus.SENDING, TaskStatus.PAUSED},
    put_off: {TaskStatus.SCHEDULED},
}


@pytest.mark.parametrize("status", TaskStatus)
async def test_what_can_be_done_in_which_status(world: World, status: TaskStatus) -> None:
    """Rule "Life of a task": running tasks are paused, paused ones resumed, either stopped for good."""
    for change, allowed in ALLOWED.items():
        task_id = await task_at(world, status)
        before = await world.check(task_id)
        assert before.status is status
        if status in allowed:
            await change(world, task_id)
            assert (await world.check(task_id)).revision > before.revision
            continue
        with pytest.raises(WrongStatus) as refusal:
            await change(world, task_id)
        assert refusal.value.status is status
        assert status.value in refusal.value.message
        after = await world.check(task_id)
        assert replace(after, read_at=before.read_at) == before


async def test_another_accounts_task_does_not_exist(world: World) -> None:
    other = await World.make("Other")
    for change, allowed in ALLOWED.items():
        task_id = await task_at(world, next(iter(allowed)))
        with pytest.raises(NotFound):
            await change(other, task_id)
        with pytest.raises(NotFound):
            await task_control.handover_counts(other.viewer, task_id)


# --- pause and resume -----------------------------------------------------------------------------


async def test_the_answer_tells_what_is_handed_over_in_flight_and_left(world: World) -> None:
    """Rule "Life of a task": pause, resume, stop."""
    task_id = await world.running(3_000)
    await world.hand_over(await world.claim(task_id))
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 1_010, [1_003])
    assert await dispatch.settle(claim, settlements(claim, range(1_004, 1_008)), 0)
    await pause(world, task_id)
    assert await counts(world, task_id) == (1_004, 5, 1_991)
    assert await dispatch.settle(claim, settlements(claim, [1_001, 1_002, 1_008, 1_009, 1_010]), 0)
    assert await dispatch.release(claim, 1_010, [1_003])
    assert await counts(world, task_id) == (1_009, 0, 1_991)
    await resume(world, task_id)
    assert list((await world.claim(task_id)).numbers)[:2] == [1_003, 1_011]
    assert await counts(world, task_id) == (1_009, 0, 1_991)


async def test_a_resumed_task_has_24_hours(world: World, travel: Travel) -> None:
    """Rule "Life of a task": 24 hours after its time, or after it was resumed."""
    task_id = await world.running(3)
    await pause(world, task_id)
    await travel(30 * HOUR)
    await sweep.recover(world.bell, 0)
    assert (await world.check(task_id)).status is TaskStatus.PAUSED
    await resume(world, task_id)
    deadline, now = await db.fetchval("SELECT (deadline_at, groupsms_now()) FROM task")
    assert abs(deadline - now - DAY) < 10 * SECOND
    await world.hand_over(await world.claim(task_id))
    assert (await world.advance(task_id)).status is TaskStatus.SENT


async def test_a_pause_is_felt_by_every_worker_within_a_second(world: World) -> None:
    task_id = await world.running(6_000)
    one, other = RecordingGateway(window=10), RecordingGateway(window=10)
    async with dispatching(world, one) as first, dispatching(world, other) as second:
        await eventually(handed_over(world, task_id, 400))
        await pause(world, task_id)
        await eventually(nothing_is_held, 1.0)
        reached = len(one.reached) + len(other.reached)
        assert await counts(world, task_id) == (reached, 0, 6_000 - reached)
        assert one.reached
        assert other.reached
        await resume(world, task_id)
        first.look()
        second.look()
        await eventually(is_at(world, task_id, TaskStatus.SENT))
    each_once(phones(6_000), one.reached + other.reached)
    assert (await world.check(task_id)).counts.in_doubt == 0


@pytest.mark.parametrize(("rate", "most"), [(30.0, 15), (0.5, 1), (10_000.0, 200), (float("inf"), 200)])
async def test_a_paced_gateway_is_given_half_a_second_ahead(world: World, rate: float, most: int) -> None:
    task_id = await world.running(1_000)
    gateway = RecordingGateway(window=200, rate=rate)
    gateway.ready_when_empty = True
    async with dispatching(world, gateway):
        await eventually(handed_over(world, task_id, 3))
        await pause(world, task_id)
    assert gateway.most_under_way == most


async def test_a_pause_is_felt_by_a_paced_bind_within_a_second(
    world: World, engines: Engines, redis_url: str, tmp_path: Path
) -> None:
    """Of a window of 500 at 50 a second, ten seconds of messages would still be to come."""
    task_id = await world.create(phones(900, first=3_000))
    async with (
        simulated_centre(tmp_path, "--receipt-delay", "0") as centre,
        worker(engines, redis_url, centre.url("window=500&rate=50")),
        open_bus(redis_url) as bus,
    ):
        await eventually(handed_over(world, task_id, 20))
        await task_control.pause_task(world.viewer, task_id, bus)
        await eventually(nothing_is_held, 1.5)
        taken, in_flight, left = await counts(world, task_id)
        assert (in_flight, taken + left) == (0, 900)
        assert taken < 20 + 2 * 50
        assert len(centre.events("submit_sm")) == taken


# --- stop -----------------------------------------------------------------------------------------


async def test_the_rest_of_a_stopped_task_is_not_sent(world: World) -> None:
    """Rule "Life of a task": what was not handed over then is NOT_SENT; a stopped task is kept."""
    task_id = await world.running(3_000)
    await world.hand_over(await world.claim(task_id))
    await stop(world, task_id)
    task = await world.check(task_id)
    assert (task.status, task.counts.unknown, task.counts.not_sent) == (TaskStatus.STOPPED, 1_000, 2_000)
    assert task.finished_at is not None
    assert await counts(world, task_id) == (1_000, 0, 2_000)
    assert await dispatch.claim(task_id, uuid4()) is None
    with pytest.raises(WrongStatus):
        await tasks.delete_task(world.viewer, task_id, world.bell)


async def test_what_is_in_flight_at_a_stop_is_settled_and_then_the_rest_is_not_sent(world: World) -> None:
    task_id = await world.running(1_500)
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 20, [])
    await stop(world, task_id)
    task = await world.check(task_id)
    assert (task.status, task.counts.waiting, task.counts.not_sent) == (TaskStatus.STOPPED, 1_500, 0)
    assert await counts(world, task_id) == (0, 20, 1_480)
    await sweep.recover(world.bell, 0)
    assert (await world.check(task_id)).counts.waiting == 1_500
    assert not await dispatch.mark(claim, 30, [])
    assert await dispatch.settle(claim, settlements(claim, range(1, 20)), 0)
    assert await dispatch.release(claim, 20, [20])
    task = await world.advance(task_id)
    assert (task.counts.unknown, task.counts.not_sent, task.counts.waiting) == (19, 1_481, 0)
    await world.receive(receipt(claim, 1))
    task = await world.advance(task_id)
    assert (task.status, task.counts.delivered, task.counts.not_sent) == (TaskStatus.STOPPED, 1, 1_481)
    page = await message_reads.list_messages(task_id, MessageFilter([SendResult.NOT_SENT]), first=1)
    assert [message.position for message in page.items] == [20]


async def test_what_a_dead_worker_had_in_flight_at_a_stop_is_in_doubt(world: World, travel: Travel) -> None:
    task_id = await world.running(100)
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 20, [])
    await stop(world, task_id)
    await travel(LEASE_OVER)
    await sweep.recover(world.bell, 0)
    task = await world.check(task_id)
    assert (task.counts.in_doubt, task.counts.unknown, task.counts.not_sent) == (20, 20, 80)
    # The dead one wakes up again.
    assert not await dispatch.settle(claim, settlements(claim, [50]), 0)
    assert (await world.check(task_id)).counts.not_sent == 80


async def test_a_stopped_task_stays_stopped(world: World, travel: Travel) -> None:
    task_id = await world.running(1_500)
    await world.hand_over(await world.claim(task_id))
    await stop(world, task_id)
    await travel(80 * HOUR)
    await sweep.recover(world.bell, 0)
    assert (await world.check(task_id)).status is TaskStatus.STOPPED
    assert await tasks.ready_to_advance() == []


async def test_a_stop_is_felt_by_a_worker_within_a_second(world: World) -> None:
    task_id = await world.running(3_000)
    gateway = RecordingGateway(window=50)
    async with dispatching(world, gateway):
        await eventually(handed_over(world, task_id, 200))
        gateway.held.set()

        async def full() -> bool:
            return len(gateway.under_way) == 50

        await eventually(full)
        await stop(world, task_id)
        handed, in_flight, left = await counts(world, task_id)
        assert (handed, in_flight, left) == (len(gateway.reached), 50, 3_000 - 50 - handed)
        gateway.let_go()

        async def over() -> bool:
            return (await world.check(task_id)).counts.waiting == 0

        await eventually(over, 1.5)
    task = await world.check(task_id)
    assert task.counts.unknown == len(gateway.reached) == handed + 50
    assert (task.counts.not_sent, task.counts.in_doubt) == (left, 0)


# --- reschedule -----------------------------------------------------------------------------------


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


# --- many at once ---------------------------------------------------------------------------------


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


# --- in the API -----------------------------------------------------------------------------------

TASK_UPDATED = """subscription ($id: ID!) { taskUpdated(id: $id) {
  status counts { waiting unknown delivered notSent } } }"""


async def test_the_mutations_answer_with_numbers(
    world: World, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    task_id = await world.running(1_500)
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 7, [])
    async with serving(database_url, redis_url, tmp_path) as api, open_bus(redis_url) as bus:
        sender = await api.client(Role.SENDER)
        global_id = (await sender.run("{ tasks { nodes { id } } }"))["tasks"]["nodes"][0]["id"]
        for document, status in ((PAUSE_TASK, "PAUSED"), (RESUME_TASK, "SENDING"), (STOP_TASK, "STOPPED")):
            payload = await do(sender, document, id=global_id)
            assert payload["task"]["status"] == status
            assert [payload[name] for name in ("handedOver", "inFlight", "left")] == [0, 7, 1_493]
        (error,) = await refused(sender, PAUSE_TASK, id=global_id)
        assert (error["code"], error["status"]) == ("WRONG_STATUS", "STOPPED")
        async with sender.subscribe(TASK_UPDATED, id=global_id) as events:
            first = (await events.next())["taskUpdated"]
            assert first == {
                "status": "STOPPED",
                "counts": {"waiting": 1_500, "unknown": 0, "delivered": 0, "notSent": 0},
            }
            assert await dispatch.settle(claim, settlements(claim, range(1, 8)), 0)
            assert await dispatch.release(claim, 7, [])
            await tasks.advance_task(task_id, bus)
            assert (await events.next())["taskUpdated"]["counts"]["notSent"] == 1_493
            await world.receive(*(receipt(claim, position) for position in range(1, 8)))
            await tasks.advance_task(task_id, bus)
            # Nothing is pending any more: it ends by itself.
            last = (await events.rest())[-1]["taskUpdated"]
            assert last["counts"] == {"waiting": 0, "unknown": 0, "delivered": 7, "notSent": 1_493}


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
