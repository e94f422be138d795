"""Who is asking."""

from __future__ import annotations

from datetime import datetime

import strawberry

from api.schema import global_ids
from api.schema.enums import Role
from api.schema.fields import field
from api.schema.node import Node
from api.schema.sending import SendingLimits, SendingUsage
from domain import access, sending_limits, sending_reads


@strawberry.type(description="Who sends and pays. Nothing of one account is seen from another.")
class Account(Node):
    name: str = strawberry.field(description="Its name.")
    time_zone: str = strawberry.field(
        description=(
            "The IANA name of its time zone, such as Asia/Shanghai; it decides how long a month ahead is."
        )
    )
    currency: str = strawberry.field(description="What its prices are in: an ISO 4217 code, such as CNY.")

    @field("How much it may send in a day and in a month; an operator sets that.")
    async def sending_limits(self) -> SendingLimits:
        return SendingLimits.of(await sending_limits.limits_of(global_ids.key_of("Account", self.id)))

    @field("What it uses of its limits: what is planned for today and this month, or sent.")
    async def usage(self) -> SendingUsage:
        account_id = global_ids.key_of("Account", self.id)
        return SendingUsage.of(await sending_reads.present_usage(account_id, self.time_zone), self.time_zone)


@strawberry.type(description="Who is asking: an account, and what the token may do in it.")
class Viewer:
    account: Account = strawberry.field(description="The account that the token opens.")
    role: Role = strawberry.field(description="What the token may do.")
    expires_at: datetime | None = strawberry.field(
        description="From when on the token is refused; null: it does not expire."
    )

    @staticmethod
    def of(viewer: access.Viewer) -> Viewer:
        """The viewer as the API shows it."""
        account = Account(
            id=global_ids.encode("Account", viewer.account_id),
            name=viewer.account_name,
            time_zone=viewer.time_zone,
            currency=viewer.currency,
        )
        return Viewer(account=account, role=viewer.role, expires_at=viewer.expires_at)
