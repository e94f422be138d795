"""setApplicationSuspended: an application is kept from sending, or may send again."""

from __future__ import annotations

from typing import Annotated

import strawberry

from api.context import Info
from api.schema import global_ids
from api.schema.enums import Role
from api.schema.errors import UserError, collecting
from api.schema.inputs import ERRORS, INPUT
from api.schema.loaders import Loaders
from api.schema.resources import Application
from domain import resources


@strawberry.input(description="Which application to suspend or resume.")
class SetApplicationSuspendedInput:
    id: strawberry.ID = strawberry.field(description="The application's id.")
    suspended: bool = strawberry.field(
        description=(
            "Whether it may send nothing from now on. That pauses its running tasks; resuming it lets those "
            "go on, for 24 hours at most."
        )
    )


@strawberry.type(description="What came of setApplicationSuspended.")
class SetApplicationSuspendedPayload:
    application: Application | None = strawberry.field(
        description="The application as it is now; null if there are errors."
    )
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def set_application_suspended(
    info: Info, wanted: Annotated[SetApplicationSuspendedInput, INPUT]
) -> SetApplicationSuspendedPayload:
    """Suspend or resume it."""
    viewer = info.context.require(Role.MANAGER)
    application = None
    with collecting() as errors:
        application = await resources.set_application_suspended(
            viewer,
            global_ids.key_of("Application", wanted.id),
            suspended=wanted.suspended,
            doorbell=info.context.services.bus,
        )
    return SetApplicationSuspendedPayload(
        application=Application.of(application, Loaders(viewer.account_id)) if application else None,
        errors=errors,
    )
