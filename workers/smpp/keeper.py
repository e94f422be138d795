"""Keeps binds up: connects, binds, and after a loss does so again, by backoff with jitter."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from ssl import SSLCertVerificationError, SSLContext
from typing import Final

import structlog

from domain.ports import Clock
from workers import metrics
from workers.smpp.pdu import Bind, Command, Frame, Status
from workers.smpp.session import BindRefused, Lease, Session, SessionError, SessionOptions, open_session

log = structlog.get_logger()

FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 30.0
CREDENTIALS_DELAY: Final = 60.0
"""Seconds between attempts with what was refused for good: somebody has to change something first."""
LIMIT_DELAY: Final = 30.0
"""Seconds between attempts at one more bind than the message centre lets in."""
FEWER: Final = "other binds of this account are up: the message centre may allow fewer than binds= says"
STEADY: Final = 10.0
"""Seconds a bind must have held before its loss counts as new trouble rather than the same."""


class BindMode(Enum):
    """How a gateway binds."""

    TRANSCEIVER = "transceiver"
    PAIR = "pair"
    """A transmitter and a receiver side by side, for centres that know no transceiver (SMPP 3.3).

    Without its transmitter nothing is sent. Without its receiver sending goes on: the centre keeps receipts
    and replies, or gives them to the receiver of another pair, and a lost receiver is no reason to stop a
    task.
    """


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A message centre and how to bind to it."""

    host: str
    port: int
    bind: Bind = field(repr=False)
    mode: BindMode = BindMode.TRANSCEIVER
    ssl: SSLContext | None = None


