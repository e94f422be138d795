"""The states of a task and of a message, and which may follow which. Pure: no database, no clock.

Source: "Life of a task" and "Results from the network" in the guide.
"""

from enum import StrEnum


class TaskStatus(StrEnum):
    """Where a task stands; the transitions are in `TASK_TRANSITIONS`."""

    SCHEDULED = "SCHEDULED"
    SENDING = "SENDING"
    PAUSED = "PAUSED"
    SENT = "SENT"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"
    STOPPED = "STOPPED"


TASK_TRANSITIONS: dict[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.SCHEDULED: frozenset({TaskStatus.SENDING, TaskStatus.CANCELED}),
    TaskStatus.SENDING: frozenset({TaskStatus.PAUSED, TaskStatus.SENT, TaskStatus.STOPPED}),
    TaskStatus.PAUSED: frozenset({TaskStatus.SENDING, TaskStatus.STOPPED}),
    TaskStatus.SENT: frozenset({TaskStatus.COMPLETED}),
    TaskStatus.COMPLETED: frozenset(),
    TaskStatus.CANCELED: frozenset(),
    TaskStatus.STOPPED: frozenset(),
}


class CancelReason(StrEnum):
    """Why a scheduled task was canceled."""

    USER = "USER"
    OVERDUE = "OVERDUE"
    NO_LONGER_ALLOWED = "NO_LONGER_ALLOWED"


class SendResult(StrEnum):
    """What became of one number."""

    WAITING = "WAITING"
    UNKNOWN = "UNKNOWN"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"
    NOT_SENT = "NOT_SENT"


class HandoverState(StrEnum):
    """Whether the gateway is known to have taken a message."""

    NONE = "NONE"
    CONFIRMED = "CONFIRMED"
    IN_DOUBT = "IN_DOUBT"


class Region(StrEnum):
    """Where an application's messages go."""

    CHINESE_MAINLAND = "CHINESE_MAINLAND"
    INTERNATIONAL = "INTERNATIONAL"


class SmsType(StrEnum):
    """What a signature or a template may be used for."""

    VERIFICATION_CODE = "VERIFICATION_CODE"
    NOTIFICATION = "NOTIFICATION"
    PROMOTION = "PROMOTION"


class ReviewStatus(StrEnum):
    """What the operator decided about a signature or a template."""

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"


class Encoding(StrEnum):
    """The alphabet a text travels in."""

    GSM_7 = "GSM_7"
    UCS_2 = "UCS_2"


class RowRejection(StrEnum):
    """Why a row of a recipient list was deleted."""

    NOT_A_NUMBER = "NOT_A_NUMBER"
    LOST_DIGITS = "LOST_DIGITS"
    WRONG_LENGTH = "WRONG_LENGTH"
    MISSING_COUNTRY_CODE = "MISSING_COUNTRY_CODE"
    IMPOSSIBLE_NUMBER = "IMPOSSIBLE_NUMBER"
    REGION_NOT_ALLOWED = "REGION_NOT_ALLOWED"
    OPTED_OUT = "OPTED_OUT"
    DUPLICATE = "DUPLICATE"


class Role(StrEnum):
    """What the holder of an access token may do; each role includes those before it, but OPERATOR."""

    VIEWER = "VIEWER"
    SENDER = "SENDER"
    MANAGER = "MANAGER"
    OPERATOR = "OPERATOR"


SEND_RESULTS = tuple(SendResult)
HANDOVER_STATES = tuple(HandoverState)
ROW_REJECTIONS = tuple(RowRejection)
"""Tables with a row for each number store these states as their positions here. Only append."""
