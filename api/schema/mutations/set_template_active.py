"""setTemplateActive: a template is switched on or off by its account."""

from __future__ import annotations

from typing import Annotated

import strawberry

from api.context import Info
from api.schema import global_ids
from api.schema.enums import Role
from api.schema.errors import UserError, collecting
from api.schema.inputs import ERRORS, INPUT
from api.schema.loaders import Loaders
from api.schema.resources import Template
from domain import resources


@strawberry.input(description="Which template to switch on or off.")
class SetTemplateActiveInput:
    id: strawberry.ID = strawberry.field(description="The template's id.")
    active: bool = strawberry.field(description="Whether tasks may use it from now on.")


@strawberry.type(description="What came of setTemplateActive.")
class SetTemplateActivePayload:
    template: Template | None = strawberry.field(
        description="The template as it is now; null if there are errors."
    )
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def set_template_active(
    info: Info, wanted: Annotated[SetTemplateActiveInput, INPUT]
) -> SetTemplateActivePayload:
    """Switch it."""
    viewer = info.context.require(Role.MANAGER)
    loaders = Loaders(viewer.account_id)
    judged = None
    with collecting() as errors:
        template = await resources.set_template_active(
            viewer, global_ids.key_of("Template", wanted.id), active=wanted.active
        )
        judged = await loaders.templates.load((template.id, None, None))
    return SetTemplateActivePayload(
        template=Template.of(judged, None, loaders) if judged else None, errors=errors
    )
