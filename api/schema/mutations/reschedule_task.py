"""rescheduleTask: a scheduled task gets another time."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from api.context import Info
from api.schema import global_ids
from api.schema.enums import Role
from api.schema.errors import UserError, collecting
from api.schema.inputs import ERRORS, INPUT
from api.schema.loaders import Loaders
from api.schema.tasks import Task
from domain import task_control, task_reads


@strawberry.input(description="Which task to put at which time.")
class RescheduleTaskInput:
    id: strawberry.ID = strawberry.field(description="The task's id.")
    send_at: datetime = strawberry.field(description="When to send it instead, up to a month ahead.")


@strawberry.type(description="What came of rescheduleTask.")
class RescheduleTaskPayload:
    task: Task | None = strawberry.field(description="The task with its new time; null if there are errors.")
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def reschedule_task(info: Info, wanted: Annotated[RescheduleTaskInput, INPUT]) -> RescheduleTaskPayload:
    """Move it, unless it is too late."""
    viewer = info.context.require(Role.SENDER)
    task_id = global_ids.key_of("Task", wanted.id)
    view = None
    with collecting() as errors:
        await task_control.reschedule_task(viewer, task_id, wanted.send_at, info.context.services.bus)
        view = await task_reads.find_task(viewer.account_id, task_id)
    return RescheduleTaskPayload(
        task=Task.of(view, Loaders(viewer.account_id)) if view else None, errors=errors
    )
