"""Gauges of what the database knows: how much waits, for how long, and what became of what was sent.

Read in one statement over the tasks that are not over, so that its cost does not grow with what has been
sent, every `READ_EVERY` seconds however often somebody asks. All processes show the same: take the maximum.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import structlog
from prometheus_client import Gauge

from domain import db, sending_reads
from domain.metrics import REGISTRY

log = structlog.get_logger()

READ_EVERY = 15.0
"""Seconds between two readings."""
MOST_COUNTED = 100_000
"""Receipts beyond that many are not counted: more than enough is known by then."""

_OPEN = ("SCHEDULED", "SENDING", "PAUSED", "SENT")
_RESULTS = ("waiting", "delivered", "failed", "unknown", "in_doubt", "not_sent")

TASKS = Gauge("groupsms_tasks", "Tasks that are not over, by status.", ["status"], registry=REGISTRY)
TASK_OVERDUE = Gauge(
    "groupsms_task_overdue_seconds",
    "For how long the longest-due task has been waiting to be started; 0: none is late.",
    registry=REGISTRY,
)
QUEUE = Gauge(
    "groupsms_queue_messages",
    "Messages of running tasks that wait to be handed to the gateway.",
    ["gateway"],
    registry=REGISTRY,
)
QUEUE_AGE = Gauge(
    "groupsms_queue_oldest_seconds",
    "How long ago the oldest running task began that has a chunk nobody has claimed, though it may be sent.",
    ["gateway"],
    registry=REGISTRY,
)
LEASES_LAPSED = Gauge(
    "groupsms_leases_lapsed",
    "Chunks whose worker is gone and that no other has taken back yet.",
    registry=REGISTRY,
)
MESSAGES = Gauge(
    "groupsms_messages",
    "Messages of tasks that run, are paused, or await receipts, by result; in_doubt ones are unknown, too.",
    ["result"],
    registry=REGISTRY,
)
RECEIPTS_WAITING = Gauge(
    "groupsms_receipts_waiting",
    f"Receipts that fit no message so far, at most {MOST_COUNTED}.",
    registry=REGISTRY,
)
RECEIPTS_OVERDUE = Gauge(
    "groupsms_receipts_overdue_seconds",
    "For how long the longest-waiting stored receipt has been due to be looked at; 0: none is.",
    registry=REGISTRY,
)
DELETIONS_WAITING = Gauge(
    "groupsms_deletions_waiting", "Deleted tasks whose numbers are still to be removed.", registry=REGISTRY
)
DELETIONS_AGE = Gauge(
    "groupsms_deletions_oldest_seconds",
    "How long ago the first of the deleted tasks was deleted whose numbers are still there.",
    registry=REGISTRY,
)
ACCOUNTS_IN_ALARM = Gauge(
    "groupsms_accounts_near_sending_limit",
    "Accounts that have reached the alarm threshold of a limit of today or of this month.",
    registry=REGISTRY,
)
READ_AT = Gauge(
    "groupsms_queue_read_timestamp_seconds",
    "When these were last read from the database, in seconds since 1970: older ones are not to be believed.",
    registry=REGISTRY,
)

STATEMENT = f"""
WITH open AS (
    SELECT id, status, gateway, imported, send_at, started_at FROM task WHERE status = 'SCHEDULED'
    UNION ALL
    SELECT id, status, gateway, imported, send_at, started_at FROM task WHERE status IN ('SENDING', 'SENT')
    UNION ALL
    SELECT id, status, gateway, imported, send_at, started_at FROM task
    WHERE status = 'PAUSED'
), counted AS (
    SELECT o.id, o.status, o.gateway, o.imported, c.*
    FROM open o CROSS JOIN LATERAL (
        SELECT coalesce(sum(unknown), 0) AS unknown, coalesce(sum(in_doubt), 0) AS in_doubt,
               coalesce(sum(delivered), 0) AS delivered, coalesce(sum(failed), 0) AS failed,
               coalesce(sum(not_sent), 0) AS not_sent
        FROM task_counter WHERE task_id = o.id
    ) AS c
    WHERE o.status <> 'SCHEDULED'
), waiting AS (
    SELECT *, greatest(0, imported - unknown - delivered - failed - not_sent) AS waiting FROM counted
)
SELECT json_build_object(
    'tasks', (SELECT json_object_agg(status, n)
              FROM (SELECT status, count(*) AS n FROM open GROUP BY 1) AS s),
    'overdue', (SELECT extract(epoch FROM groupsms_now() - min(send_at)) FROM open
                WHERE status = 'SCHEDULED' AND send_at <= groupsms_now()),
    'queue', (SELECT json_object_agg(gateway, n)
              FROM (SELECT gateway, sum(waiting) AS n FROM waiting WHERE status = 'SENDING' GROUP BY 1) AS q),
    'queue_age', (
        SELECT json_object_agg(gateway, age)
        FROM (
            SELECT gateway, extract(epoch FROM groupsms_now() - min(coalesce(started_at, send_at))) AS age
            FROM open WHERE status = 'SENDING' AND EXISTS (
                SELECT FROM chunk WHERE task_id = open.id AND state = 0
                  AND (wait_until IS NULL OR wait_until <= groupsms_now())
            ) GROUP BY 1
        ) AS a
    ),
    'messages', (
        SELECT json_build_object(
            'waiting', sum(waiting), 'delivered', sum(delivered), 'failed', sum(failed),
            'unknown', sum(unknown), 'in_doubt', sum(in_doubt), 'not_sent', sum(not_sent)
        )
        FROM waiting
    ),
    'leases_lapsed', (SELECT count(*) FROM chunk WHERE state = 1 AND lease_until <= groupsms_now()),
    'receipts', (SELECT count(*) FROM (SELECT FROM receipt_inbox LIMIT {MOST_COUNTED}) AS r),
    'receipts_overdue', (SELECT extract(epoch FROM groupsms_now() - min(next_look)) FROM receipt_inbox
                         WHERE next_look <= groupsms_now()),
    'deletions', (SELECT count(*) FROM task_tombstone WHERE emptied_at IS NULL),
    'deletions_age', (SELECT extract(epoch FROM groupsms_now() - min(deleted_at)) FROM task_tombstone
                      WHERE emptied_at IS NULL)
)
"""


async def read_for_ever() -> None:
    """Read them until cancelled; while the database is away they stay, and their moment tells."""
    while True:
        try:
            await read()
        except db.UNAVAILABLE as error:
            log.debug("queue_gauges_not_read", error=str(error) or type(error).__name__)
        except Exception:
            log.exception("queue_gauges_not_read")
        await asyncio.sleep(READ_EVERY)


async def read() -> None:
    """Read them now. Raises what the database raises."""
    found: dict[str, Any] = json.loads(await db.fetchval(STATEMENT))
    _show_each(TASKS, {status: (found["tasks"] or {}).get(status, 0) for status in _OPEN})
    _show_each(MESSAGES, {result: found["messages"][result] or 0 for result in _RESULTS})
    _show_each(QUEUE, found["queue"] or {})
    _show_each(QUEUE_AGE, found["queue_age"] or {})
    TASK_OVERDUE.set(found["overdue"] or 0)
    LEASES_LAPSED.set(found["leases_lapsed"])
    RECEIPTS_WAITING.set(found["receipts"])
    RECEIPTS_OVERDUE.set(found["receipts_overdue"] or 0)
    DELETIONS_WAITING.set(found["deletions"])
    DELETIONS_AGE.set(found["deletions_age"] or 0)
    ACCOUNTS_IN_ALARM.set(await sending_reads.accounts_in_alarm())
    READ_AT.set_to_current_time()


def _show_each(gauge: Gauge, values: Mapping[str, float]) -> None:
    """Show these, and of what is not among them nothing: a gateway without tasks has no queue."""
    gauge.clear()
    for label, value in values.items():
        gauge.labels(label).set(value)
