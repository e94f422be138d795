"""Errors as data: what the domain refuses becomes the `errors` of a mutation's payload."""

from __future__ import annotations

from datetime import datetime
from types import TracebackType

import strawberry

from api.schema.enums import ErrorCode, TaskStatus
from api.schema.resources import Blocker
from api.schema.tasks import RecipientSummary
from domain import errors


@strawberry.interface(
    description=(
        "Something about the input that its sender can mend. Types with more to say implement it: client "
        "code can stay with the interface or look closer."
    )
)
class UserError:
    code: ErrorCode = strawberry.field(description="For client code to branch on.")
    message: str = strawberry.field(description="What is wrong and what to do, for people.")
    path: list[str] = strawberry.field(description="The input field at fault, from `input` down.")


@strawberry.type(description="A value can't be accepted.")
class InvalidInputError(UserError):
    pass


@strawberry.type(description="There is no such object.")
class NotFoundError(UserError):
    pass


@strawberry.type(description="The application, signature or template can't be used for this task.")
class NotSelectableError(UserError):
    blockers: list[Blocker] = strawberry.field(description="Every reason, each with what to do about it.")


@strawberry.type(description="The recipient list can't be read, is too large, or has no valid number.")
class RecipientFileError(UserError):
    recipients: RecipientSummary | None = strawberry.field(
        description="What became of its rows; null if it could not be read."
    )


@strawberry.type(description="The time to send at is not allowed.")
class SendTimeError(UserError):
    earliest: datetime | None = strawberry.field(description="The earliest time allowed now.")
    latest: datetime | None = strawberry.field(description="The latest time allowed now.")


@strawberry.type(description="The moment until which this was possible has passed.")
class TooLateError(UserError):
    deadline: datetime = strawberry.field(description="That moment.")


@strawberry.type(description="The task's status does not allow this.")
class WrongStatusError(UserError):
    status: TaskStatus = strawberry.field(description="The status it has.")


@strawberry.type(
    description="A sending limit of the account, or a limit of what one token does at once, forbids it."
)
class QuotaError(UserError):
    retry_at: datetime | None = strawberry.field(
        description="From when on there is room; null if one task can never be so large."
    )


ERROR_TYPES = (
    InvalidInputError,
    NotFoundError,
    NotSelectableError,
    QuotaError,
    RecipientFileError,
    SendTimeError,
    TooLateError,
    WrongStatusError,
)


class collecting:  # noqa: N801 - used like a function; a class can tell mypy that it swallows exceptions
    """Catch what the domain refuses, as data for a payload's `errors`."""

    def __init__(self) -> None:
        self._found: list[UserError] = []

    def __enter__(self) -> list[UserError]:
        return self._found

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, errors.Refused):
            self._found.extend(as_data(part) for part in error.errors)
        elif isinstance(error, errors.UserError):
            self._found.append(as_data(error))
        else:
            return False
        return True


def as_data(error: errors.UserError) -> UserError:
    """The error as the API shows it."""
    code, message, path = error.code, error.message, ["input", *error.path]
    match error:
        case errors.NotFound():
            return NotFoundError(code=code, message=message, path=path)
        case errors.NotSelectable(blockers=blockers):
            return NotSelectableError(
                code=code, message=message, path=path, blockers=Blocker.all_of(blockers)
            )
        case errors.RecipientListError(recipients=found):
            summary = RecipientSummary.of(found) if found else None
            return RecipientFileError(code=code, message=message, path=path, recipients=summary)
        case errors.QuotaExceeded(retry_at=retry_at) | errors.TooManyAtOnce(retry_at=retry_at):
            return QuotaError(code=code, message=message, path=path, retry_at=retry_at)
        case errors.SendTimeError(earliest=earliest, latest=latest):
            return SendTimeError(code=code, message=message, path=path, earliest=earliest, latest=latest)
        case errors.TooLate(deadline=deadline):
            return TooLateError(code=code, message=message, path=path, deadline=deadline)
        case errors.WrongStatus(status=status):
            return WrongStatusError(code=code, message=message, path=path, status=status)
        case _:
            return InvalidInputError(code=code, message=message, path=path)
