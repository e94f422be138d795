"""Making a task of what a user asks for: worked out, then stored whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from domain import audit, idempotency, sending_usage, task_orders
from domain.access import Viewer
from domain.audit import AuditAction, AuditObject
from domain.db import Connection
from domain.errors import PreviewChanged, RecipientSummary, WarningsRefused
from domain.idempotency import Answer, HeldKey
from domain.imports import NewTask, insert_task
from domain.ports import Doorbell
from domain.sending_usage import Taken
from domain.task_orders import Intake, PreparedTask, RecipientSource, TaskOrder
from domain.task_warnings import TaskWarning, WarningCode


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under what conditions to create a task."""

    idempotency_key: str | None = None
    preview_hash: str | None = None
    """Refuse if a preview would now show anything else."""
    refuse_on_warnings: bool = False


@dataclass(frozen=True, slots=True)
class Created:
    """What was made of a `TaskOrder`."""

    task_id: int
    recipients: RecipientSummary
    warnings: tuple[TaskWarning, ...]

    def as_answer(self) -> Answer:
        """As it is bound to an idempotency key."""
        return {
            "task_id": self.task_id,
            "recipients": asdict(self.recipients),
            "warnings": [[warning.code.value, warning.message] for warning in self.warnings],
        }

    @staticmethod
    def of_answer(answer: Answer) -> Created:
        """What was made by the request that the answer was bound by."""
        return Created(
            answer["task_id"],
            RecipientSummary(**answer["recipients"]),
            tuple(TaskWarning(WarningCode(code), message) for code, message in answer["warnings"]),
        )


async def create_task(
    viewer: Viewer,
    order: TaskOrder,
    intake: Intake,
    doorbell: Doorbell,
    conditions: Conditions = Conditions(),
) -> Created:
    """Read and clean the recipient list and store the task, all of it or nothing.

    Raises `Refused` with everything that is wrong with the order, `RecipientListError`, `QuotaExceeded`,
    `PreviewChanged`, `WarningsRefused`, or `KeyReused`.
    """
    if conditions.idempotency_key is None:
        return await _create(viewer, order, intake, doorbell, conditions, None)
    asked = await request_hash(order, conditions)
    async with idempotency.taken(viewer.account_id, conditions.idempotency_key, asked) as held:
        if isinstance(held, HeldKey):
            return await _create(viewer, order, intake, doorbell, conditions, held)
        return Created.of_answer(held)


async def _create(
    viewer: Viewer,
    order: TaskOrder,
    intake: Intake,
    doorbell: Doorbell,
    conditions: Conditions,
    key: HeldKey | None,
) -> Created:
    prepared = await task_orders.prepare(viewer, order, intake)
    _check_conditions(prepared, conditions)
    return await store(
        viewer,
        new_task(viewer, prepared),
        prepared,
        doorbell,
        key,
        refuse_on_warnings=conditions.refuse_on_warnings,
    )


async def store(
    viewer: Viewer,
    new: NewTask,
    prepared: PreparedTask,
    doorbell: Doorbell,
    key: HeldKey | None,
    *,
    also: Callable[[Connection], Awaitable[None]] | None = None,
    refuse_on_warnings: bool = False,
) -> Created:
    """Store a task, count it, bind the answer to the key, and announce it.

    `also` runs in the same transaction. Raises `QuotaExceeded`, or `WarningsRefused` if a limit has come near
    since the order was prepared.
    """
    taken = Taken((), ())
    prepared = _without_limit_warning(prepared)

    async def complete(conn: Connection, task_id: int) -> None:
        nonlocal taken, prepared
        if also is not None:
            await also(conn)
        path = "recipients" if new.resend_of is None else "taskId"
        taken = await sending_usage.take(conn, viewer, task_id, prepared.send_at, prepared.load, path)
        prepared = replace(prepared, warnings=(*prepared.warnings, *taken.warnings()))
        if refuse_on_warnings:
            _refuse_warnings(prepared)
        await _record(conn, task_id, new, prepared)
        if key is not None:
            await key.bind(conn, _created(task_id, prepared).as_answer(), prepared.send_at)

    task_id = await insert_task(new, prepared.recipients, prepared.summary, also=complete)
    taken.log(viewer.account_id)
    await doorbell.task_changed(viewer.account_id, task_id)
    await doorbell.task_due(task_id, prepared.send_at)
    return _created(task_id, prepared)


async def _record(conn: Connection, task_id: int, new: NewTask, prepared: PreparedTask) -> None:
    await audit.record(
        conn,
        new.account_id,
        AuditAction.TASK_CREATED if new.resend_of is None else AuditAction.FAILED_RESENT,
        (AuditObject.TASK, task_id),
        name=new.name,
        sendAt=new.send_at,
        numbers=prepared.summary.imported,
        resendOf=new.resend_of,
    )


def _without_limit_warning(prepared: PreparedTask) -> PreparedTask:
    """The order without what was foreseen of the limits: what is so at the end counts."""
    lasting = tuple(w for w in prepared.warnings if w.code is not WarningCode.SENDING_LIMIT_NEAR)
    return replace(prepared, warnings=lasting)


def new_task(viewer: Viewer, prepared: PreparedTask, *, resend_of: int | None = None) -> NewTask:
    """What is stored of a prepared order."""
    return NewTask(
        account_id=viewer.account_id,
        currency=viewer.currency,
        name=prepared.name,
        choice=prepared.choice,
        content=prepared.content,
        send_at=prepared.send_at,
        price_list=prepared.price_list,
        estimated_amount=prepared.estimate.amount,
        resend_of=resend_of,
    )


def _check_conditions(prepared: PreparedTask, conditions: Conditions) -> None:
    if conditions.preview_hash is not None and conditions.preview_hash != prepared.hash():
        raise PreviewChanged(
            "Something would now be different from the preview. Look at a new one.", "previewHash"
        )
    if conditions.refuse_on_warnings:
        _refuse_warnings(prepared)


def _refuse_warnings(prepared: PreparedTask) -> None:
    if prepared.warnings:
        raise WarningsRefused(" ".join(warning.message for warning in prepared.warnings), "refuseOnWarnings")


def _created(task_id: int, prepared: PreparedTask) -> Created:
    return Created(task_id, prepared.summary, prepared.warnings)


async def request_hash(order: TaskOrder, conditions: Conditions) -> bytes:
    """The same for the same request only, uploaded files by their content."""
    parts = [
        order.name,
        order.application_id,
        order.signature_id,
        order.template_id,
        order.send_at.isoformat() if order.send_at else None,
        await _list_hash(order.recipients),
        conditions.preview_hash,
        conditions.refuse_on_warnings,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).digest()


async def _list_hash(source: RecipientSource) -> str:
    if isinstance(source, Path):
        content = await asyncio.to_thread(source.read_bytes)
        return f"file {hashlib.sha256(content).hexdigest()}"
    return f"{type(source).__name__} {source}"
