"""pauseTask: a running task rests."""

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
from domain import task_control, task_reads


@strawberry.input(description="The task to pause.")
class PauseTaskInput:
    id: strawberry.ID = strawberry.field(description="The task's id.")


@strawberry.type(description="What came of pauseTask. The numbers are of the moment of the answer.")
class PauseTaskPayload:
    task: Task | None = strawberry.field(description="The paused task; null if there are errors.")
    handed_over: int | None = strawberry.field(
        description="How many messages reached the gateway, or may have; null if there are errors."
    )
    in_flight: int | None = strawberry.field(
        description="How many are on their way to the gateway; null if there are errors."
    )
    left: int | None = strawberry.field(
        description="How many are sent only after resumeTask; null if there are errors."
    )
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def pause_task(info: Info, wanted: Annotated[PauseTaskInput, INPUT]) -> PauseTaskPayload:
    """Pause it."""
    viewer = info.context.require(Role.SENDER)
    task_id = global_ids.key_of("Task", wanted.id)
    view = counts = None
    with collecting() as errors:
        await task_control.pause_task(viewer, task_id, info.context.services.bus)
        counts = await task_control.handover_counts(viewer, task_id)
        view = await task_reads.find_task(viewer.account_id, task_id)
    return PauseTaskPayload(
        task=Task.of(view, Loaders(viewer.account_id)) if view else None,
        handed_over=counts.handed_over if counts else None,
        in_flight=counts.in_flight if counts else None,
        left=counts.left if counts else None,
        errors=errors,
    )
