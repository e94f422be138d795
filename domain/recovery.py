"""Taking back what workers held when they died, and mending what a clock set back has left behind."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from domain import binds, db, dispatch, idempotency, segment_days

LEASES = (
    ("chunk", "state = 1", dispatch.LEASE),
    ("bind_slot", "owner IS NOT NULL", binds.LEASE),
    ("bind_worker", "TRUE", binds.LEASE),
    ("idempotency_key", "answer IS NULL", idempotency.LEASE),
)
"""Tables with leases, when a row of theirs is leased, and for how long."""
_CLEARLY = timedelta(seconds=5)


async def look_at_receipts_of_later() -> None:
    """Let receipts that were stored later than now, before the clock was set back, be looked at again now."""
    await db.fetch(
        """
        UPDATE receipt_inbox SET next_look = groupsms_now()
        WHERE next_look > groupsms_now() AND stored_at > groupsms_now() + $1::interval
        """,
        _CLEARLY,
    )


async def shorten_leases() -> None:
    """Let leases that end later than any lease given now end as one given now does.

    Only where the database's clock was set back is there such a one. Of a dead holder it would last for as
    long as the clock was set back. A living one loses nothing: it renews, and goes by the time since it last
    did, so that it never takes its lease to end later than this.
    """
    for table, leased, length in LEASES:
        await db.fetch(
            f"""
            UPDATE {table} SET lease_until = groupsms_now() + $1::interval
            WHERE {leased} AND lease_until > groupsms_now() + $1::interval + $2::interval
            """,
            length,
            _CLEARLY,
        )


async def recover_lapsed() -> list[int]:
    """Take back the chunks whose lease has run out; returns the ids of their tasks.

    What was marked and not settled becomes UNKNOWN, in doubt; the rest waits again, or the chunk is done.
    """
    lapsed = await db.fetch(
        """
        SELECT task_id, index, lease_until FROM chunk
        WHERE state = 1 AND lease_until <= groupsms_now() ORDER BY 1, 2
        """
    )
    return [
        row["task_id"]
        for row in lapsed
        if await segment_days.on_its_day(partial(_recover, row["task_id"], row["index"]), row["lease_until"])
    ]


async def _recover(task_id: int, index: int) -> bool:
    async with db.transaction() as conn:
        chunk = await conn.fetchrow(
            """
            WITH lapsed AS (
                SELECT task_id, index, lease_until FROM chunk
                WHERE task_id = $1 AND index = $2 AND state = 1 AND lease_until <= groupsms_now()
                FOR NO KEY UPDATE
            )
            UPDATE chunk c
            SET state = CASE WHEN marked = last AND returned = '{}' THEN 2 ELSE 0 END,
                owner = NULL, lease_until = NULL
            FROM lapsed WHERE c.task_id = lapsed.task_id AND c.index = lapsed.index
            RETURNING first, marked, returned, lapsed.lease_until
            """,
            task_id,
            index,
        )
        if chunk is None:
            return False
        # Nothing was put on the wire after the lease's end, however late this is: receipts go by that moment.
        await conn.execute(
            """
            WITH doubtful AS (
                UPDATE message SET result = 1, handover = 2
                WHERE task_id = $1 AND position BETWEEN $2 AND $3 AND position <> ALL($4) AND result = 0
                RETURNING task_id, position, number
            ), recorded AS (
                INSERT INTO segment (task_id, position, index, number, gateway, submitted_at, result)
                SELECT d.task_id, d.position, i, d.number, task.gateway, $5, 1
                FROM doubtful d JOIN task ON task.id = d.task_id
                CROSS JOIN generate_series(1, task.segments_per_message) AS i
            )
            UPDATE task_counter SET
                revision = revision + 1,
                unknown = unknown + (SELECT count(*) FROM doubtful),
                in_doubt = in_doubt + (SELECT count(*) FROM doubtful)
            WHERE task_id = $1 AND shard = 0
            """,
            task_id,
            chunk["first"],
            chunk["marked"],
            chunk["returned"],
            chunk["lease_until"],
        )
    return True
