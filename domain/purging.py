"""What is kept for so many days only: messages, segments and rejected rows of tasks that ended, and replies.

The task itself stays, with its counts, charges and reasons of failure. Its messages can't be seen any more
from the moment it is marked as purged. They are gone when the store they are in is dropped, once all tasks in
it are purged: at once for a large task, some days later at most for one that shares its store.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from domain import db, feed, message_stores, receipts, segment_days

LEAST_DAYS = receipts.LATEST.days
"""For so long receipts still count."""
MOST_DAYS = 36_500
"""A century: a moment much longer ago is none that the database knows."""
STORE_WITHIN = timedelta(days=7)
"""How long after its purge a task's rows wait for their store to be dropped; then they are removed singly."""
_EVERY = timedelta(days=1)
_TASKS_AT_ONCE = 20
_REPLIES_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did away with, or would."""

    tasks: int
    """Tasks whose messages are not kept any more."""
    messages: int
    """Theirs."""
    replies: int


async def preview(days: int) -> Purged:
    """What `purge` would do now."""
    row = await db.fetchrow(
        f"""
        SELECT count(*) AS tasks, coalesce(sum(imported), 0)::bigint AS messages,
               (SELECT count(*) FROM reply WHERE received_at < groupsms_now() - $1::interval) AS replies
        FROM task WHERE {_OLD}
        """,
        timedelta(days=days),
    )
    assert row is not None, "counting always gives a row"
    return Purged(**row)


async def purge(days: int) -> Purged:
    """Purge what ended more than `days` (at least `LEAST_DAYS`) ago.

    Safe at any time and beside itself, and may be broken off at any point: the next one goes on.
    """
    kept_for = timedelta(days=max(days, LEAST_DAYS))
    tasks = messages = 0
    while batch := await _mark(kept_for):
        tasks, messages = tasks + len(batch), messages + sum(batch)
    await message_stores.drop_unneeded()
    for task_id in await message_stores.purged_among_kept(STORE_WITHIN):
        await message_stores.remove_rows(task_id)
    await segment_days.drop_older_than(kept_for)
    return Purged(tasks, messages, await _forget_replies(kept_for))


async def purge_daily(days: int) -> None:
    """Purge, unless somebody has begun to within the last day."""
    if await db.fetch(
        """
        UPDATE purge SET began_at = groupsms_now() WHERE began_at < groupsms_now() - $1::interval RETURNING 1
        """,
        _EVERY,
    ):
        await purge(days)


# What a worker held when it died is in doubt, and counted as such once somebody has taken it back.
_OLD = """
    messages_purged_at IS NULL AND finished_at < groupsms_now() - $1::interval
    AND status IN ('COMPLETED', 'CANCELED', 'STOPPED')
    AND NOT EXISTS (SELECT FROM chunk WHERE task_id = task.id AND state = 1)
"""


async def _mark(kept_for: timedelta) -> list[int]:
    """Mark some tasks as purged; returns how many messages each has."""
    async with db.transaction() as conn:
        marked = await conn.fetch(
            f"""
            WITH old AS (
                SELECT id FROM task WHERE {_OLD} ORDER BY id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
            ), ended AS (
                DELETE FROM chunk USING old WHERE task_id = old.id
            )
            UPDATE task SET messages_purged_at = groupsms_now(), revision = revision + 1
            FROM old WHERE task.id = old.id
            RETURNING task.id, account_id, imported
            """,
            kept_for,
            _TASKS_AT_ONCE,
        )
        # By account, as everyone does who locks several, so that nobody deadlocks.
        for row in sorted(marked, key=lambda row: (row["account_id"], row["id"])):
            await feed.announce(conn, row["account_id"], row["id"])
    return [row["imported"] for row in marked]


async def _forget_replies(kept_for: timedelta) -> int:
    forgotten = 0
    while some := await db.fetchval(
        """
        WITH forgotten AS (
            DELETE FROM reply WHERE id IN (
                SELECT id FROM reply WHERE received_at < groupsms_now() - $1::interval
                ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
            ) RETURNING 1
        ) SELECT count(*) FROM forgotten
        """,
        kept_for,
        _REPLIES_AT_ONCE,
    ):
        forgotten += some
    return forgotten
