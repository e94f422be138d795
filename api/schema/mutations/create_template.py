"""createTemplate: a new text, to be reviewed."""

from __future__ import annotations

from typing import Annotated

import strawberry

from api.context import Info
from api.schema import global_ids
from api.schema.enums import Role, SmsType
from api.schema.errors import UserError, collecting
from api.schema.inputs import ERRORS, INPUT
from api.schema.loaders import Loaders
from api.schema.resources import Template
from domain import resources


@strawberry.input(
    description=(
        "The template to create. For a mainland application it belongs to a signature or is universal; "
        "for an international one neither is needed."
    )
)
class CreateTemplateInput:
    application_id: strawberry.ID = strawberry.field(description="The application it is for.")
    name: str = strawberry.field(description="What people will call it: 1 to 64 characters.")
    type: SmsType = strawberry.field(description="What it is to be used for.")
    content: str = strawberry.field(
        description="The text without the signature; up to 500 characters, signature and brackets included."
    )
    signature_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="The signature it belongs to."
    )
    universal: bool | None = strawberry.field(
        default=False, description="Whether it may be used with every signature of its applications."
    )
    external_id: str | None = strawberry.field(
        default=strawberry.UNSET, description="What the gateway calls it, if the gateway needs that."
    )


@strawberry.type(description="What came of createTemplate.")
class CreateTemplatePayload:
    template: Template | None = strawberry.field(description="The new template; null if there are errors.")
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def create_template(info: Info, wanted: Annotated[CreateTemplateInput, INPUT]) -> CreateTemplatePayload:
    """Create it; an operator reviews it before it can be used."""
    viewer = info.context.require(Role.MANAGER)
    loaders = Loaders(viewer.account_id)
    judged = None
    with collecting() as errors:
        template = await resources.create_template(
            viewer,
            application_id=global_ids.key_of("Application", wanted.application_id),
            name=wanted.name,
            sms_type=wanted.type,
            content=wanted.content,
            signature_id=global_ids.key_of("Signature", wanted.signature_id) if wanted.signature_id else None,
            universal=bool(wanted.universal),
            external_id=wanted.external_id or None,
        )
        judged = await loaders.templates.load((template.id, None, None))
    return CreateTemplatePayload(
        template=Template.of(judged, None, loaders) if judged else None, errors=errors
    )
