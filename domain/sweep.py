"""Finding what no bell announced: due and overdue tasks, lapsed leases, receipts and tasks left half-way.

Each step is safe to run on every machine at any time; the guarded statements it calls decide.
"""

from __future__ import annotations

import structlog

from domain import (
    db,
    feed,
    idempotency,
    kept_lists,
    message_stores,
    metrics,
    purging,
    receipts,
    recovery,
    segment_days,
    sending_usage,
    strays,
    tasks,
)
from domain.ports import Doorbell
from domain.tracing import working_on

log = structlog.get_logger()

TOMBSTONE_DAYS = 7
"""How long a deletion can be replayed from the change feed."""


async def start_due(doorbell: Doorbell) -> None:
    """Start, or cancel as overdue, every task whose time has come."""
    due = await db.fetch("SELECT id FROM task WHERE status = 'SCHEDULED' AND send_at <= groupsms_now()")
    for row in due:
        try:
            with working_on(row["id"], "start task"):
                await tasks.start_task(row["id"], doorbell)
        except db.UNAVAILABLE:
            raise
        except Exception:
            # One task that cannot be started must not keep the others from it.
            log.exception("task_not_started", task_id=row["id"])


async def recover(doorbell: Doorbell, shard: int) -> None:
    """Take back what dead workers held, apply receipts they left, and move tasks on that are ready."""
    await recovery.shorten_leases()
    await recovery.look_at_receipts_of_later()
    recovered = await recovery.recover_lapsed()
    metrics.LEASES_RECOVERED.inc(len(recovered))
    for task_id in recovered:
        log.warning("lease_recovered", task_id=task_id)
    changed = {*recovered, *await receipts.apply_left_over(shard)}
    changed |= await strays.examine(shard)
    for task_id in changed.union(await tasks.ready_to_advance(), await feed.unannounced()):
        await tasks.advance_task(task_id, doorbell)
    await sending_usage.give_back_of_ended()


async def tidy() -> None:
    """Remove the numbers of deleted tasks, old tombstones, and receipts that fit nothing."""
    for task_id in await message_stores.deleted_among_kept():
        await message_stores.remove_rows(task_id)
        await _note_emptied(task_id)
    await feed.forget_deletions(TOMBSTONE_DAYS)
    await sending_usage.forget_old()
    await receipts.forget_unmatched()
    await idempotency.forget_expired()
    await kept_lists.forget_expired()


async def tend_tables(retention_days: int) -> None:
    """Make the tables of the next days, purge what is old once a day, and drop what holds nothing kept."""
    await segment_days.open_ahead()
    await message_stores.close_old()
    await purging.purge_daily(retention_days)
    await message_stores.drop_unneeded()


async def _note_emptied(task_id: int) -> None:
    # Rows that another sweep is removing count as there until it has committed: it may yet die.
    await db.fetch(
        """
        UPDATE task_tombstone SET emptied_at = groupsms_now()
        WHERE task_id = $1
          AND NOT EXISTS (SELECT FROM message WHERE task_id = $1)
          AND NOT EXISTS (SELECT FROM rejected_row WHERE task_id = $1)
        """,
        task_id,
    )
