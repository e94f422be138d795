"""revokeToken: a token is refused from now on."""

from __future__ import annotations

from typing import Annotated

import strawberry

from api.context import Info
from api.schema import global_ids
from api.schema.enums import Role
from api.schema.errors import UserError, collecting
from api.schema.inputs import ERRORS, INPUT
from api.schema.tokens import AccessToken
from domain import access_tokens


@strawberry.input(description="The token to revoke.")
class RevokeTokenInput:
    id: strawberry.ID = strawberry.field(description="The token's id. It may be the one you come with.")


@strawberry.type(description="What came of revokeToken.")
class RevokeTokenPayload:
    token: AccessToken | None = strawberry.field(description="The revoked token; null if there are errors.")
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def revoke_token(info: Info, wanted: Annotated[RevokeTokenInput, INPUT]) -> RevokeTokenPayload:
    """Revoke it, and have its sockets and streams ended everywhere."""
    viewer = info.context.require(Role.MANAGER)
    token = None
    with collecting() as errors:
        token_id = global_ids.key_of("AccessToken", wanted.id)
        revoked = await access_tokens.revoke_token(viewer.account_id, token_id, by=viewer.role)
        await info.context.services.bus.token_revoked()
        token = AccessToken.of(revoked)
    return RevokeTokenPayload(token=token, errors=errors)
