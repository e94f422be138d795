"""What waits for an operator."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from api.schema import global_ids
from api.schema.account import Account
from api.schema.fields import field
from api.schema.loaders import Loaders
from api.schema.resources import Signature, Template
from domain import reviews
from domain.reviews import Reviewed

ReviewSubject = Annotated[
    Signature | Template,
    strawberry.union("ReviewSubject", description="What operators decide about."),
]


@strawberry.type(description="A signature or template of any account that nobody has decided about yet.")
class PendingReview:
    account: Account = strawberry.field(description="Whose it is.")
    since: datetime = strawberry.field(description="Since when it waits.")
    kind: strawberry.Private[Reviewed]
    key: strawberry.Private[int]
    loaders: strawberry.Private[Loaders]

    @field("What is to be decided about; null if it has been deleted meanwhile.")
    async def subject(self) -> ReviewSubject | None:
        if self.kind is Reviewed.SIGNATURE:
            signature = await self.loaders.signatures.load((self.key, None))
            return Signature.of(signature) if signature else None
        template = await self.loaders.templates.load((self.key, None, None))
        return Template.of(template, None, self.loaders) if template else None


class ReviewedAccounts:
    """Lets what belongs to one account be read together."""

    def __init__(self) -> None:
        self._loaders: dict[int, Loaders] = {}

    def show(self, pending: reviews.PendingReview) -> PendingReview:
        """The pending review as the API shows it."""
        account_id = pending.account_id
        return PendingReview(
            account=Account(
                id=global_ids.encode("Account", account_id),
                name=pending.account_name,
                time_zone=pending.time_zone,
                currency=pending.currency,
            ),
            since=pending.created_at,
            kind=pending.kind,
            key=pending.id,
            loaders=self._loaders.setdefault(account_id, Loaders(account_id)),
        )
