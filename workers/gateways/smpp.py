"""The gateway that speaks SMPP 3.4 to a message centre."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, tzinfo
from functools import partial
from typing import Final

import structlog

from domain.ports import Clock, Handover, InboundSink, Outcome, SegmentHandover, Submission
from workers.gateways import submit_parameters, urls
from workers.gateways.flight import UNKNOWN_SEGMENT, Flight, Stage
from workers.pace import Pace
from workers.smpp import pdu
from workers.smpp.alphabets import Unencodable
from workers.smpp.clock import SystemClock
from workers.smpp.keeper import BindKeeper, Endpoint
from workers.smpp.pdu import Frame, Status
from workers.smpp.receipt_queue import ReceiptQueue, masked
from workers.smpp.session import Answer, Session, SessionOptions, Unanswered
from workers.smpp.submit_options import SubmitOptions
from workers.smpp.submits import SubmitEncoder
from workers.smpp.throttle import Throttle

log = structlog.get_logger()

TRY_AGAIN: Final = frozenset({Status.ESME_RTHROTTLED, Status.ESME_RMSGQFUL})
"""Statuses that certainly mean "not taken, try later". ESME_RSYSERR is not among them: centres answer it for
a wreck of any kind, also after they stored the message, so trying again by ourselves could send twice. It is
a refusal, its code stays visible, and a person may send to the failed numbers again."""

DEFAULT_HOLD: Final = 30.0
"""Seconds a segment may wait here to be written before the message is given back."""
SWEEP_INTERVAL: Final = 0.25
UNBOUND_RETRY: Final = 0.5
"""Seconds after which to try again, at least, when there is no bind."""
LONGEST_CREDENTIAL: Final = 64
"""SMPP allows 15 characters for a system_id and 8 for a password; many centres take more."""
CLOSE_GRACE: Final = 5.0
"""Seconds to wait at the end for answers to what is on the wire."""

PARAMETERS: Final = {
    "window": urls.whole(1, 10_000),
    "rate": urls.number(0.01, 1_000_000),
    "response_timeout": urls.number(0.1, 600),
    "enquire_link": urls.number(0.1, 3600),
    "inactivity": urls.number(0.1, 86_400),
    "hold": urls.number(0.1, 3600),
    "system_type": urls.text(12),
    "time_zone": urls.time_zone,
    **submit_parameters.PARAMETERS,
}


class SmppGateway:
    """`domain.ports.Gateway` over one transceiver bind."""

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        options: SessionOptions,
        *,
        submits: SubmitOptions | None = None,
        pace: Pace | None = None,
        hold: float = DEFAULT_HOLD,
        time_zone: tzinfo = UTC,
        clock: Clock | None = None,
    ) -> None:
        """`time_zone` is the one the message centre writes its receipts' dates in; `hold` is in seconds."""
        self.name = name
        self.window = options.window
        self._clock = clock or SystemClock()
        self._time_zone = time_zone
        self._hold = hold
        self._pace = pace or Pace(None)
        self._throttle = Throttle()
        submits = submits or SubmitOptions()
        self._alphabet = submits.alphabet
        self._encoder = SubmitEncoder(submits)
        self._keeper = BindKeeper(
            name, endpoint, options, self._clock, self._deliver_sm, self._room_changed, self._bind_changed
        )
        self._receipts: ReceiptQueue | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._flights: dict[Flight, None] = {}
        self._waiting: deque[tuple[Flight, int]] = deque()
        self._on_wire = 0
        """Submits whose answer was not seen to yet; it may say that the message's next must not follow."""
        self._wake: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._closing = False
        self._log = log.bind(gateway=name)

    @classmethod
    def from_url(cls, url: urls.GatewayUrl) -> SmppGateway:
        """Make a gateway of `smpp://system_id:password@host:port?…`. Raises ValueError."""
        if not url.host:
            url.refuse("its URL has no host")
        if not url.username:
            url.refuse("its URL has no system_id; smpp://system_id:password@host:port is expected")
        for part, value in (("system_id", url.username), ("password", url.password)):
            if len(value) > LONGEST_CREDENTIAL or not value.isascii() or not value.isprintable():
                url.refuse(f"its {part} must be at most {LONGEST_CREDENTIAL} printable ASCII characters")
        given = url.read(PARAMETERS)
        bind = pdu.Bind(url.username, url.password, given.pop("system_type", ""))
        submits = submit_parameters.take(given)
        rate = given.pop("rate", None)
        hold = given.pop("hold", DEFAULT_HOLD)
        time_zone = given.pop("time_zone", UTC)
        return cls(
            url.name,
            Endpoint(url.host, url.port or 2775, bind),
            SessionOptions(**given),
            submits=submits,
            pace=Pace(rate),
            hold=hold,
            time_zone=time_zone,
        )

    # --- the port ---------------------------------------------------------------------------------

    @property
    def rate(self) -> float:
        """Segments a second: what was agreed upon, or less where the message centre takes less."""
        return min(self._pace.rate, self._throttle.rate)

    async def start(self, inbound: InboundSink) -> None:
        """Begin connecting, in the background; returns at once. `inbound` gets what comes in, in batches."""
        self._receipts = ReceiptQueue(self.name, inbound, self._clock, self._time_zone, self._alphabet)
        self._tasks = [
            asyncio.create_task(self._keeper.run(), name=f"bind {self.name}"),
            asyncio.create_task(self._receipts.run(), name=f"receipts {self.name}"),
            asyncio.create_task(self._sweep(), name=f"sweep {self.name}"),
        ]

    async def ready(self) -> None:
        """Return when a message given now could be put on the wire at once."""
        while True:
            now = self._clock.monotonic()
            pause = max(self._throttle.wait(now), self._pace.wait(now))
            if pause:
                await self._clock.sleep(pause)
            elif self._room() > 0 and not self._waiting:
                return
            else:
                self._changed.clear()
                await self._changed.wait()

    def submit(self, submission: Submission) -> asyncio.Future[Handover]:
        """Put one message on the wire, or in line for it. The future always ends in a `Handover`."""
        future: asyncio.Future[Handover] = asyncio.get_running_loop().create_future()
        if self._closing or self._keeper.session is None:
            unknown = (UNKNOWN_SEGMENT,) * len(submission.content.segments)
            future.set_result(Handover(Outcome.NOT_HANDED_OVER, unknown, self._retry_after()))
            return future
        try:
            bodies = self._encoder.bodies(submission)
        except Unencodable as error:
            self._log.warning(
                "message_cannot_be_encoded", number=masked(submission.number), reason=str(error)
            )
            refused = SegmentHandover(None, f"0x{error.status:08X}")
            future.set_result(Handover(Outcome.REFUSED, (refused,) * len(submission.content.segments)))
            return future
        deadline = min(self._clock.monotonic() + self._hold, submission.not_after)
        flight = Flight(
            bodies, future, deadline, submission.begin_by, segments=len(submission.content.segments)
        )
        self._flights[flight] = None
        self._waiting.extend((flight, index) for index in range(len(bodies)))
        self._pump()
        return future

    async def close(self, within: float = CLOSE_GRACE) -> None:
        """Give back what was not begun, wait for what is in flight, unbind, disconnect."""
        self._closing = True
        self._give_back(flight for flight in self._flights if flight.untouched)
        with suppress(TimeoutError):  # what has no answer yet is in doubt; receipts the centre sends again
            async with asyncio.timeout(within):
                if self._flights:
                    await asyncio.wait([flight.future for flight in self._flights])
                if self._receipts is not None:
                    await self._receipts.drain()
        await self._keeper.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._wake is not None:
            self._wake.cancel()
        self._give_back(self._flights)

    # --- sending ----------------------------------------------------------------------------------

    def _room(self) -> int:
        session = self._keeper.session
        return min(session.room, self.window - self._on_wire) if session is not None else 0

    def _pump(self) -> None:
        """Write what is waiting, as far as window, pace and throttling let it."""
        session, waiting = self._keeper.session, self._waiting
        if session is None:
            return
        while waiting:
            flight, index = waiting[0]
            now = self._clock.monotonic()  # each time: a process may be frozen at any point
            if flight.stages[index] is not Stage.WAITING:
                waiting.popleft()
            elif flight.is_over(now):
                self._give_back((flight,))
            elif self._room() <= 0:
                return
            elif pause := self._throttle.wait(now) or self._pace.take(now):
                self._pump_in(pause)
                return
            else:
                waiting.popleft()
                self._write(session, flight, index, now)
        self._changed.set()

    def _pump_in(self, seconds: float) -> None:
        if self._wake is None:
            self._wake = asyncio.get_running_loop().call_later(seconds, self._woken)

    def _woken(self) -> None:
        self._wake = None
        self._pump()

    def _write(self, session: Session, flight: Flight, index: int, now: float) -> None:
        flight.stages[index] = Stage.ON_WIRE
        self._on_wire += 1
        self._throttle.wrote(now)
        session.submit(flight.bodies[index]).add_done_callback(partial(self._answered, flight, index, now))

    def _answered(
        self, flight: Flight, index: int, written_at: float, answer: asyncio.Future[Answer]
    ) -> None:
        self._on_wire -= 1
        said = answer.result()
        if isinstance(said, Unanswered):
            flight.settle(index, Stage.IN_DOUBT)
            if said is Unanswered.DISCONNECTED:
                flight.drop_waiting()
        elif said.command_status == Status.ESME_ROK:
            self._throttle.accepted(written_at, self._clock.monotonic())
            flight.settle(index, Stage.ACCEPTED, SegmentHandover(pdu.c_string(said.body) or None))
        elif said.command_status in TRY_AGAIN:
            self._throttled(flight, index, said.command_status, written_at)
        else:
            error_code = f"0x{said.command_status:08X}"
            flight.settle(index, Stage.REFUSED, SegmentHandover(None, error_code))
            flight.drop_waiting()  # the phone could not put it together any more
        self._finish_if_settled(flight)
        self._pump()

    def _throttled(self, flight: Flight, index: int, status: int, written_at: float) -> None:
        """Put the one segment back at the front of the line; its body, so its reference, stays the same."""
        now = self._clock.monotonic()
        self._throttle.throttled(written_at, now)
        flight.postpone(index, f"0x{status:08X}")
        if (self._closing and flight.untouched) or flight.is_over(now) or Stage.REFUSED in flight.stages:
            flight.drop_waiting()
        else:
            self._waiting.appendleft((flight, index))

    def _finish_if_settled(self, flight: Flight) -> None:
        if flight.unsettled:
            return
        self._flights.pop(flight, None)
        if not flight.future.done():
            flight.future.set_result(flight.handover(self._retry_after()))

    def _retry_after(self) -> float:
        if self._keeper.session is None:
            return max(UNBOUND_RETRY, self._keeper.retry_after)
        return self._throttle.wait(self._clock.monotonic())

    def _give_back(self, flights: Iterable[Flight]) -> None:
        for flight in list(flights):
            flight.drop_waiting()
            self._finish_if_settled(flight)

    async def _sweep(self) -> None:
        """Give back what has waited too long."""
        while True:
            await self._clock.sleep(SWEEP_INTERVAL)
            now = self._clock.monotonic()
            self._give_back(flight for flight in self._flights if flight.is_over(now))

    # --- what the bind says -----------------------------------------------------------------------

    def _deliver_sm(self, session: Session, frame: Frame) -> None:
        if self._receipts is not None:
            self._receipts.take(session, frame)

    def _room_changed(self, session: Session) -> None:
        if session is self._keeper.session:
            self._pump()

    def _bind_changed(self) -> None:
        """On a loss, give back what was not begun.

        A message begun and not in doubt waits for the next bind.
        """
        if self._keeper.session is None:
            self._give_back(flight for flight in self._flights if flight.untouched or flight.doubtful)
        self._pump()
