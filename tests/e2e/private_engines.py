"""A PostgreSQL and a Valkey of one test's own, whose processes it may kill and whose clock it may move."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import asyncpg

from domain import db
from domain.engines import engines
from domain.engines.layout import Kind, Layout, Status
from domain.settings import Settings
from tests.conftest import wait_until


@dataclass
class PrivateEngines:
    """Engines that their keeper keeps running."""

    data_dir: Path
    database_url: str
    redis_url: str

    def pid(self, kind: Kind) -> int | None:
        """The process of an engine that answers, or None."""
        state = Layout(self.data_dir / "engines").read_states()[kind]
        return state.pid if state.status is Status.READY else None

    def kill(self, kind: Kind, number: signal.Signals = signal.SIGKILL) -> None:
        """Send an engine a signal that ends it, and wait until it has been restarted."""
        former = self.pid(kind)
        assert former is not None
        os.kill(former, number)
        wait_until(lambda: self.pid(kind) not in (None, former), 60)

    async def set_clock_ahead(self, ahead: timedelta) -> None:
        """Let it be so much later for the database than it really is."""
        await set_clock_ahead(self.database_url, ahead)


async def set_clock_ahead(database_url: str, ahead: timedelta) -> None:
    """Let it be so much later for all databases of a server than it really is."""
    connection = await asyncpg.connect(database_url)
    try:
        offset = f"{ahead.total_seconds()} seconds"
        await connection.execute(f"ALTER SYSTEM SET groupsms.clock_offset = '{offset}'")
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()


@asynccontextmanager
async def private_engines(data_dir: Path) -> AsyncIterator[PrivateEngines]:
    """Migrated engines in a data directory of their own."""
    with engines(Settings(data_dir=data_dir, database_url=None, redis_url=None)) as running:
        await db.migrate(running.database_url)
        yield PrivateEngines(data_dir, running.database_url, running.redis_url)
