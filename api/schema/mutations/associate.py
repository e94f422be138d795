"""associate: a signature or a template may be used by another application too."""

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
from domain import associations


@strawberry.input(description="What may be used by which application: a signature, a template, or both.")
class AssociateInput:
    application_id: strawberry.ID = strawberry.field(description="The application that may use it.")
    signature_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET,
        description="A signature of an application of the same account and region.",
    )
    template_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET,
        description="A template of an application of the same account and region.",
    )


@strawberry.type(description="What came of associate.")
class AssociatePayload:
    application: Application | None = strawberry.field(
        description="The application; null if there are errors."
    )
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def associate(info: Info, wanted: Annotated[AssociateInput, INPUT]) -> AssociatePayload:
    """Associate them."""
    viewer = info.context.require(Role.MANAGER)
    application = None
    with collecting() as errors:
        application = await associations.associate(
            viewer,
            global_ids.key_of("Application", wanted.application_id),
            signature_id=global_ids.key_of("Signature", wanted.signature_id) if wanted.signature_id else None,
            template_id=global_ids.key_of("Template", wanted.template_id) if wanted.template_id else None,
        )
    return AssociatePayload(
        application=Application.of(application, Loaders(viewer.account_id)) if application else None,
        errors=errors,
    )
