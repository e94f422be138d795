"""Taking a partition out of its table without a lock that others would feel."""

from __future__ import annotations

import asyncio

import asyncpg

from domain.db import Connection

WAITS = 500
"""Milliseconds it may wait for others at a time. Meanwhile nobody can attach a part to the table: an import
would wait for whatever this waits for, a backup of hours perhaps."""
TRIES_AGAIN = 1.0
"""Seconds until it tries again."""


async def detach(conn: Connection, table: str, part: str) -> None:
    """Take a partition out of its table while others use that, unless it is out of it already.

    Returns once the transactions that use the table at this moment have ended. Goes on first where somebody
    died doing this: a table takes no more than one at a time. `conn` is to be in no transaction.
    """
    await conn.execute(f"SET lock_timeout = {WAITS}")
    try:
        while (step := await _next_step(conn, table, part)) is not None:
            try:
                await conn.execute(step)
            except asyncpg.LockNotAvailableError:
                await asyncio.sleep(TRIES_AGAIN)
    finally:
        await conn.execute("RESET lock_timeout")


async def _next_step(conn: Connection, table: str, part: str) -> str | None:
    half_way = await conn.fetchval(
        """
        SELECT inhrelid::regclass::text FROM pg_inherits
        WHERE inhparent = $1::text::regclass AND inhdetachpending
        """,
        table,
    )
    if half_way is not None:
        return f"ALTER TABLE {table} DETACH PARTITION {half_way} FINALIZE"
    if await conn.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM pg_inherits WHERE inhparent = $1::text::regclass AND inhrelid = to_regclass($2)
        )
        """,
        table,
        part,
    ):
        return f"ALTER TABLE {table} DETACH PARTITION {part} CONCURRENTLY"
    return None
