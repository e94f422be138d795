"""What ends a long connection, be it a WebSocket or a stream of server-sent events.

The codes are those of graphql-ws. Its client takes 4401 for final, but connects again after 4403, asking its
`connectionParams` anew: whose token has been replaced meanwhile goes on by itself. Who comes with the old one
is refused with 4403 each time, and told of it when the client library has tried often enough.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from domain import access, db
from domain.access import Standing
from domain.bus import Bus
from domain.cancellation import end

LONGEST: Final = timedelta(hours=6)
"""How long a connection stays open unless the settings say otherwise."""
SPREAD: Final = 0.25
"""The part of that time by which some end earlier: those that began together are not to return together."""
LOOK_AFTER: Final = 15.0
"""Seconds after which the database is asked about tokens though no revocation was announced."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection is closed by the service."""

    code: int
    """What a WebSocket is closed with."""
    reason: str
    """For people; short enough for a closing frame, which holds 123 octets."""
    refused: bool
    """Whether the token is no longer good. Otherwise the client may come back at once as it is."""


EXPIRED: Final = Ending(4403, "Forbidden: the token has expired", refused=True)
REVOKED: Final = Ending(4403, "Forbidden: the token was revoked", refused=True)
OUTLIVED: Final = Ending(1012, "Open for long enough: connect again", refused=False)
SHUTDOWN: Final = Ending(1012, "Service restart: connect again", refused=False)


class Session:
    """One long connection of one token; made by `Sessions.open`."""

    __slots__ = ("_timer", "ended", "token_id")

    def __init__(self, token_id: int | None) -> None:
        self.token_id = token_id
        """None for a token of an identity provider: it can't be revoked here."""
        self.ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        """Done as soon as the connection is to be closed."""
        self._timer: asyncio.TimerHandle | None = None

    def end_after(self, seconds: float, ending: Ending) -> None:
        """End it then, if it has not ended before."""
        self._timer = asyncio.get_running_loop().call_later(max(seconds, 0), self.end, ending)

    def end(self, ending: Ending) -> None:
        """Let whoever serves the connection close it; only the first call counts."""
        self.stop_timer()
        if not self.ended.done():
            self.ended.set_result(ending)

    def stop_timer(self) -> None:
        """Let time pass without consequence."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Sessions:
    """The long connections of a process."""

    def __init__(self, longest: timedelta = LONGEST) -> None:
        self._longest = longest.total_seconds()
        self._open: set[Session] = set()
        self._shutting_down = False

    def token_ids(self) -> set[int]:
        """The tokens they were opened with."""
        return {session.token_id for session in self._open if session.token_id is not None}

    @contextmanager
    def open(self, standing: Standing) -> Iterator[Session]:
        """A session for as long as the connection lasts, of whoever has just been identified.

        It ends when the token expires or is revoked, when it has lasted long enough, or when the process is
        to end.
        """
        viewer = standing.viewer
        session = Session(viewer.token_id)
        life = self._longest * (1 - SPREAD * random.random())  # noqa: S311 - nothing is to be kept secret
        valid = float("inf")
        if viewer.expires_at is not None:
            valid = (viewer.expires_at - standing.read_at).total_seconds()
        session.end_after(*((valid, EXPIRED) if valid < life else (life, OUTLIVED)))
        if self._shutting_down:
            session.end(SHUTDOWN)
        self._open.add(session)
        try:
            yield session
        finally:
            session.stop_timer()
            self._open.discard(session)

    def shut_down(self) -> None:
        """End all, and whatever is still opened, at once."""
        self._shutting_down = True
        for session in tuple(self._open):
            session.end(SHUTDOWN)

    @asynccontextmanager
    async def watched(self, bus: Bus) -> AsyncIterator[None]:
        """End the sessions of revoked tokens: at once when the bus tells of it, else some seconds later."""
        watch = asyncio.create_task(self._watch_for_ever(bus), name="sessions watched")
        try:
            yield
        finally:
            await end(watch)

    async def _watch_for_ever(self, bus: Bus) -> None:
        with bus.listen_for_revocations() as listener:
            while True:
                await listener.wait(LOOK_AFTER)
                await db.patiently(self._look)

    async def _look(self) -> None:
        if token_ids := self.token_ids():
            self._end_withdrawn(await access.withdrawn(token_ids))

    def _end_withdrawn(self, withdrawn: Collection[access.Withdrawn]) -> None:
        endings = {found.token_id: REVOKED if found.revoked else EXPIRED for found in withdrawn}
        for session in tuple(self._open):
            if session.token_id is not None and (ending := endings.get(session.token_id)):
                session.end(ending)
