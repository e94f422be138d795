"""How much an account may send in a day and in a month, as its operator has set it.

What is used of it is counted in `domain.sending_usage`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import asyncpg

from domain import audit, db
from domain.audit import AuditAction, AuditObject
from domain.errors import InvalidInput, NotFound
from domain.sending_periods import Period

ALARM_PERCENT = 80
"""From how much of a limit on an account is in alarm, if nothing else is set."""
LARGEST = 2**31 - 1
"""The largest limit, and the largest count that GraphQL's Int holds."""


class Measure(StrEnum):
    """What is counted."""

    MESSAGES = "messages"
    SEGMENTS = "segments"


@dataclass(frozen=True, slots=True)
class SendingLimits:
    """The limits of an account, by the planned time of sending. None: as much as it likes."""

    daily_messages: int | None = None
    daily_segments: int | None = None
    monthly_messages: int | None = None
    monthly_segments: int | None = None
    alarm_percent: int = ALARM_PERCENT
    """From how many per cent of a limit on it is an alarm."""

    def of(self, period: Period, measure: Measure) -> int | None:
        """The limit of one kind."""
        if measure is Measure.MESSAGES:
            return self.daily_messages if period is Period.DAY else self.monthly_messages
        return self.daily_segments if period is Period.DAY else self.monthly_segments

    @staticmethod
    def of_row(row: Mapping[str, int | None] | asyncpg.Record) -> SendingLimits:
        """The limits in a row with a column for each; NULL for all of them in one of an account without."""
        return SendingLimits(
            daily_messages=row["daily_messages"],
            daily_segments=row["daily_segments"],
            monthly_messages=row["monthly_messages"],
            monthly_segments=row["monthly_segments"],
            alarm_percent=ALARM_PERCENT if row["alarm_percent"] is None else row["alarm_percent"],
        )


COLUMNS = ("daily_messages", "daily_segments", "monthly_messages", "monthly_segments", "alarm_percent")


async def limits_of(account_id: int) -> SendingLimits:
    """The limits of an account."""
    row = await db.fetchrow(
        f"SELECT {', '.join(COLUMNS)} FROM sending_limit WHERE account_id = $1", account_id
    )
    return SendingLimits() if row is None else SendingLimits.of_row(row)


async def account_named(name: str) -> tuple[int, str]:
    """The id and the time zone of the account of this name. Raises `NotFound`."""
    row = await db.fetchrow("SELECT id, time_zone FROM account WHERE name = $1", name)
    if row is None:
        raise NotFound(f"There is no account {name!r}.", "account")
    return row["id"], row["time_zone"]


async def set_limits(account_id: int, changes: Mapping[str, int | None]) -> SendingLimits:
    """Set the limits that `changes` names, as in `COLUMNS`, and leave the others as they are.

    None takes a limit away, and puts the alarm back to `ALARM_PERCENT`. What is planned already stays, also
    beyond a new limit. Raises `NotFound`, or `InvalidInput` for a number that can't be a limit.
    """
    named = [column for column in COLUMNS if column in changes]
    for column in named:
        _check(column, changes[column])
    values = {
        column: ALARM_PERCENT if column == "alarm_percent" and changes[column] is None else changes[column]
        for column in named
    }
    settled = "".join(f", {column} = excluded.{column}" for column in named)
    async with db.transaction() as conn:
        row = await conn.fetchrow(
            f"""
            INSERT INTO sending_limit AS l (account_id{"".join(f", {column}" for column in named)})
            SELECT id{"".join(f", ${place}" for place in range(2, 2 + len(named)))} FROM account WHERE id = $1
            ON CONFLICT (account_id) DO UPDATE SET account_id = l.account_id{settled}
            RETURNING {", ".join(f"l.{column}" for column in COLUMNS)}
            """,
            account_id,
            *values.values(),
        )
        if row is None:
            raise NotFound("There is no such account.", "accountId")
        if values:
            await audit.record(
                conn,
                account_id,
                AuditAction.SENDING_LIMITS_SET,
                (AuditObject.ACCOUNT, account_id),
                **{column: "none" if value is None else value for column, value in values.items()},
            )
    return SendingLimits.of_row(row)


def _check(column: str, value: int | None) -> None:
    first, *rest = column.split("_")
    field = first + "".join(word.capitalize() for word in rest)
    if value is None:
        return
    if column == "alarm_percent":
        if not 1 <= value <= 100:
            raise InvalidInput("The alarm is at 1 to 100 per cent of a limit.", field)
    elif not 0 <= value <= LARGEST:
        raise InvalidInput(f"A limit is 0 to {LARGEST:,}, or null for none.", field)
