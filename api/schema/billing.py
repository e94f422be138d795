"""What a task costs, and why messages of it failed."""

from __future__ import annotations

from decimal import Decimal

import strawberry

from api.schema.enums import FailureCause
from domain import billing
from domain.billing import Charges
from domain.task_reads import TaskView


@strawberry.type(
    description=(
        "What a task costs. Segments are charged: to the Chinese mainland when they are delivered, elsewhere "
        "when the gateway accepts them; what its platform refuses is free. Prices are those of the moment "
        "the task was made."
    )
)
class Billing:
    segments: int = strawberry.field(description="Segments of all messages: the most that can be charged.")
    billable_segments: int = strawberry.field(
        description="Segments charged so far, those without a price included. Receipts still change it."
    )
    estimated_amount: Decimal = strawberry.field(
        description="What it costs if every segment is charged; reckoned when it was made."
    )
    amount: Decimal = strawberry.field(description="What it costs so far: the exact sum.")
    currency: str = strawberry.field(description="Of both amounts: an ISO 4217 code, such as CNY.")

    @staticmethod
    def of(view: TaskView, charges: Charges) -> Billing:
        """The bill of a task."""
        return Billing(
            segments=view.counts.total * view.segments_per_message,
            billable_segments=charges.segments,
            estimated_amount=view.estimated_amount,
            amount=charges.amount,
            currency=view.currency,
        )


@strawberry.type(description="A code with which messages of a task failed, in words a person understands.")
class FailureReason:
    code: str = strawberry.field(description="The raw code, as the gateway or the network gave it.")
    cause: FailureCause = strawberry.field(description="What kind of failure it is.")
    count: int = strawberry.field(description="Messages that failed with it.")
    billed: bool = strawberry.field(
        description="Whether a segment that failed with it is charged all the same."
    )
    may_pass: bool = strawberry.field(
        description="Whether the same messages may get through later: resendFailed takes them."
    )
    advice: str = strawberry.field(description="Who can mend it, and how.")

    @staticmethod
    def of(reason: billing.FailureReason) -> FailureReason:
        """The reason as the API shows it."""
        failure = reason.failure
        return FailureReason(
            code=failure.code,
            cause=failure.cause,
            count=reason.count,
            billed=failure.billed,
            may_pass=failure.may_pass,
            advice=failure.advice,
        )
