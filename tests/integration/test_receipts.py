"""Delivery receipts: whenever they come, each moves a result forward once."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from domain import db, dispatch, feed, message_reads, receipts, sweep
from domain.dispatch import Claim
from domain.message_reads import MessageFilter, MessageView
from domain.ports import Handover, Outcome, Receipt, ReceiptState, SegmentHandover
from domain.states import HandoverState, SendResult, TaskStatus
from tests.integration.conftest import Travel
from tests.integration.world import GATEWAY, LONG_TEXT, World, mainland, receipt, settlements

DELIVERED, FAILED, NOT_FINAL = ReceiptState.DELIVERED, ReceiptState.FAILED, ReceiptState.NOT_FINAL


async def waiting_receipts() -> int:
    count: int = await db.fetchval("SELECT count(*) FROM receipt_inbox")
    return count


async def message(task_id: int, position: int = 1) -> MessageView:
    page = await message_reads.list_messages(task_id, MessageFilter(), first=100)
    return page.items[position - 1]


async def handed_over(world: World, count: int = 1, *, content: str | None = None) -> Claim:
    """A running task, all of which the gateway accepted and none of which is known."""
    materials = await mainland(world.viewer, content=content) if content else None
    claim = await world.claim(await world.running(count, materials=materials))
    await world.hand_over(claim)
    await world.advance(claim.task_id)
    return claim


async def settle_and_match(claim: Claim, positions: Sequence[int], shard: int = 0) -> None:
    """What a worker does with answers: settle, then look for receipts that were faster."""
    settled = settlements(claim, positions)
    assert await dispatch.settle(claim, settled, shard)
    ids = [part.gateway_message_id or "" for s in settled for part in s.handover.segments]
    await receipts.apply_waiting(ids, shard)


async def test_a_receipt_tells_what_became_of_a_message(world: World) -> None:
    claim = await handed_over(world, 3)
    delivered, failed = receipt(claim, 1), receipt(claim, 2, FAILED, error_code="MILIMIT")
    assert await world.receive(delivered, failed) == {claim.task_id}
    found = [await message(claim.task_id, position) for position in (1, 2, 3)]
    assert [m.result for m in found] == [SendResult.DELIVERED, SendResult.FAILED, SendResult.UNKNOWN]
    assert [m.received_at for m in found] == [delivered.received_at, failed.received_at, None]
    assert [m.error_code for m in found] == [None, "MILIMIT", None]
    task = await world.advance(claim.task_id)
    assert (task.status, task.counts.delivered, task.counts.failed, task.counts.unknown) == (
        TaskStatus.SENT, 1, 1, 1,
    )  # fmt: skip
    await world.receive(receipt(claim, 3))
    task = await world.advance(claim.task_id)
    assert (task.status, task.counts.unknown) == (TaskStatus.COMPLETED, 0)
    assert await waiting_receipts() == 0


async def test_without_an_error_code_the_state_is_the_reason(world: World) -> None:
    claim = await handed_over(world)
    await world.receive(replace(receipt(claim, 1, FAILED), error_code=None, status="EXPIRED"))
    assert (await message(claim.task_id)).error_code == "EXPIRED"


async def test_a_receipt_before_the_settlement_waits_for_it(world: World) -> None:
    claim = await world.claim(await world.running(2))
    assert await dispatch.mark(claim, 2, [])
    assert await world.receive(receipt(claim, 1), receipt(claim, 2, FAILED)) == set()
    assert await waiting_receipts() == 2
    assert (await world.check(claim.task_id)).counts.waiting == 2
    await settle_and_match(claim, [1, 2])
    task = await world.check(claim.task_id)
    assert (task.counts.delivered, task.counts.failed) == (1, 1)
    assert await waiting_receipts() == 0


async def test_receipts_and_settlements_racing_always_meet(world: World) -> None:
    claims = [await world.claim(await world.running(60)) for _ in range(4)]
    for claim in claims:
        assert await dispatch.mark(claim, 60, [])
    order = random.Random(4)
    coming = [
        receipt(claim, position, FAILED if position % 3 == 0 else DELIVERED)
        for claim in claims
        for position in claim.numbers
    ]
    coming += order.sample(coming, 80)  # some come twice
    order.shuffle(coming)
    batches = [coming[at : at + 16] for at in range(0, len(coming), 16)]
    parts = [(claim, range(first, first + 12)) for claim in claims for first in range(1, 61, 12)]
    order.shuffle(parts)
    await asyncio.gather(
        *(world.receive(*batch, shard=shard) for shard, batch in enumerate(batches)),
        *(settle_and_match(claim, positions, shard) for shard, (claim, positions) in enumerate(parts)),
        *(receipts.apply_left_over(shard) for shard in range(6)),
    )
    for claim in claims:
        assert await dispatch.finish(claim)
        task = await world.advance(claim.task_id)
        assert (task.counts.delivered, task.counts.failed, task.counts.unknown) == (40, 20, 0)
        assert task.status is TaskStatus.COMPLETED
    # What is left are second receipts that came before the settlement and after the first was applied.
    await receipts.apply_left_over(0)
    assert await waiting_receipts() == 0


async def test_many_appliers_over_several_tasks_never_deadlock(world: World) -> None:
    claims = [await handed_over(world, 100) for _ in range(4)]
    coming = [receipt(claim, position) for position in range(1, 101) for claim in claims]
    order = random.Random(7)

    async def everything(shard: int) -> None:
        mixed = order.sample(coming, len(coming))
        await world.receive(*mixed, shard=shard)

    await asyncio.gather(*(everything(shard) for shard in range(8)))
    for claim in claims:
        assert (await world.check(claim.task_id)).counts.delivered == 100


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        (DELIVERED, FAILED, SendResult.DELIVERED),
        (FAILED, DELIVERED, SendResult.FAILED),
        (DELIVERED, NOT_FINAL, SendResult.DELIVERED),
        (NOT_FINAL, FAILED, SendResult.FAILED),
        (DELIVERED, DELIVERED, SendResult.DELIVERED),
    ],
)
@pytest.mark.parametrize("together", [True, False])
async def test_the_first_final_receipt_stays(
    world: World, first: ReceiptState, second: ReceiptState, result: SendResult, together: bool
) -> None:
    claim = await handed_over(world)
    if together:
        await world.receive(receipt(claim, 1, first), receipt(claim, 1, second))
    else:
        await world.receive(receipt(claim, 1, first))
        await world.check(claim.task_id)
        await world.receive(receipt(claim, 1, second))
    await world.check(claim.task_id)
    assert (await message(claim.task_id)).result is result
    assert await waiting_receipts() == 0


async def test_a_receipt_that_is_not_final_changes_nothing(world: World) -> None:
    claim = await handed_over(world)
    before = await world.check(claim.task_id)
    assert await world.receive(receipt(claim, 1, NOT_FINAL)) == set()
    assert (await world.check(claim.task_id)).revision == before.revision
    assert await waiting_receipts() == 0


async def test_the_id_alone_or_the_number_alone_match_nothing(world: World) -> None:
    claim = await handed_over(world, 2)
    wrong_number = receipt(claim, 1, number=claim.numbers[2])
    wrong_id = replace(receipt(claim, 1), gateway_message_id="of nobody")
    no_number = receipt(claim, 1, number="Acme")
    assert await world.receive(wrong_number, wrong_id, no_number) == set()
    assert (
        await receipts.apply_stored(await receipts.store("another gateway", [receipt(claim, 1)]), 0) == set()
    )
    assert (await world.check(claim.task_id)).counts.unknown == 2
    assert await waiting_receipts() == 4


async def test_an_unknown_receipt_is_kept_for_a_week(world: World, travel: Travel) -> None:
    claim = await handed_over(world)
    await world.receive(replace(receipt(claim, 1), gateway_message_id="of nobody"))
    await travel(receipts.KEPT_FOR - timedelta(minutes=1))
    await sweep.tidy()
    assert await waiting_receipts() == 1
    await travel(receipts.KEPT_FOR + timedelta(minutes=1))
    await sweep.tidy()
    assert await waiting_receipts() == 0


async def test_octets_no_database_can_hold_do_not_keep_receipts_out(world: World) -> None:
    claim = await handed_over(world, 2)
    odd = replace(receipt(claim, 2, FAILED), status="UN\0DELIV", error_code="0\0\ud800")
    assert await world.receive(receipt(claim, 1), odd) == {claim.task_id}
    assert (await world.check(claim.task_id)).counts.failed == 1


async def test_receipts_of_a_process_that_died_are_applied_and_announced(
    world: World, travel: Travel
) -> None:
    claim = await handed_over(world, 2)
    await world.receive(receipt(claim, 1))
    # The task is complete for a long time when the last receipt is stored, and its process dies.
    await travel(timedelta(hours=73))
    assert (await world.advance(claim.task_id)).status is TaskStatus.COMPLETED
    await travel(timedelta(hours=90))
    await receipts.store(GATEWAY, [receipt(claim, 2)])
    place = await feed.newest_place(world.viewer.account_id)
    await sweep.recover(world.bell, 0)
    assert (await world.check(claim.task_id)).counts.delivered == 2
    changes = await feed.changes_after(world.viewer.account_id, place)
    assert [change.task_id for change in changes] == [claim.task_id]


async def test_after_72_hours_the_unknown_stay_unknown_and_a_late_receipt_corrects_them(
    world: World, travel: Travel
) -> None:
    claim = await handed_over(world, 2)
    await travel(timedelta(hours=71, minutes=59))
    assert (await world.advance(claim.task_id)).status is TaskStatus.SENT
    await travel(timedelta(hours=72, minutes=1))
    task = await world.advance(claim.task_id)
    assert (task.status, task.counts.unknown) == (TaskStatus.COMPLETED, 2)
    await world.receive(receipt(claim, 1), receipt(claim, 2, FAILED))
    task = await world.advance(claim.task_id)
    assert (task.status, task.counts.delivered, task.counts.failed) == (TaskStatus.COMPLETED, 1, 1)


# --- several segments ---------------------------------------------------------------------------


async def test_a_message_is_delivered_when_all_its_segments_are(world: World) -> None:
    claim = await handed_over(world, content=LONG_TEXT)
    revision = (await world.check(claim.task_id)).revision
    for segment in (2, 3):
        assert await world.receive(receipt(claim, 1, segment=segment)) == {claim.task_id}
        task = await world.check(claim.task_id)
        assert task.counts.unknown == 1
        assert task.revision > revision
        revision = task.revision
    last = receipt(claim, 1, segment=1)
    await world.receive(last)
    assert (await world.check(claim.task_id)).counts.delivered == 1
    assert (await message(claim.task_id)).received_at == last.received_at


async def test_a_message_fails_with_its_first_failed_segment(world: World) -> None:
    claim = await handed_over(world, content=LONG_TEXT)
    await world.receive(
        receipt(claim, 1, segment=1), receipt(claim, 1, FAILED, segment=3, error_code="BLACK")
    )
    task = await world.check(claim.task_id)
    assert (task.counts.failed, task.counts.unknown) == (1, 0)
    assert (await message(claim.task_id)).error_code == "BLACK"
    await world.receive(receipt(claim, 1, segment=2))
    later = await world.check(claim.task_id)
    assert later.counts == task.counts
    assert later.revision > task.revision
    segments = await message_reads.segments_of(claim.task_id, [1])
    assert [s.result for s in segments[1]] == [SendResult.DELIVERED, SendResult.DELIVERED, SendResult.FAILED]


async def test_segments_reported_at_the_same_moment_by_two_workers_add_up(world: World) -> None:
    for _ in range(10):
        claim = await handed_over(world, content=LONG_TEXT)
        await asyncio.gather(
            *(world.receive(receipt(claim, 1, segment=segment), shard=segment) for segment in (1, 2, 3))
        )
        assert (await world.check(claim.task_id)).counts.delivered == 1


# --- in doubt, and ids used again ---------------------------------------------------------------


async def test_a_message_in_doubt_is_settled_by_the_segments_that_have_an_id(world: World) -> None:
    materials = await mainland(world.viewer, content=LONG_TEXT)
    claim = await world.claim(await world.running(1, materials=materials))
    assert await dispatch.mark(claim, 1, [])
    parts = (SegmentHandover("a"), SegmentHandover("b"), SegmentHandover(None))
    doubtful = dispatch.Settlement(1, claim.numbers[1], Handover(Outcome.IN_DOUBT, parts))
    assert await dispatch.settle(claim, [doubtful], 0)
    assert (await world.check(claim.task_id)).counts.in_doubt == 1

    def of(gateway_message_id: str, state: ReceiptState) -> Receipt:
        return replace(receipt(claim, 1, state), gateway_message_id=gateway_message_id)

    await world.receive(of("a", DELIVERED))
    assert (await world.check(claim.task_id)).counts.in_doubt == 1
    await world.receive(of("b", FAILED))
    task = await world.check(claim.task_id)
    assert (task.counts.in_doubt, task.counts.failed) == (0, 1)
    assert (await message(claim.task_id)).handover is HandoverState.CONFIRMED


async def test_an_id_used_again_for_the_same_number_means_the_newer_message(
    world: World, travel: Travel
) -> None:
    numbers = ["+8613800138000"]
    older = await world.claim(await world.running(numbers))
    await world.hand_over(older)
    await travel(timedelta(hours=20))
    newer = await world.claim(await world.running(numbers))
    assert await dispatch.mark(newer, 1, [])
    same_id = next(s.handover for s in settlements(older, [1]))
    assert await dispatch.settle(newer, [dispatch.Settlement(1, numbers[0], same_id)], 0)
    assert await world.receive(receipt(older, 1)) == {newer.task_id}
    assert (await world.check(older.task_id)).counts.unknown == 1
    assert (await world.check(newer.task_id)).counts.delivered == 1
