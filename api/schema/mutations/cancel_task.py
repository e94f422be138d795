"""cancelTask: a scheduled task is called off."""

from __future__ import annotations

from typing import Annotated

import strawberry

from api.context import Info
from api.schema import global_ids
from api.schema.enums import Role
from api.schema.errors import UserError, collecting
from api.schema.inputs import ERRORS, INPUT
from api.schema.loaders import Loaders
from api.schema.tasks import Task
from domain import task_reads, tasks


@strawberry.input(description="The task to cancel.")
class CancelTaskInput:
    id: strawberry.ID = strawberry.field(description="The task's id.")


@strawberry.type(description="What came of cancelTask.")
class CancelTaskPayload:
    task: Task | None = strawberry.field(description="The canceled task; null if there are errors.")
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def cancel_task(info: Info, wanted: Annotated[CancelTaskInput, INPUT]) -> CancelTaskPayload:
    """Cancel it, unless it is too late."""
    viewer = info.context.require(Role.SENDER)
    task_id = global_ids.key_of("Task", wanted.id)
    view = None
    with collecting() as errors:
        await tasks.cancel_task(viewer, task_id, info.context.services.bus)
        view = await task_reads.find_task(viewer.account_id, task_id)
    return CancelTaskPayload(task=Task.of(view, Loaders(viewer.account_id)) if view else None, errors=errors)
