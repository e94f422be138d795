"""Messages in doubt, and the receipts that settle them where they can be about no other."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from domain import billing, db, dispatch, message_reads, receipts, strays, sweep
from domain.dispatch import LEASE, Claim, Settlement
from domain.message_reads import MessageFilter, MessageView, SegmentView
from domain.ports import Handover, Outcome, Receipt, ReceiptState, SegmentHandover
from domain.references import references_of
from domain.states import HandoverState, SendResult, TaskStatus
from tests.integration.conftest import Travel
from tests.integration.world import GATEWAY, LONG_TEXT, Materials, World, mainland, settlements

DELIVERED, FAILED, NOT_FINAL = ReceiptState.DELIVERED, ReceiptState.FAILED, ReceiptState.NOT_FINAL
NUMBER = "+8613800138000"
SENDER = "10690001"
SOON = LEASE + timedelta(seconds=1)
LATER = timedelta(minutes=4)


def said(
    gateway_message_id: str = "4D2",
    state: ReceiptState = DELIVERED,
    *,
    number: str = NUMBER,
    sender: str | None = None,
    submitted_at: datetime | None = None,
    reference: int | None = None,
    segment: int | None = None,
    whole_message: bool = False,
) -> Receipt:
    """A receipt with an id that nobody has stored."""
    return Receipt(
        gateway_message_id,
        number,
        state,
        "UNDELIV" if state is FAILED else "DELIVRD",
        "012" if state is FAILED else None,
        datetime.now(UTC),
        submitted_at=submitted_at,
        sender=sender,
        reference=reference,
        segment=segment,
        whole_message=whole_message,
    )


async def marked(
    world: World, numbers: Sequence[str] = (NUMBER,), materials: Materials | None = None
) -> Claim:
    """A claim all of which may be on the wire."""
    claim = await world.claim(await world.running(numbers, materials=materials))
    assert await dispatch.mark(claim, max(claim.numbers), [])
    return claim


async def crashed(
    world: World, travel: Travel, numbers: Sequence[str] = (NUMBER,), materials: Materials | None = None
) -> Claim:
    """A claim of a worker that died, taken back: all of it is in doubt. The clock is past the lease then."""
    claim = await marked(world, numbers, materials)
    await travel(SOON)
    await sweep.recover(world.bell, 0)
    assert (await world.check(claim.task_id)).counts.in_doubt == len(numbers)
    return claim


async def store(*received: Receipt) -> None:
    """Store receipts and apply what fits, as a worker does; nothing fits at once here."""
    assert await receipts.apply_stored(await receipts.store(GATEWAY, received), 0) == set()


async def look(world: World, travel: Travel, ahead: timedelta = LATER) -> None:
    """Let the sweep look some minutes later."""
    await travel(ahead)
    await sweep.recover(world.bell, 0)


async def message(claim: Claim, position: int = 1) -> MessageView:
    page = await message_reads.list_messages(claim.task_id, MessageFilter(), first=100)
    return page.items[position - 1]


async def segments(claim: Claim) -> list[SegmentView]:
    return (await message_reads.segments_of(claim.task_id, [1]))[1]


async def in_doubt(world: World, claim: Claim) -> int:
    return (await world.check(claim.task_id)).counts.in_doubt


async def waiting_receipts() -> int:
    count: int = await db.fetchval("SELECT count(*) FROM receipt_inbox")
    return count


# --- one candidate ------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [DELIVERED, FAILED])
async def test_a_receipt_settles_the_only_message_in_doubt_to_its_number(
    world: World, travel: Travel, state: ReceiptState
) -> None:
    claim = await crashed(world, travel, [NUMBER, "+8613800138001"])
    await store(said(state=state, sender=SENDER, submitted_at=datetime.now(UTC)))
    assert await in_doubt(world, claim) == 2
    await look(world, travel)
    settled = await message(claim)
    assert settled.handover is HandoverState.CONFIRMED
    assert settled.result is (SendResult.DELIVERED if state is DELIVERED else SendResult.FAILED)
    assert [part.gateway_message_id for part in await segments(claim)] == ["4D2"]
    assert await in_doubt(world, claim) == 1
    assert await waiting_receipts() == 0


async def test_the_task_completes_by_itself(world: World, travel: Travel) -> None:
    claim = await crashed(world, travel)
    await store(said())
    await look(world, travel)
    task = await world.check(claim.task_id)
    assert (task.status, task.counts.delivered, task.counts.in_doubt) == (TaskStatus.COMPLETED, 1, 0)


async def test_a_receipt_that_came_before_the_crash_was_noticed_settles_too(
    world: World, travel: Travel
) -> None:
    claim = await marked(world)
    await store(said())
    await look(world, travel, SOON)
    assert (await world.check(claim.task_id)).counts.delivered == 1


async def test_a_lost_connection_leaves_the_same_doubt(world: World, travel: Travel) -> None:
    claim = await marked(world)
    assert await dispatch.settle(claim, settlements(claim, [1], Outcome.IN_DOUBT), 0)
    await store(said())
    await look(world, travel, strays.PATIENCE * 2)
    assert (await world.check(claim.task_id)).counts.delivered == 1


async def test_an_id_once_assigned_is_matched_at_once(world: World, travel: Travel) -> None:
    claim = await crashed(world, travel)
    await store(said(state=NOT_FINAL))
    await look(world, travel)
    assert await in_doubt(world, claim) == 1
    assert await world.receive(said(state=FAILED)) == {claim.task_id}
    assert (await world.check(claim.task_id)).counts.failed == 1
    await world.receive(said())
    assert (await world.check(claim.task_id)).counts.failed == 1


async def test_a_crash_of_everything_that_is_noticed_a_day_later(world: World, travel: Travel) -> None:
    claim = await marked(world)
    sent_at = datetime.now(UTC)
    await travel(timedelta(hours=25))
    await sweep.recover(world.bell, 0)
    assert await in_doubt(world, claim) == 1
    await store(said(sender=SENDER, submitted_at=sent_at.replace(second=0, microsecond=0)))
    await look(world, travel, timedelta(hours=25) + LATER)
    assert (await world.check(claim.task_id)).counts.delivered == 1


async def test_an_international_segment_is_charged_once_its_receipt_proves_it(
    world: World, travel: Travel
) -> None:
    claim = await crashed(world, travel, ["+34600000001"], world.international)
    assert await billing.find_charges([claim.task_id]) == {}
    await store(said(state=FAILED, number="+34600000001", sender="ACME"))
    await look(world, travel)
    assert (await billing.find_charges([claim.task_id]))[claim.task_id].segments == 1


# --- what it says must fit ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says", "settles"),
    [
        ({"sender": "+10690001"}, True),
        ({"sender": "0010690001"}, True),
        ({"sender": "1069000"}, False),
        ({"sender": "Acme"}, False),
        ({"number": "+8613800138001"}, False),
        ({"submitted": timedelta(minutes=-10)}, True),
        ({"submitted": timedelta(minutes=4)}, True),
        ({"submitted": timedelta(hours=-1)}, False),
        ({"submitted": timedelta(hours=1)}, False),
    ],
)
async def test_number_sender_and_time_must_fit(
    world: World, travel: Travel, says: dict[str, Any], settles: bool
) -> None:
    """`submitted` is told from now, the moment of the submit."""
    if "submitted" in says:
        says = {"submitted_at": datetime.now(UTC) + says["submitted"]}
    receipt = said(**says)
    claim = await crashed(world, travel)
    await store(receipt)
    await look(world, travel)
    assert await in_doubt(world, claim) == (0 if settles else 1)
    assert await waiting_receipts() == (0 if settles else 1)


async def test_another_gateways_receipt_does_not_fit(world: World, travel: Travel) -> None:
    claim = await crashed(world, travel)
    await receipts.store("another", [said()])
    await look(world, travel)
    assert await in_doubt(world, claim) == 1


@pytest.mark.parametrize(("hours", "settles"), [(71, True), (73, False)])
async def test_without_a_date_the_time_of_arrival_counts(
    world: World, travel: Travel, hours: int, settles: bool
) -> None:
    claim = await crashed(world, travel)
    await travel(timedelta(hours=hours))
    await store(said())
    await look(world, travel, timedelta(hours=hours) + LATER)
    assert await in_doubt(world, claim) == (0 if settles else 1)


async def test_an_alphanumeric_sender_is_the_same_in_capitals(world: World, travel: Travel) -> None:
    claim = await crashed(world, travel, ["+34600000001"], world.international)
    await store(said(number="+34600000001", sender="aCME"))
    await look(world, travel)
    assert (await world.check(claim.task_id)).counts.delivered == 1


async def test_the_segments_of_a_refused_message_that_never_left_are_not_meant(
    world: World, travel: Travel
) -> None:
    claim = await marked(world, materials=await mainland(world.viewer, content=LONG_TEXT))
    parts = (SegmentHandover(None, "0x0000000B"), SegmentHandover(None), SegmentHandover(None))
    assert await dispatch.settle(claim, [Settlement(1, NUMBER, Handover(Outcome.REFUSED, parts))], 0)
    await store(said())
    await look(world, travel, LEASE / 2)
    assert [part.gateway_message_id for part in await segments(claim)] == [None] * 3
    assert await waiting_receipts() == 1


# --- more than one candidate --------------------------------------------------------------------


async def two_in_doubt(world: World, travel: Travel) -> list[Claim]:
    """Two tasks to one number at the same time, both in doubt."""
    claims = [await marked(world), await marked(world)]
    await travel(SOON)
    await sweep.recover(world.bell, 0)
    return claims


async def test_of_two_messages_neither_is_settled(world: World, travel: Travel) -> None:
    claims = await two_in_doubt(world, travel)
    await store(said(sender=SENDER, submitted_at=datetime.now(UTC)))
    for minutes in (4, 10, 30, 100):
        await look(world, travel, timedelta(minutes=minutes))
    assert [await in_doubt(world, claim) for claim in claims] == [1, 1]


async def test_the_echoed_reference_decides_between_two(world: World, travel: Travel) -> None:
    first, second = await two_in_doubt(world, travel)
    (reference,) = references_of(second.task_id, 1, 1)
    await store(said(reference=reference))
    await look(world, travel, SOON + strays.PATIENCE * 2)
    assert (await in_doubt(world, first), await in_doubt(world, second)) == (1, 0)
    # What is left is one candidate, so that the next receipt needs no reference.
    await store(said("4D3"))
    await look(world, travel)
    assert await in_doubt(world, first) == 0


async def test_a_reference_of_no_message_settles_none(world: World, travel: Travel) -> None:
    claim = await crashed(world, travel)
    (reference,) = references_of(claim.task_id, 1, 1)
    await store(said(reference=reference ^ 1))
    await look(world, travel)
    assert await in_doubt(world, claim) == 1


async def test_time_decides_between_two(world: World, travel: Travel) -> None:
    first = await crashed(world, travel)
    await travel(timedelta(hours=2))
    second = await marked(world)
    await travel(timedelta(hours=2) + SOON)
    await sweep.recover(world.bell, 0)
    await store(said(submitted_at=datetime.now(UTC) + timedelta(hours=2)))
    await look(world, travel, timedelta(hours=2) + LATER)
    assert (await in_doubt(world, first), await in_doubt(world, second)) == (1, 0)


async def test_two_receipts_for_one_message_of_one_segment_settle_nothing(
    world: World, travel: Travel
) -> None:
    claim = await crashed(world, travel)
    await store(said("1A"), said("1B", FAILED))
    await look(world, travel)
    assert await in_doubt(world, claim) == 1


async def test_a_message_under_way_may_be_the_one(world: World, travel: Travel) -> None:
    doubtful = await crashed(world, travel)
    under_way = await marked(world)
    await store(said())
    await look(world, travel, SOON + LEASE / 2)
    assert await in_doubt(world, doubtful) == 1
    # Its answer bears the id of that receipt.
    handover = Handover(Outcome.ACCEPTED, (SegmentHandover("4D2"),))
    assert await dispatch.settle(under_way, [Settlement(1, NUMBER, handover)], 0)
    await look(world, travel)
    assert await in_doubt(world, doubtful) == 1
    assert (await world.check(under_way.task_id)).counts.delivered == 1


async def test_what_is_known_not_to_have_left_is_not_the_one(world: World, travel: Travel) -> None:
    doubtful = await crashed(world, travel)
    given_back = await marked(world)
    assert await dispatch.mark(given_back, 1, [1])
    await store(said())
    await look(world, travel, SOON + LEASE / 2)
    assert await in_doubt(world, doubtful) == 0


async def test_a_message_under_way_is_told_apart_by_its_reference(world: World, travel: Travel) -> None:
    doubtful = await crashed(world, travel)
    await marked(world)
    await store(said(reference=references_of(doubtful.task_id, 1, 1)[0]))
    await look(world, travel, SOON + LEASE / 2)
    assert await in_doubt(world, doubtful) == 0


# --- several segments ---------------------------------------------------------------------------


async def long_crashed(world: World, travel: Travel) -> Claim:
    """A message of three segments in doubt."""
    return await crashed(world, travel, materials=await mainland(world.viewer, content=LONG_TEXT))


async def test_segments_are_given_their_ids_in_the_order_of_arrival(world: World, travel: Travel) -> None:
    claim = await long_crashed(world, travel)
    await store(said("a"), said("b"), said("a"), said("c"))
    await look(world, travel)
    assert [part.gateway_message_id for part in await segments(claim)] == ["a", "b", "c"]
    assert (await world.check(claim.task_id)).counts.delivered == 1
    assert await waiting_receipts() == 0


async def test_segments_may_be_reported_one_by_one(world: World, travel: Travel) -> None:
    claim = await long_crashed(world, travel)
    for minutes, gateway_message_id in ((4, "a"), (8, "b"), (12, "c")):
        assert await in_doubt(world, claim) == 1
        await store(said(gateway_message_id))
        await look(world, travel, timedelta(minutes=minutes))
    assert (await world.check(claim.task_id)).counts.delivered == 1


async def test_the_rest_of_a_failed_message_is_settled_as_well(world: World, travel: Travel) -> None:
    claim = await long_crashed(world, travel)
    await store(said("a", FAILED))
    await look(world, travel)
    assert (await world.check(claim.task_id)).counts.failed == 1
    await store(said("b"), said("c"))
    await look(world, travel, 2 * LATER)
    assert [part.result for part in await segments(claim)] == [
        SendResult.FAILED, SendResult.DELIVERED, SendResult.DELIVERED,
    ]  # fmt: skip


async def test_more_ids_than_segments_settle_nothing(world: World, travel: Travel) -> None:
    claim = await long_crashed(world, travel)
    await store(*(said(gateway_message_id) for gateway_message_id in "abcd"))
    await look(world, travel)
    assert [part.gateway_message_id for part in await segments(claim)] == [None] * 3


async def test_references_say_which_segment(world: World, travel: Travel) -> None:
    claim = await long_crashed(world, travel)
    one, two, three = references_of(claim.task_id, 1, 3)
    await store(said("c", reference=three), said("a"), said("b", reference=two))
    await look(world, travel)
    assert [part.gateway_message_id for part in await segments(claim)] == ["a", "b", "c"]
    assert one not in (two, three)


async def test_segments_that_share_an_id_are_told_apart_by_their_number(world: World, travel: Travel) -> None:
    claim = await long_crashed(world, travel)
    await store(said("same", segment=3), said("same", FAILED, segment=1))
    for minutes in (4, 10):
        await look(world, travel, timedelta(minutes=minutes))
    assert [part.result for part in await segments(claim)] == [
        SendResult.FAILED, SendResult.UNKNOWN, SendResult.DELIVERED,
    ]  # fmt: skip


async def test_one_receipt_for_a_whole_message_settles_all_its_segments(world: World, travel: Travel) -> None:
    claim = await long_crashed(world, travel)
    await store(said("a", whole_message=True))
    await look(world, travel)
    assert [part.result for part in await segments(claim)] == [SendResult.DELIVERED] * 3
    assert (await world.check(claim.task_id)).counts.delivered == 1


# --- many, and at once --------------------------------------------------------------------------


async def test_many_machines_looking_at_once_agree(world: World, travel: Travel) -> None:
    numbers = [f"+86138001380{index:02}" for index in range(30)]
    claim = await crashed(world, travel, numbers, await mainland(world.viewer, content=LONG_TEXT))
    coming = [said(f"{number}.{part}", number=number) for part in "abc" for number in claim.numbers.values()]
    await asyncio.gather(*(store(*coming[start : start + 10]) for start in range(0, 90, 10)))
    await travel(LATER)
    await asyncio.gather(*(sweep.recover(world.bell, shard) for shard in range(6)))
    await sweep.recover(world.bell, 0)
    task = await world.check(claim.task_id)
    assert (task.counts.delivered, task.counts.in_doubt) == (len(claim.numbers), 0)
    assert await waiting_receipts() == 0


async def test_a_stray_is_looked_at_less_and_less(world: World, travel: Travel) -> None:
    await store(said())
    looks = 0
    before = None
    for minute in range(60):
        await travel(timedelta(minutes=minute, seconds=10))
        await strays.examine(0)
        now = await db.fetchval("SELECT next_look FROM receipt_inbox")
        looks += now != before
        before = now
    assert 3 <= looks <= 7


async def test_a_batch_of_strays_keeps_nothing_behind_it_waiting(
    world: World, travel: Travel, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = await crashed(world, travel)
    await store(*(said(f"{uuid4()}", number=f"+8613900{index:06}") for index in range(250)))
    await store(said())
    monkeypatch.setattr(strays, "BATCH", 100)
    await look(world, travel)
    assert await in_doubt(world, claim) == 0
    assert await waiting_receipts() == 250
