"""Taking a partition out of its table without a lock that others would feel."""

from __future__ import annotations

from domain.db import Connection


async def detach(conn: Connection, table: str, part: str) -> None:
    """Take a partition out of its table while others use that, unless it is out of it already.

    Waits for the transactions that use the table at this moment. Goes on first where somebody died doing
    this: a table takes no more than one at a time. `conn` is to be in no transaction.
    """
    half_way = await conn.fetchval(
        """
        SELECT inhrelid::regclass::text FROM pg_inherits
        WHERE inhparent = $1::text::regclass AND inhdetachpending
        """,
        table,
    )
    if half_way is not None:
        await conn.execute(f"ALTER TABLE {table} DETACH PARTITION {half_way} FINALIZE")
    if await conn.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM pg_inherits WHERE inhparent = $1::text::regclass AND inhrelid = to_regclass($2)
        )
        """,
        table,
        part,
    ):
        await conn.execute(f"ALTER TABLE {table} DETACH PARTITION {part} CONCURRENTLY")
