"""Tasks: one text for many numbers, where it stands, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import strawberry

from api.context import Info
from api.downloads import failed_numbers_path, rejected_rows_path
from api.schema import global_ids
from api.schema.billing import Billing, FailureReason
from api.schema.connections import PAGE, After, Connection, First, connect, refusing_bad_input, size
from api.schema.enums import CancelReason, Encoding, FileFormat, RowRejection, SendResult, TaskStatus
from api.schema.fields import field, worked_out
from api.schema.loaders import Loaders
from api.schema.messages import Message, RejectedRow
from api.schema.node import Node
from api.schema.resources import Application, Blocker, Signature, Template
from domain import errors, message_reads, task_reads
from domain.message_reads import MessageFilter
from domain.task_reads import TaskView


@strawberry.type(
    description=(
        "What became of the rows of the recipient list: rows = imported + invalid + duplicates + "
        "optedOut. A header and blank rows are no rows."
    )
)
class RecipientSummary:
    rows: int = strawberry.field(description="All rows.")
    imported: int = strawberry.field(description="Numbers that are sent to.")
    invalid: int = strawberry.field(description="Rows deleted because they hold no number that can be used.")
    duplicates: int = strawberry.field(description="Rows deleted because the number is on the list before.")
    opted_out: int = strawberry.field(
        description="Rows deleted because the number's owner wants no messages."
    )
    message: str = strawberry.field(description="The same in a sentence, for people.")

    @staticmethod
    def of(summary: errors.RecipientSummary) -> RecipientSummary:
        """The summary as the API shows it."""
        return RecipientSummary(
            rows=summary.rows,
            imported=summary.imported,
            invalid=summary.invalid,
            duplicates=summary.duplicates,
            opted_out=summary.opted_out,
            message=summary.message,
        )


@strawberry.type(
    description=(
        "A task's messages by result. waiting + unknown + delivered + failed + notSent = total, at every "
        "moment."
    )
)
class ResultCounts:
    total: int = strawberry.field(description="All messages: recipients.imported.")
    waiting: int = strawberry.field(description="Not handed to the gateway yet.")
    unknown: int = strawberry.field(description="Handed to the gateway, no final status report yet.")
    delivered: int = strawberry.field(description="Arrived.")
    failed: int = strawberry.field(description="Will not arrive.")
    not_sent: int = strawberry.field(
        description="Canceled, stopped, opted out or past the deadline before the hand-over."
    )
    in_doubt: int = strawberry.field(
        description="Those among the unknown of which it is uncertain whether the gateway got them."
    )

    @staticmethod
    def of(counts: task_reads.Counts) -> ResultCounts:
        """The counts as the API shows them."""
        return ResultCounts(
            total=counts.total,
            waiting=counts.waiting,
            unknown=counts.unknown,
            delivered=counts.delivered,
            failed=counts.failed,
            not_sent=counts.not_sent,
            in_doubt=counts.in_doubt,
        )


@strawberry.type(description="How far the hand-over to the gateway has come.")
class Progress:
    handed_over: int = strawberry.field(description="Messages that reached the gateway, or may have.")
    percent: float = strawberry.field(description="handedOver in percent of all messages.")
    messages_per_second: float | None = strawberry.field(
        description="The mean rate since the start; null before it."
    )
    estimated_finish_at: datetime | None = strawberry.field(
        description=(
            "When the last message will be handed over at this rate; null unless the task is SENDING."
        )
    )

    @staticmethod
    def of(view: TaskView) -> Progress:
        """The progress of a task."""
        return Progress(
            handed_over=view.counts.handed_over,
            percent=100 * view.counts.handed_over / view.counts.total,
            messages_per_second=view.messages_per_second,
            estimated_finish_at=view.estimated_finish_at,
        )


@strawberry.input(
    name="MessageFilter", description="Which messages to list. What is left out lets all through."
)
class MessageFilterInput:
    result_in: list[SendResult] | None = strawberry.field(
        default=strawberry.UNSET, description="Those with one of these results."
    )
    number_ends_with: str | None = strawberry.field(
        default=strawberry.UNSET, description="Those whose number ends with these digits: four or more."
    )

    def chosen(self) -> MessageFilter:
        """The filter as the domain takes it."""
        results = self.result_in
        return MessageFilter(
            result_in=results if results is not strawberry.UNSET else None,
            number_ends_with=self.number_ends_with or None,
        )


@strawberry.type(description="One text for a list of numbers, sent now or at a set time.")
class Task(Node):
    name: str = strawberry.field(description="What people call it; recipients don't see it.")
    status: TaskStatus = strawberry.field(description="Where it stands.")
    cancel_reason: CancelReason | None = strawberry.field(
        description="Why it was canceled; null unless CANCELED."
    )
    blockers: list[Blocker] = worked_out(
        "What kept it from being sent, if it was canceled as NO_LONGER_ALLOWED; as it was then."
    )
    text: str = strawberry.field(description="What a phone shows, signature included.")
    encoding: Encoding = strawberry.field(description="The alphabet the text travels in.")
    segments_per_message: int = strawberry.field(description="How many segments each number gets.")
    send_at: datetime = strawberry.field(
        description="When it is to be sent; for an immediate task, when it was made."
    )
    created_at: datetime = strawberry.field(description="When it was made.")
    started_at: datetime | None = strawberry.field(description="When sending began.")
    finished_at: datetime | None = strawberry.field(
        description="When it became COMPLETED, CANCELED or STOPPED."
    )
    messages_purged_at: datetime | None = strawberry.field(
        description=(
            "Since when its numbers are no longer kept: messages and rejectedRows are empty then, and "
            "nothing of it can be resent or downloaded. Counts, billing and failureReasons stay. Null "
            "while they are kept."
        )
    )
    revision: int = strawberry.field(
        description="Rises with every change: of two answers the one with the higher revision is the newer."
    )
    recipients: RecipientSummary = worked_out("What became of the rows of the recipient list.")
    counts: ResultCounts = worked_out("Its messages by result.")
    progress: Progress = worked_out("How far the hand-over to the gateway has come.")
    can_cancel: bool = worked_out("Whether cancelTask would succeed at the moment of this answer.")
    cancel_deadline: datetime | None = worked_out(
        "Until when it can be canceled: five minutes before its time. Null unless SCHEDULED."
    )
    can_delete: bool = worked_out("Whether deleteTask would succeed: only once it is CANCELED.")
    view: strawberry.Private[TaskView]
    loaders: strawberry.Private[Loaders]

    def __getattr__(self, name: str) -> object:
        # Most answers show few of these: each is made when it is asked for, and kept.
        if name not in _WORKED_OUT:
            raise AttributeError(name)
        made = _WORKED_OUT[name](self.view)
        setattr(self, name, made)
        return made

    @field("What it is sent through.")
    async def application(self) -> Application:
        application = await self.loaders.applications.load(self.view.application_id)
        assert application is not None, "an application with tasks is never deleted"
        return Application.of(application, self.loaders)

    @field("What its text begins with; null for an international application.")
    async def signature(self) -> Signature | None:
        if self.view.signature_id is None:
            return None
        judged = await self.loaders.signatures.load((self.view.signature_id, self.view.application_id))
        return Signature.of(judged) if judged else None

    @field("Where its text comes from.")
    async def template(self) -> Template:
        key = (self.view.template_id, self.view.application_id, self.view.signature_id)
        judged = await self.loaders.templates.load(key)
        assert judged is not None, "a template with tasks is never deleted"
        return Template.of(judged, self.view.application_id, self.loaders)

    @field("What it costs.")
    async def billing(self) -> Billing:
        return Billing.of(self.view, await self.loaders.charges.load(self.view.id))

    @field("Why messages of it failed: one entry a code, the most frequent first.")
    async def failure_reasons(self) -> list[FailureReason]:
        if not self.view.counts.failed:
            return []
        return [FailureReason.of(reason) for reason in await self.loaders.failure_reasons.load(self.view.id)]

    @field("The task whose failed numbers these are; null unless made by resendFailed.")
    async def resend_of(self) -> Task | None:
        if self.view.resend_of_id is None:
            return None
        found = await self.loaders.tasks.load(self.view.resend_of_id)
        return Task.of(found, self.loaders) if found else None

    @field("Its numbers, in the order of the list, and what became of each.")
    async def messages(
        self,
        info: Info,
        first: First = PAGE,
        after: After = strawberry.UNSET,
        filter: Annotated[  # noqa: A002 - the public name
            MessageFilterInput | None, strawberry.argument(description="Which of them to list.")
        ] = strawberry.UNSET,
    ) -> Connection[Message]:
        chosen = filter.chosen() if filter else MessageFilter()
        info.context.check_ending(chosen.number_ends_with)
        view = self.view
        with refusing_bad_input():
            page = await message_reads.list_messages(view.id, chosen, first=size(first), after=after or None)
        return connect(
            page,
            lambda found: Message.of(found, view.region, view.segments_per_message, self.loaders),
            lambda: message_reads.count_messages(view.id, chosen),
        )

    @field("The rows of the recipient list that were deleted, in the order of the sheet.")
    async def rejected_rows(
        self,
        first: First = PAGE,
        after: After = strawberry.UNSET,
        reason: Annotated[
            RowRejection | None, strawberry.argument(description="Only those deleted for this reason.")
        ] = strawberry.UNSET,
    ) -> Connection[RejectedRow]:
        chosen = reason or None
        with refusing_bad_input():
            page = await message_reads.list_rejected_rows(
                self.view.id, chosen, first=size(first), after=after or None
            )
        return connect(
            page,
            lambda found: RejectedRow.of(found, self.view.region),
            lambda: message_reads.count_rejected_rows(self.view.id, chosen),
        )

    @field(
        "Where the failed numbers can be downloaded as a file of the recipient file's layout, with the "
        "reason beside each. The link needs no token and is good for 15 minutes. Null while nothing failed, "
        "once messagesPurgedAt is set, and for roles that see numbers masked."
    )
    def failed_numbers_url(
        self,
        info: Info,
        format: Annotated[  # noqa: A002 - the public name
            FileFormat | None, strawberry.argument(description="What kind of file.")
        ] = FileFormat.XLSX,
    ) -> str | None:
        if not self.view.counts.failed or self.view.messages_purged_at or info.context.hides_numbers:
            return None
        path = failed_numbers_path(self.view.id, format or FileFormat.XLSX)
        return info.context.services.link(path, info.context.require())

    @field(
        "Where the rows that were deleted from the recipient list can be downloaded, to be mended and "
        "uploaded again. Column A has the text as found, to be corrected there; it is blank where there is "
        "nothing to mend (duplicates and opted-out numbers). Beside it are a suggested number, the reason, "
        "the row in the original list, and the text as found once more. The link needs no token and is good "
        "for 15 minutes. Null if no row was deleted, once messagesPurgedAt is set, and for roles that see "
        "numbers masked."
    )
    def rejected_rows_url(
        self,
        info: Info,
        format: Annotated[  # noqa: A002 - the public name
            FileFormat | None, strawberry.argument(description="What kind of file.")
        ] = FileFormat.XLSX,
    ) -> str | None:
        if not self.view.recipients.deleted or self.view.messages_purged_at or info.context.hides_numbers:
            return None
        path = rejected_rows_path(self.view.id, format or FileFormat.XLSX)
        return info.context.services.link(path, info.context.require())

    @staticmethod
    def of(view: TaskView, loaders: Loaders) -> Task:
        """The task as the API shows it."""
        return Task(
            id=global_ids.encode("Task", view.id),
            name=view.name,
            status=view.status,
            cancel_reason=view.cancel_reason,
            text=view.text,
            encoding=view.encoding,
            segments_per_message=view.segments_per_message,
            send_at=view.send_at,
            created_at=view.created_at,
            started_at=view.started_at,
            finished_at=view.finished_at,
            messages_purged_at=view.messages_purged_at,
            revision=view.revision,
            view=view,
            loaders=loaders,
        )


_WORKED_OUT: dict[str, Callable[[TaskView], object]] = {
    "blockers": lambda view: Blocker.all_of(view.blockers),
    "recipients": lambda view: RecipientSummary.of(view.recipients),
    "counts": lambda view: ResultCounts.of(view.counts),
    "progress": Progress.of,
    "can_cancel": lambda view: view.can_cancel,
    "cancel_deadline": lambda view: view.cancel_deadline,
    "can_delete": lambda view: view.status is TaskStatus.CANCELED,
}
