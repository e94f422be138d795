"""Noting when tokens were last used, beside the requests and not in their way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

import structlog

from domain import access_tokens, db
from domain.access import Viewer
from domain.cancellation import end

log = structlog.get_logger()

WRITE_EVERY: Final = 10.0
"""Seconds for which uses are gathered."""


class TokenUses:
    """The tokens that were used since they were last written down.

    What is lost with the process, or while the database is away, is a use or two: the next one is noted.
    """

    def __init__(self) -> None:
        self._used: set[int] = set()

    def note(self, viewer: Viewer) -> None:
        """Somebody has come with this token; one of an identity provider is not ours to keep."""
        if viewer.token_id is not None:
            self._used.add(viewer.token_id)

    @asynccontextmanager
    async def written(self, open_sessions: Callable[[], Iterable[int]]) -> AsyncIterator[None]:
        """Write them down every so often, together with the tokens of open connections, and at the end."""
        writing = asyncio.create_task(self._write_for_ever(open_sessions), name="token uses written")
        try:
            yield
        finally:
            await end(writing)
            await self.write()

    async def _write_for_ever(self, open_sessions: Callable[[], Iterable[int]]) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY)
            self._used.update(open_sessions())
            await self.write()

    async def write(self) -> None:
        """Write down what was noted until now."""
        used, self._used = self._used, set()
        if not used:
            return
        try:
            await access_tokens.note_use(used)
        except db.UNAVAILABLE as error:
            log.debug("token_uses_not_written", count=len(used), error=str(error))
