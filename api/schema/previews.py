"""What a task would do and cost, and what is worth a second look before it is sent."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import strawberry

from api.schema.enums import Encoding, WarningCode
from api.schema.messages import RejectedRow
from api.schema.tasks import RecipientSummary
from domain.message_reads import RejectedRowView
from domain.previews import Preview
from domain.pricing import CountryEstimate as CountryEstimateView
from domain.task_warnings import TaskWarning

REJECTED_SAMPLE = 20
"""Rejected rows that a preview shows."""


@strawberry.type(
    name="Warning", description="Something worth a second look before sending; nothing forbids it."
)
class WarningNote:
    code: WarningCode = strawberry.field(description="For client code to branch on.")
    message: str = strawberry.field(description="What it is about, for people.")

    @staticmethod
    def all_of(warnings: Iterable[TaskWarning]) -> list[WarningNote]:
        """The warnings as the API shows them."""
        return [WarningNote(code=warning.code, message=warning.message) for warning in warnings]


@strawberry.type(description="What the messages to one country come to, if every segment is charged.")
class CountryEstimate:
    calling_code: int = strawberry.field(description="Such as 86.")
    region: str = strawberry.field(
        description="The country by ISO 3166-1, such as CN; 001 for a calling code that is no country's."
    )
    numbers: int = strawberry.field(description="Numbers that are sent to.")
    segments: int = strawberry.field(description="Segments they get together.")
    unit_price: Decimal | None = strawberry.field(
        description="Of a segment; null if no price is configured, which counts as zero."
    )
    amount: Decimal = strawberry.field(description="segments times unitPrice.")

    @staticmethod
    def of(view: CountryEstimateView) -> CountryEstimate:
        """The estimate as the API shows it."""
        return CountryEstimate(
            calling_code=view.calling_code,
            region=view.region,
            numbers=view.numbers,
            segments=view.segments,
            unit_price=view.unit_price,
            amount=view.amount,
        )


@strawberry.type(description="Everything createTask would do and cost.")
class TaskPreview:
    hash: str = strawberry.field(
        description="For createTask's previewHash: it then refuses if anything shown here would be different."
    )
    upload_id: strawberry.ID = strawberry.field(
        description="For createTask's recipients.uploadId, for an hour: the list need not be sent again."
    )
    recipients: RecipientSummary = strawberry.field(description="What becomes of the list's rows.")
    text: str = strawberry.field(description="What a phone shows, signature included.")
    encoding: Encoding = strawberry.field(description="The alphabet the text travels in.")
    segments_per_message: int = strawberry.field(description="How many segments each number gets.")
    unicode_characters: list[str] = strawberry.field(
        description=(
            "The characters that force UCS-2. None for a mainland application, which counts characters "
            "whatever the alphabet."
        )
    )
    segments_if_replaced: int = strawberry.field(
        description="How many segments each number gets if those characters are replaced by plain ones."
    )
    countries: list[CountryEstimate] = strawberry.field(description="By country, most numbers first.")
    segments: int = strawberry.field(description="Segments of all messages.")
    estimated_amount: Decimal = strawberry.field(description="What it costs if every segment is charged.")
    currency: str = strawberry.field(description="The account's, by ISO 4217.")
    rejected_sample: list[RejectedRow] = strawberry.field(
        description=f"The first {REJECTED_SAMPLE} rows that are deleted."
    )

    @staticmethod
    def of(preview: Preview, currency: str) -> TaskPreview:
        """The preview as the API shows it."""
        prepared = preview.prepared
        region = prepared.choice.application.region
        sample = prepared.recipients.rejected[:REJECTED_SAMPLE]
        return TaskPreview(
            hash=prepared.hash(),
            upload_id=strawberry.ID(str(preview.upload_id)),
            recipients=RecipientSummary.of(prepared.summary),
            text=prepared.content.text,
            encoding=prepared.content.encoding,
            segments_per_message=len(prepared.content.segments),
            unicode_characters=list(preview.unicode_characters),
            segments_if_replaced=preview.segments_if_replaced,
            countries=[CountryEstimate.of(country) for country in prepared.estimate.countries],
            segments=prepared.estimate.segments,
            estimated_amount=prepared.estimate.amount,
            currency=currency,
            rejected_sample=[
                RejectedRow.of(RejectedRowView(row.row, row.value, row.reason), region) for row in sample
            ],
        )
