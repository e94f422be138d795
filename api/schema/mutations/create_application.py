"""createApplication: a new way to send."""

from __future__ import annotations

from typing import Annotated

import strawberry

from api.context import Info
from api.schema.enums import Region, Role
from api.schema.errors import UserError, collecting
from api.schema.inputs import ERRORS, INPUT
from api.schema.loaders import Loaders
from api.schema.resources import Application
from domain import resources

_DEFAULT_GATEWAY = "default"


@strawberry.input(description="The application to create.")
class CreateApplicationInput:
    name: str = strawberry.field(description="What people will call it: 1 to 64 characters.")
    region: Region = strawberry.field(description="Where its messages go.")
    sender_number: str | None = strawberry.field(
        default=strawberry.UNSET,
        description=(
            "What an international message shows as its sender: a number of 3 to 20 digits, or a name of "
            "up to 11 Latin letters and digits. A mainland message shows the signature's channel number."
        ),
    )
    gateway: str | None = strawberry.field(
        default=_DEFAULT_GATEWAY,
        description="The name of the way out to the carriers, as the service is set up.",
    )


@strawberry.type(description="What came of createApplication.")
class CreateApplicationPayload:
    application: Application | None = strawberry.field(
        description="The new application; null if there are errors."
    )
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def create_application(
    info: Info, wanted: Annotated[CreateApplicationInput, INPUT]
) -> CreateApplicationPayload:
    """Create it; it can be used at once."""
    viewer = info.context.require(Role.MANAGER)
    application = None
    with collecting() as errors:
        application = await resources.create_application(
            viewer,
            name=wanted.name,
            region=wanted.region,
            sender_number=wanted.sender_number or None,
            gateway=wanted.gateway or _DEFAULT_GATEWAY,
            gateways=info.context.services.settings.gateways,
        )
    return CreateApplicationPayload(
        application=Application.of(application, Loaders(viewer.account_id)) if application else None,
        errors=errors,
    )
