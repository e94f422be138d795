"""Trying again while the database is away, and saying so now and then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from domain import db
from domain.ports import Clock

log = structlog.get_logger()

T = TypeVar("T")

RETRY = 0.5
"""Seconds to wait after the database failed."""
WARN_EVERY = 30.0
"""Seconds between two warnings of one outage."""


class Patience:
    """What one gateway's work does about a database that is away."""

    def __init__(self, gateway: str, clock: Clock) -> None:
        self._gateway = gateway
        self._clock = clock
        self._warn_again_at = float("-inf")

    async def until_done(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Try until it succeeds."""
        while True:
            try:
                return await operation()
            except db.UNAVAILABLE as error:
                await self._pause(error)

    async def while_wanted(
        self, is_wanted: Callable[[], bool], operation: Callable[[], Awaitable[T]]
    ) -> T | None:
        """Try until it succeeds, or return None once it is not wanted any more."""
        while is_wanted():
            try:
                return await operation()
            except db.UNAVAILABLE as error:
                await self._pause(error)
        return None

    async def _pause(self, error: Exception) -> None:
        if (now := self._clock.monotonic()) >= self._warn_again_at:
            self._warn_again_at = now + WARN_EVERY
            log.warning("database_unavailable", gateway=self._gateway, error=str(error))
        await self._clock.sleep(RETRY)
