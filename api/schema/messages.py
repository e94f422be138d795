"""What became of each number of a task, and of the rows of its list that were deleted."""

from __future__ import annotations

from datetime import datetime

import strawberry

from api.plain_fields import HOLDS_NUMBER
from api.schema import global_ids
from api.schema.enums import FailureCause, HandoverState, Region, RowRejection, SendResult
from api.schema.fields import field
from api.schema.loaders import Loaders
from api.schema.node import Node
from api.schema.scalars import PhoneNumber
from domain import failures, numbers
from domain.message_reads import MessageView, RejectedRowView, SegmentView


@strawberry.type(
    description=(
        "A long SMS is cut into segments: one record each, all with the message's smsId. They are billed "
        "one by one."
    )
)
class Segment:
    sms_id: str = strawberry.field(description="The id of the message it is a part of.")
    index: int = strawberry.field(description="Which part it is, from 1.")
    total: int = strawberry.field(description="How many parts the message has.")
    result: SendResult = strawberry.field(description="What became of it.")
    received_at: datetime | None = strawberry.field(description="The time of its final status report.")
    gateway_message_id: str | None = strawberry.field(description="What the gateway calls it.")
    error_code: str | None = strawberry.field(description="The raw code of its failure.")

    @staticmethod
    def of(view: SegmentView, sms_id: str, total: int) -> Segment:
        """The segment as the API shows it."""
        return Segment(
            sms_id=sms_id,
            index=view.index,
            total=total,
            result=view.result,
            received_at=view.received_at,
            gateway_message_id=view.gateway_message_id,
            error_code=view.error_code,
        )


@strawberry.type(description="Why a message failed, in words a person understands.")
class Failure:
    code: str = strawberry.field(description="The raw code, as the gateway or the network gave it.")
    cause: FailureCause = strawberry.field(description="What kind of failure it is.")
    advice: str = strawberry.field(description="Who can mend it, and how.")
    billed: bool = strawberry.field(
        description="Whether the segment that failed with it is charged all the same."
    )
    may_pass: bool = strawberry.field(description="Whether the same message may get through later.")

    @staticmethod
    def of(code: str, region: Region) -> Failure:
        """What the code means for an application of this region."""
        failure = failures.explain(code, region)
        return Failure(
            code=failure.code,
            cause=failure.cause,
            advice=failure.advice,
            billed=failure.billed,
            may_pass=failure.may_pass,
        )


@strawberry.type(description="One number of a task, and what became of it.")
class Message(Node):
    sms_id: str = strawberry.field(description="Unique among all messages; its segments share it.")
    number: PhoneNumber = strawberry.field(description="Whom it goes to.")
    result: SendResult = strawberry.field(description="What became of it, all its segments taken together.")
    handover: HandoverState = strawberry.field(description="Whether the gateway is known to have taken it.")
    received_at: datetime | None = strawberry.field(
        description="Receipt time: when the last status report says it was delivered or given up."
    )
    failure: Failure | None = strawberry.field(description="Why it failed; null unless result is FAILED.")
    view: strawberry.Private[MessageView]
    total: strawberry.Private[int]
    loaders: strawberry.Private[Loaders]

    @field("Its segments, in order; none while it has not been handed over.")
    async def segments(self) -> list[Segment]:
        found = await self.loaders.segments.load((self.view.task_id, self.view.position))
        return [Segment.of(view, self.sms_id, self.total) for view in found]

    @staticmethod
    def of(view: MessageView, region: Region, segments: int, loaders: Loaders) -> Message:
        """The message as the API shows it, of a task of this region and so many segments a message."""
        failed = view.result is SendResult.FAILED and view.error_code is not None
        return Message(
            id=global_ids.encode("Message", f"{view.task_id}.{view.position}"),
            sms_id=view.sms_id,
            number=PhoneNumber(view.number),
            result=view.result,
            handover=view.handover,
            received_at=view.received_at,
            failure=Failure.of(view.error_code, region) if failed and view.error_code is not None else None,
            view=view,
            total=segments,
            loaders=loaders,
        )


@strawberry.type(description="A row of the recipient list that was deleted: not sent to, not charged.")
class RejectedRow:
    row: int = strawberry.field(
        description="Its row in the sheet, from 1; in a list of numbers its place, from 1."
    )
    value: str = strawberry.field(
        description="The text as it was found; for roles that see numbers masked, masked likewise.",
        metadata={HOLDS_NUMBER: True},
    )
    reason: RowRejection = strawberry.field(description="Why it was deleted.")
    suggestion: PhoneNumber | None = strawberry.field(
        description="The number that was probably meant, for a person to confirm. Nothing is sent to it."
    )

    @staticmethod
    def of(view: RejectedRowView, region: Region) -> RejectedRow:
        """The row as the API shows it, of a task of this region."""
        suggestion = None
        if view.reason not in (RowRejection.DUPLICATE, RowRejection.OPTED_OUT):
            suggestion = numbers.suggest(view.value, region)
        return RejectedRow(
            row=view.row,
            value=view.value,
            reason=view.reason,
            suggestion=PhoneNumber(suggestion) if suggestion else None,
        )
