"""resendFailed: the numbers that failed become a task of their own."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from api.context import Info
from api.observation import importing
from api.schema import global_ids
from api.schema.enums import Role
from api.schema.errors import collecting
from api.schema.inputs import INPUT
from api.schema.mutations.create_task import CreateTaskPayload, created_payload
from domain import resending
from domain.resending import Resend


@strawberry.input(description="Which failed numbers to send to again, and when.")
class ResendFailedInput:
    task_id: strawberry.ID = strawberry.field(description="The task whose numbers failed.")
    name: str = strawberry.field(description="What people will call the new task: 1 to 64 characters.")
    send_at: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="When to send it, up to a month ahead. Left out: at once."
    )
    idempotency_key: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="As for createTask: the same key with the same request gives the first answer again.",
    )


async def resend_failed(info: Info, wanted: Annotated[ResendFailedInput, INPUT]) -> CreateTaskPayload:
    """Make the new task, or say everything that is wrong."""
    viewer = info.context.require(Role.SENDER)
    services = info.context.services
    created = None
    with collecting() as errors, services.rates.importing(viewer), importing() as made:
        resend = Resend(global_ids.key_of("Task", wanted.task_id), wanted.name, wanted.send_at or None)
        key = None if wanted.idempotency_key is strawberry.UNSET else wanted.idempotency_key
        created = await resending.resend_failed(viewer, resend, services.intake.prices, services.bus, key)
        made.append(created)
    return await created_payload(viewer, created, errors)
