"""Who holds which bind of a gateway: carriers allow one to a few, whatever the number of workers.

`binds` slots are leased to workers by the database's clock. Every worker that wants some says so again and
again; each gets its fair share, the remainder going to those that have been there longest.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import asyncpg

from domain import db

LEASE = timedelta(seconds=10)
"""How long a bind belongs to a worker that says nothing more."""
STALLED = timedelta(seconds=2)
"""How long a worker may say nothing in the middle of dealing with binds."""
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Share:
    """What a worker holds and what it should hold."""

    slots: frozenset[int]
    """Held by this worker, for a `LEASE` from the moment it asked."""
    fair: int
    """As many of them as it may keep; the others are to be given back as soon as that is possible."""
    workers: int
    """How many workers want binds of this gateway, this one included."""


class LeasedBinds:
    """One worker's part in the binds of one gateway."""

    lease = LEASE.total_seconds()
    """Seconds for which slots are held after they were asked for."""

    def __init__(self, gateway: str, binds: int, worker: UUID) -> None:
        """`binds` is the total over all workers; `worker` is this process's alone."""
        self._gateway = gateway
        self._binds = binds
        self._worker = worker

    async def renew(self, released: Collection[int], *, able: bool = True) -> Share:
        """Renew what is held but `released`, which others may take now, and take what is free and due.

        A worker that is not `able` to bind gets none while another one is.
        """
        async with db.transaction() as conn:
            await self._lock(conn)
            await self._say(conn, able=able)
            await conn.execute(
                """
                DELETE FROM bind_slot
                WHERE gateway = $1 AND (lease_until <= groupsms_now() OR owner = $2 AND slot = ANY($3))
                """,
                self._gateway,
                self._worker,
                list(released),
            )
            fair, workers = await self._fair_share(conn)
            held = await conn.fetch(
                """
                UPDATE bind_slot SET lease_until = groupsms_now() + $3 WHERE gateway = $1 AND owner = $2
                RETURNING slot
                """,
                self._gateway,
                self._worker,
                LEASE,
            )
            taken = await self._take(conn, max(0, fair - len(held)))
            return Share(frozenset(row["slot"] for row in (*held, *taken)), fair, workers)

    async def leave(self) -> None:
        """Let others have everything; this worker wants nothing more."""
        async with db.transaction() as conn:
            await self._lock(conn)
            for table, column in (("bind_slot", "owner"), ("bind_worker", "worker")):
                await conn.execute(
                    f"DELETE FROM {table} WHERE gateway = $1 AND {column} = $2", self._gateway, self._worker
                )

    async def _lock(self, conn: db.Connection) -> None:
        """Let one worker at a time deal with this gateway's binds, until the transaction ends.

        A worker that is frozen in the middle must not stop the others, so the database ends its transaction.
        """
        await conn.execute(f"SET LOCAL idle_in_transaction_session_timeout = {STALLED // MILLISECOND}")
        await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('binds ' || $1, 0))", self._gateway)

    async def _say(self, conn: db.Connection, *, able: bool) -> None:
        """Be there, and forget those that are not any more."""
        await conn.execute(
            "DELETE FROM bind_worker WHERE gateway = $1 AND lease_until <= groupsms_now()", self._gateway
        )
        await conn.execute(
            """
            INSERT INTO bind_worker (gateway, worker, able, since, lease_until)
            VALUES ($1, $2, $3, groupsms_now(), groupsms_now() + $4)
            ON CONFLICT (gateway, worker) DO UPDATE
            SET able = excluded.able, lease_until = excluded.lease_until
            """,
            self._gateway,
            self._worker,
            able,
            LEASE,
        )

    async def _fair_share(self, conn: db.Connection) -> tuple[int, int]:
        rows = await conn.fetch(
            "SELECT worker, able FROM bind_worker WHERE gateway = $1 ORDER BY since, worker", self._gateway
        )
        able = [row["worker"] for row in rows if row["able"]] or [row["worker"] for row in rows]
        if self._worker not in able:
            return 0, len(rows)
        each, left_over = divmod(self._binds, len(able))
        return each + (able.index(self._worker) < left_over), len(rows)

    async def _take(self, conn: db.Connection, count: int) -> list[asyncpg.Record]:
        return await conn.fetch(
            """
            INSERT INTO bind_slot (gateway, slot, owner, lease_until)
            SELECT $1, slot, $2, groupsms_now() + $3 FROM generate_series(1, $4) AS free (slot)
            WHERE NOT EXISTS (SELECT FROM bind_slot b WHERE b.gateway = $1 AND b.slot = free.slot)
            ORDER BY slot LIMIT $5
            RETURNING slot
            """,
            self._gateway,
            self._worker,
            LEASE,
            self._binds,
            count,
        )
