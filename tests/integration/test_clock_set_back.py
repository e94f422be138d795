"""Receipts of messages handed over before the database's clock was set back."""

from __future__ import annotations

from datetime import timedelta

from tests.integration.conftest import Travel
from tests.integration.world import World, receipt


async def test_a_receipt_finds_its_message_though_the_clock_was_set_back_since(
    world: World, travel: Travel
) -> None:
    await travel(timedelta(hours=2))
    task_id = await world.running(3)
    claim = await world.claim(task_id)
    await world.hand_over(claim)
    await travel(timedelta())
    await world.receive(*(receipt(claim, position) for position in (1, 2, 3)))
    assert (await world.check(task_id)).counts.delivered == 3
