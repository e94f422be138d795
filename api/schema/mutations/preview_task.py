"""previewTask: everything createTask would do and cost, without doing it."""

from __future__ import annotations

from typing import Annotated

import strawberry

from api.context import Info
from api.schema.enums import Role
from api.schema.errors import UserError, collecting
from api.schema.inputs import ERRORS, INPUT
from api.schema.mutations.create_task import CreateTaskInput
from api.schema.previews import TaskPreview, WarningNote
from domain import previews


@strawberry.type(description="What came of previewTask.")
class PreviewTaskPayload:
    preview: TaskPreview | None = strawberry.field(description="What would be; null if there are errors.")
    warnings: list[WarningNote] = strawberry.field(description="What is worth a second look.")
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def preview_task(info: Info, wanted: Annotated[CreateTaskInput, INPUT]) -> PreviewTaskPayload:
    """Work it out, or say everything that is wrong."""
    viewer = info.context.require(Role.SENDER)
    services = info.context.services
    preview = None
    with collecting() as errors, services.rates.importing(viewer):
        preview = await previews.preview_task(
            viewer, wanted.order(services.settings.upload_limit), services.intake
        )
    if preview is None:
        return PreviewTaskPayload(preview=None, warnings=[], errors=errors)
    return PreviewTaskPayload(
        preview=TaskPreview.of(preview, viewer.currency),
        warnings=WarningNote.all_of(preview.prepared.warnings),
        errors=[],
    )
