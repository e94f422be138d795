"""Who is asking."""

from __future__ import annotations

import strawberry

from api.schema import global_ids
from api.schema.enums import Role
from api.schema.node import Node
from domain import access


@strawberry.type(description="Who sends and pays. Nothing of one account is seen from another.")
class Account(Node):
    name: str = strawberry.field(description="Its name.")
    time_zone: str = strawberry.field(
        description=(
            "The IANA name of its time zone, such as Asia/Shanghai; it decides how long a month ahead is."
        )
    )
    currency: str = strawberry.field(description="What its prices are in: an ISO 4217 code, such as CNY.")


@strawberry.type(description="Who is asking: an account, and what the token may do in it.")
class Viewer:
    account: Account = strawberry.field(description="The account that the token opens.")
    role: Role = strawberry.field(description="What the token may do.")

    @staticmethod
    def of(viewer: access.Viewer) -> Viewer:
        """The viewer as the API shows it."""
        account = Account(
            id=global_ids.encode("Account", viewer.account_id),
            name=viewer.account_name,
            time_zone=viewer.time_zone,
            currency=viewer.currency,
        )
        return Viewer(account=account, role=viewer.role)
