"""The days of the table `segment`: a partition for each day (UTC) on which messages were handed over.

A receipt is looked for among the segments of the days it can be about, so finding it takes as long when there
are hundreds of millions of others. Days are made ahead of time by the sweep; whoever hands over on a day that
is missing makes it. Old ones are dropped whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

import asyncpg

from domain import db
from domain.partitions import detach

AHEAD = 2
"""Days made ahead of time."""
_CLOCKS_APART = timedelta(days=2)
"""From the begin of a day to when, at the latest, a task began that has segments of that day."""
_LOCK = 4_710_235
"""Key of the advisory lock under which days are made."""
_DROP_LOCK = 4_710_236

T = TypeVar("T")


async def open_ahead() -> None:
    """Make today and the next days, unless they are there."""
    today, days = await _today(), await _days()
    for ahead in range(AHEAD + 1):
        day = today + timedelta(days=ahead)
        # The oldest may have in it whatever was before.
        if day not in days and not (days and day < days[0]):
            await _open(day)


async def on_its_day(write: Callable[[], Awaitable[T]], moment: datetime | None = None) -> T:
    """What `write`, which stores segments as of that moment (None: now), returns.

    It is called again if the day was missing; it must be a transaction of its own.
    """
    try:
        return await write()
    except asyncpg.CheckViolationError as error:
        if error.constraint_name is not None or error.table_name != "segment":
            raise
    await _open(moment.astimezone(UTC).date() if moment else await _today())
    return await write()


async def drop_older_than(age: timedelta) -> int:
    """Drop the days that are over for so long and hold no segment of a task whose messages are kept.

    Returns how many. One process does at a time.
    """
    first_kept = await _today() - age
    async with db.connection() as conn:
        if not await conn.fetchval("SELECT pg_try_advisory_lock($1)", _DROP_LOCK):
            return 0
        try:
            dropped = 0
            for day in await _days():
                if day < first_kept and not await _is_needed(day):
                    await detach(conn, "segment", _name(day))
                    await conn.execute(f"DROP TABLE {_name(day)}")
                    dropped += 1
            return dropped
        finally:
            await conn.execute("SELECT pg_advisory_unlock($1)", _DROP_LOCK)


async def _is_needed(day: date) -> bool:
    """Whether it has a segment of a task whose messages are kept, or gets one when a lease is taken back."""
    first, end = _bounds(day)
    needed: bool = await db.fetchval(
        f"""
        SELECT EXISTS (
            SELECT FROM task
            WHERE messages_purged_at IS NULL AND started_at < $1
              AND EXISTS (SELECT FROM {_name(day)} AS segment WHERE segment.task_id = task.id)
        ) OR EXISTS (SELECT FROM chunk WHERE state = 1 AND lease_until >= $2 AND lease_until < $3)
        """,
        first + _CLOCKS_APART,
        first,
        end,
    )
    return needed


async def _open(day: date) -> None:
    first, end = _bounds(day)
    async with db.transaction() as conn:
        await conn.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        if day in await _days():
            return
        # Made first and attached then, so that nobody who is writing meanwhile is waited for.
        await conn.execute(
            f"CREATE TABLE {_name(day)} (LIKE segment INCLUDING ALL) WITH (fillfactor = 50);"
            f"ALTER TABLE segment ATTACH PARTITION {_name(day)} FOR VALUES FROM ('{first}') TO ('{end}')"
        )


async def _days() -> list[date]:
    """The days there are, oldest first; of one that has more before it in its table, the last."""
    rows = await db.fetch(
        """
        SELECT relname FROM pg_class
        WHERE relname ~ '^segment_[0-9]{8}$' AND relkind = 'r'
          AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'segment'::regclass)
        """
    )
    return sorted(date.fromisoformat(row["relname"].removeprefix("segment_")) for row in rows)


def _bounds(day: date) -> tuple[datetime, datetime]:
    first, end = (datetime.combine(d, datetime.min.time(), UTC) for d in (day, day + timedelta(days=1)))
    return first, end


def _name(day: date) -> str:
    return f"segment_{day:%Y%m%d}"


async def _today() -> date:
    today: date = await db.fetchval("SELECT (groupsms_now() AT TIME ZONE 'UTC')::date")
    return today
