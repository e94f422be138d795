"""deleteTask: a canceled task is removed for good."""

from __future__ import annotations

from typing import Annotated

import strawberry

from api.context import Info
from api.schema import global_ids
from api.schema.enums import Role
from api.schema.errors import UserError, collecting
from api.schema.inputs import ERRORS, INPUT
from domain import tasks


@strawberry.input(description="The task to delete.")
class DeleteTaskInput:
    id: strawberry.ID = strawberry.field(description="The task's id.")


@strawberry.type(description="What came of deleteTask.")
class DeleteTaskPayload:
    deleted_task_id: strawberry.ID | None = strawberry.field(
        description="The id the task had; null if there are errors."
    )
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def delete_task(info: Info, wanted: Annotated[DeleteTaskInput, INPUT]) -> DeleteTaskPayload:
    """Delete it with its numbers and rejected rows."""
    viewer = info.context.require(Role.SENDER)
    task_id = global_ids.key_of("Task", wanted.id)
    with collecting() as errors:
        await tasks.delete_task(viewer, task_id, info.context.services.bus)
    deleted = None if errors else global_ids.encode("Task", task_id)
    return DeleteTaskPayload(deleted_task_id=deleted, errors=errors)
