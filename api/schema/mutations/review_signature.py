"""reviewSignature: an operator decides about a signature of any account."""

from __future__ import annotations

from typing import Annotated

import strawberry

from api.context import Info
from api.schema import global_ids
from api.schema.enums import Role
from api.schema.errors import UserError, collecting
from api.schema.inputs import ERRORS, INPUT
from api.schema.loaders import Loaders
from api.schema.resources import Signature
from domain import resources


@strawberry.input(description="The decision about a signature.")
class ReviewSignatureInput:
    id: strawberry.ID = strawberry.field(description="The signature's id.")
    approve: bool = strawberry.field(
        description="Whether it may be used. False on an approved one withdraws the approval."
    )
    note: str | None = strawberry.field(
        default=strawberry.UNSET, description="What to tell the account about it."
    )
    channel_number: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="The number its messages come from: 3 to 20 digits. Left out, it stays as it is.",
    )


@strawberry.type(description="What came of reviewSignature.")
class ReviewSignaturePayload:
    signature: Signature | None = strawberry.field(
        description="The signature as decided; null if there are errors."
    )
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def review_signature(
    info: Info, wanted: Annotated[ReviewSignatureInput, INPUT]
) -> ReviewSignaturePayload:
    """Record the decision."""
    info.context.require(Role.OPERATOR)
    judged = None
    with collecting() as errors:
        signature = await resources.review_signature(
            global_ids.key_of("Signature", wanted.id),
            approve=wanted.approve,
            note=wanted.note or None,
            channel_number=wanted.channel_number or None,
        )
        judged = await Loaders(signature.account_id).signatures.load((signature.id, None))
    return ReviewSignaturePayload(signature=Signature.of(judged) if judged else None, errors=errors)
