"""Rule "Results from the network": what became of each number, found by result or by the number's end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from domain import message_reads, opt_outs, tasks
from domain.errors import InvalidInput
from domain.message_reads import MessageFilter
from domain.ports import ReceiptState
from domain.states import RowRejection, SendResult, TaskStatus
from tests.integration.world import LONG_TEXT, World, mainland, phones, receipt


async def found(task_id: int, **chosen: object) -> list[str]:
    """The ends of the numbers the filter lets through, read page by page, and counted."""
    filter_ = MessageFilter(**chosen)  # type: ignore[arg-type]
    numbers: list[str] = []
    after = None
    while True:
        page = await message_reads.list_messages(task_id, filter_, first=2, after=after)
        numbers += [each.number[-4:] for each in page.items]
        if not page.has_next:
            break
        after = page.cursors[-1]
    assert await message_reads.count_messages(task_id, filter_) == len(numbers)
    return numbers


async def with_every_result(world: World) -> int:
    """A running task with one number of each result but WAITING, and two of UNKNOWN."""
    task_id = await world.running(5)
    await opt_outs.add_opt_outs(world.viewer, [phones(5)[4]], None, world.intake.limits)
    claim = await world.claim(task_id)
    await world.hand_over(claim)
    await world.receive(receipt(claim, 1), receipt(claim, 2, ReceiptState.FAILED))
    return task_id


@pytest.mark.parametrize(
    ("results", "ends"),
    [
        ([SendResult.DELIVERED], ["0000"]),
        ([SendResult.FAILED], ["0001"]),
        ([SendResult.UNKNOWN], ["0002", "0003"]),
        ([SendResult.NOT_SENT], ["0004"]),
        ([SendResult.WAITING], []),
        ([SendResult.DELIVERED, SendResult.UNKNOWN, SendResult.NOT_SENT], ["0000", "0002", "0003", "0004"]),
        ([], []),
        (None, ["0000", "0001", "0002", "0003", "0004"]),
    ],
)
async def test_by_result(world: World, results: Sequence[SendResult] | None, ends: list[str]) -> None:
    assert await found(await with_every_result(world), result_in=results) == ends


async def test_by_result_and_by_the_end_of_the_number(world: World) -> None:
    task_id = await with_every_result(world)
    assert await found(task_id, number_ends_with="0002") == ["0002"]
    assert await found(task_id, number_ends_with=phones(5)[3][1:]) == ["0003"]
    assert await found(task_id, number_ends_with="0002", result_in=[SendResult.DELIVERED]) == []
    assert await found(task_id, number_ends_with="0009") == []
    for ending in ("002", "+861", "000x", "1" * 16, ""):
        with pytest.raises(InvalidInput, match="4 to 15 digits"):
            await found(task_id, number_ends_with=ending)


async def test_messages_of_a_canceled_task_are_not_sent(world: World) -> None:
    """NOT_SENT: canceled before the hand-over; found as such though nothing was written to each."""
    task_id = await world.create(3, after=timedelta(hours=1))
    assert await found(task_id, result_in=[SendResult.WAITING]) == ["0000", "0001", "0002"]
    await tasks.cancel_task(world.viewer, task_id, world.bell)
    assert (await world.check(task_id)).status is TaskStatus.CANCELED
    assert await found(task_id, result_in=[SendResult.WAITING]) == []
    assert await found(task_id, result_in=[SendResult.NOT_SENT]) == ["0000", "0001", "0002"]
    assert await found(task_id, result_in=[SendResult.NOT_SENT], number_ends_with="0001") == ["0001"]
    (first, *_) = (await message_reads.list_messages(task_id, MessageFilter())).items
    assert first.result is SendResult.NOT_SENT


async def test_the_segments_of_a_message_have_results_of_their_own(world: World) -> None:
    """Life of a task: a long SMS goes out as several segments, one record each."""
    materials = await mainland(world.viewer, content=LONG_TEXT)
    task_id = await world.running(2, materials=materials)
    claim = await world.claim(task_id)
    await world.hand_over(claim)
    await world.receive(
        receipt(claim, 1, segment=1),
        receipt(claim, 1, ReceiptState.FAILED, segment=3, error_code="EXPIRED"),
        receipt(claim, 2, segment=2),
    )
    segments = await message_reads.segments_of(task_id, [1, 2])
    assert [(each.index, each.result, each.error_code) for each in segments[1]] == [
        (1, SendResult.DELIVERED, None),
        (2, SendResult.UNKNOWN, None),
        (3, SendResult.FAILED, "EXPIRED"),
    ]
    assert [each.result for each in segments[2]] == [
        SendResult.UNKNOWN,
        SendResult.DELIVERED,
        SendResult.UNKNOWN,
    ]
    assert segments[1][0].received_at is not None
    assert segments[1][1].received_at is None
    assert await found(task_id, result_in=[SendResult.FAILED]) == ["0000"]
    assert await found(task_id, result_in=[SendResult.UNKNOWN]) == ["0001"]


async def test_rejected_rows_by_reason(world: World) -> None:
    await opt_outs.add_opt_outs(world.viewer, ["13800138009"], None, world.intake.limits)
    rows = {
        "13800138000": None,
        "x": RowRejection.NOT_A_NUMBER,
        "8.6138E+12": RowRejection.LOST_DIGITS,
        "1380013800": RowRejection.WRONG_LENGTH,
        "23800138000": RowRejection.MISSING_COUNTRY_CODE,
        "+999123456789": RowRejection.IMPOSSIBLE_NUMBER,
        "+447400123456": RowRejection.REGION_NOT_ALLOWED,
        "13800138009": RowRejection.OPTED_OUT,
        "+8613800138000": RowRejection.DUPLICATE,
    }
    task_id = await world.create(list(rows))
    for row, (value, reason) in enumerate(rows.items(), start=1):
        if reason is None:
            continue
        (only,) = (await message_reads.list_rejected_rows(task_id, reason)).items
        assert (only.row, only.value, only.reason) == (row, value, reason)
        assert await message_reads.count_rejected_rows(task_id, reason) == 1
    assert await message_reads.count_rejected_rows(task_id, None) == len(RowRejection)
