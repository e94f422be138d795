"""setSendingLimits: an operator decides how much an account may send."""

from __future__ import annotations

from typing import Annotated

import strawberry

from api.context import Info
from api.schema import global_ids
from api.schema.enums import Role
from api.schema.errors import UserError, collecting
from api.schema.inputs import ERRORS, INPUT
from api.schema.sending import SendingLimits
from domain import sending_limits

_UNCHANGED = "Left out, it stays as it is; null takes the limit away."


@strawberry.input(
    description="The limits of an account. What is planned already stays, also beyond a new limit."
)
class SetSendingLimitsInput:
    account_id: strawberry.ID = strawberry.field(description="The account's id; it may be any account.")
    daily_messages: int | None = strawberry.field(
        default=strawberry.UNSET, description=f"Messages a day. {_UNCHANGED}"
    )
    daily_segments: int | None = strawberry.field(
        default=strawberry.UNSET, description=f"Segments a day. {_UNCHANGED}"
    )
    monthly_messages: int | None = strawberry.field(
        default=strawberry.UNSET, description=f"Messages a calendar month. {_UNCHANGED}"
    )
    monthly_segments: int | None = strawberry.field(
        default=strawberry.UNSET, description=f"Segments a calendar month. {_UNCHANGED}"
    )
    alarm_percent: int | None = strawberry.field(
        default=strawberry.UNSET,
        description=(
            "From how many per cent of a limit on to warn: 1 to 100. Left out, it stays as it is; null makes "
            f"it {sending_limits.ALARM_PERCENT}."
        ),
    )

    def changes(self) -> dict[str, int | None]:
        """What is to be changed, as the domain takes it."""
        return {
            column: value
            for column in sending_limits.COLUMNS
            if (value := getattr(self, column)) is not strawberry.UNSET
        }


@strawberry.type(description="What came of setSendingLimits.")
class SetSendingLimitsPayload:
    limits: SendingLimits | None = strawberry.field(
        description="All limits of the account as they are now; null if there are errors."
    )
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def set_sending_limits(
    info: Info, wanted: Annotated[SetSendingLimitsInput, INPUT]
) -> SetSendingLimitsPayload:
    """Set them."""
    info.context.require(Role.OPERATOR)
    limits = None
    with collecting() as errors:
        account_id = global_ids.key_of("Account", wanted.account_id)
        limits = await sending_limits.set_limits(account_id, wanted.changes())
    return SetSendingLimitsPayload(limits=SendingLimits.of(limits) if limits else None, errors=errors)
