"""A database as full as wanted, written straight into the tables."""

from __future__ import annotations

import asyncpg

from domain.imports import COUNTER_SHARDS

LONGEST = 1_000_000
"""Messages of the largest task."""
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
        ids += [await _task(connection, pattern, each) for _ in range(tasks - 1)]
        await connection.execute(
            """
            UPDATE account SET change_seq = (SELECT max(change_seq) FROM task WHERE account_id = account.id)
            WHERE id = (SELECT account_id FROM task WHERE id = $1)
            """,
            pattern,
        )
        await _per_task(connection, ids)
        for first in range(0, len(ids), 100):
            await _messages(connection, ids[first : first + 100])
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")  # or it would come in the middle of what is measured
        return ids[0]
    finally:
        await connection.close()


async def _task(connection: asyncpg.Connection[asyncpg.Record], pattern: int, messages: int) -> int:
    columns = [
        row["column_name"]
        for row in await connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'task'"
        )
    ]
    changed = {
        "id": "nextval('task_id_seq')",
        "name": "'Notice ' || lastval()",
        "status": "'COMPLETED'",
        "created_at": "created_at - lastval() * interval '1 minute'",
        "started_at": "created_at",
        "sent_at": "created_at",
        "finished_at": "created_at",
        "imported": "$2::int",
        "rest_not_sent": "FALSE",
        "change_seq": "lastval()",
        "created_seq": "lastval()",
    }
    values = ", ".join(changed.get(column, column) for column in columns)
    task_id: int = await connection.fetchval(
        f"INSERT INTO task ({', '.join(columns)}) SELECT {values} FROM task WHERE id = $1 RETURNING id",
        pattern,
        messages,
    )
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
