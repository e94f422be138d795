"""Ids that a gateway writes one way in the answer to a submit and another way in its receipts."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import workers.main
from domain import db, dispatch, gateway_ids, receipts, strays, sweep
from domain.dispatch import Claim, Settlement
from domain.engines import Engines
from domain.gateway_ids import IdForm, other_forms
from domain.ports import Handover, Outcome, Receipt, ReceiptState, SegmentHandover
from domain.states import SendResult, TaskStatus
from tests.integration.conftest import Travel
from tests.integration.dispatching import is_at, worker
from tests.integration.message_centre import simulated_centre
from tests.integration.world import GATEWAY, LONG_TEXT, World, eventually, mainland, phones
from workers.gateways import open_gateway

NUMBER = "+8613800138000"
SOON = timedelta(seconds=10)


async def settled(world: World, *ids: str, numbers: Sequence[str] = ()) -> Claim:
    """A task of as many messages as ids, each accepted with its id."""
    claim = await world.claim(await world.running(numbers or phones(len(ids))))
    assert await dispatch.mark(claim, len(ids), [])
    answers = [
        Settlement(position, claim.numbers[position], Handover(Outcome.ACCEPTED, (SegmentHandover(id_),)))
        for position, id_ in enumerate(ids, start=1)
    ]
    assert await dispatch.settle(claim, answers, 0)
    assert await dispatch.finish(claim)
    return claim


def said(
    gateway_message_id: str,
    number: str = NUMBER,
    state: ReceiptState = ReceiptState.DELIVERED,
    *,
    same_id: bool = False,
) -> Receipt:
    word = "DELIVRD" if state is ReceiptState.DELIVERED else "UNDELIV"
    return Receipt(gateway_message_id, number, state, word, None, datetime.now(UTC), same_id=same_id)


async def results(claim: Claim) -> list[SendResult]:
    rows = await db.fetch("SELECT result FROM message WHERE task_id = $1 ORDER BY position", claim.task_id)
    return [list(SendResult)[row["result"]] for row in rows]


async def form() -> str | None:
    found: str | None = await db.fetchval("SELECT form FROM gateway_id_form WHERE gateway = $1", GATEWAY)
    return found


async def teach(world: World, travel: Travel, resp: str, receipt: str, start: int = 0xABCDE0) -> Claim:
    """Let the gateway show how it writes ids; `resp` and `receipt` are formats of a number."""
    values = range(start, start + gateway_ids.ENOUGH)
    claim = await settled(world, *(format(value, resp) for value in values))
    received = [said(format(value, receipt), claim.numbers[p]) for p, value in enumerate(values, start=1)]
    await world.receive(*received)
    await travel(SOON)
    await sweep.recover(world.bell, 0)
    assert set(await results(claim)) == {SendResult.DELIVERED}
    await travel(timedelta())
    return claim


FORMS = [
    ("x", "d", IdForm.HEX_DECIMAL),
    ("X", "d", IdForm.HEX_DECIMAL),
    ("08X", "d", IdForm.HEX_DECIMAL),
    ("010x", "010d", IdForm.HEX_DECIMAL),
    ("d", "x", IdForm.DECIMAL_HEX),
    ("d", "X", IdForm.DECIMAL_HEX),
    ("010d", "08x", IdForm.DECIMAL_HEX),
    ("020d", "x", IdForm.DECIMAL_HEX),
    ("x", "X", IdForm.ALIKE),
    ("08X", "x", IdForm.ALIKE),
    ("010d", "d", IdForm.ALIKE),
    ("d", "010d", IdForm.ALIKE),
]


@pytest.mark.parametrize(("resp", "receipt", "expected"), FORMS)
async def test_a_gateway_shows_its_form_and_it_is_used_at_once_from_then_on(
    world: World, travel: Travel, resp: str, receipt: str, expected: IdForm
) -> None:
    await teach(world, travel, resp, receipt)
    assert await form() == expected
    values = [0x1F00D, 0xFACADE, 0xBEEF123]
    claim = await settled(world, *(format(value, resp) for value in values))
    received = [said(format(value, receipt), claim.numbers[p]) for p, value in enumerate(values, start=1)]
    assert await world.receive(*received) == {claim.task_id}
    assert await results(claim) == [SendResult.DELIVERED] * 3


async def test_before_it_is_known_a_receipt_waits_some_seconds(world: World, travel: Travel) -> None:
    claim = await settled(world, "4D2", numbers=[NUMBER])
    await world.receive(said("1234"))
    await sweep.recover(world.bell, 0)
    assert await results(claim) == [SendResult.UNKNOWN]
    await travel(SOON)
    await sweep.recover(world.bell, 0)
    assert await results(claim) == [SendResult.DELIVERED]
    assert await form() is None
    # The second one, of the same receipt, goes away as well.
    await receipts.store(GATEWAY, [said("1234")])
    await travel(SOON * 2)
    await sweep.recover(world.bell, 0)
    assert await db.fetchval("SELECT count(*) FROM receipt_inbox") == 0
    assert await db.fetchval("SELECT hex_decimal FROM gateway_id_form") == 1


async def test_number_and_id_must_agree_in_any_form(world: World, travel: Travel) -> None:
    claim = await settled(world, "4D2", numbers=[NUMBER])
    await world.receive(said("1234", "+8613800138001"), said("1235"))
    await receipts.store("another", [said("1234")])
    await travel(SOON)
    await sweep.recover(world.bell, 0)
    assert await results(claim) == [SendResult.UNKNOWN]


async def test_once_ids_were_shown_to_be_the_same_no_other_form_is_tried(
    world: World, travel: Travel
) -> None:
    claim = await settled(world, *(f"{value:x}" for value in range(100, 105)))
    await world.receive(*(said(f"{99 + p:x}", number) for p, number in claim.numbers.items()))
    assert await form() == IdForm.SAME
    other = await settled(world, "4D2", numbers=[NUMBER])
    await world.receive(said("1234"))
    await travel(SOON)
    await sweep.recover(world.bell, 0)
    assert await results(other) == [SendResult.UNKNOWN]


async def test_nothing_else_is_tried_where_the_adapter_knows_the_id(world: World, travel: Travel) -> None:
    claim = await settled(world, "4D2", numbers=[NUMBER])
    await world.receive(said("1234", same_id=True))
    await travel(SOON)
    await sweep.recover(world.bell, 0)
    assert await results(claim) == [SendResult.UNKNOWN]


async def test_an_id_that_fits_two_messages_settles_neither(world: World, travel: Travel) -> None:
    # 1234 is hexadecimal 4d2; hexadecimal 1234 is 4660.
    first = await settled(world, "4d2", numbers=[NUMBER])
    second = await settled(world, "4660", numbers=[NUMBER])
    await world.receive(said("1234"))
    await travel(SOON)
    await sweep.recover(world.bell, 0)
    assert (await results(first), await results(second)) == ([SendResult.UNKNOWN], [SendResult.UNKNOWN])


@pytest.mark.parametrize(("resp", "receipt"), [("x", "d"), ("d", "x"), ("d", "d"), ("x", "x")])
@pytest.mark.parametrize("turned", [False, True])
async def test_ids_that_are_each_others_other_form_never_cross(
    world: World, travel: Travel, resp: str, receipt: str, turned: bool
) -> None:
    await teach(world, travel, resp, receipt)
    # Two messages to one number; what one's receipt says is, word for word, the id the other was given.
    values = (0x1234, 1234) if resp == "x" else (1234, 0x1234)
    claims = [await settled(world, format(value, resp), numbers=[NUMBER]) for value in values]
    failed, delivered = ReceiptState.FAILED, ReceiptState.DELIVERED
    received = [
        said(format(value, receipt), state=state)
        for value, state in zip(values, (failed, delivered), strict=True)
    ]
    await world.receive(*(received[::-1] if turned else received))
    assert [await results(claim) for claim in claims] == [[SendResult.FAILED], [SendResult.DELIVERED]]


async def test_the_message_whose_answer_is_still_to_come_may_be_meant(world: World, travel: Travel) -> None:
    # 10 is hexadecimal for 16: the receipt is of the message under way, whose id will be 16.
    settled_one = await settled(world, "10", numbers=[NUMBER])
    under_way = await world.claim(await world.running([NUMBER]))
    assert await dispatch.mark(under_way, 1, [])
    await world.receive(said("16"))
    await travel(SOON)
    await sweep.recover(world.bell, 0)
    assert await results(settled_one) == [SendResult.UNKNOWN]
    answer = Settlement(1, NUMBER, Handover(Outcome.ACCEPTED, (SegmentHandover("16"),)))
    assert await dispatch.settle(under_way, [answer], 0)
    await receipts.apply_waiting(["16"], 0)
    assert await results(under_way) == [SendResult.DELIVERED]
    assert await results(settled_one) == [SendResult.UNKNOWN]


async def test_what_was_in_doubt_shows_nothing_of_the_form(world: World, travel: Travel) -> None:
    numbers = phones(gateway_ids.ENOUGH + 1)
    claim = await world.claim(await world.running(numbers))
    await world.hand_over(claim, Outcome.IN_DOUBT)
    await world.receive(*(said(f"{1000 + p}", number) for p, number in claim.numbers.items()))
    await travel(SOON)
    await sweep.recover(world.bell, 0)
    assert set(await results(claim)) == {SendResult.DELIVERED}
    assert await form() is None


async def test_several_workers_learn_together(world: World, travel: Travel) -> None:
    values = range(0xABC00, 0xABC00 + 60)
    claim = await settled(world, *(f"{value:X}" for value in values))
    received = [said(str(value), claim.numbers[p]) for p, value in enumerate(values, start=1)]
    await asyncio.gather(*(world.receive(*received[at : at + 6], shard=at) for at in range(0, 60, 6)))
    await travel(SOON)
    await asyncio.gather(*(sweep.recover(world.bell, shard) for shard in range(5)))
    await sweep.recover(world.bell, 0)
    assert set(await results(claim)) == {SendResult.DELIVERED}
    assert await form() == IdForm.HEX_DECIMAL


async def test_a_gateway_that_mixes_forms_is_counted_no_further(world: World, travel: Travel) -> None:
    ids = [f"{value:x}" for value in range(0xABC00, 0xABC00 + 90)]
    claim = await settled(world, *ids)
    decimal = [said(str(int(ids[p - 1], 16)), claim.numbers[p]) for p in range(1, 5)]
    capitals = [said(ids[p - 1].upper(), claim.numbers[p]) for p in range(5, 9)]
    await world.receive(*decimal, *capitals)
    await travel(SOON)
    await sweep.recover(world.bell, 0)
    for position in range(9, 91):
        await world.receive(said(ids[position - 1], claim.numbers[position]))
    assert set(await results(claim)) == {SendResult.DELIVERED}
    (row,) = await db.fetch("SELECT form, same, hex_decimal, alike FROM gateway_id_form")
    assert tuple(row) == (None, gateway_ids.COUNTED, 4, 4)


# --- how long an id counts ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "settles"),
    [
        (receipts.LATEST - timedelta(minutes=1), True),
        (receipts.LATEST + timedelta(minutes=1), False),
    ],
)
async def test_an_id_counts_for_some_days(
    world: World, travel: Travel, after: timedelta, settles: bool
) -> None:
    claim = await settled(world, "77", numbers=[NUMBER])
    await travel(after)
    await world.receive(said("77"))
    assert await results(claim) == [SendResult.DELIVERED if settles else SendResult.UNKNOWN]


async def test_a_receipt_is_not_that_of_a_message_handed_over_long_after(
    world: World, travel: Travel
) -> None:
    await receipts.store(GATEWAY, [said("77")])
    await travel(timedelta(hours=1))
    claim = await settled(world, "77", numbers=[NUMBER])
    await receipts.apply_waiting(["77"], 0)
    await sweep.recover(world.bell, 0)
    assert await results(claim) == [SendResult.UNKNOWN]
    assert await world.receive(said("77")) == {claim.task_id}


async def test_a_later_message_with_the_same_id_does_not_hide_the_earlier(
    world: World, travel: Travel
) -> None:
    earlier = await settled(world, "77", numbers=[NUMBER])
    stored = await receipts.store(GATEWAY, [said("77")])
    await travel(timedelta(hours=1))
    later = await settled(world, "77", numbers=[NUMBER])
    assert await receipts.apply_stored(stored, 0) == {earlier.task_id}
    assert await results(later) == [SendResult.UNKNOWN]


# --- several segments ---------------------------------------------------------------------------


async def long_message(world: World, *ids: str) -> Claim:
    """A message of three segments, accepted with these ids."""
    materials = await mainland(world.viewer, content=LONG_TEXT)
    claim = await world.claim(await world.running([NUMBER], materials=materials))
    assert await dispatch.mark(claim, 1, [])
    handover = Handover(Outcome.ACCEPTED, tuple(SegmentHandover(id_) for id_ in ids))
    assert await dispatch.settle(claim, [Settlement(1, NUMBER, handover)], 0)
    return claim


async def segment_results(claim: Claim) -> list[int]:
    rows = await db.fetch("SELECT result FROM segment WHERE task_id = $1 ORDER BY index", claim.task_id)
    return [row["result"] for row in rows]


@pytest.mark.parametrize("reported", ["a", "b", "c"])
async def test_one_receipt_for_a_message_settles_its_segments_whichever_it_names(
    world: World, reported: str
) -> None:
    claim = await long_message(world, "a", "b", "c")
    await world.receive(replace(said(reported), whole_message=True))
    assert await segment_results(claim) == [2, 2, 2]
    assert (await world.check(claim.task_id)).counts.delivered == 1
    await world.receive(replace(said("a", state=ReceiptState.FAILED), whole_message=True))
    assert await segment_results(claim) == [2, 2, 2]


async def test_of_two_receipts_for_a_whole_message_the_first_to_come_counts(world: World) -> None:
    claim = await long_message(world, "a", "b", "c")
    last, first = said("c", state=ReceiptState.FAILED), said("a")
    await world.receive(replace(last, whole_message=True), replace(first, whole_message=True))
    assert await segment_results(claim) == [3, 3, 3]


async def test_a_receipt_without_a_segment_is_for_all_that_have_its_id(world: World) -> None:
    claim = await long_message(world, "a", "a", "a")
    await world.receive(said("a"))
    assert await segment_results(claim) == [2, 2, 2]


async def test_a_receipt_that_names_its_segment_is_for_that_one(world: World) -> None:
    claim = await long_message(world, "a", "a", "a")
    await world.receive(replace(said("a"), segment=2))
    assert await segment_results(claim) == [1, 2, 1]
    await world.receive(replace(said("a"), segment=99_999), replace(said("a"), segment=-1))
    assert await segment_results(claim) == [1, 2, 1]
    await world.receive(
        replace(said("a"), segment=1), replace(said("a", state=ReceiptState.FAILED), segment=3)
    )
    assert await segment_results(claim) == [2, 2, 3]


async def test_an_endless_id_keeps_nobody_out(world: World) -> None:
    claim = await settled(world, "77", numbers=[NUMBER])
    endless = "".join(f"{value:x}" for value in range(20_000))
    assert await world.receive(said(endless), said("77")) == {claim.task_id}


# --- over the wire ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "learned"),
    [("ids=hex-decimal", None), ("", IdForm.HEX_DECIMAL)],
)
async def test_a_centre_that_answers_in_hexadecimal_and_reports_in_decimal(
    world: World,
    engines: Engines,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    query: str,
    learned: IdForm | None,
) -> None:
    monkeypatch.setattr(strays, "PATIENCE", timedelta(seconds=0.2))
    monkeypatch.setattr(workers.main, "RECOVER_EVERY", 0.1)
    task_id = await world.running(phones(20, first=100))
    flags = ("--ids", "hex", "--receipt-ids", "decimal", "--receipt-delay", "0")
    async with (
        simulated_centre(tmp_path, *flags) as centre,
        worker(engines, redis_url, centre.url(query)),
    ):
        await eventually(is_at(world, task_id, TaskStatus.COMPLETED))
    assert (await world.check(task_id)).counts.delivered == 20
    assert await form() == learned


async def test_a_centre_that_reports_once_a_message(
    world: World, engines: Engines, redis_url: str, tmp_path: Path
) -> None:
    task_id = await world.running(
        phones(5, first=100), materials=await mainland(world.viewer, content=LONG_TEXT)
    )
    flags = ("--receipts-for", "last", "--receipt-delay", "0")
    async with (
        simulated_centre(tmp_path, *flags) as centre,
        worker(engines, redis_url, centre.url("receipts=message")),
    ):
        await eventually(is_at(world, task_id, TaskStatus.COMPLETED))
    assert (await world.check(task_id)).counts.delivered == 5


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("ids=octal", "ids must be auto or same or hex-decimal or decimal-hex"),
        ("receipts=never", "receipts must be segment or message"),
    ],
)
def test_a_wrong_parameter_is_refused(query: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        open_gateway("default", f"smpp://u:s3cr3t@host?{query}")


# --- the same in Python and in SQL --------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 9, 10, 1234, 0xABCDEF, 10**18 - 1])
@pytest.mark.parametrize(("resp", "receipt", "expected"), FORMS)
async def test_what_is_looked_for_is_what_is_made_of_it_later(
    connected: str, value: int, resp: str, receipt: str, expected: IdForm
) -> None:
    submitted, reported = format(value, resp), format(value, receipt)
    async with db.transaction() as conn:
        shown = [format(0xABCDEF, resp)] * gateway_ids.ENOUGH
        await gateway_ids.note(conn, GATEWAY, expected, shown)
    made = await db.fetchval(
        "SELECT groupsms_id_as_submitted($1, form, capitals, width) FROM gateway_id_form", reported
    )
    assert made == submitted
    if submitted != reported:
        assert submitted in other_forms(reported)


@pytest.mark.parametrize("odd", ["", "x", "-1", "00", "4D2 ", "1" * 70, "d3c1-77", "１２", "0x4D2", "f" * 16])
async def test_what_is_no_number_stays_as_it_is(connected: str, odd: str) -> None:
    for known in (IdForm.HEX_DECIMAL, IdForm.DECIMAL_HEX):
        made = await db.fetchval("SELECT groupsms_id_as_submitted($1, $2, TRUE, 0::smallint)", odd, known)
        assert made in (odd, "0")
    other_forms(odd)
