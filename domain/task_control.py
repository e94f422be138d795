"""What people do to a task that runs or is to run: pause, resume, stop, put at another time.

Each change is one guarded UPDATE, decided by the database's clock. A worker notices at its next mark, which
is refused when the task is not running: within about a second, for a gateway is given no more than that.
Source: "Life of a task" in the guide.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain import audit, db, feed, idempotency, schedule, selection, sending_usage, tasks
from domain.access import Viewer
from domain.audit import AuditAction, AuditObject
from domain.db import Connection
from domain.errors import NotFound, NotSelectable, TooLate, UserError, WrongStatus
from domain.models import Application
from domain.ports import Doorbell
from domain.states import TaskStatus


@dataclass(frozen=True, slots=True)
class HandoverCounts:
    """How far a task's hand-over was at one moment; the three and those left out at sending add up to all."""

    handed_over: int
    """Messages that reached a gateway, or may have."""
    in_flight: int
    """Messages about to be handed over, or handed over without an answer yet."""
    left: int
    """Messages that are not handed over, and will not be unless the task runs (again)."""


async def pause_task(viewer: Viewer, task_id: int, doorbell: Doorbell) -> None:
    """Let a running task rest until it is resumed. Its deadline rests with it.

    Raises `NotFound`, `WrongStatus`, or `TooLate` past the task's deadline.
    """
    async with db.transaction() as conn:
        paused = await conn.fetchval(
            """
            UPDATE task SET status = 'PAUSED', revision = revision + 1
            WHERE id = $1 AND account_id = $2 AND status = 'SENDING' AND deadline_at > groupsms_now()
            RETURNING id
            """,
            task_id,
            viewer.account_id,
        )
        if paused is None:
            raise await _why_not_paused(conn, viewer, task_id)
        await audit.record(conn, viewer.account_id, AuditAction.TASK_PAUSED, (AuditObject.TASK, task_id))
        await feed.announce(conn, viewer.account_id, task_id)
    await doorbell.task_changed(viewer.account_id, task_id)


async def _why_not_paused(conn: Connection, viewer: Viewer, task_id: int) -> UserError:
    passed = await conn.fetchval(
        """
        SELECT deadline_at FROM task
        WHERE id = $1 AND account_id = $2 AND status = 'SENDING' AND deadline_at <= groupsms_now()
        """,
        task_id,
        viewer.account_id,
    )
    if passed is None:
        return await _wrong_status(conn, viewer, task_id, "Only a running task can be paused")
    return TooLate(
        "The task's deadline has passed: what was not handed over by then is not sent any more.",
        "id",
        deadline=passed,
    )


async def resume_task(viewer: Viewer, task_id: int, doorbell: Doorbell) -> None:
    """Let a paused task go on, for 24 hours at most.

    Raises `NotFound`, `WrongStatus`, or `NotSelectable` while the task's application is suspended.
    """
    async with db.transaction() as conn:
        await tasks.hold_application_of(conn, task_id)
        application = await Application.get_or_none(tasks__id=task_id, account_id=viewer.account_id)
        if application is None:
            raise NotFound("There is no such task.", "id")
        blockers = tuple(selection.application_blockers(application))
        resumed = await conn.fetchval(
            """
            UPDATE task
            SET status = 'SENDING', paused_by_suspension = FALSE, deadline_at = groupsms_now() + $3::interval,
                revision = revision + 1
            WHERE id = $1 AND account_id = $2 AND status = 'PAUSED' AND NOT $4::bool
            RETURNING id
            """,
            task_id,
            viewer.account_id,
            schedule.OVERDUE_AFTER,
            bool(blockers),
        )
        if resumed is None:
            status, _ = await tasks.status_of(conn, viewer, task_id)
            if blockers and status is TaskStatus.PAUSED:
                raise NotSelectable(" ".join(b.message for b in blockers), "id", blockers=blockers)
            raise await _wrong_status(conn, viewer, task_id, "Only a paused task can be resumed")
        await audit.record(conn, viewer.account_id, AuditAction.TASK_RESUMED, (AuditObject.TASK, task_id))
        await feed.announce(conn, viewer.account_id, task_id)
    await doorbell.task_changed(viewer.account_id, task_id)


