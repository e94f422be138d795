"""Rule of createTask: the same key and the same request give the first answer again, and nothing twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from domain import db, idempotency, sweep, task_control, task_creation, task_orders
from domain.errors import Busy, InvalidInput, KeyReused, RecipientListError
from domain.idempotency import HeldKey
from domain.imports import insert_task
from domain.task_creation import Conditions, Created
from domain.task_orders import TaskOrder
from tests.integration.conftest import Travel
from tests.integration.world import World, phones

KEYED = Conditions(idempotency_key="order 66")


async def create(world: World, order: TaskOrder, conditions: Conditions = KEYED) -> Created:
    return await task_creation.create_task(world.viewer, order, world.intake, world.bell, conditions)


async def tasks_stored() -> int:
    count: int = await db.fetchval("SELECT count(*) FROM task")
    return count


async def test_the_same_request_again_gives_the_first_answer(world: World) -> None:
    order = world.order([*phones(3), "nobody"])
    first = await create(world, order)
    assert await create(world, order) == first
    assert await tasks_stored() == 1


async def test_twenty_at_once_make_one_task(world: World) -> None:
    order = world.order(phones(2000))
    answers = await asyncio.gather(*(create(world, order) for _ in range(20)))
    assert len({answer.task_id for answer in answers}) == 1
    assert await tasks_stored() == 1


async def test_a_file_counts_by_its_content(world: World, tmp_path: Path) -> None:
    first, second, other = (tmp_path / name for name in ("a.csv", "b.csv", "c.csv"))
    first.write_text("\n".join(phones(3)))
    second.write_text("\n".join(phones(3)))
    other.write_text("\n".join(phones(4)))
    order = replace(world.order(1), recipients=first)
    answer = await create(world, order)
    assert await create(world, replace(order, recipients=second)) == answer
    with pytest.raises(KeyReused):
        await create(world, replace(order, recipients=other))


@pytest.mark.parametrize("change", [{"name": "Another"}, {"recipients": phones(2, first=9)}])
async def test_the_key_with_another_request_is_refused(world: World, change: dict[str, object]) -> None:
    order = world.order(phones(3))
    await create(world, order)
    with pytest.raises(KeyReused, match="another request"):
        await create(world, replace(order, **change))  # type: ignore[arg-type]
    assert await tasks_stored() == 1


async def test_another_account_may_use_the_same_key(world: World) -> None:
    other = await World.make("other")
    await create(world, world.order(phones(3)))
    await create(other, other.order(phones(3)))
    assert await tasks_stored() == 2


async def test_a_request_that_failed_leaves_the_key_free(world: World) -> None:
    with pytest.raises(RecipientListError):
        await create(world, world.order(["nobody"]))
    await create(world, world.order(phones(1)))


async def test_who_comes_while_the_first_works_waits_for_its_answer(world: World) -> None:
    order = world.order(phones(3))
    request_hash = await task_creation.request_hash(order, KEYED)
    async with idempotency.taken(world.viewer.account_id, "order 66", request_hash) as held:
        assert isinstance(held, HeldKey)
        waiting = asyncio.create_task(create(world, order))
        await asyncio.sleep(0.3)
        assert not waiting.done()
    await waiting
    assert await tasks_stored() == 1


async def test_a_dead_request_is_taken_over_when_its_lease_is_over(world: World, travel: Travel) -> None:
    order = world.order(phones(3))
    await db.fetch(
        """
        INSERT INTO idempotency_key (account_id, key, request_hash, owner, lease_until)
        VALUES ($1, 'order 66', $2, $3, groupsms_now() + $4)
        """,
        world.viewer.account_id,
        await task_creation.request_hash(order, KEYED),
        uuid4(),
        idempotency.LEASE,
    )
    waiting = asyncio.create_task(create(world, order))
    await travel(idempotency.LEASE)
    await waiting
    assert await tasks_stored() == 1


async def test_who_lost_the_key_stores_nothing(world: World) -> None:
    lost = HeldKey(world.viewer.account_id, "order 66", uuid4())
    order = world.order(phones(3))
    prepared = await task_orders.prepare(world.viewer, order, world.intake)

    async def bind(conn: db.Connection, task_id: int) -> None:
        await lost.bind(conn, {"task_id": task_id}, prepared.send_at)

    new = task_creation.new_task(world.viewer, prepared)
    with pytest.raises(Busy):
        await insert_task(new, prepared.recipients, prepared.summary, also=bind)
    assert await tasks_stored() == 0


async def test_a_key_lives_until_24_hours_after_the_send_time(world: World, travel: Travel) -> None:
    now = await db.fetchval("SELECT groupsms_now()")
    order = world.order(phones(1), send_at=now + timedelta(hours=2))
    first = await create(world, order)
    await travel(timedelta(hours=25, minutes=59))
    await sweep.tidy()
    assert await create(world, order) == first
    await travel(timedelta(hours=26, seconds=1))
    await sweep.tidy()
    assert await db.fetchval("SELECT count(*) FROM idempotency_key") == 0


async def test_the_key_of_a_rescheduled_task_lives_as_much_longer(world: World, travel: Travel) -> None:
    now = await db.fetchval("SELECT groupsms_now()")
    order = world.order(phones(1), send_at=now + timedelta(hours=2))
    first = await create(world, order)
    later = now + timedelta(hours=20)
    await task_control.reschedule_task(world.viewer, first.task_id, later, world.bell)
    await travel(timedelta(hours=43))
    await sweep.tidy()
    assert await create(world, order) == first


@pytest.mark.parametrize("key", ["", "x" * 256, "\0"])
async def test_a_key_that_cannot_be_one_is_refused(world: World, key: str) -> None:
    with pytest.raises(InvalidInput, match="1 to 255"):
        await create(world, world.order(phones(1)), Conditions(idempotency_key=key))
