"""What is kept for some days only: who still sees what afterwards, and that a purge may come at any time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from domain import (
    db,
    dispatch,
    feed,
    message_reads,
    message_stores,
    purging,
    recovery,
    resending,
    sweep,
    task_control,
    tasks,
)
from domain.errors import ErrorCode, RecipientListError
from domain.message_reads import MessageFilter
from domain.ports import ReceiptState
from domain.purging import Purged
from domain.resending import Resend
from domain.states import RowRejection, SendResult, TaskStatus
from tests.integration.conftest import Travel
from tests.integration.world import World, phones, receipt

DAYS = 30
LONGER = timedelta(days=DAYS + 1)


async def ended(world: World, count: int = 3) -> int:
    """A task of which the first number was delivered and the others failed, with one row rejected."""
    task_id = await world.running([*phones(count), "nobody"])
    claim = await world.claim(task_id)
    await world.hand_over(claim)
    await world.receive(
        *(
            receipt(claim, position, ReceiptState.FAILED if position > 1 else ReceiptState.DELIVERED)
            for position in claim.numbers
        )
    )
    assert (await world.advance(task_id)).status is TaskStatus.COMPLETED
    return task_id


async def numbers_seen(task_id: int) -> int:
    """What any reader of messages and rejected rows finds, all added up."""
    page = await message_reads.list_messages(task_id, MessageFilter())
    rejected = await message_reads.list_rejected_rows(task_id, RowRejection.WRONG_LENGTH)
    return (
        len(page.items)
        + await message_reads.count_messages(task_id, MessageFilter(result_in=[SendResult.FAILED]))
        + len(rejected.items)
        + await message_reads.count_rejected_rows(task_id, None)
    )


async def rows_of(task_id: int) -> int:
    """What is there, seen or not."""
    count: int = await db.fetchval(
        """
        SELECT (SELECT count(*) FROM message WHERE task_id = $1)
             + (SELECT count(*) FROM rejected_row WHERE task_id = $1)
             + (SELECT count(*) FROM segment WHERE task_id = $1)
        """,
        task_id,
    )
    return count


async def close_stores() -> None:
    """As a day later."""
    await db.fetch("SELECT groupsms_close_store(number, $1) FROM message_store", message_stores.TASKS)


async def test_the_task_stays_with_its_counts_and_its_numbers_go(world: World, travel: Travel) -> None:
    task_id = await ended(world)
    await close_stores()
    before = await world.read(task_id)
    assert (before.messages_purged_at, await numbers_seen(task_id) > 5) == (None, True)
    assert await purging.purge(DAYS) == Purged(0, 0, 0)
    await travel(LONGER)
    assert await purging.preview(DAYS) == Purged(1, 3, 0)
    place = await feed.newest_place(world.viewer.account_id)
    assert await purging.purge(DAYS) == Purged(1, 3, 0)
    after = await world.read(task_id)
    assert after.messages_purged_at is not None
    assert (after.counts, after.status, after.recipients) == (before.counts, before.status, before.recipients)
    assert after.revision > before.revision
    [change] = await feed.changes_after(world.viewer.account_id, place)
    assert (change.task_id, change.deleted) == (task_id, False)
    assert await numbers_seen(task_id) == await rows_of(task_id) == 0
    assert await message_reads.find_message(world.viewer.account_id, task_id, 1) is None
    assert await db.fetchval("SELECT count(*) FROM message_store") == 0, "dropped whole"
    assert await purging.purge(DAYS) == await purging.preview(DAYS) == Purged(0, 0, 0)
    await world.check(await world.create(1))


async def test_what_has_not_ended_stays_whole_however_old(world: World, travel: Travel) -> None:
    paused, sending, gone = await world.running(2), await world.sent(2), await ended(world)
    await db.fetch("UPDATE task SET status = 'PAUSED' WHERE id = $1", paused)
    await close_stores()
    await travel(LONGER)
    assert (await purging.purge(DAYS)).tasks == 1
    for task_id in (paused, sending):
        assert await numbers_seen(task_id) == 2
        assert (await world.read(task_id)).messages_purged_at is None
    segments = await message_reads.segments_of(sending, [1, 2])
    assert sorted(segments) == [1, 2], "the day was dropped under it"
    # It shares a store with what is kept: hidden at once, and removed singly some days later.
    assert (await numbers_seen(gone), await rows_of(gone) > 3) == (0, True)
    await travel(LONGER + purging.STORE_WITHIN + timedelta(hours=1))
    await purging.purge(DAYS)
    assert await db.fetchval("SELECT count(*) FROM message WHERE task_id = $1", gone) == 0
    await world.check(paused)


async def test_what_a_dead_worker_may_have_sent_is_taken_back_before_its_task_is_purged(
    world: World, travel: Travel
) -> None:
    task_id = await world.running(2)
    assert await dispatch.mark(await world.claim(task_id), 1, [])
    await task_control.stop_task(world.viewer, task_id, world.bell)
    await travel(LONGER)  # and no worker ran meanwhile
    assert await purging.purge(DAYS) == await purging.preview(DAYS) == Purged(0, 0, 0)
    await recovery.recover_lapsed()
    counts = (await world.advance(task_id)).counts
    assert (counts.in_doubt, counts.not_sent) == (1, 1)
    assert await purging.purge(DAYS) == Purged(1, 2, 0)
    assert (await world.read(task_id)).counts == counts


async def test_receipts_count_for_a_week_whatever_is_asked_for(world: World, travel: Travel) -> None:
    task_id = await ended(world)
    await travel(timedelta(days=purging.LEAST_DAYS - 1))
    assert await purging.purge(0) == Purged(0, 0, 0)
    assert await numbers_seen(task_id) > 0


async def test_several_purges_at_once_share_the_work(
    world: World, travel: Travel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "_TASKS_AT_ONCE", 1)
    made = [await ended(world, 1) for _ in range(4)]
    await close_stores()
    await travel(LONGER)
    done = await asyncio.gather(*(purging.purge(DAYS) for _ in range(4)))
    assert sum(each.tasks for each in done) == len(made)
    await purging.purge(DAYS)
    assert [await rows_of(task_id) for task_id in made] == [0] * 4


async def test_the_sweep_purges_once_a_day(world: World, travel: Travel) -> None:
    first = await ended(world)
    await travel(LONGER)
    await asyncio.gather(*(sweep.tend_tables(DAYS) for _ in range(3)))
    assert await numbers_seen(first) == 0
    second = await world.create(1, after=timedelta(hours=1))
    await tasks.cancel_task(world.viewer, second, world.bell)
    await db.fetch("UPDATE task SET finished_at = finished_at - $2::interval WHERE id = $1", second, LONGER)
    await sweep.tend_tables(DAYS)
    assert await numbers_seen(second) == 1, "purged again within the day"
    await travel(LONGER + timedelta(days=1, hours=1))
    await sweep.tend_tables(DAYS)
    assert await numbers_seen(second) == 0


async def test_what_failed_cannot_be_resent_any_more(world: World, travel: Travel) -> None:
    task_id = await ended(world)
    await travel(LONGER)
    await purging.purge(DAYS)
    with pytest.raises(RecipientListError, match=r"no longer kept since \d{4}-\d\d-\d\d") as caught:
        await resending.resend_failed(
            world.viewer, Resend(task_id, "Again", None), world.intake.prices, world.bell
        )
    assert (caught.value.code, caught.value.path) == (ErrorCode.NO_VALID_NUMBERS, ("taskId",))


async def test_old_replies_go_too(world: World, travel: Travel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "_REPLIES_AT_ONCE", 2)
    await db.fetch(
        """
        INSERT INTO reply (received_at, account_id, opted_out, gateway, number, sender, text)
        SELECT groupsms_now() - make_interval(days => age), $1, FALSE, 'default', '+8613800000000', '1', 'Yes'
        FROM unnest($2::int[]) AS age
        """,
        world.viewer.account_id,
        [1, DAYS - 1, DAYS + 1, DAYS + 2, DAYS + 3],
    )
    assert await purging.preview(DAYS) == Purged(0, 0, 3)
    assert await purging.purge(DAYS) == Purged(0, 0, 3)
    assert await db.fetchval("SELECT count(*) FROM reply") == 2
