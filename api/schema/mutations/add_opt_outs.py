"""addOptOuts: numbers that the account must never text again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import strawberry

from api.context import Info
from api.schema.enums import ErrorCode, Region, Role
from api.schema.errors import UserError, collecting
from api.schema.inputs import ERRORS, INPUT
from api.schema.messages import RejectedRow
from api.schema.scalars import PhoneNumber
from api.uploads import Upload
from domain import numbers, opt_outs
from domain.errors import RecipientListError
from domain.opt_outs import ROWS_SHOWN, Added
from domain.recipient_file import LIST_LIMIT, FileTooLarge


@strawberry.input(
    description=(
        "The numbers that want no messages: a list, a file, or both. They are read as recipient lists are, "
        "and may be of any region that applications send to."
    )
)
class AddOptOutsInput:
    numbers: list[str] | None = strawberry.field(
        default=strawberry.UNSET, description=f"The numbers themselves, at most {LIST_LIMIT:,}."
    )
    file: Upload | None = strawberry.field(
        default=strawberry.UNSET,
        description="A file as createTask takes it, the numbers in column A; at most 1,000,000 of them.",
    )


@strawberry.type(description="What came of addOptOuts.")
class AddOptOutsPayload:
    added: int = strawberry.field(description="How many numbers were not on the list before.")
    invalid: int = strawberry.field(
        description="How many rows hold no number that any application could send to. The others are added."
    )
    rejected_rows: list[RejectedRow] = strawberry.field(
        description=f"The first {ROWS_SHOWN} of those rows, of `numbers` and then of the file."
    )
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def add_opt_outs(info: Info, wanted: Annotated[AddOptOutsInput, INPUT]) -> AddOptOutsPayload:
    """Add those that are numbers."""
    viewer = info.context.require(Role.MANAGER)
    services = info.context.services
    done = Added(0, 0, ())
    with collecting() as errors, services.rates.importing(viewer):
        file = _path(wanted.file or None, services.settings.upload_limit)
        done = await opt_outs.add_opt_outs(viewer, wanted.numbers or [], file, services.intake.limits)
    return AddOptOutsPayload(
        added=done.added,
        invalid=done.invalid,
        rejected_rows=[
            RejectedRow(
                row=each.row, value=each.value, reason=each.reason, suggestion=_suggestion(each.value)
            )
            for each in done.rejected
        ],
        errors=errors,
    )


def _path(file: Upload | None, limit: int) -> Path | None:
    if file is None:
        return None
    if file.too_large:
        problem = FileTooLarge(limit)
        raise RecipientListError(problem.message, "file", code=ErrorCode(problem.code))
    return file.path


def _suggestion(value: str) -> PhoneNumber | None:
    for region in Region:
        if suggestion := numbers.suggest(value, region):
            return PhoneNumber(suggestion)
    return None
