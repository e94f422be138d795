"""Limits of what an account may send in a day and in a month."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import structlog

from domain import (
    access,
    accounts,
    db,
    queue_gauges,
    resending,
    sending_limits,
    sending_reads,
    sending_usage,
    sweep,
    task_control,
    task_creation,
    task_orders,
    tasks,
)
from domain.access import Viewer
from domain.errors import InvalidInput, NotFound, QuotaExceeded, UserError, WarningsRefused
from domain.ports import ReceiptState
from domain.sending_limits import SendingLimits
from domain.sending_periods import Period, day_of, next_first_day, start_of
from domain.states import Role, TaskStatus
from domain.task_creation import Conditions, Created
from domain.task_warnings import TaskWarning, WarningCode
from tests.integration.conftest import Travel
from tests.integration.task_changes import cancel, stop
from tests.integration.world import World, receipt

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NOON = datetime(2027, 3, 10, 4, 0, tzinfo=UTC)
"""12:00 in Asia/Shanghai, the zone of the world's account."""


async def limit(world: World, **limits: int | None) -> None:
    await sending_limits.set_limits(world.viewer.account_id, limits)


async def used(world: World) -> dict[tuple[str, str], tuple[int, int]]:
    """Messages and segments by period and first day, those that are zero left out."""
    rows = await db.fetch(
        "SELECT * FROM sending_usage WHERE account_id = $1 AND (messages, segments) <> (0, 0)",
        world.viewer.account_id,
    )
    return {(row["period"], str(row["starts_on"])): (row["messages"], row["segments"]) for row in rows}


async def create(
    world: World, count: int, send_at: datetime | None = None, *, refuse_on_warnings: bool = False
) -> Created:
    order = world.order(count, send_at=send_at)
    return await task_creation.create_task(
        world.viewer, order, world.intake, world.bell, Conditions(refuse_on_warnings=refuse_on_warnings)
    )


async def refusal(attempt: Awaitable[object]) -> QuotaExceeded:
    with pytest.raises(QuotaExceeded) as refused:
        await attempt
    return refused.value


async def outcomes(*attempts: Awaitable[object]) -> tuple[int, list[UserError]]:
    """How many succeed, all of them begun at the same moment, and why the others don't."""
    found = await asyncio.gather(*attempts, return_exceptions=True)
    errors = [outcome for outcome in found if isinstance(outcome, UserError)]
    assert [outcome for outcome in found if isinstance(outcome, BaseException)] == errors
    return len(found) - len(errors), errors


async def test_of_fifty_tasks_at_once_just_as_many_are_made_as_fit(world: World, travel: Travel) -> None:
    await travel.to(NOON)
    await limit(world, daily_messages=205)
    made, errors = await outcomes(*(create(world, 10) for _ in range(50)))
    assert (made, len(errors)) == (20, 30)
    assert await db.fetchval("SELECT count(*) FROM task") == 20
    assert await used(world) == {("DAY", "2027-03-10"): (200, 200), ("MONTH", "2027-03-01"): (200, 200)}
    assert all(isinstance(e, QuotaExceeded) and e.retry_at == NOON + 12 * HOUR for e in errors)


async def test_the_month_decides_among_tasks_of_different_days(world: World, travel: Travel) -> None:
    await travel.to(NOON)
    await limit(world, daily_segments=1000, monthly_segments=100)
    made, errors = await outcomes(*(create(world, 10, NOON + (i % 5 + 1) * DAY) for i in range(30)))
    assert (made, len(errors)) == (10, 20)
    counts = await used(world)
    assert counts["MONTH", "2027-03-01"] == (100, 100)
    assert sum(each[0] for (period, _), each in counts.items() if period == "DAY") == 100


async def test_canceling_and_creating_at_once_keep_the_count(world: World, travel: Travel) -> None:
    await travel.to(NOON)
    await limit(world, daily_messages=100)
    full = [(await create(world, 10, NOON + HOUR)).task_id for _ in range(10)]
    made, _ = await outcomes(
        *(coroutine for i in full for coroutine in (cancel(world, i), create(world, 10, NOON + HOUR)))
    )
    assert made >= 10
    await outcomes(*(create(world, 10, NOON + HOUR) for _ in range(10)))
    assert await db.fetchval("SELECT count(*) FROM task WHERE status = 'SCHEDULED'") == 10
    assert await used(world) == {("DAY", "2027-03-10"): (100, 100), ("MONTH", "2027-03-01"): (100, 100)}


