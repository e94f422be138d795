"""The days and months that sending is counted for, in an account's time zone. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo


class Period(StrEnum):
    """What a limit holds for."""

    DAY = "DAY"
    MONTH = "MONTH"


def day_of(moment: datetime, time_zone: str) -> date:
    """The calendar day of a moment in the account's time zone."""
    return moment.astimezone(ZoneInfo(time_zone)).date()


def first_day(period: Period, day: date) -> date:
    """The first day of the period that a day belongs to."""
    return day if period is Period.DAY else day.replace(day=1)


def next_first_day(period: Period, day: date) -> date:
    """The first day of the period after the one that a day belongs to."""
    if period is Period.DAY:
        return day + timedelta(days=1)
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def start_of(day: date, time_zone: str) -> datetime:
    """The moment a day begins, in UTC; where daylight saving skips its midnight, the moment of the change."""
    return datetime.combine(day, time(), ZoneInfo(time_zone)).astimezone(UTC)
