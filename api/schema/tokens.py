"""The tokens that open an account."""

from __future__ import annotations

from datetime import datetime

import strawberry

from api.schema import global_ids
from api.schema.enums import Role
from api.schema.node import Node
from domain.access_tokens import AccessTokenView


@strawberry.type(
    description=(
        "A token that opens the account. Its secret is told once, by createToken, and not kept. Tokens of an "
        "identity provider are not listed: they are made and withdrawn there."
    )
)
class AccessToken(Node):
    name: str = strawberry.field(description="What people call it; empty if it was made without a name.")
    role: Role = strawberry.field(description="What its holder may do.")
    created_at: datetime = strawberry.field(description="When it was made.")
    created_by: str = strawberry.field(
        description=(
            "Who made it: the name of the token it was made with, whom the identity provider vouched for, or "
            "`groupsms token create`. Empty where nobody noted it."
        )
    )
    expires_at: datetime | None = strawberry.field(
        description="From when on it is refused; null: it does not expire."
    )
    revoked_at: datetime | None = strawberry.field(description="When it was revoked; null if it was not.")
    last_used_at: datetime | None = strawberry.field(
        description="When it was last used, to the minute; null if never."
    )

    @staticmethod
    def of(view: AccessTokenView) -> AccessToken:
        """The token as the API shows it."""
        return AccessToken(
            id=global_ids.encode("AccessToken", view.id),
            name=view.name,
            role=view.role,
            created_at=view.created_at,
            created_by=view.created_by,
            expires_at=view.expires_at,
            revoked_at=view.revoked_at,
            last_used_at=view.last_used_at,
        )
