"""Telling the world how far tasks are: a few times a second each, however many messages are settled."""

from __future__ import annotations

import structlog

from domain import db, tasks
from domain.ports import Clock, Doorbell

log = structlog.get_logger()

INTERVAL = 0.25
"""Seconds between two announcements of a task."""


class Announcer:
    """Collects which tasks have changed, moves them on if they are ready, and announces their progress."""

    def __init__(self, doorbell: Doorbell, clock: Clock) -> None:
        self._doorbell = doorbell
        self._clock = clock
        self._changed: set[int] = set()

    def changed(self, *task_ids: int) -> None:
        """Note that something of these tasks was committed."""
        self._changed.update(task_ids)

    async def run(self) -> None:
        """Announce for ever."""
        while True:
            await self._clock.sleep(INTERVAL)
            await self.announce()

    async def announce(self) -> None:
        """Announce everything noted so far."""
        while self._changed:
            task_id = self._changed.pop()
            try:
                await tasks.advance_task(task_id, self._doorbell)
            except db.UNAVAILABLE as error:
                self._changed.add(task_id)
                log.warning("not_announced", task_id=task_id, error=str(error))
                return
