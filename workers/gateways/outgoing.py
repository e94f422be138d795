"""Messages on their way out over the binds of a gateway, as window, pace and throttling let them.

A message goes out over one bind, all its segments. When that is lost, only what was on it is in doubt: the
others go on, and what had not been begun, or is not in doubt, goes out over another.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from domain.ports import Clock, SegmentHandover
from domain.receipts import LONGEST_TEXT
from workers import metrics
from workers.gateways.flight import Flight, Stage
from workers.pace import SubmitPace
from workers.smpp import pdu
from workers.smpp.binds import BindPool, HeldBind
from workers.smpp.pdu import Command, Status
from workers.smpp.session import Answer, Unanswered
from workers.smpp.throttle import Throttle

TRY_AGAIN: Final = frozenset({Status.ESME_RTHROTTLED, Status.ESME_RMSGQFUL})
"""Statuses that certainly mean "not taken, try later". ESME_RSYSERR is not among them: centres answer it for
a wreck of any kind, also after they stored the message, so trying again by ourselves could send twice. It is
a refusal, its code stays visible, and a person may send to the failed numbers again."""

SWEEP_INTERVAL: Final = 0.25
UNBOUND_RETRY: Final = 0.5
"""Seconds after which to try again, at least, when there is no bind."""
PACED_LINE: Final = 0.05
"""Seconds of the rate that may wait in line while more is asked for, so that no moment passes unused."""


class Lane:
    """What goes out over one bind."""

    __slots__ = ("bind", "idle", "line", "on_wire")

    def __init__(self, bind: HeldBind) -> None:
        self.bind = bind
        self.line: deque[tuple[Flight, int]] = deque()
        """Segments that wait to be written, by message and index."""
        self.on_wire = 0
        """Submits whose answer was not seen to yet; it may say that the message's next must not follow."""
        self.idle = asyncio.Event()

    def room(self, now: float) -> int:
        """How many submits may be written now."""
        session = self.bind.session
        if session is None or now >= self.bind.lease.ends:
            return 0
        return min(session.room, session.options.window - self.on_wire)

    def note_if_idle(self) -> None:
        """Tell whoever waits for it when nothing is under way."""
        if not self.line and not self.on_wire:
            self.idle.set()


