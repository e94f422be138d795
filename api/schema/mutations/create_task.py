"""createTask: a recipient list becomes a task."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from api.context import Info
from api.observation import importing
from api.schema import global_ids
from api.schema.enums import ErrorCode, Role
from api.schema.errors import UserError, collecting
from api.schema.inputs import ERRORS, INPUT
from api.schema.loaders import Loaders
from api.schema.previews import WarningNote
from api.schema.tasks import Task
from api.uploads import Upload
from domain import task_creation, task_reads
from domain.access import Viewer
from domain.errors import NotFound, RecipientListError
from domain.recipient_file import LIST_LIMIT, FileTooLarge
from domain.task_creation import Conditions, Created
from domain.task_orders import RecipientSource, TaskOrder


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
    upload_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET,
        description="A list that previewTask has kept, for an hour, so that it is uploaded once.",
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
    idempotency_key: str | None = strawberry.field(
        default=strawberry.UNSET,
        description=(
            "Any text of your own, up to 255 characters. The same key with the same request gives the first "
            "answer again and makes nothing twice, until 24 hours after the time to send at."
        ),
    )
    preview_hash: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="The hash of a preview: refused if anything in it would now be different.",
    )
    refuse_on_warnings: bool | None = strawberry.field(default=False, description="Refuse instead of warn.")

    def order(self, upload_limit: int) -> TaskOrder:
        """What is asked for, as the domain takes it; `upload_limit` is in octets.

        Raises `domain.errors.UserError` for a list that cannot be one.
        """
        return TaskOrder(
            name=self.name,
            application_id=global_ids.key_of("Application", self.application_id),
            signature_id=global_ids.key_of("Signature", self.signature_id) if self.signature_id else None,
            template_id=global_ids.key_of("Template", self.template_id),
            recipients=_source(self.recipients, upload_limit),
            send_at=self.send_at or None,
        )

    def conditions(self) -> Conditions:
        """Under what conditions, as the domain takes them."""
        return Conditions(
            idempotency_key=None if self.idempotency_key is strawberry.UNSET else self.idempotency_key,
            # An empty one is a client's mistake, not a wish to go without.
            preview_hash=None if self.preview_hash is strawberry.UNSET else self.preview_hash,
            refuse_on_warnings=bool(self.refuse_on_warnings),
        )


@strawberry.type(description="What came of createTask.")
class CreateTaskPayload:
    task: Task | None = strawberry.field(description="The new task; null if there are errors.")
    message: str = strawberry.field(
        description="What became of the recipient list, or why there is no task, for people."
    )
    warnings: list[WarningNote] = strawberry.field(
        description="What is worth a second look; it is done all the same."
    )
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def create_task(info: Info, wanted: Annotated[CreateTaskInput, INPUT]) -> CreateTaskPayload:
    """Create it, or say everything that is wrong."""
    viewer = info.context.require(Role.SENDER)
    services = info.context.services
    created = None
    with collecting() as errors, services.rates.importing(viewer), importing() as made:
        order = wanted.order(services.settings.upload_limit)
        created = await task_creation.create_task(
            viewer, order, services.intake, services.bus, wanted.conditions()
        )
        made.append(created)
    return await created_payload(viewer, created, errors)


async def created_payload(
    viewer: Viewer, created: Created | None, errors: list[UserError]
) -> CreateTaskPayload:
    """The answer of a mutation that makes a task."""
    if created is None:
        message = " ".join(error.message for error in errors)
        return CreateTaskPayload(task=None, message=message, warnings=[], errors=errors)
    view = await task_reads.find_task(viewer.account_id, created.task_id)
    return CreateTaskPayload(
        task=Task.of(view, Loaders(viewer.account_id)) if view else None,
        message=created.recipients.message,
        warnings=WarningNote.all_of(created.warnings),
        errors=[],
    )


def _source(recipients: RecipientsInput, limit: int) -> RecipientSource:
    if isinstance(recipients.upload_id, str):
        return _kept(recipients.upload_id)
    if not recipients.file:
        return recipients.numbers or []
    if recipients.file.too_large:
        problem = FileTooLarge(limit)
        raise RecipientListError(problem.message, "recipients", "file", code=ErrorCode(problem.code))
    return recipients.file.path


def _kept(upload_id: str) -> UUID:
    try:
        return UUID(upload_id)
    except ValueError as error:
        raise NotFound("There is no such upload.", "recipients", "uploadId") from error
