"""Whether this process can do its work, for load balancers and whoever watches it.

The database decides: without it, or with migrations it lacks, nothing works. Redis does not: it only rings a
bell, so a process without it is degraded, works some seconds late, and taking it out of service would turn a
delay into an outage.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from redis.exceptions import RedisError

from domain import db
from domain.bus import Bus

ANSWER_WITHIN = 2.0
"""Seconds a check may take; what takes longer counts as away."""
STANDS_FOR = 1.0
"""Seconds for which a finding is told again, so that nobody can keep the database busy by asking."""


class State(StrEnum):
    """What was found out about one thing."""

    OK = "ok"
    STANDING_BY = "standing by"
    """Others do its work, and it will if they go."""
    DEGRADED = "degraded"
    """Away, and the service works without it."""
    AWAY = "away"
    BEHIND = "behind"
    """Migrations are missing: `groupsms migrate` was not run."""


FATAL = frozenset({State.AWAY, State.BEHIND})


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found."""

    state: State
    milliseconds: float = 0.0
    """How long the check took."""
    details: Mapping[str, object] = field(default_factory=dict)
    """No secrets: names of migrations, numbers of binds."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What all checks have found."""

    checks: Mapping[str, Finding]

    @property
    def ready(self) -> bool:
        """Whether this process can do its work."""
        return not any(finding.state in FATAL for finding in self.checks.values())

    def as_json(self) -> dict[str, Any]:
        """As it is answered."""
        degraded = any(finding.state is State.DEGRADED for finding in self.checks.values())
        return {
            "status": "unready" if not self.ready else "degraded" if degraded else "ready",
            "checks": {
                name: {"state": finding.state, "milliseconds": finding.milliseconds, **finding.details}
                for name, finding in self.checks.items()
            },
        }


Check = Callable[[], Awaitable[Finding]]


class Checks:
    """The checks of one process, each made once however many ask, and bounded in time."""

    def __init__(self, bus: Callable[[], Bus | None], more: Mapping[str, Check] | None = None) -> None:
        """`bus` is asked for each time; `more` are checks of this kind of process."""
        self._checks: dict[str, Check] = {
            "database": _database,
            "migrations": _migrations,
            "redis": lambda: _redis(bus()),
            **(more or {}),
        }
        self._under_way: dict[str, asyncio.Task[Finding]] = {}
        self._found: Readiness | None = None
        self._found_at = float("-inf")

    async def readiness(self) -> Readiness:
        """What the checks find now, or found less than a second ago. Never raises."""
        if self._found is None or time.monotonic() - self._found_at >= STANDS_FOR:
            names = list(self._checks)
            found = await asyncio.gather(*map(self._bounded, names))
            self._found, self._found_at = Readiness(dict(zip(names, found, strict=True))), time.monotonic()
        return self._found

    async def _bounded(self, name: str) -> Finding:
        began = time.monotonic()
        task = self._under_way.get(name)
        if task is None or task.done():
            task = self._under_way[name] = asyncio.create_task(_made(self._checks[name]))
        # Not cancelled when time is up: that would wait for a database that answers nothing.
        await asyncio.wait([task], timeout=ANSWER_WITHIN)
        took = round((time.monotonic() - began) * 1000, 1)
        if not task.done():
            state = State.DEGRADED if name == "redis" else State.AWAY
            return Finding(state, took, {"reason": f"no answer within {ANSWER_WITHIN:g} s"})
        found = task.result()
        return Finding(found.state, took, found.details)


async def _made(check: Check) -> Finding:
    try:
        return await check()
    except db.UNAVAILABLE as error:
        # Its text may name hosts and users; the log has it.
        return Finding(State.AWAY, details={"reason": type(error).__name__})


async def _database() -> Finding:
    await db.fetchval("SELECT 1")
    return Finding(State.OK)


async def _migrations() -> Finding:
    pending = await db.pending_migrations()
    return Finding(State.BEHIND, details={"pending": pending}) if pending else Finding(State.OK)


async def _redis(bus: Bus | None) -> Finding:
    if bus is None:
        return Finding(State.DEGRADED, details={"reason": "not connected yet"})
    try:
        await bus.ping()
    except (RedisError, OSError) as error:
        return Finding(State.DEGRADED, details={"reason": type(error).__name__})
    return Finding(State.OK)