async def stop_task(viewer: Viewer, task_id: int, doorbell: Doorbell) -> None:
    """End a running or paused task for good: what was not handed over is never sent.

    What is in flight stays WAITING until its answer is stored. Raises `NotFound` or `WrongStatus`.
    """
    async with db.transaction() as conn:
        stopped = await conn.fetchval(
            """
            UPDATE task
            SET status = 'STOPPED', finished_at = groupsms_now(), paused_by_suspension = FALSE,
                revision = revision + 1
            WHERE id = $1 AND account_id = $2 AND status IN ('SENDING', 'PAUSED')
            RETURNING id
            """,
            task_id,
            viewer.account_id,
        )
        if stopped is None:
            raise await _wrong_status(conn, viewer, task_id, "Only a running or paused task can be stopped")
        await audit.record(conn, viewer.account_id, AuditAction.TASK_STOPPED, (AuditObject.TASK, task_id))
        await feed.announce(conn, viewer.account_id, task_id)
    await doorbell.task_changed(viewer.account_id, task_id)
    await tasks.advance_task(task_id, doorbell)


async def reschedule_task(viewer: Viewer, task_id: int, send_at: datetime, doorbell: Doorbell) -> None:
    """Put a scheduled task at another time, at least five minutes before its present one.

    Raises `NotFound`, `WrongStatus`, `TooLate`, `SendTimeError` for a time a new task could not have, or
    `QuotaExceeded` if the account's limits leave no room on its day.
    """
    async with db.transaction() as conn:
        now: datetime = await conn.fetchval("SELECT groupsms_now()")
        _, before = await tasks.status_of(conn, viewer, task_id, and_hold=True)
        chosen = schedule.check_send_time(send_at, now, viewer.time_zone)
        moved = await conn.fetchval(
            """
            UPDATE task SET send_at = $3, deadline_at = $3::timestamptz + $4, revision = revision + 1
            WHERE id = $1 AND account_id = $2 AND status = 'SCHEDULED'
              AND send_at - $5::interval >= groupsms_now()
            RETURNING id
            """,
            task_id,
            viewer.account_id,
            chosen,
            schedule.OVERDUE_AFTER,
            schedule.CANCEL_MARGIN,
        )
        if moved is None:
            raise await tasks.why_not_any_more(conn, viewer, task_id, "rescheduled")
        taken = await sending_usage.move(conn, viewer, task_id, chosen)
        await idempotency.follow_send_time(conn, viewer.account_id, task_id, chosen)
        await audit.record(
            conn,
            viewer.account_id,
            AuditAction.TASK_RESCHEDULED,
            (AuditObject.TASK, task_id),
            oldSendAt=before,
            newSendAt=chosen,
        )
        await feed.announce(conn, viewer.account_id, task_id)
    taken.log(viewer.account_id)
    await doorbell.task_changed(viewer.account_id, task_id)
    await doorbell.task_due(task_id, chosen)


async def _wrong_status(conn: Connection, viewer: Viewer, task_id: int, rule: str) -> WrongStatus:
    status, _ = await tasks.status_of(conn, viewer, task_id)
    return WrongStatus(f"{rule}; this one is {status.value}.", "id", status=status)


async def handover_counts(viewer: Viewer, task_id: int) -> HandoverCounts:
    """How far the hand-over of a task of this account is."""
    row = await db.fetchrow(
        """
        SELECT handed_over, in_flight, imported - handed_over - not_sent - in_flight AS left_over
        FROM task
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(unknown + delivered + failed), 0)::int AS handed_over,
                   coalesce(sum(not_sent), 0)::int AS not_sent
            FROM task_counter WHERE task_id = task.id
        ) AS counter
        CROSS JOIN LATERAL (
            SELECT count(*)::int AS in_flight
            FROM chunk JOIN message USING (task_id)
            WHERE task_id = $1 AND chunk.state = 1 AND message.result = 0
              AND message.position BETWEEN chunk.first AND chunk.marked
              AND message.position <> ALL (chunk.returned)
        ) AS flight
        WHERE task.id = $1 AND task.account_id = $2
        """,
        task_id,
        viewer.account_id,
    )
    if row is None:
        raise NotFound("There is no such task.", "id")
    return HandoverCounts(row["handed_over"], row["in_flight"], row["left_over"])
