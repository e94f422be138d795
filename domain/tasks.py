"""The life of a task once it is stored: canceled, deleted, started, sent, completed.

Each change of status is one guarded UPDATE, so that of two who want different things exactly one wins.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from domain import db, feed, schedule, selection
from domain.access import Viewer
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
            raise await _why_not_canceled(conn, viewer, task_id)
        await feed.announce(conn, viewer.account_id, task_id)
    await doorbell.task_changed(viewer.account_id, task_id)


async def _why_not_canceled(conn: Connection, viewer: Viewer, task_id: int) -> UserError:
    status, send_at = await _status_of(conn, viewer, task_id)
    if status is not TaskStatus.SCHEDULED:
        return WrongStatus(
            f"Only a scheduled task can be canceled; this one is {status.value}.", "id", status=status
        )
    deadline = send_at - schedule.CANCEL_MARGIN
    return TooLate(
        "A task can be canceled until 5 minutes before its time; "
        f"for this one that was {deadline.isoformat()}.",
        "id",
        deadline=deadline,
    )


async def delete_task(viewer: Viewer, task_id: int, doorbell: Doorbell) -> None:
    """Delete a canceled task for good; its numbers follow in the background.

    Raises `NotFound` or `WrongStatus`.
    """
    async with db.transaction() as conn:
        deleted = await conn.fetchval(
            "DELETE FROM task WHERE id = $1 AND account_id = $2 AND status = 'CANCELED' RETURNING id",
            task_id,
            viewer.account_id,
        )
        if deleted is None:
            status, _ = await _status_of(conn, viewer, task_id)
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
    await doorbell.task_changed(viewer.account_id, task_id)


async def _status_of(conn: Connection, viewer: Viewer, task_id: int) -> tuple[TaskStatus, datetime]:
    row = await conn.fetchrow(
        "SELECT status, send_at FROM task WHERE id = $1 AND account_id = $2", task_id, viewer.account_id
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
            status = await _cancel_by_system(conn, task_id, "OVERDUE", [])
        else:
            choice = await selection.choose(
                due["account_id"], due["application_id"], due["signature_id"], due["template_id"]
            )
            if blockers := choice.blockers():
                status = await _cancel_by_system(conn, task_id, "NO_LONGER_ALLOWED", blockers)
            else:
                status = await _begin(conn, task_id)
        await feed.announce(conn, due["account_id"], task_id)
    await doorbell.task_changed(due["account_id"], task_id)
    return status


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
    conn: Connection, task_id: int, reason: str, blockers: Sequence[Blocker]
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
    return TaskStatus.CANCELED


async def advance_task(task_id: int, doorbell: Doorbell) -> None:
    """Move a task on: SENDING to SENT when all is handed over, SENT to COMPLETED when all is known.

    To be called after the commit that may have made it ready, so that the last of several workers sees all.
    """
    sent = await _move(
        """
        UPDATE task SET status = 'SENT', sent_at = groupsms_now(), revision = revision + 1
        WHERE id = $1 AND status = 'SENDING'
          AND NOT EXISTS (SELECT FROM chunk WHERE task_id = $1 AND state <> 2)
        RETURNING account_id
        """,
        doorbell,
        task_id,
    )
    completed = await _move(
        """
        UPDATE task SET status = 'COMPLETED', finished_at = groupsms_now(), revision = revision + 1
        WHERE id = $1 AND status = 'SENT'
          AND (sent_at < groupsms_now() - $2::interval
               OR NOT EXISTS (SELECT FROM task_counter WHERE task_id = $1 HAVING sum(unknown) > 0))
        RETURNING account_id
        """,
        doorbell,
        task_id,
        schedule.RECEIPTS_WITHIN,
    )
    if not sent and not completed and (account_id := await feed.announce_progress(task_id)):
        await doorbell.task_changed(account_id, task_id)


async def ready_to_advance() -> list[int]:
    """Tasks that `advance_task` would move on; normally none, unless a worker died before it could."""
    rows = await db.fetch(
        """
        SELECT id FROM task
        WHERE status = 'SENDING' AND NOT EXISTS (SELECT FROM chunk WHERE task_id = task.id AND state <> 2)
        UNION ALL
        SELECT id FROM task
        WHERE status = 'SENT'
          AND (sent_at < groupsms_now() - $1::interval
               OR NOT EXISTS (SELECT FROM task_counter WHERE task_id = task.id HAVING sum(unknown) > 0))
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
