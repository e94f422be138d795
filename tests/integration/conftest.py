"""A database whose clock can be moved, and a small world in it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from domain import db, imports
from domain.engines import Engines
from tests.integration.world import World, eventually


class Travel:
    """Moves the clock by which the database decides everything; the machine's own clock stays."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url

    async def __call__(self, ahead: timedelta) -> None:
        """Let it be so much later than it really is."""
        await self._set(f"SET groupsms.clock_offset = '{ahead.total_seconds()} seconds'")
        async with AsyncExitStack() as stack:
            for _ in range(db.POOL_SIZE):
                await _sees(await stack.enter_async_context(db.connection()), ahead)

    async def to(self, moment: datetime) -> None:
        """Let it be this moment now; time goes on from there."""
        await self(moment - datetime.now(UTC))

    async def back(self) -> None:
        """Let it be the present again."""
        await self._set("RESET groupsms.clock_offset")

    async def _set(self, what: str) -> None:
        connection = await asyncpg.connect(self._server_url)
        try:
            await connection.execute(f"ALTER SYSTEM {what}")
            await connection.execute("SELECT pg_reload_conf()")
        finally:
            await connection.close()


async def _sees(connection: db.Connection, ahead: timedelta) -> None:
    async def moved() -> bool:
        offset: timedelta = await connection.fetchval("SELECT groupsms_now() - statement_timestamp()")
        return abs(offset - ahead) < timedelta(milliseconds=1)

    await eventually(moved)


@pytest.fixture
async def connected(database_url: str) -> AsyncIterator[str]:
    """This process's pool, on a database of the test's own; the value is its URL."""
    async with db.connected(database_url):
        yield database_url


@pytest.fixture
async def travel(engines: Engines, connected: str) -> AsyncIterator[Travel]:
    """Time travel for the database; the present is restored afterwards."""
    travel = Travel(engines.database_url)
    try:
        yield travel
    finally:
        await travel.back()


@pytest.fixture
async def world(connected: str) -> World:
    """An account with all that a task needs."""
    return await World.make("Acme")


@pytest.fixture
def long_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short tasks too are cut into chunks of 1,000, as long ones are."""
    monkeypatch.setattr(imports, "CHUNKS_AT_LEAST", 1)
