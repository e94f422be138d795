"""After a restore from an earlier moment: what may have been sent since is in doubt, and never sent again.

The database does not know what happened after the backup. What it takes for waiting may have reached phones,
so it becomes what every uncertain message is: UNKNOWN, in doubt, to be settled by a receipt or by a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain import db, feed, recovery
from domain.errors import DomainError

PLACES_SKIPPED = 1_000_000
"""Places of the change feed that are left out: more than were lost, so that nobody who has read on takes a
new change for one seen before."""


class StillRunning(DomainError):  # noqa: N818 - it names a state of the world
    """Workers hold chunks of this database: they must be stopped first."""


@dataclass(frozen=True, slots=True)
class Doubted:
    """A task of which messages may have been sent after the backup."""

    task_id: int
    account: str
    name: str
    messages: int
    """That are in doubt now."""


async def doubt_what_may_have_been_sent(until: datetime | None = None) -> list[Doubted]:
    """Put in doubt what the lost database may have had sent until that moment (None: until now).

    That is whatever waits in a task that is running, paused, or was due by then. To be called while no worker
    runs; doing it again changes nothing but places in the feed. Raises `StillRunning`.
    """
    async with db.transaction() as conn:
        if await conn.fetchval(
            "SELECT EXISTS (SELECT FROM chunk WHERE state = 1 AND lease_until > groupsms_now())"
        ):
            raise StillRunning(
                "a worker holds chunks of this database: stop all workers, wait 30 s, try again"
            )
        moment = await conn.fetchval("SELECT least($1::timestamptz, groupsms_now())", until)
        tasks = await conn.fetch(
            """
            SELECT t.id, t.account_id, t.name, account.name AS account
            FROM task t JOIN account ON account.id = t.account_id
            WHERE (t.status IN ('SENDING', 'PAUSED') OR (t.status = 'SCHEDULED' AND t.send_at <= $1))
              AND EXISTS (SELECT FROM chunk WHERE task_id = t.id AND state < 2)
            ORDER BY t.id FOR NO KEY UPDATE OF t
            """,
            moment,
        )
        ids = [task["id"] for task in tasks]
        # Named as parameters, the tasks tell PostgreSQL which stores to lock and look into.
        waiting = await conn.fetch(
            """
            SELECT task_id, count(*) AS messages FROM message
            WHERE task_id = ANY($1::bigint[]) AND result = 0 GROUP BY task_id
            """,
            ids,
        )
        # As if a worker had marked all of it and died then: taken back below, like any lapsed lease.
        await conn.execute(
            """
            UPDATE chunk SET state = 1, owner = gen_random_uuid(), lease_until = $2, marked = last,
                             returned = '{}', wait_until = NULL
            WHERE task_id = ANY($1::bigint[]) AND state < 2
            """,
            ids,
            moment,
        )
        await conn.execute(
            """
            UPDATE task SET revision = revision + 1,
                started_at = coalesce(started_at, send_at),
                status = CASE WHEN status = 'SCHEDULED' THEN 'SENDING' ELSE status END
            WHERE id = ANY($1::bigint[])
            """,
            ids,
        )
        await conn.execute(
            "UPDATE account SET change_seq = change_seq + $1, feed_floor = change_seq + $1", PLACES_SKIPPED
        )
        for task in tasks:
            await feed.announce(conn, task["account_id"], task["id"])
    await recovery.recover_lapsed()
    messages = {row["task_id"]: row["messages"] for row in waiting}
    return [Doubted(task["id"], task["account"], task["name"], messages.get(task["id"], 0)) for task in tasks]
