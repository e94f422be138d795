"""Messages live in stores: each import finds one, nobody waits, and what nobody keeps is dropped whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest

from domain import db, dispatch, message_reads, message_stores, receipts, segment_days, sweep, tasks
from domain.message_reads import MessageFilter
from domain.message_stores import Store
from domain.states import TaskStatus
from tests.integration.conftest import Travel
from tests.integration.world import World, eventually, settlements

HOUR = timedelta(hours=1)
LARGE = 5


@pytest.fixture(autouse=True)
def stores_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task of five numbers is a large one here."""
    monkeypatch.setattr(message_stores, "OWN_FROM", LARGE)


async def stores() -> dict[int, bool]:
    """The stores by their numbers, and whether each is shared."""
    return {
        row["number"]: row["shared"]
        for row in await db.fetch("SELECT number, shared FROM message_store ORDER BY number")
    }


async def parts(table: str) -> set[str]:
    """The tables that are part of a table, also those that have left it and are still there."""
    rows = await db.fetch(
        "SELECT relname FROM pg_class WHERE relname ~ $1 AND relkind = 'r'", f"^{table}_[0-9]"
    )
    return {row["relname"] for row in rows}


async def where(task_id: int) -> str:
    """The table that has a task's messages."""
    name: str = await db.fetchval(
        "SELECT DISTINCT tableoid::regclass::text FROM message WHERE task_id = $1", task_id
    )
    return name


async def deleted(world: World, task_id: int) -> None:
    await tasks.cancel_task(world.viewer, task_id, world.bell)
    await tasks.delete_task(world.viewer, task_id, world.bell)


