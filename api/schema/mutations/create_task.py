"""createTask: a recipient list becomes a task."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import strawberry

from api.context import Info
from api.schema import global_ids
from api.schema.enums import ErrorCode, Role
from api.schema.errors import UserError, collecting
from api.schema.inputs import ERRORS, INPUT
from api.schema.loaders import Loaders
from api.schema.tasks import Task
from api.uploads import Upload
from domain import task_creation, task_reads
from domain.errors import RecipientListError
from domain.recipient_file import FileTooLarge, ReadLimits
from domain.task_creation import LIST_LIMIT, TaskOrder


@strawberry.input(description="Whom to send to: exactly one of these.", one_of=True)
class RecipientsInput:
    file: Upload | None = strawberry.field(
        default=strawberry.UNSET,
        description=(
            "An Excel workbook (.xlsx) with the numbers in column A of its first visible sheet, a CSV "
            "file or a plain text; sent as a part of a multipart request. At most 1,000,000 numbers."
        ),
    )
    numbers: list[str] | None = strawberry.field(
        default=strawberry.UNSET, description=f"The numbers themselves, at most {LIST_LIMIT:,}."
    )


@strawberry.input(description="The task to create.")
class CreateTaskInput:
    name: str = strawberry.field(description="What people will call it: 1 to 64 characters.")
    application_id: strawberry.ID = strawberry.field(description="The application to send through.")
    signature_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET,
        description="A selectable signature of a mainland application; left out for an international one.",
    )
    template_id: strawberry.ID = strawberry.field(description="A selectable template.")
    recipients: RecipientsInput = strawberry.field(description="Whom to send to.")
    send_at: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="When to send it, up to a month ahead. Left out: at once."
    )


@strawberry.type(description="What came of createTask.")
class CreateTaskPayload:
    task: Task | None = strawberry.field(description="The new task; null if there are errors.")
    message: str = strawberry.field(
        description="What became of the recipient list, or why there is no task, for people."
    )
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def create_task(info: Info, wanted: Annotated[CreateTaskInput, INPUT]) -> CreateTaskPayload:
    """Create it, or say everything that is wrong."""
    viewer = info.context.require(Role.SENDER)
    services = info.context.services
    created = None
    with collecting() as errors:
        order = TaskOrder(
            name=wanted.name,
            application_id=global_ids.key_of("Application", wanted.application_id),
            signature_id=global_ids.key_of("Signature", wanted.signature_id) if wanted.signature_id else None,
            template_id=global_ids.key_of("Template", wanted.template_id),
            recipients=_source(wanted.recipients, services.settings.upload_limit),
            send_at=wanted.send_at or None,
        )
        created = await task_creation.create_task(viewer, order, ReadLimits(), services.bus)
    if created is None:
        return CreateTaskPayload(
            task=None, message=" ".join(error.message for error in errors), errors=errors
        )
    view = await task_reads.find_task(viewer.account_id, created.task_id)
    return CreateTaskPayload(
        task=Task.of(view, Loaders(viewer.account_id)) if view else None,
        message=created.recipients.message,
        errors=[],
    )


def _source(recipients: RecipientsInput, limit: int) -> Path | Sequence[str]:
    if not recipients.file:
        return recipients.numbers or []
    if recipients.file.too_large:
        problem = FileTooLarge(limit)
        raise RecipientListError(problem.message, "recipients", "file", code=ErrorCode(problem.code))
    return recipients.file.path
