"""What accounts use of their sending limits at this moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from domain import db
from domain.sending_limits import COLUMNS, SendingLimits
from domain.sending_periods import Period, day_of, first_day
from domain.sending_usage import NOTHING, Load, in_alarm, places_of, read_counts


@dataclass(frozen=True, slots=True)
class PresentUsage:
    """What an account uses of today and of this month."""

    starts_on: Mapping[Period, date]
    loads: Mapping[Period, Load]
    alarm: bool
    """Whether one of the limits is used to its threshold or more."""


async def present_usage(account_id: int, time_zone: str) -> PresentUsage:
    """What the account uses now, by the database's clock."""
    today = day_of(await db.fetchval("SELECT groupsms_now()"), time_zone)
    limits, counts = await read_counts(account_id, today)
    places = places_of(today, NOTHING)
    present = {place: counts.get(place, NOTHING) for place in places}
    return PresentUsage(
        starts_on=dict(places.keys()),
        loads={period: load for (period, _), load in present.items()},
        alarm=bool(in_alarm(limits, present)),
    )


async def accounts_in_alarm() -> int:
    """How many accounts have a limit of today or of this month at its alarm threshold; for a metric."""
    rows = await db.fetch(
        f"""
        SELECT a.id, a.time_zone, groupsms_now() AS now, {", ".join(COLUMNS)},
               period, starts_on, messages, segments
        FROM sending_limit l JOIN account a ON a.id = l.account_id JOIN sending_usage u USING (account_id)
        WHERE starts_on >= (groupsms_now() - interval '33 days')::date
        """
    )
    alarmed = set()
    for row in rows:
        period, today = Period(row["period"]), day_of(row["now"], row["time_zone"])
        if row["starts_on"] == first_day(period, today):
            present = {(period, today): Load(row["messages"], row["segments"])}
            if in_alarm(SendingLimits.of_row(row), present):
                alarmed.add(row["id"])
    return len(alarmed)
