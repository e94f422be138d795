"""The contracted rate of a gateway, shared by all workers and binds: who may send a submit_sm, and when.

The generic cell rate algorithm (ITU-T I.371) with its one value, the moment at which the next submit_sm is
due, in a row of PostgreSQL. A worker reserves a short run of such moments ahead; those it does not use are
lost. Nothing is given away further ahead than `Horizon.ahead`, so that a row that is missing (the table is
unlogged: a crash or a failover empties it) or that is impossibly far ahead (the database's clock was set
back) can be made good by waiting until all that may have been given away is over.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from domain import db

_TOLERANCE = 1.0
"""Seconds by which two statements that wait for one another may differ in what they call now."""


@dataclass(frozen=True, slots=True)
class Horizon:
    """How far ahead moments are given away, in seconds."""

    ahead: float
    """Nothing is reserved while the next moment is further ahead."""
    longest: float
    """No run is longer."""

    @property
    def over(self) -> float:
        """When all that is given away now will be over."""
        return self.ahead + self.longest

    @property
    def impossible(self) -> float:
        """No next moment is so far ahead unless a clock was set."""
        return self.over + _TOLERANCE


@dataclass(frozen=True, slots=True)
class Reservation:
    """A run of moments, by the database's clock in seconds since 1970."""

    first: float
    now: float
    """When it was made."""


async def reserve(gateway: str, length: float, horizon: Horizon, lead: float = 0.0) -> Reservation | None:
    """Reserve the next `length` seconds of the gateway's time, not to begin before `lead` seconds from now.

    Returns None if too much is given away already: ask again a little later.
    """
    row = await db.fetchrow(
        """
        INSERT INTO gateway_pace AS pace (gateway, next_at) VALUES ($1, groupsms_now() + $5 + $2)
        ON CONFLICT (gateway) DO UPDATE SET next_at = $2 + CASE
            WHEN pace.next_at > groupsms_now() + $4 THEN groupsms_now() + $5
            ELSE greatest(pace.next_at, groupsms_now() + $6) END
        WHERE pace.next_at <= groupsms_now() + $3 OR pace.next_at > groupsms_now() + $4
        RETURNING extract(epoch FROM next_at - $2)::float8 AS first,
                  extract(epoch FROM groupsms_now())::float8 AS now
        """,
        gateway,
        timedelta(microseconds=ceil(length * 1e6)),  # rounded down, many short runs would exceed the rate
        timedelta(seconds=horizon.ahead),
        timedelta(seconds=horizon.impossible),
        timedelta(seconds=horizon.over),
        timedelta(seconds=lead),
    )
    return None if row is None else Reservation(row["first"], row["now"])
