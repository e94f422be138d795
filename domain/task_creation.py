"""Making a task of what a user asks for: checked, its list read and cleaned, stored whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from domain import db, schedule, selection
from domain.access import Viewer
from domain.errors import (
    ErrorCode,
    InvalidInput,
    RecipientListError,
    RecipientSummary,
    Refused,
    UserError,
)
from domain.imports import NewTask, insert_task
from domain.ports import Doorbell
from domain.recipient_file import ReadLimits, RecipientFileError, Recipients, read_recipients
from domain.segments import segment
from domain.selection import Choice
from domain.states import Region

NAME_LENGTH = 64
LIST_LIMIT = 10_000
"""How many numbers a request may carry itself; more go into a file."""


@dataclass(frozen=True, slots=True)
class TaskOrder:
    """What a user asks for."""

    name: str
    application_id: int
    signature_id: int | None
    template_id: int
    recipients: Path | Sequence[str]
    """An uploaded file, or the numbers themselves."""
    send_at: datetime | None
    """None: at once."""


@dataclass(frozen=True, slots=True)
class Created:
    """What was made of a `TaskOrder`."""

    task_id: int
    recipients: RecipientSummary


async def create_task(viewer: Viewer, order: TaskOrder, limits: ReadLimits, doorbell: Doorbell) -> Created:
    """Read and clean the recipient list and store the task, all of it or nothing.

    Raises `Refused` with everything that is wrong with the order, or `RecipientListError`.
    """
    choice, send_at = await _check(viewer, order)
    recipients = await _read(order.recipients, choice.application.region, limits)
    summary = RecipientSummary(
        imported=len(recipients.numbers), invalid=recipients.invalid, duplicates=recipients.duplicates
    )
    if not summary.imported:
        raise RecipientListError(
            summary.message, "recipients", code=ErrorCode.NO_VALID_NUMBERS, recipients=summary
        )
    content = segment(choice.text, choice.application.region)
    new = NewTask(viewer.account_id, viewer.currency, order.name.strip(), choice, content, send_at)
    task_id = await insert_task(new, recipients, summary)
    await doorbell.task_changed(viewer.account_id, task_id)
    await doorbell.task_due(task_id, send_at)
    return Created(task_id, summary)


async def _check(viewer: Viewer, order: TaskOrder) -> tuple[Choice, datetime]:
    errors: list[UserError] = []
    if not (1 <= len(order.name.strip()) <= NAME_LENGTH and db.can_hold(order.name)):
        errors.append(InvalidInput(f"A task's name has 1 to {NAME_LENGTH} characters.", "name"))
    if not isinstance(order.recipients, Path) and not 1 <= len(order.recipients) <= LIST_LIMIT:
        errors.append(
            InvalidInput(
                f"Give 1 to {LIST_LIMIT:,} numbers here; upload a file for more.", "recipients", "numbers"
            )
        )
    now: datetime = await db.fetchval("SELECT groupsms_now()")
    send_at = now
    try:
        send_at = schedule.check_send_time(order.send_at, now, viewer.time_zone)
    except UserError as error:
        errors.append(error)
    choice = None
    try:
        choice = await selection.choose(
            viewer.account_id, order.application_id, order.signature_id, order.template_id
        )
        errors.extend(choice.refusals())
    except Refused as error:
        errors.extend(error.errors)
    if errors or choice is None:
        raise Refused(errors)
    return choice, send_at


async def _read(source: Path | Sequence[str], region: Region, limits: ReadLimits) -> Recipients:
    field = "file" if isinstance(source, Path) else "numbers"
    try:
        return await read_recipients(source, region=region, limits=limits)
    except RecipientFileError as error:
        raise RecipientListError(error.message, "recipients", field, code=ErrorCode(error.code)) from error
