"""createSignature: a new signature, to be reviewed."""

from __future__ import annotations

from typing import Annotated

import strawberry

from api.context import Info
from api.schema import global_ids
from api.schema.enums import Role, SmsType
from api.schema.errors import UserError, collecting
from api.schema.inputs import ERRORS, INPUT
from api.schema.loaders import Loaders
from api.schema.resources import Signature
from domain import resources


@strawberry.input(description="The signature to create.")
class CreateSignatureInput:
    application_id: strawberry.ID = strawberry.field(description="The mainland application it is for.")
    name: str = strawberry.field(
        description=(
            "What will stand in the brackets: 2 to 32 Chinese characters, letters or digits, not digits only."
        )
    )
    type: SmsType = strawberry.field(description="What it is to be used for.")
    channel_number: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="The number its messages come from: 3 to 20 digits. An operator can set it later, too.",
    )
    universal: bool | None = strawberry.field(
        default=False, description="Whether every template of its applications may be used with it."
    )


@strawberry.type(description="What came of createSignature.")
class CreateSignaturePayload:
    signature: Signature | None = strawberry.field(
        description=("The new signature; null if there are errors.")
    )
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def create_signature(
    info: Info, wanted: Annotated[CreateSignatureInput, INPUT]
) -> CreateSignaturePayload:
    """Create it; an operator reviews it before it can be used."""
    viewer = info.context.require(Role.MANAGER)
    application_id = global_ids.key_of("Application", wanted.application_id)
    judged = None
    with collecting() as errors:
        signature = await resources.create_signature(
            viewer,
            application_id=application_id,
            name=wanted.name,
            sms_type=wanted.type,
            channel_number=wanted.channel_number or None,
            universal=bool(wanted.universal),
        )
        judged = await Loaders(viewer.account_id).signatures.load((signature.id, application_id))
    return CreateSignaturePayload(signature=Signature.of(judged) if judged else None, errors=errors)
