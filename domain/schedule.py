"""When a task may be sent, canceled or given up. Pure.

Source: "Life of a task" in the guide.
"""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from domain.errors import SendTimeError

CANCEL_MARGIN = timedelta(minutes=5)
"""A scheduled task can be canceled until this long before its time."""
OVERDUE_AFTER = timedelta(hours=24)
"""A task not executed this long after its time is never sent; nor is what is left of one that was begun."""
RECEIPTS_WITHIN = timedelta(hours=72)
"""Receipts arrive up to this long after the hand-over."""


def month_later(moment: datetime, time_zone: str) -> datetime:
    """The same wall-clock time one calendar month on, in UTC; a missing day becomes the month's last.

    A wall-clock time that daylight saving skips is taken as the time after the gap.
    """
    local = moment.astimezone(ZoneInfo(time_zone))
    year, month = (local.year, local.month + 1) if local.month < 12 else (local.year + 1, 1)
    day = min(local.day, calendar.monthrange(year, month)[1])
    return local.replace(year=year, month=month, day=day).astimezone(UTC)


def check_send_time(send_at: datetime | None, now: datetime, time_zone: str) -> datetime:
    """The time to send at, in UTC: `send_at`, or now if there is none.

    Raises `SendTimeError` for a time in the past or more than a calendar month ahead.
    """
    if send_at is None:
        return now
    latest = month_later(now, time_zone)
    zone = ZoneInfo(time_zone)
    if send_at < now:
        raise SendTimeError(
            f"sendAt is in the past: it is now {now.astimezone(zone).isoformat(timespec='seconds')}. "
            "Choose a later time, or leave sendAt out to send at once.",
            "sendAt",
            earliest=now,
            latest=latest,
        )
    if send_at > latest:
        raise SendTimeError(
            "sendAt is more than a month ahead: the latest time possible now is "
            f"{latest.astimezone(zone).isoformat(timespec='seconds')}.",
            "sendAt",
            earliest=now,
            latest=latest,
        )
    return send_at.astimezone(UTC)
