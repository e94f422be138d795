"""createToken: another token of the account."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from api.context import Info
from api.schema.enums import Role
from api.schema.errors import UserError, collecting
from api.schema.inputs import ERRORS, INPUT
from api.schema.tokens import AccessToken
from domain import access_tokens


@strawberry.input(description="The token to make.")
class CreateTokenInput:
    name: str = strawberry.field(
        description="What to call it, so that people know whose it is: 1 to 64 characters."
    )
    role: Role = strawberry.field(description="What its holder may do: no more than you may.")
    expires_at: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="From when on it is refused. Left out, it does not expire."
    )


@strawberry.type(description="What came of createToken.")
class CreateTokenPayload:
    token: AccessToken | None = strawberry.field(description="The new token; null if there are errors.")
    secret: str | None = strawberry.field(
        description=(
            "What its holder sends as `Authorization: Bearer SECRET`. Keep it now: it is never shown again. "
            "null if there are errors."
        )
    )
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def create_token(info: Info, wanted: Annotated[CreateTokenInput, INPUT]) -> CreateTokenPayload:
    """Make it."""
    viewer = info.context.require(Role.MANAGER)
    token, secret = None, None
    with collecting() as errors:
        view, secret = await access_tokens.create_token(
            viewer, name=wanted.name, role=wanted.role, expires_at=wanted.expires_at or None
        )
        token = AccessToken.of(view)
    return CreateTokenPayload(token=token, secret=secret, errors=errors)
