"""Everything the domain refuses or cannot do.

DomainError
├── UserError                 the caller can mend it: shown as data in a payload's `errors`
│   ├── InvalidInput          a field's value cannot be accepted
│   ├── NotFound              no such object in this account
│   ├── NotSelectable         application, signature or template may not be used; carries the blockers
│   ├── RecipientListError    the recipient list cannot be used
│   ├── SendTimeError         the send time is not allowed; carries what would be
│   ├── TooLate               the deadline for this has passed
│   ├── WrongStatus           the task's status does not allow it
│   ├── KeyReused             the idempotency key belongs to another request
│   ├── PreviewChanged        a preview would now show something else
│   ├── WarningsRefused       there are warnings, and the caller wanted none
│   ├── QuotaExceeded         a sending limit of the account does not allow it; carries when one would
│   ├── TooManyAtOnce         as many as allowed are under way; carries when to ask again
│   └── Busy                  somebody else is doing this just now
├── Refused                   several UserErrors at once
└── DatabaseUnavailable       PostgreSQL cannot be reached
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.states import TaskStatus


class ErrorCode(StrEnum):
    """What kind of mistake it is, for client code to branch on."""

    INVALID = "INVALID"
    NOT_FOUND = "NOT_FOUND"
    NOT_SELECTABLE = "NOT_SELECTABLE"
    FILE_UNREADABLE = "FILE_UNREADABLE"
    FILE_TOO_LARGE = "FILE_TOO_LARGE"
    NO_VALID_NUMBERS = "NO_VALID_NUMBERS"
    SEND_TIME = "SEND_TIME"
    TOO_LATE = "TOO_LATE"
    WRONG_STATUS = "WRONG_STATUS"
    KEY_REUSED = "KEY_REUSED"
    PREVIEW_CHANGED = "PREVIEW_CHANGED"
    WARNINGS = "WARNINGS"
    QUOTA = "QUOTA"
    BUSY = "BUSY"


class BlockerCode(StrEnum):
    """Why something cannot be used for a group task."""

    NOT_APPROVED = "NOT_APPROVED"
    NOT_ACTIVE = "NOT_ACTIVE"
    NO_CHANNEL_NUMBER = "NO_CHANNEL_NUMBER"
    VERIFICATION_CODE_TYPE = "VERIFICATION_CODE_TYPE"
    HAS_VARIABLES = "HAS_VARIABLES"
    NOT_ASSOCIATED = "NOT_ASSOCIATED"
    OTHER_SIGNATURE = "OTHER_SIGNATURE"
    SIGNATURE_REQUIRED = "SIGNATURE_REQUIRED"
    SIGNATURE_NOT_ALLOWED = "SIGNATURE_NOT_ALLOWED"
    APPLICATION_SUSPENDED = "APPLICATION_SUSPENDED"
    NO_EXTERNAL_ID = "NO_EXTERNAL_ID"


@dataclass(frozen=True, slots=True)
class Blocker:
    """Why something cannot be used here, and what to do about it."""

    code: BlockerCode
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class RecipientSummary:
    """What became of the rows of a recipient list. rows = imported + invalid + duplicates + opted_out."""

    imported: int
    invalid: int
    duplicates: int
    opted_out: int = 0

    @property
    def rows(self) -> int:
        """All rows, a header and blank ones not counted."""
        return self.imported + self.deleted

    @property
    def deleted(self) -> int:
        """The rows that are not sent and not charged."""
        return self.invalid + self.duplicates + self.opted_out

    @property
    def message(self) -> str:
        """The guide's sentence about the import, word for word."""
        if not self.imported:
            return "Submission request failed. The recipient number file includes invalid phone numbers."
        imported = f"{self.imported} phone number(s) imported."
        if not self.deleted:
            return imported
        return (
            f"{imported} Redundant and invalid numbers have been deleted. "
            f"You will not be charged for the {self.deleted} message(s) deleted."
        )


class DomainError(Exception):
    """The root of all errors of the domain."""


class DatabaseUnavailable(DomainError):  # noqa: N818 - it names a state of the world
    """PostgreSQL cannot be reached."""


class UserError(DomainError):
    """Something the caller can mend: `path` names the input field at fault, from the input's top."""

    code: ErrorCode = ErrorCode.INVALID

    def __init__(self, message: str, *path: str) -> None:
        super().__init__(message)
        self.message = message
        self.path = path


class Refused(DomainError):  # noqa: N818
    """Everything that is wrong with a request, so that the caller can mend it in one go."""

    def __init__(self, errors: Sequence[UserError]) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = tuple(errors)


class InvalidInput(UserError):  # noqa: N818
    """A field's value cannot be accepted."""


class NotFound(UserError):  # noqa: N818
    """There is no such object in this account."""

    code = ErrorCode.NOT_FOUND


class NotSelectable(UserError):  # noqa: N818
    """An application, signature or template may not be used for this task."""

    code = ErrorCode.NOT_SELECTABLE

    def __init__(self, message: str, *path: str, blockers: tuple[Blocker, ...]) -> None:
        super().__init__(message, *path)
        self.blockers = blockers


class RecipientListError(UserError):
    """The recipient list cannot be read, is too large, or holds no valid number."""

    def __init__(
        self, message: str, *path: str, code: ErrorCode, recipients: RecipientSummary | None = None
    ) -> None:
        super().__init__(message, *path)
        self.code = code
        self.recipients = recipients


class SendTimeError(UserError):
    """The send time is in the past, or more than a calendar month ahead."""

    code = ErrorCode.SEND_TIME

    def __init__(self, message: str, *path: str, earliest: datetime, latest: datetime) -> None:
        super().__init__(message, *path)
        self.earliest = earliest
        self.latest = latest


class TooLate(UserError):  # noqa: N818
    """The moment until which this was possible has passed."""

    code = ErrorCode.TOO_LATE

    def __init__(self, message: str, *path: str, deadline: datetime) -> None:
        super().__init__(message, *path)
        self.deadline = deadline


class WrongStatus(UserError):  # noqa: N818
    """The task's status does not allow this."""

    code = ErrorCode.WRONG_STATUS

    def __init__(self, message: str, *path: str, status: TaskStatus) -> None:
        super().__init__(message, *path)
        self.status = status


class KeyReused(UserError):  # noqa: N818
    """The idempotency key was used with another request."""

    code = ErrorCode.KEY_REUSED


class PreviewChanged(UserError):  # noqa: N818
    """Something would be different from the preview that was quoted."""

    code = ErrorCode.PREVIEW_CHANGED


class WarningsRefused(UserError):  # noqa: N818
    """There are warnings, and the request says to refuse then."""

    code = ErrorCode.WARNINGS


class QuotaExceeded(UserError):  # noqa: N818
    """A sending limit of the account does not allow it."""

    code = ErrorCode.QUOTA

    def __init__(self, message: str, *path: str, retry_at: datetime | None) -> None:
        super().__init__(message, *path)
        self.retry_at = retry_at
        """From when on there is room; None if there never will be."""


class TooManyAtOnce(UserError):  # noqa: N818
    """As many as one token may have under way are under way."""

    code = ErrorCode.BUSY

    def __init__(self, message: str, *path: str, retry_at: datetime) -> None:
        super().__init__(message, *path)
        self.retry_at = retry_at
        """When to ask again."""


class Busy(UserError):  # noqa: N818
    """Somebody else is doing this just now; asking again will tell."""

    code = ErrorCode.BUSY
