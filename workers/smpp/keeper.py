"""Keeps one bind up: connects, binds, and after a loss does so again, by backoff with jitter."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Final

import structlog

from domain.ports import Clock
from workers.smpp.pdu import Bind, Command, Frame
from workers.smpp.session import BindRefused, Session, SessionError, SessionOptions, open_session

log = structlog.get_logger()

FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 30.0
CREDENTIALS_DELAY: Final = 60.0
"""Seconds between attempts with credentials that were refused: somebody has to change them first."""
STEADY: Final = 10.0
"""Seconds a bind must have held before its loss counts as new trouble rather than the same."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A message centre and how to bind to it."""

    host: str
    port: int
    bind: Bind = field(repr=False)
    command_id: int = Command.BIND_TRANSCEIVER
    ssl: SSLContext | None = None


class BindKeeper:
    """One bind for as long as the process runs. `session` is the bound session, or None while there is none.

    `on_change` is called after every bind and every loss.
    """

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        options: SessionOptions,
        clock: Clock,
        on_deliver_sm: Callable[[Session, Frame], None],
        on_room: Callable[[Session], None],
        on_change: Callable[[], None],
    ) -> None:
        self.session: Session | None = None
        self._endpoint = endpoint
        self._options = options
        self._clock = clock
        self._on_deliver_sm = on_deliver_sm
        self._on_room = on_room
        self._on_change = on_change
        self._attempts = 0
        self._closing = False
        self._retry_at = 0.0
        self._log = log.bind(gateway=name, host=endpoint.host, port=endpoint.port)
        self._said: str | None = None

    @property
    def retry_after(self) -> float:
        """Seconds until the next attempt to bind, as far as known."""
        return max(0.0, self._retry_at - self._clock.monotonic())

    async def run(self) -> None:
        """Keep the bind up until cancelled."""
        while True:
            delay = await self._hold_once()
            self._retry_at = self._clock.monotonic() + delay
            await self._clock.sleep(delay)

    async def close(self) -> None:
        """Unbind, if bound. Cancel `run` afterwards, or it binds again."""
        self._closing = True
        if self.session is not None:
            await self.session.unbind()

    async def _hold_once(self) -> float:
        """Bind and wait for the end of it; return the seconds to wait before the next attempt."""
        endpoint = self._endpoint
        try:
            session = await open_session(
                endpoint.host,
                endpoint.port,
                endpoint.bind,
                self._options,
                self._clock,
                self._on_deliver_sm,
                self._on_room,
                command_id=endpoint.command_id,
                ssl=endpoint.ssl,
            )
        except BindRefused as error:
            if error.credentials:
                self._say_once(
                    "smpp_credentials_refused",
                    f"{error}; check the gateway's system_id and password",
                    retry_seconds=CREDENTIALS_DELAY,
                )
                return CREDENTIALS_DELAY * (1 + secrets.randbelow(1000) / 10_000)
            self._say_once("smpp_bind_refused", str(error))
            return self._backoff()
        except (SessionError, OSError) as error:
            self._say_once("smpp_not_connected", str(error) or type(error).__name__)
            return self._backoff()
        return await self._hold(session)

    async def _hold(self, session: Session) -> float:
        self._said = None
        began = self._clock.monotonic()
        self._log.info("smpp_bound")
        self.session = session
        self._on_change()
        try:
            await asyncio.shield(session.closed)  # a cancelled wait must not cancel the future itself
        finally:
            self.session = None
            self._on_change()
        held = self._clock.monotonic() - began
        if self._closing:
            self._log.info("smpp_unbound", held_seconds=round(held, 1))
        else:
            self._log.warning("smpp_bind_lost", held_seconds=round(held, 1))
        if held >= STEADY:
            self._attempts = 0
        return self._backoff()

    def _backoff(self) -> float:
        """Half of the delay is certain, half is chance: many workers must not come back at one moment."""
        ceiling = min(LONGEST_DELAY, FIRST_DELAY * float(2**self._attempts))
        self._attempts = min(self._attempts + 1, 10)
        return ceiling * (0.5 + secrets.randbelow(1000) / 2000)

    def _say_once(self, event: str, reason: str, **details: object) -> None:
        """An outage is one line, not one an attempt."""
        if self._said != reason:
            self._said = reason
            self._log.error(event, reason=reason, **details)