async def test_what_is_canceled_is_given_back_once_whoever_asks_how_often(world: World) -> None:
    kept, canceled = await world.create(3, after=HOUR), await world.create(4, after=HOUR)
    before = await used(world)
    assert set(before.values()) == {(7, 7)}
    made, _ = await outcomes(
        *(cancel(world, canceled) for _ in range(10)),
        *(sending_usage.give_back_of_ended() for _ in range(10)),
    )
    assert made == 11
    await tasks.delete_task(world.viewer, canceled, world.bell)
    await sending_usage.give_back_of_ended()
    assert set((await used(world)).values()) == {(3, 3)}
    await cancel(world, kept)
    assert await used(world) == {}


async def test_a_refusal_says_what_is_left_and_when_there_is_room(world: World, travel: Travel) -> None:
    await travel.to(NOON)
    await limit(world, daily_messages=10, monthly_messages=25)
    await create(world, 8)
    await create(world, 9, NOON + DAY)
    refused = await refusal(create(world, 3))
    assert refused.path == ("recipients",)
    assert refused.message == (
        "The account's daily limit is 10 messages; for 2027-03-10 8 are used or planned, 2 are left, and "
        "this task has 3. From 2027-03-12T00:00:00+08:00 on there is room."
    )
    assert refused.retry_at == datetime(2027, 3, 11, 16, 0, tzinfo=UTC)
    # 25 a month: neither the next day nor any other of March.
    refused = await refusal(create(world, 9))
    assert refused.retry_at == datetime(2027, 3, 31, 16, 0, tzinfo=UTC)
    assert "daily limit" in refused.message
    assert "monthly limit is 25 messages; for 2027-03 17 are used or planned, 8 are left" in refused.message
    refused = await refusal(create(world, 11))
    assert refused.retry_at is None
    assert refused.message.endswith("It is too large for any day.")


async def test_a_limit_of_nothing_lets_nothing_through(world: World) -> None:
    await limit(world, monthly_segments=0)
    assert (await refusal(create(world, 1))).retry_at is None
    assert await sending_reads.accounts_in_alarm() == 0
    await limit(world, monthly_segments=None)
    await create(world, 1)


async def test_the_statement_decides_where_no_check_before_has_seen_it(world: World, travel: Travel) -> None:
    """As when others are quicker between the check and the storing; nothing of the task stays."""
    await travel.to(NOON)
    await limit(world, daily_messages=10)
    prepared = await task_orders.prepare(world.viewer, world.order(6), world.intake)
    await create(world, 5)
    new = task_creation.new_task(world.viewer, prepared)
    refused = await refusal(task_creation.store(world.viewer, new, prepared, world.bell, None))
    assert (refused.retry_at, refused.path) == (NOON + 12 * HOUR, ("recipients",))
    assert "5 are used or planned, 5 are left, and this task has 6" in refused.message
    for table in ("task", "message", "sending_reservation"):
        assert await db.fetchval(f"SELECT count(*) FROM {table}") == (5 if table == "message" else 1)
    assert set((await used(world)).values()) == {(5, 5)}


async def test_a_moved_task_counts_for_its_new_day(world: World, travel: Travel) -> None:
    await travel.to(NOON)
    await limit(world, daily_messages=10, monthly_messages=16)
    task_id = (await create(world, 6, NOON + HOUR)).task_id
    full = (await create(world, 10, NOON + DAY)).task_id
    refused = await refusal(task_control.reschedule_task(world.viewer, task_id, NOON + DAY, world.bell))
    assert refused.path == ("sendAt",)
    # The month is full, and the task is part of that.
    assert refused.retry_at == datetime(2027, 3, 11, 16, 0, tzinfo=UTC)
    assert (await world.read(task_id)).send_at == NOON + HOUR
    for days in (2, 25, 2):
        await task_control.reschedule_task(world.viewer, task_id, NOON + days * DAY, world.bell)
    assert await used(world) == {
        ("DAY", "2027-03-11"): (10, 10),
        ("DAY", "2027-03-12"): (6, 6),
        ("MONTH", "2027-03-01"): (16, 16),
    }
    await task_control.reschedule_task(world.viewer, full, NOON + 25 * DAY, world.bell)
    assert ("MONTH", "2027-04-01") in await used(world)
    await cancel(world, full)
    await cancel(world, task_id)
    assert await used(world) == {}


