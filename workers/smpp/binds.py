"""The binds of one gateway that this process holds: as many as its lease says, at most `binds` over all.

A bind is used under a lease that other workers respect. It is ended before that lease is, by this process's
own clock, when the lease cannot be renewed; a bind that another worker should have is ended after what is in
flight on it was answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from domain import db
from domain.binds import Share
from domain.cancellation import end
from domain.ports import Clock
from workers.smpp.keeper import Attempts, BindKeeper, BindMode, Endpoint
from workers.smpp.pdu import Command, Frame
from workers.smpp.session import Lease, Session, SessionOptions

log = structlog.get_logger()

MARGIN: Final = 1.0
"""Seconds before the end of its lease at which a bind is dropped."""
LEAVE_EARLY: Final = 3.0
"""Seconds before the end of a lease that was not renewed at which its bind is given up in good order."""
LEAVE_WITHIN: Final = 5.0
"""Seconds that what is in flight on a bind gets when that is to be given up."""
SEEK: Final = 1.0
"""Seconds between two looks for binds while there are fewer than there should be, or none."""
RETRY: Final = 0.5
"""Seconds to wait after the database failed."""
WATCH: Final = 0.2
FAREWELL: Final = 2.0
"""Seconds that giving the binds back may take at the end; they fall to others when their leases end."""
GIVE_WAY_AFTER: Final = 30.0
"""Seconds without success after which another worker may try its luck with the binds of this one."""
GIVE_WAY_FOR: Final = 60.0

COMMANDS: Final = {
    BindMode.TRANSCEIVER: (Command.BIND_TRANSCEIVER,),
    BindMode.PAIR: (Command.BIND_TRANSMITTER, Command.BIND_RECEIVER),
}


class BindSlots(Protocol):
    """Which binds this process may hold; see `domain.binds.LeasedBinds`."""

    lease: float
    """Seconds for which slots are held after they were asked for."""

    async def renew(self, released: Collection[int], *, able: bool = True) -> Share:
        """Renew what is held but `released`, and take what is due."""
        ...

    async def leave(self) -> None:
        """Let others have everything."""
        ...


class AllBinds:
    """Every bind for ever, for a process that shares them with nobody."""

    lease = float("inf")

    def __init__(self, binds: int) -> None:
        self._share = Share(frozenset(range(1, binds + 1)), binds, 1)

    async def renew(self, released: Collection[int], *, able: bool = True) -> Share:  # noqa: ARG002
        """Return all."""
        return self._share

    async def leave(self) -> None:
        """There is nobody to leave them to."""


class HeldBind:
    """One of the gateway's binds: a transceiver, or a transmitter and a receiver."""

    def __init__(self, slot: int, lease: Lease) -> None:
        self.slot = slot
        self.lease = lease
        self.leaving = False
        """It is about to be given up: nothing is begun on it."""
        self.keepers: list[BindKeeper] = []
        """The one that submits is the first."""
        self.tasks: list[asyncio.Task[None]] = []

    @property
    def session(self) -> Session | None:
        """The session to submit over, or None while there is none."""
        return self.keepers[0].session

    async def unbind(self) -> None:
        """End it in good order."""
        await asyncio.gather(*(keeper.close() for keeper in self.keepers))
        await self._stop()

    async def drop(self) -> None:
        """End it at once."""
        for keeper in self.keepers:
            keeper.abort()
        await self._stop()

    async def _stop(self) -> None:
        await end(*self.tasks)


@dataclass(frozen=True, slots=True)
class BindEvents:
    """Whom the binds tell what happens."""

    on_deliver_sm: Callable[[Session, Frame], None]
    on_room: Callable[[Session], None]
    on_change: Callable[[], None]
    """After every bind and every loss, and when a bind is to be given up."""
    vacate: Callable[[HeldBind], Awaitable[None]]
    """Returns when nothing is in flight on it any more."""


