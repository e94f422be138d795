"""What a user asks for, checked and worked out: what previewTask shows, and createTask stores.

Source: "What a task needs", "The recipient file" and "Money" in the guide.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from uuid import UUID

from domain import db, kept_lists, opt_outs, pricing, schedule, selection, sending_usage, task_warnings
from domain.access import Viewer
from domain.errors import (
    ErrorCode,
    InvalidInput,
    RecipientListError,
    RecipientSummary,
    Refused,
    UserError,
)
from domain.names import name_errors
from domain.pricing import Estimate, PriceList, PriceTable
from domain.recipient_file import LIST_LIMIT, ReadLimits, RecipientFileError, Recipients, read_recipients
from domain.segments import Content, segment
from domain.selection import Choice
from domain.sending_usage import Load
from domain.states import Region
from domain.task_warnings import TaskWarning

RecipientSource = Path | Sequence[str] | UUID
"""An uploaded file, the numbers themselves, or a list kept by a preview."""


@dataclass(frozen=True, slots=True)
class TaskOrder:
    """What a user asks for."""

    name: str
    application_id: int
    signature_id: int | None
    template_id: int
    recipients: RecipientSource
    send_at: datetime | None
    """None: at once."""


@dataclass(frozen=True, slots=True)
class Intake:
    """What working out an order takes from its surroundings."""

    limits: ReadLimits
    prices: Mapping[str, PriceTable]
    """By currency, ISO 4217."""
    spool: Path
    """Where lists that were kept lie while they are read."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send and when, found to be allowed."""

    name: str
    choice: Choice
    send_at: datetime
    immediate: bool


@dataclass(frozen=True, slots=True)
class PreparedTask:
    """An order worked out: everything that a task of it would be."""

    name: str
    choice: Choice
    content: Content
    send_at: datetime
    immediate: bool
    recipients: Recipients
    summary: RecipientSummary
    price_list: PriceList
    estimate: Estimate
    warnings: tuple[TaskWarning, ...]

    @property
    def load(self) -> Load:
        """What it counts for in the account's sending limits."""
        return Load(self.summary.imported, self.summary.imported * len(self.content.segments))

    def hash(self) -> str:
        """Differs whenever something that a preview shows does."""
        choice = self.choice
        shown = [
            choice.application.id,
            choice.signature.id if choice.signature else None,
            choice.template.id,
            choice.sender,
            self.content.text,
            len(self.content.segments),
            None if self.immediate else self.send_at.isoformat(),
            hashlib.sha256(self.recipients.numbers.tobytes()).hexdigest(),
            [self.summary.invalid, self.summary.duplicates, self.summary.opted_out],
            [
                [country.calling_code, country.region, country.numbers, str(country.unit_price)]
                for country in self.estimate.countries
            ],
            [warning.code.value for warning in self.warnings],
        ]
        return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


async def prepare(viewer: Viewer, order: TaskOrder, intake: Intake) -> PreparedTask:
    """Check an order and work it out, storing nothing.

    Raises `Refused` with everything that is wrong with it, `RecipientListError`, or `QuotaExceeded`.
    """
    plan = await check(viewer, order, _list_errors(order.recipients))
    async with kept_lists.opened(viewer.account_id, order.recipients, intake.spool) as source:
        opted_out = await opt_outs.opted_out_numbers(viewer.account_id)
        recipients = await _read(source, plan.choice.application.region, intake.limits, opted_out)
    return await _within_limits(viewer, await work_out(viewer, plan, recipients, intake.prices))


async def _within_limits(viewer: Viewer, prepared: PreparedTask) -> PreparedTask:
    """The order with the warning that a limit is near, if it is. Raises `QuotaExceeded`."""
    foreseen = await sending_usage.foresee(viewer, prepared.send_at, prepared.load, "recipients")
    return replace(prepared, warnings=(*prepared.warnings, *foreseen.warnings()))


async def work_out(
    viewer: Viewer, plan: Plan, recipients: Recipients, prices: Mapping[str, PriceTable]
) -> PreparedTask:
    """What a task of these recipients would be.

    Raises `RecipientListError` if no number is left.
    """
    choice = plan.choice
    region = choice.application.region
    summary = RecipientSummary(
        imported=recipients.imported,
        invalid=recipients.invalid,
        duplicates=recipients.duplicates,
        opted_out=recipients.opted_out,
    )
    if not summary.imported:
        raise RecipientListError(
            summary.message, "recipients", code=ErrorCode.NO_VALID_NUMBERS, recipients=summary
        )
    content = segment(choice.text, region)
    price_list = _price_list(viewer, choice, prices)
    estimate = await asyncio.to_thread(
        pricing.estimate, price_list, region, recipients.numbers, len(content.segments)
    )
    warnings = await task_warnings.of_order(
        viewer, choice, content, plan.send_at, recipients.numbers, summary, estimate
    )
    return PreparedTask(
        name=plan.name,
        choice=choice,
        content=content,
        send_at=plan.send_at,
        immediate=plan.immediate,
        recipients=recipients,
        summary=summary,
        price_list=price_list,
        estimate=estimate,
        warnings=tuple(warnings),
    )


async def check(viewer: Viewer, order: TaskOrder, errors: Sequence[UserError] = ()) -> Plan:
    """Check everything about an order but its recipients, in which `errors` were found.

    Raises `Refused` with everything that is wrong.
    """
    errors = [*name_errors("A task's name", order.name), *errors]
    now: datetime = await db.fetchval("SELECT groupsms_now()")
    send_at = now
    try:
        send_at = schedule.check_send_time(order.send_at, now, viewer.time_zone)
    except UserError as error:
        errors.append(error)
    choice = None
    try:
        choice = await selection.choose(
            viewer.account_id, order.application_id, order.signature_id, order.template_id
        )
        errors.extend(choice.refusals())
        errors.extend(_text_errors(choice))
    except Refused as error:
        errors.extend(error.errors)
    if errors or choice is None:
        raise Refused(errors)
    return Plan(order.name.strip(), choice, send_at, immediate=send_at == now)


def _text_errors(choice: Choice) -> list[UserError]:
    # A universal template meets its signature only here.
    if len(choice.text) <= selection.TEXT_LENGTH:
        return []
    return [
        InvalidInput(
            f"The text has {len(choice.text)} characters with its signature; "
            f"{selection.TEXT_LENGTH} are allowed.",
            "templateId",
        )
    ]


def _list_errors(source: RecipientSource) -> list[UserError]:
    if isinstance(source, (Path, UUID)) or 1 <= len(source) <= LIST_LIMIT:
        return []
    return [
        InvalidInput(
            f"Give 1 to {LIST_LIMIT:,} numbers here; upload a file for more.", "recipients", "numbers"
        )
    ]


async def _read(
    source: Path | Sequence[str], region: Region, limits: ReadLimits, opted_out: array[int] | None
) -> Recipients:
    field = "file" if isinstance(source, Path) else "numbers"
    try:
        return await read_recipients(source, region=region, limits=limits, opted_out=opted_out)
    except RecipientFileError as error:
        raise RecipientListError(error.message, "recipients", field, code=ErrorCode(error.code)) from error


def _price_list(viewer: Viewer, choice: Choice, prices: Mapping[str, PriceTable]) -> PriceList:
    table = prices.get(viewer.currency)
    if table is None:
        return PriceList({})
    return table.price_list(choice.application.region, choice.template.type)