class Outgoing:
    """The messages of one gateway that were submitted and have come to nothing yet."""

    def __init__(
        self, binds: BindPool, pace: SubmitPace, clock: Clock, kept_id: Callable[[str], str]
    ) -> None:
        """`kept_id` makes of an id in the answer to a submit the one to be kept."""
        self.flights: dict[Flight, None] = {}
        self.throttle = Throttle()
        self.closing = False
        self._binds = binds
        self._pace = pace
        self._clock = clock
        self._kept_id = kept_id
        self._lanes: dict[HeldBind, Lane] = {}
        self._unassigned: deque[Flight] = deque()
        self._changed = asyncio.Event()
        self._wake: asyncio.TimerHandle | None = None
        self._pumping_soon = False

    @property
    def retry_after(self) -> float:
        """Seconds after which a message that was given back may be tried again."""
        if not self._binds.up:
            return max(UNBOUND_RETRY, self._binds.retry_after)
        now = self._clock.monotonic()
        return max(self.throttle.wait(now), self._pace.wait(now))

    async def ready(self) -> None:
        """Return when a message given now could be put on the wire at once."""
        while True:
            now = self._clock.monotonic()
            pause = max(self.throttle.wait(now), self._pace.wait(now))
            if pause:
                await self._clock.sleep(pause)
            elif self._has_room(now):
                return
            else:
                self._changed.clear()
                await self._changed.wait()

    def add(self, flight: Flight) -> None:
        """Put a message in line."""
        self.flights[flight] = None
        self._unassigned.append(flight)
        self._pump_soon()

    def give_back(self, flights: Iterable[Flight]) -> None:
        """Give up what is not written of these."""
        for flight in list(flights):
            flight.drop_waiting()
            self._finish_if_settled(flight)

    async def sweep(self) -> None:
        """Give back what has waited too long, until cancelled."""
        while True:
            await self._clock.sleep(SWEEP_INTERVAL)
            now = self._clock.monotonic()
            self.give_back(flight for flight in self.flights if flight.is_over(now))
            self.pump()

    async def vacate(self, bind: HeldBind) -> None:
        """Return when nothing is under way on a bind that is about to be given up."""
        while (lane := self._lanes.get(bind)) is not None and (lane.line or lane.on_wire):
            lane.idle.clear()
            await lane.idle.wait()

    def stop(self) -> None:
        """Give back what there is still; nothing is written any more."""
        self.closing = True
        if self._wake is not None:
            self._wake.cancel()
        self.give_back(self.flights)

    def binds_changed(self) -> None:
        """Take messages from binds that are lost or leaving; give back what was not begun if none is left.

        A message begun and not in doubt waits for the next bind.
        """
        for bind in self._binds.held.values():
            if bind not in self._lanes:
                self._lanes[bind] = Lane(bind)
        for bind, lane in list(self._lanes.items()):
            gone = self._binds.held.get(bind.slot) is not bind
            if gone:
                del self._lanes[bind]
            if gone or bind.session is None:
                self._take_from(lane)
            elif bind.leaving:
                self._take_unbegun_from(lane)
        if not self._binds.up:
            self.give_back(flight for flight in self.flights if flight.untouched)
        self.pump()

    def pump(self) -> None:
        """Write what is waiting, as far as window, pace and throttling let it."""
        if self.closing and not self.flights:
            return
        while True:
            now = self._clock.monotonic()  # each time: a process may be frozen at any point
            lane = self._next_lane(now)
            if lane is None:
                break
            flight, index = lane.line[0]
            if flight.stages[index] is not Stage.WAITING:
                lane.line.popleft()
                lane.note_if_idle()
            elif flight.is_over(now):
                self.give_back((flight,))
            elif pause := self.throttle.wait(now) or self._pace.take(now):
                self._pump_in(pause)
                break
            else:
                lane.line.popleft()
                self._write(lane, flight, index, now)
        if self._has_room(now):
            self._changed.set()

    # --- where it goes ----------------------------------------------------------------------------

    def _has_room(self, now: float) -> bool:
        waiting = len(self._unassigned) + sum(len(lane.line) for lane in self._lanes.values())
        paced = self._pace.rate if self.throttle.rate == float("inf") else 0.0
        if waiting and waiting > (paced * PACED_LINE if paced != float("inf") else 0):
            return False
        return any(not lane.bind.leaving and lane.room(now) > 0 for lane in self._lanes.values())

    def _next_lane(self, now: float) -> Lane | None:
        """The bind to write over: one with a message begun, else the one with the most room gets the next."""
        roomiest, most = None, 0
        for lane in self._lanes.values():
            room = lane.room(now)
            if room > 0 and lane.line:
                return lane
            if room > most and not lane.bind.leaving:
                roomiest, most = lane, room
        while roomiest is not None and self._unassigned and not roomiest.line:
            flight = self._unassigned.popleft()
            stages = enumerate(flight.stages)
            roomiest.line.extend((flight, index) for index, stage in stages if stage is Stage.WAITING)
        return roomiest if roomiest is not None and roomiest.line else None

    def _take_from(self, lane: Lane) -> None:
        """Let other binds have what waits for a bind that is lost, but what is in doubt."""
        flights = list(dict.fromkeys(flight for flight, _ in lane.line))
        lane.line.clear()
        self.give_back(flight for flight in flights if flight.doubtful)
        self._unassigned.extendleft(flight for flight in reversed(flights) if flight.unsettled)
        lane.note_if_idle()

    def _take_unbegun_from(self, lane: Lane) -> None:
        flights = dict.fromkeys(flight for flight, _ in lane.line if flight.untouched)
        self._unassigned.extendleft(reversed(flights))
        lane.line = deque(entry for entry in lane.line if entry[0] not in flights)
        lane.note_if_idle()

    # --- what becomes of it -----------------------------------------------------------------------

    def _pump_soon(self) -> None:
        """Pump once for all messages and answers of this turn of the event loop."""
        if not self._pumping_soon:
            self._pumping_soon = True
            asyncio.get_running_loop().call_soon(self._pump_for_all)

    def _pump_for_all(self) -> None:
        self._pumping_soon = False
        self.pump()

    def _pump_in(self, seconds: float) -> None:
        if self._wake is None and seconds != float("inf"):
            self._wake = asyncio.get_running_loop().call_later(seconds, self._woken)

    def _woken(self) -> None:
        self._wake = None
        self.pump()

    def _write(self, lane: Lane, flight: Flight, index: int, now: float) -> None:
        session = lane.bind.session
        assert session is not None
        flight.stages[index] = Stage.ON_WIRE
        lane.on_wire += 1
        self.throttle.wrote(now)
        answer = session.submit(flight.bodies[index])
        answer.add_done_callback(partial(self._answered, lane, flight, index, now))

    def _answered(
        self, lane: Lane, flight: Flight, index: int, written_at: float, answer: asyncio.Future[Answer]
    ) -> None:
        lane.on_wire -= 1
        said = answer.result()
        if isinstance(said, Unanswered):
            flight.settle(index, Stage.IN_DOUBT)
            if said is Unanswered.DISCONNECTED:
                flight.drop_waiting()
        elif said.command_status == Status.ESME_ROK and said.command_id == Command.GENERIC_NACK:
            flight.settle(index, Stage.IN_DOUBT)  # "not understood", and "no error": one of them is wrong
        elif said.command_status == Status.ESME_ROK:
            self.throttle.accepted(written_at, self._clock.monotonic())
            flight.settle(index, Stage.ACCEPTED, SegmentHandover(self._message_id(said.body)))
        elif said.command_status in TRY_AGAIN:
            self._throttled(lane, flight, index, said.command_status, written_at)
        else:
            error_code = f"0x{said.command_status:08X}"
            flight.settle(index, Stage.REFUSED, SegmentHandover(None, error_code))
            flight.drop_waiting()  # the phone could not put it together any more
        self._finish_if_settled(flight)
        lane.note_if_idle()
        self._pump_soon()

    def _message_id(self, body: bytes) -> str | None:
        """The id in a submit_sm_resp, no longer than a receipt's is kept: an endless one fits no index."""
        return self._kept_id(pdu.c_string(body).strip()[:LONGEST_TEXT]) or None

    def _throttled(self, lane: Lane, flight: Flight, index: int, status: int, written_at: float) -> None:
        """Put the one segment back at the front of the line; its body, so its reference, stays the same."""
        now = self._clock.monotonic()
        metrics.THROTTLED.labels(self._binds.name, Status(status).name).inc()
        self.throttle.throttled(written_at, now)
        flight.postpone(index, f"0x{status:08X}")
        if (self.closing and flight.untouched) or flight.is_over(now) or Stage.REFUSED in flight.stages:
            flight.drop_waiting()
        elif lane.bind not in self._lanes or (lane.bind.leaving and flight.untouched):
            self._unassigned.appendleft(flight)
        else:
            lane.line.appendleft((flight, index))

    def _finish_if_settled(self, flight: Flight) -> None:
        if flight.unsettled:
            return
        self.flights.pop(flight, None)
        if not flight.future.done():
            retry_after = self.retry_after if Stage.DROPPED in flight.stages else 0.0
            flight.future.set_result(flight.handover(retry_after))
