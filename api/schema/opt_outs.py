"""Numbers that an account never texts."""

from __future__ import annotations

from datetime import datetime

import strawberry

from api.schema.scalars import PhoneNumber
from domain.opt_outs import OptOutView


@strawberry.type(description="A number that the account never texts.")
class OptOut:
    number: PhoneNumber = strawberry.field(description="The number.")
    since: datetime = strawberry.field(description="When it was added.")
    source: str = strawberry.field(
        description=(
            "Where it came from: API (the numbers of addOptOuts), FILE (its file), or REPLY (its owner "
            "answered a message with a word such as STOP)."
        )
    )

    @staticmethod
    def of(view: OptOutView) -> OptOut:
        """The number as the API shows it."""
        return OptOut(number=PhoneNumber(view.number), since=view.since, source=view.source.value)
