"""When a task may be sent, canceled or given up. Pure.

Source: "Life of a task" in the guide.
"""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from domain.errors import SendTimeError

CANCEL_MARGIN = timedelta(minutes=5)
"""A scheduled task can be canceled or put at another time until this long before its time."""
OVERDUE_AFTER = timedelta(hours=24)
"""A task not executed this long after its time is never sent; nor is what is left of one that was begun."""
RECEIPTS_WITHIN = timedelta(hours=72)
"""Receipts arrive up to this long after the hand-over."""


def month_later(moment: datetime, time_zone: str) -> datetime:
    """The same wall-clock time one calendar month on, in UTC; a missing day becomes the month's last.

    A wall-clock time that daylight saving skips is taken as the time after the gap; of one that comes twice,
    the second counts.
    """
    local = moment.astimezone(ZoneInfo(time_zone))
    year, month = (local.year, local.month + 1) if local.month < 12 else (local.year + 1, 1)
    day = min(local.day, calendar.monthrange(year, month)[1])
    later = local.replace(year=year, month=month, day=day)
    return max(later.replace(fold=fold).astimezone(UTC) for fold in (0, 1))


def check_send_time(send_at: datetime | None, now: datetime, time_zone: str) -> datetime:
    """The time to send at, in UTC: `send_at`, or now if there is none. The rule for new and for moved tasks.

    Raises `SendTimeError` for a time without offset, in the past, or more than a calendar month ahead in
    `time_zone`, the account's.
    """
    if send_at is None:
        return now.astimezone(UTC)
    latest = month_later(now, time_zone)
    if send_at.tzinfo is None:
        raise _refusal(
            f"sendAt has no offset from UTC. Write it like {local_iso(latest, time_zone)}.", now, latest
        )
    if send_at < now:
        raise _refusal(
            f"sendAt is in the past: it is now {local_iso(now, time_zone)}. Choose a later time.", now, latest
        )
    if send_at > latest:
        raise _refusal(
            "sendAt is more than a month ahead: the latest time possible now is "
            f"{local_iso(latest, time_zone)}.",
            now,
            latest,
        )
    return send_at.astimezone(UTC)


def local_iso(moment: datetime, time_zone: str) -> str:
    """How a message shows a moment: RFC 3339 to the second, in the account's time zone, with its offset."""
    return moment.astimezone(ZoneInfo(time_zone)).isoformat(timespec="seconds")


def _refusal(message: str, now: datetime, latest: datetime) -> SendTimeError:
    return SendTimeError(message, "sendAt", earliest=now, latest=latest)
