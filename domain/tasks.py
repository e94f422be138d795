"""The life of a task once it is stored: canceled, deleted, started, sent, completed.

What people do to one that runs or is to run (pause, resume, stop, reschedule) is in `domain.task_control`.

Each change of status is one guarded UPDATE, so that of two who want different things exactly one wins.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

import structlog

from domain import audit, db, feed, schedule, selection, sending_usage
from domain.access import Viewer
from domain.audit import AuditAction, AuditObject
from domain.db import Connection
from domain.errors import (
    Blocker,
    NotFound,
    TooLate,
    UserError,
    WrongStatus,
)
from domain.ports import Doorbell
from domain.states import TaskStatus

log = structlog.get_logger()


async def cancel_task(viewer: Viewer, task_id: int, doorbell: Doorbell) -> None:
    """Cancel a scheduled task, at least five minutes before its time.

    Raises `NotFound`, `WrongStatus` or `TooLate`.
    """
    async with db.transaction() as conn:
        canceled = await conn.fetchval(
            """
            UPDATE task
            SET status = 'CANCELED', cancel_reason = 'USER', rest_not_sent = TRUE,
                finished_at = groupsms_now(), revision = revision + 1
            WHERE id = $1 AND account_id = $2 AND status = 'SCHEDULED'
              AND send_at - $3::interval >= groupsms_now()
            RETURNING id
            """,
            task_id,
            viewer.account_id,
            schedule.CANCEL_MARGIN,
        )
        if canceled is None:
            raise await why_not_any_more(conn, viewer, task_id, "canceled")
        await audit.record(
            conn, viewer.account_id, AuditAction.TASK_CANCELED, (AuditObject.TASK, task_id), reason="USER"
        )
        await sending_usage.give_back(conn, task_id)
        await feed.announce(conn, viewer.account_id, task_id)
    await doorbell.task_changed(viewer.account_id, task_id)


async def why_not_any_more(conn: Connection, viewer: Viewer, task_id: int, done: str) -> UserError:
    """Why a scheduled task can no longer be canceled, or put at another time: `done` says which."""
    status, send_at = await status_of(conn, viewer, task_id)
    if status is not TaskStatus.SCHEDULED:
        return WrongStatus(
            f"Only a scheduled task can be {done}; this one is {status.value}.", "id", status=status
        )
    deadline = send_at - schedule.CANCEL_MARGIN
    return TooLate(
        f"A task can be {done} until 5 minutes before its time; "
        f"for this one that was {schedule.local_iso(deadline, viewer.time_zone)}.",
        "id",
        deadline=deadline,
    )


async def delete_task(viewer: Viewer, task_id: int, doorbell: Doorbell) -> None:
    """Delete a canceled task for good; its numbers follow in the background.

    Raises `NotFound` or `WrongStatus`.
    """
    async with db.transaction() as conn:
        deleted = await conn.fetchval(
            "DELETE FROM task WHERE id = $1 AND account_id = $2 AND status = 'CANCELED' RETURNING name",
            task_id,
            viewer.account_id,
        )
        if deleted is None:
            status, _ = await status_of(conn, viewer, task_id)
            raise WrongStatus(
                f"Only a canceled task can be deleted; this one is {status.value}.", "id", status=status
            )
        place = await feed.take_place(conn, viewer.account_id)
        await conn.execute(
            """
            INSERT INTO task_tombstone (task_id, account_id, change_seq, deleted_at)
            VALUES ($1, $2, $3, groupsms_now())
            """,
            task_id,
            viewer.account_id,
            place,
        )
        await audit.record(
            conn, viewer.account_id, AuditAction.TASK_DELETED, (AuditObject.TASK, task_id), name=deleted
        )
    await doorbell.task_changed(viewer.account_id, task_id)


async def status_of(
    conn: Connection, viewer: Viewer, task_id: int, *, and_hold: bool = False
) -> tuple[TaskStatus, datetime]:
    """A task's status and time, which stay so for this transaction if it is to hold them.

    Raises `NotFound` if this account has no such task.
    """
    row = await conn.fetchrow(
        f"""
        SELECT status, send_at FROM task WHERE id = $1 AND account_id = $2
        {"FOR NO KEY UPDATE" if and_hold else ""}
        """,
        task_id,
        viewer.account_id,
    )
    if row is None:
        raise NotFound("There is no such task.", "id")
    return TaskStatus(row["status"]), row["send_at"]


async def start_task(task_id: int, doorbell: Doorbell) -> TaskStatus | None:
    """Begin sending a task whose time has come; returns its new status, or None if there was nothing to do.

    A task whose application, signature or template may no longer be used is canceled instead
    (NO_LONGER_ALLOWED), one that is 24 hours late as OVERDUE.
    """
    async with db.transaction() as conn:
        await hold_application_of(conn, task_id)
        due = await conn.fetchrow(
            """
            SELECT account_id, application_id, signature_id, template_id,
                   groupsms_now() >= deadline_at AS late
            FROM task WHERE id = $1 AND status = 'SCHEDULED' AND send_at <= groupsms_now()
            FOR NO KEY UPDATE
            """,
            task_id,
        )
        if due is None:
            return None
        if due["late"]:
            status = await _cancel_by_system(conn, due["account_id"], task_id, "OVERDUE", [])
        else:
            choice = await selection.choose(
                due["account_id"], due["application_id"], due["signature_id"], due["template_id"]
            )
            if blockers := choice.blockers():
                status = await _cancel_by_system(
                    conn, due["account_id"], task_id, "NO_LONGER_ALLOWED", blockers
                )
            else:
                status = await _begin(conn, task_id)
        await feed.announce(conn, due["account_id"], task_id)
    log.info("task_started" if status is TaskStatus.SENDING else "task_canceled", task_id=task_id)
    await doorbell.task_changed(due["account_id"], task_id)
    return status


async def hold_application_of(conn: Connection, task_id: int) -> None:
    """Let nobody suspend or resume a task's application until this transaction ends.

    To be called before the task is locked: whoever suspends an application locks it first, then its tasks.
    """
    await conn.execute(
        """
        SELECT FROM application WHERE id = (SELECT application_id FROM task WHERE id = $1) FOR SHARE
        """,
        task_id,
    )


async def _begin(conn: Connection, task_id: int) -> TaskStatus:
    await conn.execute(
        """
        UPDATE task SET status = 'SENDING', started_at = groupsms_now(), revision = revision + 1
        WHERE id = $1 AND status = 'SCHEDULED'
        """,
        task_id,
    )
    return TaskStatus.SENDING


async def _cancel_by_system(
    conn: Connection, account_id: int, task_id: int, reason: str, blockers: Sequence[Blocker]
) -> TaskStatus:
    await conn.execute(
        """
        UPDATE task
        SET status = 'CANCELED', cancel_reason = $2, blockers = $3, rest_not_sent = TRUE,
            finished_at = groupsms_now(), revision = revision + 1
        WHERE id = $1 AND status = 'SCHEDULED'
        """,
        task_id,
        reason,
        json.dumps([asdict(blocker) for blocker in blockers]),
    )
    await audit.record(
        conn, account_id, AuditAction.TASK_CANCELED, (AuditObject.TASK, task_id), reason=reason
    )
    return TaskStatus.CANCELED


async def advance_task(task_id: int, doorbell: Doorbell) -> None:
    """Move a task on: SENDING to SENT when all is handed over or its deadline has passed, SENT to COMPLETED
    when all is known; the rest of a STOPPED one, or of one past its deadline, becomes NOT_SENT.

    That rest is settled at one stroke, and only once no worker holds any of it: what is NOT_SENT stays so.
    To be called after the commit that may have made it ready, so that the last of several workers sees all.
    """
    moved = [
        await _move(
            f"""
            UPDATE task SET status = 'SENT', sent_at = groupsms_now(), revision = revision + 1,
                            rest_not_sent = EXISTS (SELECT FROM chunk WHERE task_id = $1 AND state = 0)
            WHERE id = $1 AND {_ALL_SENT}
            RETURNING account_id
            """,
            doorbell,
            task_id,
        ),
        await _move(
            f"""
            UPDATE task SET rest_not_sent = TRUE, revision = revision + 1
            WHERE id = $1 AND {_STOPPED_FOR_ALL}
            RETURNING account_id
            """,
            doorbell,
            task_id,
        ),
        await _move(
            f"""
            UPDATE task SET status = 'COMPLETED', finished_at = groupsms_now(), revision = revision + 1
            WHERE id = $1 AND {_ALL_KNOWN}
            RETURNING account_id
            """,
            doorbell,
            task_id,
            schedule.RECEIPTS_WITHIN,
        ),
    ]
    for event, took_place in zip(("task_sent", "task_ended", "task_completed"), moved, strict=True):
        if took_place:
            log.info(event, task_id=task_id)
    if not any(moved) and (account_id := await feed.announce_progress(task_id)):
        await doorbell.task_changed(account_id, task_id)


# A worker marks under a lease that was committed before, and only while the task is running and in time. So
# once it is not, and no chunk is leased, nothing more can go on the wire.
_ALL_SENT = """
    status = 'SENDING' AND NOT EXISTS (
        SELECT FROM chunk
        WHERE task_id = task.id AND (state = 1 OR (state = 0 AND task.deadline_at > groupsms_now()))
    )
