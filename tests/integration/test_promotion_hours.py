"""Promotion is sent from 08:00 to 22:00 where the recipient is, decided number by number at send time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, time, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from domain import db, dispatch, sweep, task_control
from domain.sending_hours import may_send_promotion
from domain.states import HandoverState, SmsType, TaskStatus
from tests.integration.conftest import Travel
from tests.integration.dispatching import RecordingGateway, dispatching, each_once, is_at
from tests.integration.world import Materials, World, eventually, international, mainland, phones, settlements
from workers.chunk import HeldChunk

SHANGHAI = ZoneInfo("Asia/Shanghai")
DAY = datetime(2027, 1, 12, tzinfo=UTC).date()
SECOND = timedelta(seconds=1)


def shanghai(hour: int, minute: int = 0, second: int = 0, *, day: int = 0) -> datetime:
    return datetime.combine(DAY + timedelta(days=day), time(hour, minute, second), SHANGHAI)


def utc(hour: int, minute: int = 0) -> datetime:
    return datetime.combine(DAY, time(hour, minute), UTC)


LONDON = [f"+44207123{index:04}" for index in range(40)]
NEW_YORK = [f"+1212736{index:04}" for index in range(40)]
SYDNEY = [f"+61292{index:06}" for index in range(40)]
MIXED = [number for three in zip(LONDON, NEW_YORK, SYDNEY, strict=True) for number in three]


@pytest.fixture
async def promotion(world: World) -> Materials:
    """What a promotion to the Chinese mainland is made from."""
    return await mainland(world.viewer, sms_type=SmsType.PROMOTION)


@pytest.fixture
async def abroad(world: World) -> Materials:
    """What a promotion to elsewhere is made from."""
    return await international(world.viewer, sms_type=SmsType.PROMOTION)


async def waits_until(task_id: int) -> set[datetime]:
    """Until when the chunks of a task that are free are left alone."""
    rows = await db.fetch("SELECT wait_until FROM chunk WHERE task_id = $1 AND state = 0", task_id)
    return {row["wait_until"] for row in rows}


def waits(task_id: int, moment: datetime) -> Callable[[], Awaitable[bool]]:
    """A condition: nothing of the task is held, and nothing is to be sent before this moment."""

    async def check() -> bool:
        return await waits_until(task_id) == {moment}

    return check


async def test_a_mainland_promotion_at_23_sends_nothing_until_8(
    world: World, travel: Travel, promotion: Materials
) -> None:
    """Rule "What a task needs": promotional SMS are not sent outside 08:00-22:00 where the recipient is."""
    await travel.to(shanghai(23))
    task_id = await world.running(2_500, materials=promotion)
    gateway = RecordingGateway()
    async with dispatching(world, gateway) as dispatcher:
        await eventually(waits(task_id, shanghai(8, day=1)))
        assert await dispatch.waiting_tasks("default") == []
        await travel.to(shanghai(7, 59, day=1))
        assert await dispatch.waiting_tasks("default") == []
        assert await dispatch.claim(task_id, uuid4()) is None
        await sweep.recover(world.bell, 0)
        task = await world.check(task_id)
        assert (task.status, task.counts.waiting, gateway.reached) == (TaskStatus.SENDING, 2_500, [])
        await travel.to(shanghai(8, day=1))
        dispatcher.look()
        await eventually(is_at(world, task_id, TaskStatus.SENT))
    each_once(phones(2_500), gateway.reached)
    assert (await world.check(task_id)).counts.in_doubt == 0


async def test_a_notification_is_sent_at_any_hour(world: World, travel: Travel) -> None:
    await travel.to(shanghai(3))
    task_id = await world.running(10)
    gateway = RecordingGateway()
    async with dispatching(world, gateway):
        await eventually(is_at(world, task_id, TaskStatus.SENT))
    each_once(phones(10), gateway.reached)


@pytest.mark.parametrize(
    ("moment", "sent"),
    [
        (shanghai(7, 59), False),
        (shanghai(8), True),
        (shanghai(21, 59), True),
        (shanghai(22), False),
    ],
)
async def test_the_hours_begin_and_end_with_the_minute(
    world: World, travel: Travel, promotion: Materials, moment: datetime, sent: bool
) -> None:
    await travel.to(moment)
    task_id = await world.running(5, materials=promotion)
    gateway = RecordingGateway()
    async with dispatching(world, gateway):
        if sent:
            await eventually(is_at(world, task_id, TaskStatus.SENT))
        else:
            await eventually(waits(task_id, shanghai(8, day=1 if moment.hour == 22 else 0)))
    assert len(gateway.reached) == (5 if sent else 0)


@pytest.mark.usefixtures("long_chunks")
async def test_a_mixed_list_is_split_by_each_numbers_hours(
    world: World, travel: Travel, abroad: Materials
) -> None:
    """Rule "What a task needs": decided for each number when it is about to be sent."""
    await travel.to(utc(12))  # 12:00 in London, 07:00 in New York, 23:00 in Sydney
    task_id = await world.running(MIXED, materials=abroad)
    gateway = RecordingGateway(window=7)

    async with dispatching(world, gateway) as dispatcher:
        await eventually(waits(task_id, utc(13)))
        each_once(LONDON, gateway.reached)
        task = await world.check(task_id)
        assert (task.status, task.counts.unknown, task.counts.waiting) == (TaskStatus.SENDING, 40, 80)
        await travel.to(utc(13))
        dispatcher.look()
        await eventually(waits(task_id, utc(21)))
        each_once(LONDON + NEW_YORK, gateway.reached)
        await travel.to(utc(21))
        dispatcher.look()
        await eventually(is_at(world, task_id, TaskStatus.SENT))
    each_once(MIXED, gateway.reached)
    task = await world.check(task_id)
    assert (task.counts.unknown, task.counts.in_doubt) == (120, 0)


@pytest.mark.usefixtures("long_chunks")
async def test_a_crash_puts_in_doubt_only_what_was_within_its_hours(
    world: World, travel: Travel, abroad: Materials
) -> None:
    """Those that wait for their hours lie below the mark, and are known not to have been sent."""
    await travel.to(utc(12))
    task_id = await world.running(MIXED, materials=abroad)
    gateway = RecordingGateway(window=25)
    gateway.held.set()
    async with dispatching(world, gateway) as dispatcher:

        async def full() -> bool:
            return len(gateway.under_way) == 25

        await eventually(full)
        dispatcher.stop()
        await db.fetch("UPDATE chunk SET lease_until = groupsms_now() WHERE state = 1")
        await sweep.recover(world.bell, 0)
        gateway.let_go()
    assert (await world.check(task_id)).counts.in_doubt == 25
    doubtful = await db.fetch(
        "SELECT number FROM message WHERE handover = $1", list(HandoverState).index(HandoverState.IN_DOUBT)
    )
    assert {f"+{row['number']}" for row in doubtful} == set(LONDON[:25])
    claim = await world.claim(task_id)
    assert sorted(claim.numbers.values()) == sorted(LONDON[25:] + NEW_YORK + SYDNEY)


async def test_hours_that_end_while_it_is_being_sent(
    world: World, travel: Travel, promotion: Materials
) -> None:
    await travel.to(shanghai(21, 59, 40))
    task_id = await world.running(3_000, materials=promotion)
    gateway = RecordingGateway(window=10)
    async with dispatching(world, gateway) as dispatcher:

        async def some() -> bool:
            return len(gateway.reached) >= 100

        await eventually(some)
        await travel.to(shanghai(22))

        await eventually(waits(task_id, shanghai(8, day=1)))
        before = len(gateway.reached)
        task = await world.check(task_id)
        assert task.counts.unknown == before < 3_000
        assert task.counts.waiting == 3_000 - before
        await travel.to(shanghai(8, day=1))
        dispatcher.look()
        await eventually(is_at(world, task_id, TaskStatus.SENT))
    each_once(phones(3_000), gateway.reached)
    assert (await world.check(task_id)).counts.in_doubt == 0


async def test_the_wait_for_the_next_hours_ends_at_the_deadline(
    world: World, travel: Travel, promotion: Materials
) -> None:
    """Rule "What a task needs": it waits for the next window, within the task's deadline."""
    await travel.to(shanghai(21, 30))
    task_id = await world.create(5, materials=promotion)
    # Its time was nearly a day ago: workers were away, then the application was suspended.
    await db.fetch("UPDATE task SET deadline_at = groupsms_now() + interval '3 hours'")
    await travel.to(shanghai(23))
    gateway = RecordingGateway()
    async with dispatching(world, gateway) as dispatcher:
        await sweep.start_due(world.bell)
        dispatcher.look()
        await eventually(waits(task_id, shanghai(8, day=1)))
        await travel.to(shanghai(0, 31, day=1))
        await sweep.recover(world.bell, 0)
        await travel.to(shanghai(9, day=1))
        dispatcher.look()
    task = await world.check(task_id)
    assert (task.status, task.counts.not_sent, gateway.reached) == (TaskStatus.COMPLETED, 5, [])


