"""The table of the audit log: only ever added to, and dropped by the month."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

from domain import audit, audit_reads, db
from domain.audit import AuditAction
from tests.integration.conftest import Travel
from tests.integration.world import World


async def months() -> set[str]:
    rows = await db.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'audit_entry'::regclass"
    )
    return {row["name"] for row in rows}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET actor_name = 'somebody else'",
        "DELETE FROM audit_entry",
        "TRUNCATE audit_entry",
        "TRUNCATE {partition}",
        "DELETE FROM {partition}",
        "UPDATE {partition} SET at = at",
        "TRUNCATE audit_entry_rest",
    ],
)
async def test_what_is_written_stays_so(world: World, statement: str) -> None:
    partition = await db.fetchval("SELECT tableoid::regclass::text FROM audit_entry LIMIT 1")
    before = await db.fetchval("SELECT count(*) FROM audit_entry")
    with pytest.raises(asyncpg.PostgresError, match="never changed or removed"):
        await db.fetch(statement.format(partition=partition))
    assert await db.fetchval("SELECT count(*) FROM audit_entry") == before


async def test_months_are_made_ahead_and_dropped_when_they_are_old(world: World, travel: Travel) -> None:
    old = await db.fetchval("SELECT tableoid::regclass::text FROM audit_entry LIMIT 1")
    await audit.keep_months(730)
    assert await audit_reads.count_entries(world.viewer.account_id) > 0
    await travel(timedelta(days=800))
    await world.create(1)  # no month was made for it
    await audit.keep_months(730)
    await audit.keep_months(730)
    assert old not in await months()
    assert len(await months()) >= 3
    (entry,) = (await audit_reads.list_entries(world.viewer.account_id)).items
    assert entry.action is AuditAction.TASK_CREATED


async def test_who_reads_for_long_is_waited_for_until_the_next_time(
    connected: str, world: World, travel: Travel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "LOCKED_WITHIN", "50ms")
    old = await db.fetchval("SELECT tableoid::regclass::text FROM audit_entry LIMIT 1")
    reader = await asyncpg.connect(connected)
    try:
        await travel(timedelta(days=800))
        async with reader.transaction():
            assert await reader.fetchval("SELECT count(*) FROM audit_entry")
            await audit.keep_months(730)
            assert old in await months()
        await audit.keep_months(730)
        assert old not in await months()
    finally:
        await reader.close()