async def test_moves_at_once_into_one_day_fill_it_and_no_more(world: World, travel: Travel) -> None:
    await travel.to(NOON)
    await limit(world, daily_messages=40)
    ids = [(await create(world, 10, NOON + (1 + i % 3) * DAY)).task_id for i in range(9)]
    made, _ = await outcomes(
        *(task_control.reschedule_task(world.viewer, i, NOON + 5 * DAY, world.bell) for i in ids)
    )
    assert made == 4
    counts = await used(world)
    assert counts["DAY", "2027-03-15"] == (40, 40)
    assert counts["MONTH", "2027-03-01"] == (90, 90)


async def test_what_a_stop_leaves_is_given_back(world: World) -> None:
    task_id = await world.running(2500)
    await world.hand_over(await world.claim(task_id))
    handed_over = (await world.read(task_id)).counts.unknown
    assert 0 < handed_over < 2500
    await stop(world, task_id)
    await sweep.recover(world.bell, 0)
    await sweep.recover(world.bell, 0)
    assert set((await used(world)).values()) == {(handed_over, handed_over)}


async def test_what_is_late_or_not_allowed_any_more_is_given_back(world: World, travel: Travel) -> None:
    running, late = await world.running(2500), await world.create(5, after=HOUR)
    await world.hand_over(await world.claim(running))
    handed_over = (await world.read(running)).counts.unknown
    await travel(26 * HOUR)
    await sweep.start_due(world.bell)
    await sweep.recover(world.bell, 0)
    assert (await world.read(late)).status is TaskStatus.CANCELED
    assert set((await used(world)).values()) == {(handed_over, handed_over)}


async def test_resending_counts_again(world: World) -> None:
    task_id = await world.running(3)
    claim = await world.claim(task_id)
    await world.hand_over(claim)
    await world.receive(
        *(receipt(claim, p, ReceiptState.FAILED, error_code="MI:000B") for p in claim.numbers)
    )
    await world.advance(task_id)
    await db.fetch("UPDATE message SET error_code = 'MILIMIT'")
    await limit(world, daily_messages=5)
    again = resending.Resend(task_id, "Again", None)
    refused = await refusal(resending.resend_failed(world.viewer, again, {}, world.bell))
    assert refused.path == ("taskId",)
    assert await db.fetchval("SELECT count(*) FROM message WHERE resent") == 0
    await limit(world, daily_messages=6)
    await resending.resend_failed(world.viewer, again, {}, world.bell)
    assert set((await used(world)).values()) == {(6, 6)}


# --- days and months --------------------------------------------------------------------------------


async def in_zone(world: World, zone: str) -> None:
    token = await accounts.create_token("Acme", Role.MANAGER, time_zone=zone)
    viewer = await access.viewer_of(token)
    assert isinstance(viewer, Viewer)
    world.viewer = viewer


async def test_a_month_ends_in_the_accounts_zone(world: World, travel: Travel) -> None:
    """In Los Angeles it is still February when March has long begun in UTC."""
    await in_zone(world, "America/Los_Angeles")
    await travel.to(datetime(2027, 3, 1, 7, 30, tzinfo=UTC))
    await limit(world, monthly_messages=10)
    await create(world, 8)
    assert set(await used(world)) == {("DAY", "2027-02-28"), ("MONTH", "2027-02-01")}
    refused = await refusal(create(world, 3))
    assert refused.retry_at == datetime(2027, 3, 1, 8, 0, tzinfo=UTC)
    present = await sending_reads.present_usage(world.viewer.account_id, world.viewer.time_zone)
    assert (present.loads[Period.MONTH].messages, present.alarm) == (8, True)
    await travel.to(refused.retry_at)
    present = await sending_reads.present_usage(world.viewer.account_id, world.viewer.time_zone)
    assert (present.loads[Period.MONTH].messages, present.alarm) == (0, False)
    await create(world, 10)


