"""A message whose segments share one gateway id, as one sent as message_payload: one receipt, all of them."""

from dataclasses import replace

import pytest

from domain import db, dispatch, message_reads, receipts
from domain.dispatch import Settlement
from domain.ports import Handover, Outcome, ReceiptState, SegmentHandover
from domain.states import SendResult
from tests.integration.world import LONG_TEXT, World, mainland, receipt

RESULTS = [(ReceiptState.DELIVERED, SendResult.DELIVERED), (ReceiptState.FAILED, SendResult.FAILED)]


@pytest.mark.parametrize(("state", "result"), RESULTS)
@pytest.mark.parametrize("early", [False, True])
async def test_one_receipt_settles_every_segment(
    world: World, state: ReceiptState, result: SendResult, early: bool
) -> None:
    materials = await mainland(world.viewer, content=LONG_TEXT)
    claim = await world.claim(await world.running(2, materials=materials))
    assert await dispatch.mark(claim, 2, [])
    coming = replace(receipt(claim, 1, state), gateway_message_id="whole-1")
    if early:
        await world.receive(coming)
    settled = [
        Settlement(
            position,
            claim.numbers[position],
            Handover(Outcome.ACCEPTED, (SegmentHandover(f"whole-{position}"),) * 3),
        )
        for position in (1, 2)
    ]
    assert await dispatch.settle(claim, settled, 0)
    if early:
        await receipts.apply_waiting(["whole-1", "whole-2"], 0)
    else:
        await world.receive(coming)

    segments = await message_reads.segments_of(claim.task_id, [1, 2])
    assert [segment.result for segment in segments[1]] == [result] * 3
    assert [segment.result for segment in segments[2]] == [SendResult.UNKNOWN] * 3
    task = await world.check(claim.task_id)
    delivered = int(result is SendResult.DELIVERED)
    assert (task.counts.delivered, task.counts.failed, task.counts.unknown) == (delivered, 1 - delivered, 1)
    charged = await db.fetchval("SELECT count(*) FROM segment WHERE task_id = $1 AND charged", claim.task_id)
    assert charged == 3 * delivered, "a mainland task pays for the segments that were delivered"
