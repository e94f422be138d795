"""What a user should know before a task is sent, though nothing forbids it."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from domain import db
from domain.access import Viewer
from domain.errors import RecipientSummary
from domain.pricing import Estimate
from domain.segments import Content, unicode_characters
from domain.selection import Choice
from domain.sending_hours import advised_hours_warning
from domain.states import Encoding, Region

RECENTLY = timedelta(days=7)


class WarningCode(StrEnum):
    """What kind of thing is worth a second look."""

    OUTSIDE_ADVISED_HOURS = "OUTSIDE_ADVISED_HOURS"
    SENT_RECENTLY = "SENT_RECENTLY"
    UNICODE_FORCED = "UNICODE_FORCED"
    LARGE_REJECTION = "LARGE_REJECTION"
    NO_PRICE = "NO_PRICE"
    SENDING_LIMIT_NEAR = "SENDING_LIMIT_NEAR"


@dataclass(frozen=True, slots=True)
class TaskWarning:
    """Something worth a second look before sending."""

    code: WarningCode
    message: str


async def of_order(
    viewer: Viewer,
    choice: Choice,
    content: Content,
    send_at: datetime,
    numbers: array[int],
    summary: RecipientSummary,
    estimate: Estimate,
) -> list[TaskWarning]:
    """Every warning about a task that is about to be made."""
    region = choice.application.region
    found = [
        (WarningCode.OUTSIDE_ADVISED_HOURS, advised_hours_warning(send_at, region, viewer.time_zone)),
        (WarningCode.SENT_RECENTLY, await _sent_recently(viewer.account_id, content.text, numbers)),
        (WarningCode.UNICODE_FORCED, _unicode_forced(content, region)),
        (WarningCode.LARGE_REJECTION, _large_rejection(summary)),
        (WarningCode.NO_PRICE, estimate.no_price_warning()),
    ]
    return [TaskWarning(code, message) for code, message in found if message is not None]


async def _sent_recently(account_id: int, text: str, numbers: array[int]) -> str | None:
    """Whether most of the numbers got this text in the last 7 days; looks only at tasks with that text."""
    tasks = await db.fetch(
        """
        SELECT id FROM task
        WHERE account_id = $1 AND md5(text) = md5($2) AND text = $2
          AND started_at > groupsms_now() - $3::interval
        """,
        account_id,
        text,
        RECENTLY,
    )
    if not tasks:
        return None
    again: int = await db.fetchval(
        """
        SELECT count(DISTINCT m.number) FROM message m JOIN unnest($2::bigint[]) AS n (number) USING (number)
        WHERE m.task_id = ANY($1::bigint[]) AND m.result IN (1, 2, 3)
        """,
        [row["id"] for row in tasks],
        numbers,
    )
    if 2 * again <= len(numbers):
        return None
    return (
        f"The same text was sent to {again} of these {len(numbers)} numbers in the last {RECENTLY.days} days."
    )


def _unicode_forced(content: Content, region: Region) -> str | None:
    if region is Region.CHINESE_MAINLAND or content.encoding is Encoding.GSM_7:
        return None
    characters = " ".join(unicode_characters(content.text))
    return (
        f"These characters are outside the GSM alphabet: {characters}. With them a segment holds "
        f"70 characters, and the text takes {len(content.segments)}."
    )


def _large_rejection(summary: RecipientSummary) -> str | None:
    if 10 * summary.deleted <= summary.rows:
        return None
    return f"{summary.deleted} of {summary.rows} rows are deleted: more than a tenth. Is it the right file?"
