"""At which hours people may be texted: advice for every task, a rule for promotion. Pure.

Source: "What a task needs" in the guide. 08:00 to 21:00 is advised for all types. Promotion is not sent
outside 08:00 to 22:00 where the recipient is, which is decided for each number when it is about to be sent.

A number may belong to several time zones (a Russian mobile number, an American toll-free one): it must then
be within the hours in all of them. A number of no country (a satellite phone) is taken to be in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

import phonenumbers
from phonenumbers.timezone import (
    UNKNOWN_TIMEZONE,
    time_zones_for_geographical_number,
    time_zones_for_number,
)
from phonenumbers.tzdata import TIMEZONE_DATA

from domain.schedule import local_iso
from domain.states import Region

ADVISED_FROM, ADVISED_TO = time(8), time(21)
PROMOTION_FROM, PROMOTION_TO = time(8), time(22)
MAINLAND_ZONE = "Asia/Shanghai"

SEARCH = timedelta(days=2)
"""How far `next_window` looks. A task's messages are given up within a day."""

_SUBSCRIBER = "2345"
"""Stands for the last four digits, which tell subscribers of one block apart and nothing about the place."""
_NO_COUNTRY = ("UTC",)


def advised_hours_warning(send_at: datetime, region: Region, time_zone: str) -> str | None:
    """What to tell someone who sends at this time, or None if it is from 08:00 to 21:00, ends included.

    In Asia/Shanghai for a mainland application, else in `time_zone`, the account's.
    """
    zone = MAINLAND_ZONE if region is Region.CHINESE_MAINLAND else time_zone
    if ADVISED_FROM <= send_at.astimezone(ZoneInfo(zone)).time() <= ADVISED_TO:
        return None
    return (
        f"{local_iso(send_at, zone)} ({zone}) is outside the advised hours, "
        f"{ADVISED_FROM:%H:%M} to {ADVISED_TO:%H:%M}."
    )


def may_send_promotion(number: str, moment: datetime) -> bool:
    """Whether it is from 08:00 and before 22:00 in every time zone known for `number` (E.164 with plus)."""
    return _is_day(time_zones(number), _minute(moment))


def next_window(number: str, moment: datetime) -> datetime:
    """From when, in UTC, promotion may be sent to `number`: `moment` itself if it may be sent then.

    Should its time zones have no hour in common, the end of the search: too late for any task.
    """
    zones = time_zones(number)
    if _is_day(zones, _minute(moment)):
        return moment.astimezone(UTC)
    return _next_day(zones, _minute(moment))


def time_zones(number: str) -> tuple[str, ...]:
    """The IANA names of the time zones a number (E.164 with plus) may be in; never empty."""
    digits = number.removeprefix("+")
    code = _calling_code(digits[:3])
    if code is None:
        return _NO_COUNTRY
    if only := _only_zone(code):
        return only
    block = max(len(digits) - len(_SUBSCRIBER), len(code))
    return _zones_of_block(digits[:block], len(digits) - block)


@cache
def _calling_code(first_digits: str) -> str | None:
    for length in range(1, len(first_digits) + 1):
        if int(first_digits[:length]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return first_digits[:length]
    return None


@cache
def _only_zone(calling_code: str) -> tuple[str, ...] | None:
    """The time zones of all numbers with this calling code, if they are always the same ones."""
    zones = {tuple(zones) for prefix, zones in TIMEZONE_DATA.items() if prefix.startswith(calling_code)}
    return zones.pop() if len(zones) == 1 else None


@lru_cache(maxsize=1 << 17)
def _zones_of_block(block: str, more_digits: int) -> tuple[str, ...]:
    number = phonenumbers.parse(f"+{block}{_SUBSCRIBER[:more_digits]}")
    # The first look-up answers for numbers held valid only; the second goes by the leading digits alone.
    for look_up in (time_zones_for_number, time_zones_for_geographical_number):
        zones = tuple(look_up(number))
        if zones != (UNKNOWN_TIMEZONE,):
            return zones
    return _NO_COUNTRY


def _minute(moment: datetime) -> datetime:
    """The minute's beginning: hours begin and end with a minute in every zone, so seconds decide nothing."""
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


@lru_cache(maxsize=4096)
def _is_day(zones: tuple[str, ...], minute: datetime) -> bool:
    return all(PROMOTION_FROM <= minute.astimezone(ZoneInfo(zone)).time() < PROMOTION_TO for zone in zones)


@lru_cache(maxsize=4096)
def _next_day(zones: tuple[str, ...], minute: datetime) -> datetime:
    # Hours common to all zones can only begin where those of one zone begin.
    begins = set()
    for zone in map(ZoneInfo, zones):
        today = minute.astimezone(zone).date()
        begins |= {
            datetime.combine(today + timedelta(days=days), PROMOTION_FROM, zone).astimezone(UTC)
            for days in range(SEARCH.days + 1)
        }
    end = minute + SEARCH
    return next((begin for begin in sorted(begins) if minute < begin < end and _is_day(zones, begin)), end)