class Attempts:
    """What the binds of one gateway share: attempts are made one at a time, and an outage is said once.

    What goes wrong for one goes wrong for all, so all wait. But a bind that is refused while another is up is
    one too many: it alone waits.
    """

    def __init__(self, name: str, endpoint: Endpoint, clock: Clock) -> None:
        self.up = 0
        """How many binds are up."""
        self._clock = clock
        self._turn = asyncio.Lock()
        self._not_before = float("-inf")
        self._failures = 0
        self._said: str | None = None
        self._name = name
        self.log = log.bind(gateway=name, host=endpoint.host, port=endpoint.port)

    @property
    def retry_after(self) -> float:
        """Seconds until the next attempt to bind, at least."""
        return max(0.0, self._not_before - self._clock.monotonic())

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until it is time for one attempt; the next waits until this one is over."""
        async with self._turn:
            while rest := self.retry_after:
                await self._clock.sleep(rest)
            yield

    def bound(self) -> None:
        """A bind is up: whatever was wrong is not any more."""
        self.up += 1
        metrics.BINDS.labels(self._name).inc()
        self._said = None

    def lost(self, held: float) -> None:
        """A bind was lost that had been up for so many seconds."""
        self._down()
        metrics.BIND_LOST.labels(self._name).inc()
        if held >= STEADY:
            self._failures = 0
        if not self.retry_after:  # losses come together; they are one
            self._back_off()

    def ended(self) -> None:
        """A bind was ended by us."""
        self._down()

    def _down(self) -> None:
        self.up -= 1
        metrics.BINDS.labels(self._name).dec()

    def count(self, event: str) -> None:
        """Count an attempt that came to nothing."""
        metrics.BIND_FAILED.labels(self._name, event).inc()

    def failed(self, event: str, reason: str) -> None:
        """An attempt failed for a reason that may pass."""
        self.count(event)
        self.say_once(event, reason)
        self._back_off()

    def refused(self, event: str, reason: str) -> None:
        """An attempt failed for a reason that does not pass by itself."""
        self.count(event)
        self.say_once(event, reason, retry_seconds=CREDENTIALS_DELAY)
        self._not_before = self._clock.monotonic() + CREDENTIALS_DELAY * (
            1 + secrets.randbelow(1000) / 10_000
        )

    def say_once(self, event: str, reason: str, **details: object) -> None:
        """An outage is one line, not one an attempt or a bind."""
        if self._said != reason:
            self._said = reason
            self.log.error(event, reason=reason, **details)

    def _back_off(self) -> None:
        """Half of the delay is certain, half is chance: many workers must not come back at one moment."""
        ceiling = min(LONGEST_DELAY, FIRST_DELAY * float(2**self._failures))
        self._failures = min(self._failures + 1, 10)
        self._not_before = self._clock.monotonic() + ceiling * (0.5 + secrets.randbelow(1000) / 2000)


class BindKeeper:
    """One bind for as long as `run` runs. `session` is the bound session, or None while there is none.

    `on_change` is called after every bind and every loss.
    """

    def __init__(
        self,
        slot: int,
        endpoint: Endpoint,
        command_id: int,
        options: SessionOptions,
        clock: Clock,
        attempts: Attempts,
        lease: Lease,
        on_deliver_sm: Callable[[Session, Frame], None],
        on_room: Callable[[Session], None],
        on_change: Callable[[], None],
    ) -> None:
        self.session: Session | None = None
        self._endpoint = endpoint
        self._command_id = command_id
        self._options = options
        self._clock = clock
        self._attempts = attempts
        self._lease = lease
        self._on_deliver_sm = on_deliver_sm
        self._on_room = on_room
        self._on_change = on_change
        self._closing = False
        self._rest = 0.0
        self._log = attempts.log.bind(bind=Command(command_id).name.removeprefix("BIND_").lower(), slot=slot)

    async def run(self) -> None:
        """Keep the bind up until cancelled."""
        while not self._closing:
            session = await self._attempt()
            if session is not None:
                await self._hold(session)
            elif self._rest:
                await self._clock.sleep(self._rest)

    async def close(self) -> None:
        """Unbind, if bound. Cancel `run` afterwards, or it binds again."""
        self._closing = True
        if self.session is not None:
            await self.session.unbind()

    def abort(self) -> None:
        """Drop the connection, if there is one. Cancel `run` afterwards, or it binds again."""
        self._closing = True
        if self.session is not None:
            self.session.abort()

    async def _attempt(self) -> Session | None:
        """Try to bind once, when it is time."""
        endpoint, attempts = self._endpoint, self._attempts
        async with attempts.turn():
            try:
                session = await open_session(
                    endpoint.host,
                    endpoint.port,
                    endpoint.bind,
                    self._options,
                    self._clock,
                    self._on_deliver_sm,
                    self._on_room,
                    command_id=self._command_id,
                    ssl=endpoint.ssl,
                    lease=self._lease,
                    log=self._log,
                )
            except BindRefused as error:
                self._refused(error)
            except SSLCertVerificationError as error:
                attempts.refused(
                    "smpp_certificate_refused",
                    f"the certificate does not verify: {error.verify_message.rstrip('.')}; "
                    "check its dates and the gateway's host, or name the authority that signed it by ca=",
                )
            except (SessionError, OSError) as error:
                attempts.failed("smpp_not_connected", str(error) or type(error).__name__)
            except Exception as error:  # noqa: BLE001 - a bind that nobody keeps up would be lost for all
                attempts.failed("smpp_attempt_failed", repr(error))
            else:
                self._rest = 0.0
                attempts.bound()
                return session
        return None

    def _refused(self, error: BindRefused) -> None:
        attempts = self._attempts
        if attempts.up:
            attempts.count("smpp_bind_beyond_limit")
            if not self._rest:
                self._log.error("smpp_bind_beyond_limit", reason=f"{error}; {FEWER}", bound=attempts.up)
            self._rest = LIMIT_DELAY * (1 + secrets.randbelow(1000) / 1000)
            return
        self._rest = 0.0
        if error.status == Status.ESME_RALYBND:
            attempts.failed("smpp_bind_refused", f"{error}; {FEWER}")
        elif error.credentials:
            attempts.refused(
                "smpp_credentials_refused", f"{error}; check the gateway's system_id and password"
            )
        else:
            attempts.failed("smpp_bind_refused", str(error))

    async def _hold(self, session: Session) -> None:
        began = self._clock.monotonic()
        self._log.info("smpp_bound")
        self.session = session
        self._on_change()
        try:
            await asyncio.shield(session.closed)  # a cancelled wait must not cancel the future itself
        finally:
            self.session = None
            held = self._clock.monotonic() - began
            if self._closing:
                self._attempts.ended()
                self._log.info("smpp_unbound", held_seconds=round(held, 1))
            else:
                self._attempts.lost(held)
                self._log.warning("smpp_bind_lost", held_seconds=round(held, 1))
            self._on_change()
