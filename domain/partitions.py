"""Taking a partition out of its table without a lock that others would feel."""

from __future__ import annotations

from domain.db import Connection


async def detach(conn: Connection, table: str, part: str) -> None:
    """Take a partition out of its table while others use that; goes on where somebody died doing it.

    Waits for the transactions that use the table at this moment. `conn` is to be in no transaction.
    """
    half_way = await conn.fetchval(
        """
        SELECT inhdetachpending FROM pg_inherits
        WHERE inhparent = $1::text::regclass AND inhrelid = to_regclass($2)
        """,
        table,
        part,
    )
    if half_way is None:
        return
    how = "FINALIZE" if half_way else "CONCURRENTLY"
    await conn.execute(f"ALTER TABLE {table} DETACH PARTITION {part} {how}")
