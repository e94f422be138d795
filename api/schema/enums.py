"""The domain's states as GraphQL enums, each value explained to whoever reads the schema."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import TypeVar

import strawberry

from domain.audit import ActorKind, AuditAction
from domain.errors import BlockerCode, ErrorCode
from domain.failure_codes import FailureCause
from domain.number_files import FileFormat
from domain.states import (
    CancelReason,
    Encoding,
    HandoverState,
    Region,
    ReviewStatus,
    Role,
    RowRejection,
    SendResult,
    SmsType,
    TaskStatus,
)
from domain.task_reads import TaskOrderField
from domain.task_warnings import WarningCode

__all__ = [
    "ActorKind",
    "AuditAction",
    "BlockerCode",
    "CancelReason",
    "ChangeKind",
    "Encoding",
    "ErrorCode",
    "FailureCause",
    "FileFormat",
    "HandoverState",
    "OrderDirection",
    "Region",
    "ReviewStatus",
    "Role",
    "RowRejection",
    "SendResult",
    "SmsType",
    "TaskOrderField",
    "TaskStatus",
    "WarningCode",
]

E = TypeVar("E", bound=Enum)


def _explain(enum: type[E], description: str, values: Mapping[E, str], name: str | None = None) -> None:
    strawberry.enum(enum, name=name, description=description)
    explained = {member.name: text for member, text in values.items()}
    for value in enum.__strawberry_definition__.values:  # type: ignore[attr-defined]
        value.description = explained[value.name]


class OrderDirection(StrEnum):
    """Which end of an order comes first."""

    ASC = "ASC"
    DESC = "DESC"


class ChangeKind(StrEnum):
    """What happened to a task."""

    CREATED = "CREATED"
    UPDATED = "UPDATED"
    DELETED = "DELETED"


_explain(
    Role,
    "What the holder of a token may do.",
    {
        Role.VIEWER: "Reads everything of the account.",
        Role.SENDER: "Also creates, cancels and deletes tasks.",
        Role.MANAGER: (
            "Also makes applications, signatures, templates and tokens, and keeps the list of opt-outs."
        ),
        Role.OPERATOR: "Also reviews signatures and templates, those of other accounts too.",
    },
)
_explain(
    ActorKind,
    "What kind of actor did something.",
    {
        ActorKind.TOKEN: "Whoever holds a token of this service.",
        ActorKind.USER: "A user for whom an identity provider vouches.",
        ActorKind.COMMAND_LINE: "Somebody at the command line of the service.",
        ActorKind.SYSTEM: "The service itself, as its rules demand.",
    },
    name="AuditActorKind",
)
_explain(
    AuditAction,
    "What was done.",
    {
        AuditAction.TASK_CREATED: "A task was created. Details: name, sendAt, and how many numbers.",
        AuditAction.TASK_CANCELED: "A task was canceled. Details: reason, a CancelReason.",
        AuditAction.TASK_DELETED: "A canceled task was deleted for good. Details: name.",
        AuditAction.TASK_PAUSED: "A running task was paused.",
        AuditAction.TASK_RESUMED: "A paused task was resumed.",
        AuditAction.TASK_STOPPED: "A running or paused task was ended for good.",
        AuditAction.TASK_RESCHEDULED: "A task was put at another time. Details: oldSendAt, newSendAt.",
        AuditAction.FAILED_RESENT: "Failed numbers became a new task, the object. Details: also resendOf.",
        AuditAction.APPLICATION_CREATED: "An application was made. Details: name.",
        AuditAction.APPLICATION_SUSPENDED: (
            "An application was suspended. Details: runningTasks, how many were paused by it."
        ),
        AuditAction.APPLICATION_RESUMED: (
            "An application was resumed. Details: runningTasks, how many went on with it."
        ),
        AuditAction.ASSOCIATED: (
            "A signature or template may be used by another application, the object. Details: which."
        ),
        AuditAction.SIGNATURE_CREATED: "A signature was made. Details: name.",
        AuditAction.SIGNATURE_REVIEWED: "An operator decided on a signature. Details: decision.",
        AuditAction.TEMPLATE_CREATED: "A template was made. Details: name.",
        AuditAction.TEMPLATE_REVIEWED: "An operator decided on a template. Details: decision.",
        AuditAction.TEMPLATE_SWITCHED: "A template was switched on or off. Details: active.",
        AuditAction.OPT_OUTS_ADDED: "Numbers were put on the opt-out list. Details: added, how many.",
        AuditAction.OPT_OUTS_REMOVED: "Numbers were taken off the opt-out list. Details: removed, how many.",
        AuditAction.ACCOUNT_CREATED: "The account was made.",
        AuditAction.ACCOUNT_CHANGED: "The account's time zone or currency was set.",
        AuditAction.TOKEN_CREATED: "A token was made. Details: role, expiresAt.",
        AuditAction.TOKEN_REVOKED: "A token was revoked.",
        AuditAction.SENDING_LIMITS_SET: "Sending limits were set. Details: those that were named.",
        AuditAction.NUMBERS_DOWNLOADED: (
            "A file of numbers was downloaded, or begun to be. Details: file, and format."
        ),
    },
)
_explain(
    Region,
    "Where an application's messages go. It decides which numbers are taken, and on the signature.",
    {
        Region.CHINESE_MAINLAND: "To +86 numbers only; every message begins with a signature.",
        Region.INTERNATIONAL: "To all numbers but +86 ones; without a signature.",
    },
)
_explain(
    SmsType,
    "What a signature or template was approved for.",
    {
        SmsType.VERIFICATION_CODE: "One-time codes. Never sent by group tasks.",
        SmsType.NOTIFICATION: "Notices to people who expect them.",
        SmsType.PROMOTION: "Advertising.",
    },
)
_explain(
    ReviewStatus,
    "What an operator decided about a signature or template.",
    {
        ReviewStatus.PENDING: "Not decided yet.",
        ReviewStatus.APPROVED: "May be used.",
        ReviewStatus.REJECTED: "May not be used; reviewNote says why.",
    },
)
_explain(
    BlockerCode,
    "The kind of obstacle.",
    {
        BlockerCode.NOT_APPROVED: "It has not been approved, or was rejected.",
        BlockerCode.NOT_ACTIVE: "The template is not activated.",
        BlockerCode.NO_CHANNEL_NUMBER: "The signature has no channel number to send from.",
        BlockerCode.VERIFICATION_CODE_TYPE: "It is for verification codes, which group tasks never send.",
        BlockerCode.HAS_VARIABLES: "The template has variables; a group task sends everyone the same text.",
        BlockerCode.NOT_ASSOCIATED: "It is not associated with the application.",
        BlockerCode.OTHER_SIGNATURE: "The template belongs to another signature.",
        BlockerCode.SIGNATURE_REQUIRED: "A mainland application needs a signature.",
        BlockerCode.SIGNATURE_NOT_ALLOWED: "An international application takes no signature.",
        BlockerCode.APPLICATION_SUSPENDED: "The application is suspended.",
        BlockerCode.NO_EXTERNAL_ID: (
            "The application's gateway sends only templates of its own platform, and this one names none."
        ),
    },
)
_explain(
    TaskStatus,
    "Where a task stands: SCHEDULED, then SENDING, SENT, COMPLETED. SCHEDULED may become CANCELED; SENDING "
    "may be PAUSED and resumed, and either may be STOPPED.",
    {
        TaskStatus.SCHEDULED: "Waits for its time; a task to be sent at once waits for a free worker.",
        TaskStatus.SENDING: "Messages are being handed to the gateway.",
        TaskStatus.PAUSED: "Someone, or a suspended application, holds back what was not handed over yet.",
        TaskStatus.SENT: "Everything was handed to the gateway; results are coming in.",
        TaskStatus.COMPLETED: "Every number has a final result, or 72 hours have passed since the hand-over.",
        TaskStatus.CANCELED: "Never began; cancelReason says why.",
        TaskStatus.STOPPED: "Someone stopped it after sending had begun; the rest is NOT_SENT.",
    },
)
_explain(
    CancelReason,
    "Why a task was canceled.",
    {
        CancelReason.USER: "By cancelTask.",
        CancelReason.OVERDUE: "It was not started within 24 hours after its time.",
        CancelReason.NO_LONGER_ALLOWED: (
            "At its time the application, signature or template could not be used any more; see blockers."
        ),
    },
)
_explain(
    SendResult,
    "What became of a message, or of one segment of it.",
    {
        SendResult.WAITING: "Not handed to the gateway yet.",
        SendResult.UNKNOWN: "Handed to the gateway; no final status report yet.",
        SendResult.DELIVERED: "It reached the phone.",
        SendResult.FAILED: "It will not arrive; failure says why.",
        SendResult.NOT_SENT: (
            "Canceled, stopped, opted out or past its deadline before the hand-over. Costs nothing."
        ),
    },
)
_explain(
    HandoverState,
    "Whether the gateway is known to have taken a message.",
    {
        HandoverState.NONE: "It was not handed over.",
        HandoverState.CONFIRMED: "The gateway answered.",
        HandoverState.IN_DOUBT: (
            "A crash or a lost connection left it uncertain whether the gateway got it. It is never sent "
            "again by itself; a later status report settles it."
        ),
    },
    name="Handover",
)
_explain(
    Encoding,
    "The alphabet a text travels in. It decides how much fits into a segment.",
    {
        Encoding.GSM_7: "GSM 03.38, 7 bits a character: 160 in one segment, 153 in each of several.",
        Encoding.UCS_2: "16 bits a character: 70 in one segment, 67 in each of several.",
    },
)
_explain(
    RowRejection,
    "Why a row of the recipient list was deleted.",
    {
        RowRejection.NOT_A_NUMBER: "It is no phone number, or more than one.",
        RowRejection.LOST_DIGITS: "Excel had already lost digits of it, as in 8.6138E+12.",
        RowRejection.WRONG_LENGTH: "Without a plus sign it must have 11 or 13 digits.",
        RowRejection.MISSING_COUNTRY_CODE: "Without a plus sign it can't be told which country it is of.",
        RowRejection.IMPOSSIBLE_NUMBER: "There can be no such number.",
        RowRejection.REGION_NOT_ALLOWED: "The application does not send to this country.",
        RowRejection.OPTED_OUT: "Its owner wants no messages.",
        RowRejection.DUPLICATE: "It is on the list before.",
    },
)
_explain(
    FailureCause,
    "What kind of failure it was.",
    {
        FailureCause.UNREACHABLE: "The phone can't be reached: off, out of coverage, suspended.",
        FailureCause.INVALID_NUMBER: "Nobody has this number.",
        FailureCause.BLOCKED: "The carrier or the phone's owner blocks such messages.",
        FailureCause.CONTENT_REFUSED: "The text was refused.",
        FailureCause.LIMIT_EXCEEDED: "Too many messages to this number, or from this sender.",
        FailureCause.EXPIRED: "It could not be delivered in time.",
        FailureCause.GATEWAY_ERROR: "The gateway failed, or is set up wrongly.",
        FailureCause.OTHER: "A code nobody here knows.",
    },
)
_explain(
    FileFormat,
    "The format of a download.",
    {
        FileFormat.XLSX: "An Excel workbook; opens as it is, numbers as text.",
        FileFormat.CSV: "Comma-separated values in UTF-8, for programs.",
    },
)
_explain(
    TaskOrderField,
    "What tasks are ordered by.",
    {
        TaskOrderField.CREATED_AT: "When they were created.",
        TaskOrderField.SEND_AT: "When they are to be sent.",
        TaskOrderField.NAME: "Their names.",
    },
)
_explain(
    OrderDirection,
    "Which end comes first.",
    {
        OrderDirection.ASC: "The earliest, or A, first.",
        OrderDirection.DESC: "The latest, or Z, first.",
    },
)
_explain(
    ChangeKind,
    "What happened to a task.",
    {
        ChangeKind.CREATED: "It is new since the place the subscription began at.",
        ChangeKind.UPDATED: "Something about it changed.",
        ChangeKind.DELETED: "It is gone for good.",
    },
)
_explain(
    ErrorCode,
    "What kind of mistake it is, for client code to branch on.",
    {
        ErrorCode.INVALID: "A value can't be accepted.",
        ErrorCode.NOT_FOUND: "There is no such object.",
        ErrorCode.NOT_SELECTABLE: "It can't be used for this task; see blockers.",
        ErrorCode.FILE_UNREADABLE: "The file can't be read as a list of numbers.",
        ErrorCode.FILE_TOO_LARGE: "The file is too large, or has too many numbers.",
        ErrorCode.NO_VALID_NUMBERS: "No number of the list can be used.",
        ErrorCode.SEND_TIME: "The time is in the past, or more than a month ahead.",
        ErrorCode.TOO_LATE: "The moment until which this was possible has passed.",
        ErrorCode.WRONG_STATUS: "The task's status does not allow it.",
        ErrorCode.KEY_REUSED: "The idempotency key was used with another request.",
        ErrorCode.PREVIEW_CHANGED: "Something would be different from the preview that was quoted.",
        ErrorCode.WARNINGS: "There are warnings, and refuseOnWarnings is set.",
        ErrorCode.QUOTA: "A sending limit of the account does not allow it; retryAt says when there is room.",
        ErrorCode.BUSY: "Somebody else is doing this just now; asking again will tell.",
    },
)
_explain(
    WarningCode,
    "What kind of thing is worth a second look.",
    {
        WarningCode.OUTSIDE_ADVISED_HOURS: "The time is outside 08:00 to 21:00.",
        WarningCode.SENT_RECENTLY: "Most of these numbers got the same text in the last 7 days.",
        WarningCode.UNICODE_FORCED: "A few characters force UCS-2, which makes more segments.",
        WarningCode.LARGE_REJECTION: "More than a tenth of the rows are deleted.",
        WarningCode.NO_PRICE: "A country has no price and counts as zero.",
        WarningCode.SENDING_LIMIT_NEAR: "With this task a sending limit has reached its alarm threshold.",
    },
)
