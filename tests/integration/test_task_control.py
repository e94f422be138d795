"""Pausing, resuming and stopping tasks, while workers are sending."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from domain import db, dispatch, message_reads, sweep, task_control, tasks
from domain.bus import open_bus
from domain.engines import Engines
from domain.errors import NotFound, WrongStatus
from domain.message_reads import MessageFilter
from domain.states import Role, SendResult, TaskStatus
from domain.task_control import HandoverCounts
from tests.integration.api_client import serving
from tests.integration.api_operations import (
    PAUSE_TASK,
    RESUME_TASK,
    STOP_TASK,
    do,
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
from tests.integration.task_changes import (
    Change,
    pause,
    put_off,
    resume,
    stop,
    task_at,
)
from tests.integration.world import World, eventually, phones, receipt, settlements

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = 24 * HOUR
LEASE_OVER = dispatch.LEASE + timedelta(seconds=1)


async def counts(world: World, task_id: int) -> tuple[int, int, int]:
    """How many are handed over, in flight, left."""
    found: HandoverCounts = await task_control.handover_counts(world.viewer, task_id)
    return found.handed_over, found.in_flight, found.left


async def nothing_is_held() -> bool:
    return not await db.fetch("SELECT FROM chunk WHERE state = 1")


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


@pytest.mark.usefixtures("long_chunks")
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


@pytest.mark.alone
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


@pytest.mark.usefixtures("long_chunks")
@pytest.mark.parametrize(("rate", "most"), [(30.0, 15), (0.5, 1), (10_000.0, 200), (float("inf"), 200)])
async def test_a_paced_gateway_is_given_half_a_second_ahead(world: World, rate: float, most: int) -> None:
    task_id = await world.running(1_000)
    gateway = RecordingGateway(window=200, rate=rate)
    gateway.ready_when_empty = True
    async with dispatching(world, gateway):
        await eventually(handed_over(world, task_id, 3))
        await pause(world, task_id)
    assert gateway.most_under_way == most


@pytest.mark.alone
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


@pytest.mark.usefixtures("long_chunks")
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


@pytest.mark.alone
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
