"""A database as full as wanted, written straight into the tables."""

from __future__ import annotations

import asyncpg

from domain import message_stores
from domain.imports import CHUNK_SIZE, COUNTER_SHARDS

LONGEST = 1_000_000
"""Messages of the largest task."""
_TASKS_AT_ONCE = 100
_CODES = ["UNDELIV:001", "EXPIRED", "REJECTD:045", "BLACK", "MILIMIT", "DELETED"]


async def fill(database_url: str, pattern: int, *, tasks: int, messages: int) -> int:
    """Add completed tasks like the task `pattern`, with `messages` in all; returns the id of the largest.

    The largest has a million of them, or half of what there is. Each failed for its tenth.
    """
    connection = await asyncpg.connect(database_url, command_timeout=3600)
    try:
        longest = min(LONGEST, messages // 2)
        each = max(10, (messages - longest) // max(tasks - 1, 1))
        ids = [await _task(connection, pattern, longest)]
        for made in range(1, tasks):
            ids.append(await _task(connection, pattern, each))
            if made % _TASKS_AT_ONCE == 0:  # as the sweep does from day to day
                await connection.execute(
                    "SELECT groupsms_close_store(last_value / $1, $1) FROM task_id_seq", message_stores.TASKS
                )
        await connection.execute(
            """
            UPDATE account SET change_seq = (SELECT max(change_seq) FROM task WHERE account_id = account.id)
            WHERE id = (SELECT account_id FROM task WHERE id = $1)
            """,
            pattern,
        )
        await _per_task(connection, ids)
        for first in range(0, len(ids), _TASKS_AT_ONCE):
            await _messages(connection, ids[first : first + _TASKS_AT_ONCE])
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")  # or it would come in the middle of what is measured
        return ids[0]
    finally:
        await connection.close()


async def add_scheduled(connection: asyncpg.Connection[asyncpg.Record], pattern: int, messages: int) -> int:
    """Add a task like the scheduled task `pattern`, with so many numbers; returns its id."""
    task_id = await _task(connection, pattern, messages, scheduled=True)
    await connection.execute(
        """
        INSERT INTO message (task_id, position, number)
        SELECT $1, at, 34600000000 + at FROM generate_series(1, $2::int) AS at
        """,
        task_id,
        messages,
    )
    await connection.execute(
        """
        INSERT INTO chunk (task_id, index, first, last, marked)
        SELECT $1, i, i * $3 + 1, least((i + 1) * $3, $2), i * $3
        FROM generate_series(0, ($2 - 1) / $3) AS i
        """,
        task_id,
        messages,
        CHUNK_SIZE,
    )
    await connection.execute(
        "INSERT INTO task_counter (task_id, shard) SELECT $1, s FROM generate_series(0, $2 - 1) AS s",
        task_id,
        COUNTER_SHARDS,
    )
    return task_id


async def _task(
    connection: asyncpg.Connection[asyncpg.Record], pattern: int, messages: int, *, scheduled: bool = False
) -> int:
    columns = [
        row["column_name"]
        for row in await connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'task'"
        )
    ]
    changed = {
        "id": "$3::bigint",
        "name": "'Notice ' || $3",
        "imported": "$2::int",
        "change_seq": "$3::bigint",
        "created_seq": "$3::bigint",
    }
    if not scheduled:
        changed |= {
            "status": "'COMPLETED'",
            "created_at": "created_at - $3 * interval '0.1 minutes'",
            "started_at": "created_at",
            "sent_at": "created_at",
            "finished_at": "created_at",
            "rest_not_sent": "FALSE",
        }
    values = ", ".join(changed.get(column, column) for column in columns)
    own: int | None = None
    if messages >= message_stores.OWN_FROM:
        own = await connection.fetchval("SELECT groupsms_own_store($1)", message_stores.TASKS)
    async with connection.transaction():
        task_id, store = await message_stores.admit(connection, own)
        await connection.execute(
            f"INSERT INTO task ({', '.join(columns)}) SELECT {values} FROM task WHERE id = $1",
            pattern,
            messages,
            task_id,
        )
        if store.is_new:
            await message_stores.attach(connection, store)
    return task_id


async def _per_task(connection: asyncpg.Connection[asyncpg.Record], ids: list[int]) -> None:
    await connection.execute(
        """
        INSERT INTO task_counter (task_id, shard, revision, delivered, failed)
        SELECT id, shard, 100, imported * 9 / 10 / $2, 0
        FROM task CROSS JOIN generate_series(0, $2::int - 1) AS shard WHERE id = ANY($1)
        """,
        ids,
        COUNTER_SHARDS,
    )
    await connection.execute(
        """
        UPDATE task_counter c SET failed = task.imported - $2 * c.delivered
        FROM task WHERE task.id = c.task_id AND task.id = ANY($1) AND shard = 0
        """,
        ids,
        COUNTER_SHARDS,
    )
    await connection.execute(
        """
        INSERT INTO task_failure (task_id, shard, error_code, messages)
        SELECT id, shard, code, greatest(1, imported / 500)
        FROM task CROSS JOIN generate_series(0, $2::int - 1) AS shard CROSS JOIN unnest($3::text[]) AS code
        WHERE id = ANY($1)
        """,
        ids,
        COUNTER_SHARDS,
        _CODES,
    )


async def _messages(connection: asyncpg.Connection[asyncpg.Record], ids: list[int]) -> None:
    await connection.execute(
        """
        INSERT INTO message (task_id, position, number, result, handover, received_at, error_code)
        SELECT task.id, position, 447400000000 + position, CASE WHEN position % 10 = 0 THEN 3 ELSE 2 END, 1,
               task.created_at, CASE WHEN position % 10 = 0 THEN $2 END
        FROM task CROSS JOIN LATERAL generate_series(1, task.imported) AS position
        WHERE task.id = ANY($1)
        """,
        ids,
        _CODES[0],
    )
