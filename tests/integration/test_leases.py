"""Leases when the database's clock is set, and claims of one chunk that overlap."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from domain import db, dispatch, recovery, sweep
from domain.dispatch import LEASE
from domain.states import TaskStatus
from tests.integration.conftest import Travel
from tests.integration.world import World, settlements

TWO_HOURS = timedelta(hours=2)
SECOND = timedelta(seconds=1)

HELD_KEY = """
    INSERT INTO idempotency_key (account_id, key, request_hash, owner, lease_until)
    VALUES ($1, 'once', '', $2, groupsms_now())
"""
HELD_BIND_WORKER = """
    INSERT INTO bind_worker (gateway, worker, able, since, lease_until)
    VALUES ('default', $1, TRUE, groupsms_now(), groupsms_now())
"""
HELD_BIND = """
    INSERT INTO bind_slot (gateway, slot, owner, lease_until) VALUES ('default', 1, $1, groupsms_now())
"""


async def test_a_dead_workers_chunk_is_free_soon_after_the_clock_was_set_back(
    world: World, travel: Travel
) -> None:
    await travel(TWO_HOURS)
    task_id = await world.running(100)
    dead = await world.claim(task_id)
    assert await dispatch.mark(dead, 30, [])
    await travel(timedelta())
    await sweep.recover(world.bell, 0)
    assert await dispatch.claim(task_id, uuid4()) is None, "its holder may be alive"
    await travel(LEASE + SECOND)
    await sweep.recover(world.bell, 0)
    assert (await world.check(task_id)).counts.in_doubt == 30
    assert len((await world.claim(task_id)).numbers) == 70


async def test_a_living_worker_loses_nothing_when_the_clock_is_set_back(world: World, travel: Travel) -> None:
    await travel(TWO_HOURS)
    task_id = await world.running(100)
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 30, [])
    await travel(timedelta())
    await sweep.recover(world.bell, 0)
    assert await dispatch.settle(claim, settlements(claim, range(1, 31)), 0)
    await travel(LEASE - SECOND)
    await sweep.recover(world.bell, 0)
    assert await dispatch.mark(claim, 100, [])
    assert await dispatch.settle(claim, settlements(claim, range(31, 101)), 0)
    assert await dispatch.finish(claim)
    task = await world.advance(task_id)
    assert (task.status, task.counts.in_doubt) == (TaskStatus.SENT, 0)


@pytest.mark.parametrize(("table", "leased", "length"), recovery.LEASES)
async def test_only_leases_that_nobody_can_have_are_shortened(
    world: World, table: str, leased: str, length: timedelta
) -> None:
    task_id = await world.running(100)
    await world.claim(task_id)
    owner = uuid4()
    await db.fetch(HELD_KEY, world.viewer.account_id, owner)
    await db.fetch(HELD_BIND_WORKER, owner)
    await db.fetch(HELD_BIND, owner)
    for given, kept in ((length, True), (length + timedelta(hours=1), False)):
        await db.fetch(f"UPDATE {table} SET lease_until = groupsms_now() + $1 WHERE {leased}", given)
        before = await db.fetchval(f"SELECT lease_until FROM {table} WHERE {leased}")
        await recovery.shorten_leases()
        after = await db.fetchval(f"SELECT lease_until FROM {table} WHERE {leased}")
        now = await db.fetchval("SELECT groupsms_now()")
        assert (after == before) is kept
        assert after <= now + length


async def test_a_claim_whose_lease_is_over_writes_nothing_beside_its_successor(world: World) -> None:
    task_id = await world.running(100)
    former = await world.claim(task_id)
    assert await dispatch.mark(former, 40, [])
    await db.fetch("UPDATE chunk SET lease_until = groupsms_now()")

    async def refused() -> None:
        before = await db.fetch("SELECT * FROM chunk")
        assert await dispatch.mark(former, 50, []) is None
        assert not await dispatch.settle(former, settlements(former, range(1, 41)), 0)
        assert not await dispatch.release(former, 40, [40])
        assert not await dispatch.finish(former)
        assert await dispatch.renew([former.owner]) == set()
        assert await db.fetch("SELECT * FROM chunk") == before

    await refused()
    await sweep.recover(world.bell, 0)
    await refused()
    successor = await world.claim(task_id)
    await refused()
    assert min(successor.numbers) == 41
    await world.hand_over(successor)
    await refused()
    task = await world.advance(task_id)
    assert (task.counts.in_doubt, task.counts.unknown) == (40, 100)
