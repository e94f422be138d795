"""The change feed: who follows it misses nothing, whatever happens at the same time."""

import asyncio
import random
from datetime import timedelta

from domain import db, dispatch, feed, sweep, tasks
from tests.integration.conftest import Travel
from tests.integration.world import World, phones, receipt, settlements

HOUR = timedelta(hours=1)
STOP_AFTER = 20.0


async def follow(world: World, place: int = 0) -> list[feed.Change]:
    return await feed.changes_after(world.viewer.account_id, place)


async def newest(world: World) -> int:
    return await feed.newest_place(world.viewer.account_id)


async def test_each_task_stands_at_its_newest_place_once(world: World) -> None:
    first, second = await world.create(1, after=HOUR), await world.create(1, after=HOUR)
    assert [change.task_id for change in await follow(world)] == [first, second]
    before = await newest(world)
    await tasks.cancel_task(world.viewer, first, world.bell)
    changes = await follow(world)
    assert [(change.task_id, change.deleted) for change in changes] == [(second, False), (first, False)]
    assert [change.task_id for change in await follow(world, before)] == [first]
    assert await follow(world, await newest(world)) == []
    assert (await world.read(first)).change_seq == await newest(world)


async def test_a_creation_is_told_from_a_change(world: World) -> None:
    task_id = await world.create(1, after=HOUR)
    created = await newest(world)
    await tasks.cancel_task(world.viewer, task_id, world.bell)
    [change] = await follow(world)
    assert change.created_place == created < change.place


async def test_a_deletion_is_replayed_and_one_day_forgotten(world: World, travel: Travel) -> None:
    task_id = await world.create(1, after=HOUR)
    kept = await world.create(1, after=HOUR)
    await tasks.cancel_task(world.viewer, task_id, world.bell)
    place = await newest(world)
    await tasks.delete_task(world.viewer, task_id, world.bell)
    deletion = await newest(world)
    await sweep.tidy()
    assert [(c.task_id, c.deleted, c.created_place) for c in await follow(world, place)] == [
        (task_id, True, 0)
    ]
    assert (await feed.extent(world.viewer.account_id)).oldest == 0

    await travel(timedelta(days=sweep.TOMBSTONE_DAYS) + HOUR)
    await sweep.tidy()
    assert [change.task_id for change in await follow(world)] == [kept]
    assert await feed.extent(world.viewer.account_id) == feed.Extent(oldest=deletion, newest=deletion)


async def test_a_page_ends_where_the_next_begins(world: World) -> None:
    made = [await world.create(1, after=HOUR) for _ in range(7)]
    await tasks.cancel_task(world.viewer, made[2], world.bell)
    await tasks.delete_task(world.viewer, made[2], world.bell)
    found: list[feed.Change] = []
    while page := await feed.changes_after(world.viewer.account_id, found[-1].place if found else 0, limit=2):
        assert len(page) <= 2
        found += page
    assert [change.task_id for change in found] == [*made[:2], *made[3:], made[2]]


async def test_an_account_sees_only_its_own_changes(world: World) -> None:
    other = await World.make("Other")
    mine, theirs = await world.create(1), await other.create(1)
    assert [change.task_id for change in await follow(world)] == [mine]
    assert [change.task_id for change in await follow(other)] == [theirs]
    assert (await newest(world), await newest(other)) == (1, 1)


async def test_who_polls_while_many_change_misses_nothing(world: World) -> None:
    changing = True
    newest_known: dict[int, int] = {}
    seen: list[int] = []

    async def poll() -> None:
        place = 0
        while True:
            done = not changing
            for change in await feed.changes_after(world.viewer.account_id, place, limit=3):
                assert change.place > place
                place = change.place
                seen.append(place)
                newest_known[change.task_id] = change.place
            if done and place == await newest(world):
                return

    async def change(index: int) -> None:
        task_id = await world.create(phones(2, first=10 * index), after=HOUR)
        await asyncio.sleep(0)
        await tasks.cancel_task(world.viewer, task_id, world.bell)
        if index % 2:
            await tasks.delete_task(world.viewer, task_id, world.bell)

    pollers = [asyncio.create_task(poll()) for _ in range(3)]
    await asyncio.gather(*(change(index) for index in range(60)))
    changing = False
    async with asyncio.timeout(STOP_AFTER):
        await asyncio.gather(*pollers)
    expected = {
        row["id"]: row["change_seq"]
        for row in await db.fetch(
            "SELECT id, change_seq FROM task UNION ALL SELECT task_id, change_seq FROM task_tombstone"
        )
    }
    assert newest_known == expected
    assert len(expected) == 60
    # Places were taken without gaps: nothing became visible behind a reader's back.
    assert await newest(world) == 60 * 2 + 30


async def test_progress_is_announced_once_and_only_if_there_was_some(world: World) -> None:
    claim = await world.claim(await world.running(4))
    place = await newest(world)
    assert await feed.announce_progress(claim.task_id) is None
    assert await dispatch.mark(claim, 4, [])
    assert await feed.announce_progress(claim.task_id) is None
    assert await dispatch.settle(claim, settlements(claim, [1, 2]), 0)
    assert await feed.announce_progress(claim.task_id) == world.viewer.account_id
    assert await feed.announce_progress(claim.task_id) is None
    assert [change.task_id for change in await follow(world, place)] == [claim.task_id]


async def test_progress_of_a_worker_that_died_is_announced_by_the_sweep(world: World) -> None:
    paused, running = await world.claim(await world.running(2)), await world.claim(await world.running(2))
    for claim in (paused, running):
        assert await dispatch.mark(claim, 1, [])
        assert await dispatch.settle(claim, settlements(claim, [1]), 0)
    await db.fetch("UPDATE task SET status = 'PAUSED' WHERE id = $1", paused.task_id)
    assert set(await feed.unannounced()) == {paused.task_id, running.task_id}
    place = await newest(world)
    await sweep.recover(world.bell, 0)
    assert {change.task_id for change in await follow(world, place)} == {paused.task_id, running.task_id}
    assert await feed.unannounced() == []


async def test_moving_a_task_on_and_announcing_it_never_deadlock(world: World) -> None:
    order = random.Random(3)
    before: int = await db.fetchval(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    for _ in range(6):
        claim = await world.claim(await world.running(8))
        assert await dispatch.mark(claim, 8, [])
        for position in range(1, 8):
            assert await dispatch.settle(claim, settlements(claim, [position]), position)
            await asyncio.gather(
                world.receive(receipt(claim, position), shard=order.randrange(4)),
                *(tasks.advance_task(claim.task_id, world.bell) for _ in range(6)),
                *(feed.announce_progress(claim.task_id) for _ in range(6)),
            )
        assert await dispatch.settle(claim, settlements(claim, [8]), 0)
        assert await dispatch.finish(claim)
        await asyncio.gather(
            world.receive(receipt(claim, 8)),
            *(tasks.advance_task(claim.task_id, world.bell) for _ in range(6)),
            *(feed.announce_progress(claim.task_id) for _ in range(6)),
        )
        await world.advance(claim.task_id)
    await db.fetch("SELECT pg_stat_force_next_flush()")
    after: int = await db.fetchval(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    assert after == before
