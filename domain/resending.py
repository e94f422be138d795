"""Resending: a new task of just the numbers that failed for a reason that may pass.

Each failed message can be resent once, whoever asks how often at the same time: the statement that marks them
as resent is guarded, and part of the transaction that stores the new task. It stays so when the new task is
canceled. What fails later can be resent by asking again. The text, the sender and the prices are those of
today, and so is the check whether application, signature and template may be used.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from domain import db, idempotency, task_creation, task_orders, task_reads
from domain.access import Viewer
from domain.db import Connection
from domain.errors import ErrorCode, NotFound, RecipientListError, Refused
from domain.failures import explain
from domain.idempotency import HeldKey
from domain.ports import Doorbell
from domain.pricing import PriceTable
from domain.recipient_file import Recipients
from domain.states import Region
from domain.task_creation import Created
from domain.task_orders import Plan, TaskOrder
from domain.task_reads import TaskView
from domain.task_warnings import WarningCode


@dataclass(frozen=True, slots=True)
class Resend:
    """What a user asks for."""

    task_id: int
    """Whose failed numbers to send to again."""
    name: str
    send_at: datetime | None
    """None: at once."""


class _TakenMeanwhile(Exception):  # noqa: N818 - it never leaves this module
    """Somebody else resent some of the same messages."""


async def resend_failed(
    viewer: Viewer,
    wanted: Resend,
    prices: Mapping[str, PriceTable],
    doorbell: Doorbell,
    idempotency_key: str | None = None,
) -> Created:
    """Make the new task.

    Raises `NotFound`, `Refused` with all that is wrong, `RecipientListError` if nothing is left to resend, or
    `KeyReused`.
    """
    if idempotency_key is None:
        return await _resend(viewer, wanted, prices, doorbell, None)
    async with idempotency.taken(viewer.account_id, idempotency_key, _request_hash(wanted)) as held:
        if isinstance(held, HeldKey):
            return await _resend(viewer, wanted, prices, doorbell, held)
        return Created.of_answer(held)


def _request_hash(wanted: Resend) -> bytes:
    send_at = wanted.send_at.isoformat() if wanted.send_at else None
    return hashlib.sha256(json.dumps(["resend", wanted.task_id, wanted.name, send_at]).encode()).digest()


async def _resend(
    viewer: Viewer,
    wanted: Resend,
    prices: Mapping[str, PriceTable],
    doorbell: Doorbell,
    key: HeldKey | None,
) -> Created:
    task = await task_reads.find_task(viewer.account_id, wanted.task_id)
    if task is None:
        raise NotFound("There is no such task.", "taskId")
    plan = await _check(viewer, task, wanted)
    while True:
        positions, numbers = await _resendable(task)
        if not positions:
            raise await _nothing_left(task)
        prepared = await task_orders.work_out(viewer, plan, Recipients(numbers, [], 0), prices)
        # That the same people got the same text lately is the point of it.
        prepared = replace(
            prepared,
            warnings=tuple(
                warning for warning in prepared.warnings if warning.code is not WarningCode.SENT_RECENTLY
            ),
        )
        new = task_creation.new_task(viewer, prepared, resend_of=task.id)

        async def take(conn: Connection, positions: Sequence[int] = positions) -> None:
            await _take(conn, task.id, positions)

        try:
            return await task_creation.store(viewer, new, prepared, doorbell, key, also=take)
        except _TakenMeanwhile:
            continue


async def _check(viewer: Viewer, task: TaskView, wanted: Resend) -> Plan:
    order = TaskOrder(
        name=wanted.name,
        application_id=task.application_id,
        signature_id=task.signature_id,
        template_id=task.template_id,
        recipients=(),  # which ones is looked up once the rest is in order
        send_at=wanted.send_at,
    )
    try:
        return await task_orders.check(viewer, order)
    except Refused as refused:
        for error in refused.errors:
            if error.path[0] in ("applicationId", "signatureId", "templateId"):
                error.path = ("taskId",)
        raise


_FAILED = """
    SELECT position, number, resent, coalesce(error_code, '') AS code,
           EXISTS (SELECT FROM opt_out o WHERE o.account_id = $2 AND o.number = message.number) AS opted_out
    FROM message WHERE task_id = $1 AND result = 3
      AND NOT EXISTS (SELECT FROM task WHERE id = $1 AND messages_purged_at IS NOT NULL)
"""


async def _resendable(task: TaskView) -> tuple[list[int], array[int]]:
    """The messages that may be resent: their positions, and their numbers."""
    rows = await db.fetch(
        f"""
        SELECT position, number FROM ({_FAILED}) AS failed
        WHERE NOT resent AND code = ANY($3::text[]) AND NOT opted_out ORDER BY position
        """,
        task.id,
        task.account_id,
        await _passing_codes(task.id, task.region),
    )
    return [row["position"] for row in rows], array("q", (row["number"] for row in rows))


async def _passing_codes(task_id: int, region: Region) -> list[str]:
    rows = await db.fetch(
        "SELECT DISTINCT coalesce(error_code, '') AS code FROM message WHERE task_id = $1 AND result = 3",
        task_id,
    )
    return [row["code"] for row in rows if explain(row["code"], region).may_pass]


async def _nothing_left(task: TaskView) -> RecipientListError:
    now = await task_reads.find_task(task.account_id, task.id)
    if now is not None and now.messages_purged_at is not None:
        return RecipientListError(
            f"The numbers of this task are no longer kept since {now.messages_purged_at:%Y-%m-%d}: "
            "they can't be resent.",
            "taskId",
            code=ErrorCode.NO_VALID_NUMBERS,
        )
    row = await db.fetchrow(
        f"""
        SELECT count(*) AS failed,
               count(*) FILTER (WHERE resent) AS resent,
               count(*) FILTER (WHERE NOT resent AND code <> ALL($3::text[])) AS lasting,
               count(*) FILTER (WHERE NOT resent AND code = ANY($3::text[])) AS opted_out
        FROM ({_FAILED}) AS failed
        """,
        task.id,
        task.account_id,
        await _passing_codes(task.id, task.region),
    )
    assert row is not None, "counting always gives a row"
    message = "No number of this task has failed."
    if row["failed"]:
        message = (
            f"Nothing is left to resend: of {row['failed']} failed numbers {row['resent']} were resent "
            f"before, {row['lasting']} failed for a reason that will not pass, {row['opted_out']} opted out."
        )
    return RecipientListError(message, "taskId", code=ErrorCode.NO_VALID_NUMBERS)


async def _take(conn: Connection, task_id: int, positions: Sequence[int]) -> None:
    """Mark the messages as resent, or raise `_TakenMeanwhile` if one of them is already.

    They are locked in one order everywhere, so that two who resend the same never deadlock.
    """
    taken = await conn.fetchval(
        """
        WITH locked AS (
            SELECT position FROM message
            WHERE task_id = $1 AND position = ANY($2::int[]) AND result = 3 AND NOT resent
            ORDER BY position FOR NO KEY UPDATE
        ), taken AS (
            UPDATE message SET resent = TRUE FROM locked
            WHERE message.task_id = $1 AND message.position = locked.position AND NOT message.resent
            RETURNING 1
        ) SELECT count(*) FROM taken
        """,
        task_id,
        positions,
    )
    if taken != len(positions):
        raise _TakenMeanwhile