@pytest.mark.parametrize(
    ("now", "hours"),
    [(datetime(2027, 3, 28, 0, 30, tzinfo=UTC), 23), (datetime(2027, 10, 31, 0, 30, tzinfo=UTC), 25)],
)
async def test_a_day_of_a_change_of_clocks_is_as_long_as_it_is(
    world: World, travel: Travel, now: datetime, hours: int
) -> None:
    await in_zone(world, "Europe/Madrid")
    await travel.to(now)
    await limit(world, daily_messages=5)
    begins = start_of(day_of(now, "Europe/Madrid"), "Europe/Madrid")
    await create(world, 5, begins + hours * HOUR - timedelta(seconds=1))
    refused = await refusal(create(world, 1))
    assert refused.retry_at == begins + hours * HOUR
    await create(world, 5, refused.retry_at)


def test_a_midnight_that_does_not_exist() -> None:
    """Beirut, 2022-03-27: 00:00 became 01:00."""
    begins = start_of(datetime(2022, 3, 27, tzinfo=UTC).date(), "Asia/Beirut")
    assert begins.astimezone(ZoneInfo("Asia/Beirut")).isoformat() == "2022-03-27T01:00:00+03:00"
    assert day_of(begins, "Asia/Beirut").isoformat() == "2022-03-27"
    assert day_of(begins - timedelta(microseconds=1), "Asia/Beirut").isoformat() == "2022-03-26"


@pytest.mark.parametrize(("day", "following"), [("2027-01-31", "2027-02-01"), ("2027-12-01", "2028-01-01")])
def test_the_next_month(day: str, following: str) -> None:
    found = next_first_day(Period.MONTH, datetime.fromisoformat(day).date())
    assert found.isoformat() == following


# --- the alarm --------------------------------------------------------------------------------------


def near(warnings: Iterable[TaskWarning]) -> list[str]:
    return [each.message for each in warnings if each.code is WarningCode.SENDING_LIMIT_NEAR]


async def test_the_alarm_is_told_to_the_user_and_logged_once(world: World, travel: Travel) -> None:
    await travel.to(NOON)
    await limit(world, daily_messages=100, alarm_percent=50)
    with structlog.testing.capture_logs() as logs:
        assert near((await create(world, 49)).warnings) == []
        assert await sending_reads.accounts_in_alarm() == 0
        assert near((await create(world, 1)).warnings) == [
            "With this task 50 of 100 messages are used or planned for 2027-03-10 (daily limit)."
        ]
        assert len(near((await create(world, 1)).warnings)) == 1
    alarms = [entry for entry in logs if entry["event"] == "sending_limit_alarm"]
    assert [(entry["used"], entry["limit"], entry["measure"]) for entry in alarms] == [(50, 100, "messages")]
    await queue_gauges.read()
    assert queue_gauges.ACCOUNTS_IN_ALARM._value.get() == 1
    prepared = await task_orders.prepare(world.viewer, world.order(1), world.intake)
    assert len(near(prepared.warnings)) == 1
    with pytest.raises(WarningsRefused):
        await create(world, 1, refuse_on_warnings=True)


async def test_of_many_at_once_one_crosses_the_threshold(world: World, travel: Travel) -> None:
    await travel.to(NOON)
    await limit(world, monthly_segments=100)
    with structlog.testing.capture_logs() as logs:
        made, _ = await outcomes(*(create(world, 10) for _ in range(12)))
    assert made == 10
    assert [entry["used"] for entry in logs if entry["event"] == "sending_limit_alarm"] == [80]


async def test_days_long_past_are_forgotten(world: World, travel: Travel) -> None:
    await create(world, 1)
    await travel(403 * DAY)
    await create(world, 2)
    await sending_usage.forget_old()
    assert set((await used(world)).values()) == {(2, 2)}


async def test_limits_are_set_one_by_one(world: World) -> None:
    account_id = world.viewer.account_id
    assert await sending_limits.limits_of(account_id) == SendingLimits()
    await limit(world, daily_messages=5, alarm_percent=30)
    await limit(world, monthly_segments=7)
    await limit(world, daily_messages=None, daily_segments=0, alarm_percent=None)
    assert await sending_limits.limits_of(account_id) == SendingLimits(
        daily_segments=0, monthly_segments=7, alarm_percent=80
    )
    assert await sending_limits.set_limits(account_id, {}) == await sending_limits.limits_of(account_id)
    with pytest.raises(InvalidInput) as refused:
        await limit(world, monthly_messages=-1)
    assert refused.value.path == ("monthlyMessages",)
    with pytest.raises(InvalidInput):
        await limit(world, alarm_percent=0)
    with pytest.raises(NotFound):
        await sending_limits.set_limits(account_id + 1, {"daily_messages": 1})