class BindPool:
    """Holds this process's share of the binds of one gateway."""

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        options: SessionOptions,
        binds: int,
        slots: BindSlots,
        clock: Clock,
        events: BindEvents,
    ) -> None:
        self.name = name
        self.held: dict[int, HeldBind] = {}
        self.endpoint = endpoint
        self._options = options
        self._total = binds
        self._slots = slots
        self._patience = None if slots.lease == float("inf") else slots.lease / 3
        self._clock = clock
        self._events = events
        self._attempts = Attempts(name, endpoint, clock)
        self._released: set[int] = set()
        self._poked = asyncio.Event()
        self._departures: set[asyncio.Task[None]] = set()
        self._down_since: float | None = None
        self._unable_until = float("-inf")
        self._said: str | None = None
        self._log = log.bind(gateway=name)

    @property
    def window(self) -> int:
        """How many requests may be unanswered on the binds that are held."""
        staying = sum(not bind.leaving for bind in self.held.values())
        return self._options.window * max(1, staying)

    @property
    def up(self) -> bool:
        """Whether there is a bind to submit over."""
        return any(bind.session is not None and not bind.leaving for bind in self.held.values())

    @property
    def retry_after(self) -> float:
        """Seconds until the next attempt to bind, as far as known."""
        return self._attempts.retry_after

    async def run(self) -> None:
        """Hold what is due until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            while True:
                self._poked.clear()
                await self._rest(await self._renew())

    async def close(self) -> None:
        """Unbind and let others have the binds. Cancel `run` before, or it binds again."""
        await end(*self._departures)
        await asyncio.gather(*(bind.unbind() for bind in self.held.values()))
        self.held.clear()
        try:
            async with asyncio.timeout(FAREWELL):
                await self._slots.leave()
        except db.UNAVAILABLE as error:
            self._log.warning("binds_not_given_back", error=str(error) or type(error).__name__)

    async def _renew(self) -> float:
        """Ask for what is due and do accordingly; return the seconds until it is to be asked again."""
        released = frozenset(self._released)
        asked_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._patience):
                share = await self._slots.renew(released, able=self._able(asked_at))
        except db.UNAVAILABLE as error:
            self._say("binds_not_renewed", error=str(error) or type(error).__name__)
            return RETRY
        self._released -= released
        ends = asked_at + self._slots.lease - MARGIN
        for slot in set(self.held) - share.slots:
            await self._drop(self.held[slot])
        for slot in share.slots - self._released:
            if slot in self.held:
                self.held[slot].lease.ends = ends
            else:
                self._open(slot, ends)
        staying = sorted(slot for slot, bind in self.held.items() if not bind.leaving)
        for slot in staying[share.fair :]:
            self._give_up(self.held[slot])
        self._tell(share.workers)
        return SEEK if not staying or len(staying) < share.fair else self._slots.lease / 3

    def _able(self, now: float) -> bool:
        """Whether this worker can bind, as far as it knows: another one may have better luck."""
        if now < self._unable_until:
            return False
        if self._attempts.up or not self.held:
            self._down_since = None
        elif self._down_since is None:
            self._down_since = now
        elif now - self._down_since >= GIVE_WAY_AFTER:
            self._down_since = None
            self._unable_until = now + GIVE_WAY_FOR
            return False
        return True

    def _tell(self, workers: int) -> None:
        if self.held:
            self._said = None
        else:
            reason = f"all {self._total} are held by other workers"
            self._say("smpp_waiting_for_a_bind", reason=reason, workers=workers)

    def _say(self, event: str, **details: object) -> None:
        if self._said != event:
            self._said = event
            self._log.warning(event, **details)

    def _open(self, slot: int, ends: float) -> None:
        bind = self.held[slot] = HeldBind(slot, Lease(ends))
        events = self._events
        bind.keepers = [
            BindKeeper(
                slot,
                self.endpoint,
                command,
                self._options,
                self._clock,
                self._attempts,
                bind.lease,
                events.on_deliver_sm,
                events.on_room,
                events.on_change,
            )
            for command in COMMANDS[self.endpoint.mode]
        ]
        bind.tasks = [asyncio.create_task(keeper.run()) for keeper in bind.keepers]

    def _give_up(self, bind: HeldBind) -> None:
        """Begin to end a bind in good order; its slot is free for others after that."""
        bind.leaving = True
        self._events.on_change()
        departure = asyncio.create_task(self._depart(bind))
        self._departures.add(departure)
        departure.add_done_callback(self._departures.discard)

    async def _depart(self, bind: HeldBind) -> None:
        try:
            async with asyncio.timeout(LEAVE_WITHIN):
                await self._events.vacate(bind)
        except TimeoutError:
            self._log.warning("smpp_unanswered_at_departure", slot=bind.slot)
        await bind.unbind()
        if self.held.get(bind.slot) is bind:
            del self.held[bind.slot]
            self._released.add(bind.slot)
        self._events.on_change()
        self._poked.set()

    async def _drop(self, bind: HeldBind) -> None:
        self._log.warning("smpp_bind_lease_over", slot=bind.slot)
        if self.held.get(bind.slot) is bind:
            del self.held[bind.slot]
        await bind.drop()
        self._events.on_change()

    async def _watch(self) -> None:
        """End binds whose lease ends without being renewed."""
        while True:
            await self._clock.sleep(WATCH)
            now = self._clock.monotonic()
            for bind in list(self.held.values()):
                if now >= bind.lease.ends:
                    await self._drop(bind)
                elif now >= bind.lease.ends + MARGIN - LEAVE_EARLY and not bind.leaving:
                    self._give_up(bind)

    async def _rest(self, seconds: float) -> None:
        """Wait so long, or until a bind was given up."""
        waits: list[asyncio.Task[object]] = [asyncio.create_task(self._poked.wait())]
        if seconds != float("inf"):
            waits.append(asyncio.create_task(self._clock.sleep(seconds)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
