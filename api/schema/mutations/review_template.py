"""reviewTemplate: an operator decides about a template of any account."""

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


@strawberry.input(description="The decision about a template.")
class ReviewTemplateInput:
    id: strawberry.ID = strawberry.field(description="The template's id.")
    approve: bool = strawberry.field(
        description=(
            "Whether it may be used; approving also activates it. False on an approved one withdraws the "
            "approval."
        )
    )
    note: str | None = strawberry.field(
        default=strawberry.UNSET, description="What to tell the account about it."
    )


@strawberry.type(description="What came of reviewTemplate.")
class ReviewTemplatePayload:
    template: Template | None = strawberry.field(
        description="The template as decided; null if there are errors."
    )
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def review_template(info: Info, wanted: Annotated[ReviewTemplateInput, INPUT]) -> ReviewTemplatePayload:
    """Record the decision."""
    info.context.require(Role.OPERATOR)
    template = None
    with collecting() as errors:
        reviewed = await resources.review_template(
            global_ids.key_of("Template", wanted.id), approve=wanted.approve, note=wanted.note or None
        )
        loaders = Loaders(reviewed.account_id)
        judged = await loaders.templates.load((reviewed.id, None, None))
        template = Template.of(judged, None, loaders) if judged else None
    return ReviewTemplatePayload(template=template, errors=errors)
