"""What a request costs: the statements this process sends to the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from asyncpg.connection import LoggedQuery

from domain import db


@asynccontextmanager
async def counted_queries() -> AsyncIterator[list[str]]:
    """What this process asks of the database meanwhile, those of every connection."""
    asked: list[str] = []

    def note(record: LoggedQuery) -> None:
        if "RESET ALL" not in record.query:  # the pool tidying up
            asked.append(record.query)

    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(db.connection()) for _ in range(db.POOL_SIZE)]
        connections = [connection._con for connection in held]  # type: ignore[union-attr]
        for connection in connections:
            connection.add_query_logger(note)
    try:
        yield asked
    finally:
        for connection in connections:
            connection.remove_query_logger(note)
