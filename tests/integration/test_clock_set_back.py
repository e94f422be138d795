"""Receipts of messages handed over before the database's clock was set back."""

from __future__ import annotations

from datetime import timedelta

from domain import db, dispatch, sweep
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


async def test_what_waits_for_its_next_look_does_not_wait_as_long_as_the_clock_was_set_back(
    world: World, travel: Travel
) -> None:
    """The receipt names a message in doubt, and is that of no other."""
    await travel(timedelta(hours=2))
    task_id = await world.running(3)
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 3, [])
    await world.receive(receipt(claim, 2))
    await travel(timedelta())
    await sweep.recover(world.bell, 0)
    assert await db.fetchval("SELECT next_look <= groupsms_now() FROM receipt_inbox")