@asynccontextmanager
async def using_messages(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Somebody else's transaction that has read messages and goes on."""
    other = await asyncpg.connect(url)
    try:
        transaction = other.transaction()
        await transaction.start()
        await other.fetch("SELECT count(*) FROM message")
        yield other
        await transaction.rollback()
    finally:
        await other.close()


async def is_half_way() -> object:
    return await db.fetchval("SELECT EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)")


async def is_waiting() -> object:
    return await db.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FINALIZE%'
        )
        """
    )


async def test_a_large_task_has_a_store_of_its_own_and_small_ones_share(world: World) -> None:
    made = [await world.create(count, after=HOUR) for count in (1, LARGE, 2, LARGE, LARGE - 1, 1)]
    assert made == sorted(made)
    homes = [await where(task_id) for task_id in made]
    assert homes[4] == homes[5]
    assert len({homes[1], homes[3], homes[4]}) == 3
    for task_id in made:
        await world.check(task_id)
    assert sorted((await stores()).values()) == [False, False, True, True, True]


async def test_many_imports_at_once_all_find_a_store(world: World) -> None:
    counts = [1, LARGE, 2, 3] * 4
    made = await asyncio.gather(*(world.create(count, after=HOUR) for count in counts))
    assert len(set(made)) == len(counts)
    for task_id, count in zip(made, counts, strict=True):
        assert (await world.check(task_id)).counts.total == count
    own = [await where(task_id) for task_id, count in zip(made, counts, strict=True) if count == LARGE]
    assert len(set(own)) == len(own)


async def test_a_store_takes_in_tasks_for_a_day_or_until_it_is_full(
    world: World, travel: Travel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await world.create(1)
    await message_stores.close_old()
    assert await where(await world.create(1)) == await where(first)
    await travel(message_stores.OPEN_FOR + HOUR)
    await message_stores.close_old()
    second = await world.create(1)
    assert await where(second) != await where(first)
    monkeypatch.setattr(message_stores, "FULL", 1)
    last = await world.create(1)
    assert await where(last) == await where(second)
    assert await where(await world.create(1)) != await where(last)


async def test_a_task_that_is_stored_has_not_failed_when_the_database_goes_away_right_then(
    world: World, connected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_stores, "FULL", 0)
    other = await asyncpg.connect(connected)
    try:
        holding = other.transaction()
        await holding.start()
        await other.fetch("SELECT groupsms_close_store(-1, $1)", message_stores.TASKS)
        creating = asyncio.create_task(world.create(1))

        async def terminated() -> object:
            return await other.fetchval(
                """
                SELECT bool_or(pg_terminate_backend(pid)) FROM pg_locks
                WHERE locktype = 'advisory' AND NOT granted
                """
            )

        await eventually(terminated)
        await world.check(await creating)
        await holding.rollback()
    finally:
        await other.close()
    await world.create(1)  # closes it


async def test_an_import_that_fails_leaves_no_table(world: World) -> None:
    await db.fetch("SELECT groupsms_close_store(0, $1)", message_stores.TASKS)
    before = await stores(), await parts("message")
    await db.fetch("ALTER TABLE chunk ADD CONSTRAINT refuse CHECK (FALSE)")
    for count in (1, LARGE):
        with pytest.raises(asyncpg.CheckViolationError):
            await world.create(count)
    assert (await stores(), await parts("message")) == before


async def test_a_deleted_large_task_goes_with_its_store_and_no_row_is_deleted(world: World) -> None:
    kept, gone = await world.create(LARGE, after=HOUR), await world.create(LARGE, after=HOUR)
    home = await where(gone)
    await deleted(world, gone)
    await sweep.tidy()
    assert await db.fetchval(f"SELECT count(*) FROM {home}") == LARGE, "removed row by row"
    assert await message_stores.drop_unneeded() == 2, "with the one before it, which is empty"
    assert await parts("message") == {await where(kept)}
    assert len(await parts("rejected_row")) == 1
    assert await db.fetchval("SELECT emptied_at FROM task_tombstone WHERE task_id = $1", gone)
    assert await message_stores.drop_unneeded() == 0
    await world.check(kept)


async def test_dropping_a_store_holds_up_nobody_and_waits_for_who_is_reading(
    world: World, connected: str
) -> None:
    running = await world.running(2)
    await deleted(world, await world.create(LARGE, after=HOUR))
    async with using_messages(connected):
        dropping = asyncio.create_task(message_stores.drop_unneeded())
        await eventually(is_half_way)
        await world.hand_over(await world.claim(running))
        assert (await world.advance(running)).status is TaskStatus.SENT
        await world.create(LARGE, after=HOUR)
        assert await message_stores.drop_unneeded() == 0, "two at once"
        assert not dropping.done()
    assert await dropping == 1
    assert not await is_half_way()


async def test_dropping_goes_on_where_a_process_died(world: World, connected: str) -> None:
    kept = await world.create(LARGE, after=HOUR)
    await deleted(world, await world.create(LARGE, after=HOUR))
    async with using_messages(connected) as other:
        dropping = asyncio.create_task(message_stores.drop_unneeded())
        await eventually(is_half_way)
        await other.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%DETACH%' AND pid <> "
            "pg_backend_pid()"
        )
        with pytest.raises(db.UNAVAILABLE):
            await dropping
    assert await is_half_way()
    await world.create(LARGE, after=HOUR)  # is attached beside what is half gone
    assert await message_stores.drop_unneeded() == 2
    assert not await is_half_way()
    assert len(await parts("message")) == 2
    await world.check(kept)


async def test_what_a_process_left_half_dropped_waits_for_a_backup_and_no_import_waits_with_it(
    world: World, connected: str
) -> None:
    await deleted(world, await world.create(LARGE, after=HOUR))
    async with using_messages(connected):
        dropping = asyncio.create_task(message_stores.drop_unneeded())
        await eventually(is_half_way)
        dropping.cancel()
        await asyncio.wait([dropping])
    backup = await asyncpg.connect(connected)
    try:
        reading = backup.transaction(isolation="repeatable_read")
        await reading.start()
        await backup.fetch("SELECT FROM account")
        dropping = asyncio.create_task(message_stores.drop_unneeded())
        await eventually(is_waiting)
        async with asyncio.timeout(10):
            made = await world.create(LARGE, after=HOUR)
        assert not dropping.done()
        await reading.rollback()
    finally:
        await backup.close()
    assert await dropping == 2
    assert not await is_half_way()
    await world.check(made)


async def test_a_store_stays_while_somebody_imports_into_it(world: World, connected: str) -> None:
    await deleted(world, await world.create(1, after=HOUR))
    [store] = await stores()
    importing = await asyncpg.connect(connected)
    try:
        transaction = importing.transaction()
        await transaction.start()
        assert (await message_stores.admit(importing))[1] == Store(store, is_new=False)
        await db.fetch("SELECT groupsms_close_store($1, $2)", store, message_stores.TASKS)
        assert await message_stores.drop_unneeded() == 0
        await transaction.rollback()
    finally:
        await importing.close()
    assert await message_stores.drop_unneeded() == 1
    await world.check(await world.create(1))


# --- days ---------------------------------------------------------------------------------------


async def test_days_are_made_ahead_and_on_the_day_itself(world: World, travel: Travel) -> None:
    await segment_days.open_ahead()  # midnight may have passed since the migrations
    today = await parts("segment")
    await segment_days.open_ahead()
    assert await parts("segment") == today
    await travel(timedelta(days=40))
    await world.sent(2)  # on a day that nobody has made
    assert len(await parts("segment")) == len(today) + 1
    await asyncio.gather(*(segment_days.open_ahead() for _ in range(4)))
    assert len(await parts("segment")) == len(today) + 1 + segment_days.AHEAD


async def test_what_a_dead_worker_left_is_taken_back_on_a_day_that_is_missing(world: World) -> None:
    claim = await world.claim(await world.running(2))
    assert await dispatch.mark(claim, 2, [])
    await db.fetch("UPDATE chunk SET lease_until = groupsms_now() - interval '20 days'")
    await sweep.recover(world.bell, 0)
    assert (await world.check(claim.task_id)).counts.in_doubt == 2


async def test_a_day_stays_until_what_was_held_on_it_is_taken_back(world: World, travel: Travel) -> None:
    claim = await world.claim(await world.running(2))
    assert await dispatch.mark(claim, 2, [])
    day = f"segment_{await db.fetchval('SELECT max(lease_until) FROM chunk'):%Y%m%d}"
    await travel(timedelta(days=9))  # and no worker ran meanwhile
    for _ in ("lease", "segments"):
        await segment_days.drop_older_than(timedelta(days=7))
        assert day in await parts("segment")
        await sweep.recover(world.bell, 0)
    assert (await world.check(claim.task_id)).counts.in_doubt == 2
    await db.fetch("UPDATE task SET messages_purged_at = groupsms_now()")
    await segment_days.drop_older_than(timedelta(days=7))
    assert day not in await parts("segment")


# --- what statements read -----------------------------------------------------------------------


def nodes(plan: dict[str, object]) -> list[dict[str, object]]:
    """A plan's nodes, each with those below."""
    below = plan.get("Plans", [])
    assert isinstance(below, list)
    return [plan, *(node for each in below for node in nodes(each))]


