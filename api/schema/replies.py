"""What people answer."""

from __future__ import annotations

from datetime import datetime

import strawberry

from api.plain_fields import HOLDS_NUMBER
from api.schema import global_ids
from api.schema.fields import field
from api.schema.loaders import Loaders
from api.schema.node import Node
from api.schema.resources import Application
from domain.replies import ReplyFilter, ReplyView


@strawberry.input(name="ReplyFilter", description="Which replies to list. What is left out lets all through.")
class ReplyFilterInput:
    number_ends_with: str | None = strawberry.field(
        default=strawberry.UNSET, description="Those from numbers that end with these 1 to 15 digits."
    )
    opted_out: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Only opt-outs, or only replies that are none."
    )

    def chosen(self) -> ReplyFilter:
        """The filter as the domain takes it."""
        return ReplyFilter(
            number_ends_with=self.number_ends_with or None,
            opted_out=self.opted_out if self.opted_out is not strawberry.UNSET else None,
        )


@strawberry.type(
    description=(
        "What somebody answered. It is told by the sender it answers: where several accounts share a sender, "
        "an opt-out shows in each of them, anything else only in the one that used it in the last month, if "
        "it was one alone. A carrier in doubt delivers a reply twice, and each part of a long one comes by "
        "itself."
    )
)
class Reply(Node):
    number: str = strawberry.field(
        description=(
            "Who wrote: E.164 with plus, or what the carrier gave if that is no number. For roles that see "
            "numbers masked, without its middle."
        ),
        metadata={HOLDS_NUMBER: True},
    )
    sender: str = strawberry.field(description="The sender it answers, as the carrier gave it.")
    text: str = strawberry.field(description="What it says.")
    received_at: datetime = strawberry.field(description="When it came in.")
    opted_out: bool = strawberry.field(
        description=(
            "Whether it is an opt-out word such as STOP: its number went on the list of opt-outs, unless it "
            "was there before."
        )
    )
    application_id: strawberry.Private[int | None]
    loaders: strawberry.Private[Loaders]

    @field(
        "The application whose task was the last one sent with this sender, or else the only one with it; "
        "null if that is not clear."
    )
    async def application(self) -> Application | None:
        if self.application_id is None:
            return None
        found = await self.loaders.applications.load(self.application_id)
        return Application.of(found, self.loaders) if found else None

    @staticmethod
    def of(view: ReplyView, loaders: Loaders) -> Reply:
        """The reply as the API shows it."""
        return Reply(
            id=global_ids.encode("Reply", view.id),
            number=view.number,
            sender=view.sender,
            text=view.text,
            received_at=view.received_at,
            opted_out=view.opted_out,
            application_id=view.application_id,
            loaders=loaders,
        )
