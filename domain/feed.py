"""The change feed of an account: each task's newest change has a place in it; a deletion leaves a tombstone.

Places are given under a lock on the account's row that is held until commit, so they become visible in order:
whoever has read up to place n misses nothing by asking for what comes after n.
"""

from __future__ import annotations

from dataclasses import dataclass

from domain import db
from domain.db import Connection


async def take_place(conn: Connection, account_id: int) -> int:
    """Take the account's next place; to be called last in a transaction, for others wait until its commit."""
    place: int = await conn.fetchval(
        "UPDATE account SET change_seq = change_seq + 1 WHERE id = $1 RETURNING change_seq", account_id
    )
    return place


async def announce(conn: Connection, account_id: int, task_id: int) -> None:
    """Move a task to the end of its account's feed; to be called last in the transaction that changed it.

    That transaction has locked the task: before the account, as everyone does, so that nobody deadlocks.
    """
    place = await take_place(conn, account_id)
    await conn.execute(
        """
        UPDATE task
        SET change_seq = $2, announced_revision = task_revision(task),
            created_seq = CASE WHEN created_seq = 0 THEN $2 ELSE created_seq END
        WHERE id = $1
        """,
        task_id,
        place,
    )


async def announce_progress(task_id: int) -> int | None:
    """Move a task to the end of the feed if its counters have changed since it was last put there.

    Settling many messages a second does not wait for the account's row: it only raises the counters'
    revisions, and this follows a few times a second. Returns the account's id if there was something to
    announce.
    """
    async with db.transaction() as conn:
        account_id: int | None = await conn.fetchval(
            """
            SELECT account_id FROM task WHERE id = $1 AND announced_revision < task_revision(task)
            FOR NO KEY UPDATE
            """,
            task_id,
        )
        if account_id is not None:
            await announce(conn, account_id, task_id)
        return account_id


async def unannounced() -> list[int]:
    """Tasks whose counters have changes nobody announced: their worker died in between."""
    rows = await db.fetch(
        """
        SELECT id FROM task
        WHERE (status IN ('SENDING', 'PAUSED', 'SENT') OR finished_at > groupsms_now() - interval '1 hour')
          AND announced_revision < task_revision(task)
        """
    )
    return [row["id"] for row in rows]


@dataclass(frozen=True, slots=True)
class Change:
    """A task's newest change: `deleted`, or to be read from the task itself."""

    place: int
    task_id: int
    deleted: bool
    created_place: int
    """Where the task entered the feed; 0 for a deleted one."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The places of a feed from which nothing is missed: `oldest` to `newest`."""

    oldest: int
    newest: int


async def extent(account_id: int) -> Extent:
    """From where to where the account's feed can be followed.

    Whoever stands before `oldest` may have missed a deletion that has been forgotten since.
    """
    row = await db.fetchrow("SELECT feed_floor, change_seq FROM account WHERE id = $1", account_id)
    assert row is not None, "accounts are never deleted"
    return Extent(oldest=row["feed_floor"], newest=row["change_seq"])


async def newest_place(account_id: int) -> int:
    """The last place given in the account's feed."""
    return (await extent(account_id)).newest


async def forget_deletions(days: int) -> None:
    """Drop the tombstones of tasks deleted that long ago, once their numbers are gone; raises the floors."""
    await db.fetch(
        """
        WITH forgotten AS (
            DELETE FROM task_tombstone
            WHERE emptied_at IS NOT NULL AND deleted_at < groupsms_now() - make_interval(days => $1)
            RETURNING account_id, change_seq
        ), newest AS (
            SELECT account_id, max(change_seq) AS place FROM forgotten GROUP BY account_id
        )
        UPDATE account SET feed_floor = greatest(feed_floor, newest.place)
        FROM newest WHERE account.id = newest.account_id
        """,
        days,
    )


async def changes_after(account_id: int, place: int, limit: int = 100) -> list[Change]:
    """The next changes of the account's tasks after a place, in order, each task at its newest place only."""
    rows = await db.fetch(
        """
        (SELECT change_seq, id, FALSE AS deleted, created_seq FROM task
         WHERE account_id = $1 AND change_seq > $2 ORDER BY change_seq LIMIT $3)
        UNION ALL
        (SELECT change_seq, task_id, TRUE, 0 FROM task_tombstone
         WHERE account_id = $1 AND change_seq > $2 ORDER BY change_seq LIMIT $3)
        ORDER BY change_seq LIMIT $3
        """,
        account_id,
        place,
        limit,
    )
    return [
        Change(
            place=row["change_seq"],
            task_id=row["id"],
            deleted=row["deleted"],
            created_place=row["created_seq"],
        )
        for row in rows
    ]