async def reads(sql: str, *arguments: object) -> dict[str, set[str]]:
    """Which parts of `message` and `segment` a statement uses, each with the indexes it is read by."""
    async with db.transaction() as conn:
        await conn.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        await conn.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        explained = await conn.fetchval(f"EXPLAIN (FORMAT JSON) {sql}", *arguments)
    found: dict[str, set[str]] = {}
    for node in nodes(json.loads(explained)[0]["Plan"]):
        table = str(node.get("Relation Name", ""))
        if table.startswith(("message_", "segment_")):
            found.setdefault(table, set())
            if "Index Name" in node:
                found[table].add(str(node["Index Name"]))
    return found


async def test_settling_touches_one_store(world: World) -> None:
    for _ in range(3):
        await world.create(LARGE, after=HOUR)
    task_id = await world.running(LARGE)
    home, claim = await where(task_id), await world.claim(task_id)
    answers = settlements(claim, claim.numbers)
    found = await reads(dispatch._SETTLE, *dispatch._arguments(claim, answers, 0))
    assert found == {home: {f"{home}_pkey"}}


async def test_no_statement_is_ever_planned_for_all_stores(world: World) -> None:
    for _ in range(3):
        await world.create(LARGE, after=HOUR)
    task_id = await world.running(LARGE)
    home, claim = await where(task_id), await world.claim(task_id)
    arguments = dispatch._arguments(claim, settlements(claim, claim.numbers), 0)
    async with db.transaction() as conn:
        # From the sixth time on PostgreSQL would have a plan for any arguments.
        for _ in range(10):
            await conn.fetchval(dispatch._SETTLE, *arguments)
        locked = await conn.fetch(
            """
            SELECT DISTINCT relname FROM pg_locks JOIN pg_class ON pg_class.oid = relation
            WHERE pid = pg_backend_pid() AND relkind = 'r' AND relname ~ '^message_[0-9]'
            """
        )
    assert {row["relname"] for row in locked} == {home}


async def test_pages_of_messages_are_read_from_one_store_by_its_key(world: World) -> None:
    made = [await world.create(LARGE, after=HOUR) for _ in range(3)]
    home = await where(made[1])
    arguments = message_reads._message_arguments(made[1], MessageFilter())
    found = await reads(
        f"{message_reads._MESSAGES} AND m.position > $5 ORDER BY m.position LIMIT $6", *arguments, 3, 2
    )
    assert found == {home: {f"{home}_pkey"}}


async def test_receipts_are_looked_for_among_the_days_they_can_be_about(world: World, travel: Travel) -> None:
    await world.sent(1)
    old = await parts("segment")
    await travel(timedelta(days=30))
    await segment_days.open_ahead()
    now = await db.fetchval("SELECT groupsms_now()")
    found = await reads(
        receipts._MATCH.replace("{which}", "r.id = ANY($1::bigint[])"),
        [1],
        receipts.LATEST,
        receipts.AHEAD,
        receipts.AHEAD,
        0,
        now - receipts.LATEST,
        now + receipts.AHEAD,
    )
    days = {table for table in found if table.startswith("segment_")}
    assert days
    assert not days & old
    assert all(found[day] == {f"{day}_gateway_message_id_idx"} for day in days)
