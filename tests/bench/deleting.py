"""Canceling and deleting a task of a million numbers, and what others feel of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg

from api.demo.service_client import ServiceClient
from api.schema.global_ids import encode, key_of
from domain import db, sweep
from tests.bench.figures import Figure
from tests.bench.filling import add_scheduled
from tests.bench.importing import IDLE_SECONDS, p99, waits_for_task
from tests.bench.stage import stage, stopwatch
from tests.e2e.line import create, make_international

NUMBERS = 1_000_000
TASKS = 5
"""Of so many numbers: canceling is over so quickly that one alone says little."""
SPACE_LEFT = 0.05
"""Of what the tasks' messages took, this much may still be taken when they have been deleted."""
_CANCEL = "mutation ($id: ID!) { cancelTask(input: {id: $id}) { task { status } errors { message } } }"
_DELETE = "mutation ($id: ID!) { deleteTask(input: {id: $id}) { deletedTaskId errors { message } } }"


async def bench() -> AsyncIterator[Figure]:
    """Both beside what nobody can do without, and beside a bare DELETE of as many rows."""
    async with stage() as line:
        _, client = await line.api()
        order = await make_international(client, "Our new store opens on Saturday.")
        tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        other, *small = [
            await create(client, order, ["+34600000000"], sendAt=tomorrow) for _ in range(1 + TASKS)
        ]
        connection = await asyncpg.connect(line.database_url, command_timeout=600)
        try:
            big = [
                encode("Task", await add_scheduled(connection, key_of("Task", other), NUMBERS))
                for _ in range(TASKS)
            ]
            update = await _bare_update(connection)
            one = min([await _asked(client, _CANCEL, task_id) for task_id in small])
            million = min([await _asked(client, _CANCEL, task_id) for task_id in big])
            yield Figure("cancelTask, 1,000,000 numbers", million * 1000, "ms", update * 1000,
                         "a bare UPDATE of one row")  # fmt: skip
            yield Figure("… beside a task of 1 number", million * 1000, "ms", one * 1000,
                         "cancelTask, 1 number", at_most=2)  # fmt: skip
            bare = await _bare_delete(connection)
            async with ServiceClient(client.base_url, line.token) as asking:
                idle = await waits_for_task(asking, other, asyncio.create_task(asyncio.sleep(IDLE_SECONDS)))
                before = await _space(connection)
                deleting = asyncio.create_task(_delete_all(client, line.database_url, big))
                busy = await waits_for_task(asking, other, deleting)
            answered, emptied = deleting.result()
            left = await _space(connection)
        finally:
            await connection.close()
        yield Figure("deleteTask, 1,000,000 numbers, to the answer", answered * 1000, "ms", update * 1000,
                     "a bare UPDATE of one row")  # fmt: skip
        yield Figure("… until its numbers are gone", emptied, "s", bare,
                     "a bare DELETE of as many rows", at_most=1)  # fmt: skip
        yield Figure("… space that is not given back", left / 2**20, "MiB", before / 2**20,
                     "taken before", at_most=SPACE_LEFT)  # fmt: skip
        yield Figure("slowest 1 % of `task` queries meanwhile", p99(busy) * 1000, "ms", p99(idle) * 1000,
                     "on an idle server", at_most=3)  # fmt: skip


async def _asked(client: ServiceClient, mutation: str, task_id: str) -> float:
    with stopwatch() as took:
        answer = await client.execute(mutation, id=task_id)
    payload = answer["cancelTask" if mutation is _CANCEL else "deleteTask"]
    assert payload["errors"] == [], payload
    return took[0]


async def _bare_update(connection: db.Connection) -> float:
    """Seconds to change and commit one row, at best."""
    await connection.execute("CREATE TABLE single (id BIGINT PRIMARY KEY, status TEXT NOT NULL)")
    await connection.execute("INSERT INTO single VALUES (1, 'SCHEDULED')")
    waits = []
    for status in ("CANCELED", "SCHEDULED") * 5:
        with stopwatch() as took:
            await connection.execute("UPDATE single SET status = $1 WHERE id = 1", status)
        waits.append(took[0])
    return min(waits)


async def _bare_delete(connection: db.Connection) -> float:
    """Seconds to delete as many rows of a table of the same columns and keys."""
    await connection.execute("CREATE TABLE bare (LIKE message INCLUDING ALL)")
    await connection.execute(
        """
        INSERT INTO bare (task_id, position, number)
        SELECT 1, at, 34600000000 + at FROM generate_series(1, $1::int) AS at
        """,
        NUMBERS,
    )
    with stopwatch() as took:
        await connection.execute("DELETE FROM bare WHERE task_id = 1")
    await connection.execute("DROP TABLE bare")
    return took[0]


async def _delete_all(
    client: ServiceClient, database_url: str, task_ids: Sequence[str]
) -> tuple[float, float]:
    """Delete tasks one by one: seconds to the answer, and then until the numbers are gone, at best."""
    answered: list[float] = []
    emptied: list[float] = []
    async with db.connected(database_url):
        for task_id in task_ids:
            answered.append(await _asked(client, _DELETE, task_id))
            with stopwatch() as took:
                await sweep.tidy()
                await sweep.tend_tables(retention_days=90)
            emptied.append(took[0])
            assert await db.fetchval("SELECT count(*) FROM task_tombstone WHERE emptied_at IS NULL") == 0
    return min(answered), min(emptied)


async def _space(connection: db.Connection) -> float:
    """Octets on disk of all messages, with their indexes."""
    return float(
        await connection.fetchval(
            """
            SELECT coalesce(sum(pg_total_relation_size(relid)), 0)
            FROM (
                SELECT 'message'::regclass AS relid UNION SELECT relid FROM pg_partition_tree('message')
            ) AS part
            """
        )
    )