"""
_STOPPED_FOR_ALL = """
    status = 'STOPPED' AND NOT rest_not_sent
    AND NOT EXISTS (SELECT FROM chunk WHERE task_id = task.id AND state = 1)
"""
_ALL_KNOWN = """
    status = 'SENT'
    AND (sent_at < groupsms_now() - $2::interval
         OR NOT EXISTS (SELECT FROM task_counter WHERE task_id = task.id HAVING sum(unknown) > 0))
"""


async def ready_to_advance() -> list[int]:
    """Tasks that `advance_task` would move on.

    Normally only those whose deadline has passed, unless a worker died before it could.
    """
    rows = await db.fetch(
        f"""
        SELECT id FROM task WHERE {_ALL_SENT}
        UNION ALL SELECT id FROM task WHERE {_STOPPED_FOR_ALL}
        UNION ALL SELECT id FROM task WHERE {_ALL_KNOWN.replace("$2", "$1")}
        """,
        schedule.RECEIPTS_WITHIN,
    )
    return [row["id"] for row in rows]


async def _move(statement: str, doorbell: Doorbell, task_id: int, *more: object) -> bool:
    async with db.transaction() as conn:
        account_id = await conn.fetchval(statement, task_id, *more)
        if account_id is None:
            return False
        await feed.announce(conn, account_id, task_id)
    await doorbell.task_changed(account_id, task_id)
    return True