async def test_a_promotion_that_waits_can_be_stopped_and_paused(
    world: World, travel: Travel, promotion: Materials
) -> None:
    await travel.to(shanghai(23))
    stopped = await world.running(phones(5), materials=promotion)
    paused = await world.running(phones(5, first=100), materials=promotion)
    gateway = RecordingGateway()
    async with dispatching(world, gateway) as dispatcher:

        async def both_wait() -> bool:
            return None not in await waits_until(stopped) | await waits_until(paused)

        await eventually(both_wait)
        await task_control.stop_task(world.viewer, stopped, world.bell)
        await task_control.pause_task(world.viewer, paused, world.bell)
        assert (await world.check(stopped)).counts.not_sent == 5
        await travel.to(shanghai(8, day=1))
        await task_control.resume_task(world.viewer, paused, world.bell)
        dispatcher.look()
        await eventually(is_at(world, paused, TaskStatus.SENT))
    each_once(phones(5, first=100), gateway.reached)


@pytest.mark.usefixtures("long_chunks")
async def test_a_held_chunk_goes_by_the_databases_clock(
    world: World, travel: Travel, abroad: Materials
) -> None:
    """Seconds pass between the claim, a mark and the next window: each number is judged when it is taken."""
    await travel.to(utc(12, 59))
    task_id = await world.running(MIXED, materials=abroad)
    claim = await world.claim(task_id)
    assert claim.is_promotion
    chunk = HeldChunk(claim, asked_at=1_000.0)
    # Positions 1, 4, 7 … are in London.
    assert chunk.take(3, 1_001.0) == [1, 4, 7]
    assert chunk.unsent_up_to(7) == [2, 3, 5, 6]
    # A minute after the claim it is 08:00 in New York, for those not yet judged.
    assert chunk.take(4, 1_061.0) == [8, 10, 11, 13]
    assert chunk.wait_until(1_061.0) is None
    rest = chunk.take(1_000, 1_061.0)
    assert len(rest) == 80 - 2 - 7
    # The two of New York that were too early may be sent at once; the chunk is to be claimed again.
    wait_until = chunk.wait_until(1_061.0)
    assert wait_until is not None
    assert abs(wait_until - claim.claimed_at - timedelta(seconds=61)) < SECOND
    assert may_send_promotion(NEW_YORK[0], wait_until)
    assert not chunk.all_settled
    marked_at = await dispatch.mark(claim, 119, chunk.unsent_up_to(119))
    assert marked_at is not None
    assert await dispatch.settle(claim, settlements(claim, [1, 4, 7, 8, 10, 11, 13, *rest]), 0)
    assert await dispatch.release(claim, 119, chunk.unsent_up_to(119), wait_until)
    assert await dispatch.claim(task_id, uuid4()) is None
    await travel.to(utc(13, 1))
    assert set((await world.claim(task_id)).numbers.values()) == {*NEW_YORK[:2], *SYDNEY}
