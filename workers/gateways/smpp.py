"""The gateway that speaks SMPP 3.4 to a message centre."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, tzinfo
from functools import partial
from typing import Final
from uuid import UUID

import structlog

from domain import contracted_rate
from domain.binds import LeasedBinds
from domain.cancellation import end
from domain.ports import Clock, Handover, InboundSink, Link, Outcome, SegmentHandover, Submission
from workers.gateways import receipt_parameters, submit_parameters, tls, urls
from workers.gateways.flight import UNKNOWN_SEGMENT, Flight
from workers.gateways.outgoing import Outgoing
from workers.pace import Pace, SubmitPace
from workers.shared_pace import SharedPace
from workers.smpp import pdu
from workers.smpp.alphabets import Unencodable
from workers.smpp.binds import AllBinds, BindEvents, BindPool, BindSlots, HeldBind
from workers.smpp.clock import SystemClock
from workers.smpp.keeper import BindMode, Endpoint
from workers.smpp.pdu import Frame
from workers.smpp.receipt_options import AS_THEY_COME, ReceiptOptions
from workers.smpp.receipt_queue import ReceiptQueue, masked
from workers.smpp.session import Session, SessionOptions
from workers.smpp.submit_options import SubmitOptions
from workers.smpp.submits import SubmitEncoder

log = structlog.get_logger()

DEFAULT_HOLD: Final = 30.0
"""Seconds a segment may wait here to be written before the message is given back."""
LONGEST_CREDENTIAL: Final = 64
"""SMPP allows 15 characters for a system_id and 8 for a password; many centres take more."""
CLOSE_GRACE: Final = 5.0
"""Seconds to wait at the end for answers to what is on the wire."""
RUN_AGAIN: Final = 1.0
"""Seconds after which a failed loop is run again."""
MOST_BINDS: Final = 64

PARAMETERS: Final = {
    "binds": urls.whole(1, MOST_BINDS),
    "mode": urls.one_of({mode.value: mode for mode in BindMode}),
    "window": urls.whole(1, 10_000),
    "rate": urls.number(0.01, 1_000_000),
    "response_timeout": urls.number(0.1, 600),
    "enquire_link": urls.number(0.1, 3600),
    "inactivity": urls.number(0.1, 86_400),
    "hold": urls.number(0.1, 3600),
    "system_type": urls.text(12),
    "time_zone": urls.time_zone,
    **tls.PARAMETERS,
    **submit_parameters.PARAMETERS,
    **receipt_parameters.PARAMETERS,
}


class SmppGateway:
    """`domain.ports.Gateway` over the binds of one account at a message centre."""

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        options: SessionOptions,
        *,
        binds: int = 1,
        slots: BindSlots | None = None,
        submits: SubmitOptions | None = None,
        receipts: ReceiptOptions = AS_THEY_COME,
        pace: SubmitPace | None = None,
        hold: float = DEFAULT_HOLD,
        time_zone: tzinfo = UTC,
        clock: Clock | None = None,
    ) -> None:
        """`slots` and `pace` say what other workers leave of the `binds` and the rate; alone it has all.

        `time_zone` is the one the message centre writes its receipts' dates in; `hold` is in seconds.
        """
        self.name = name
        self._clock = clock or SystemClock()
        self._time_zone = time_zone
        self._hold = hold
        self._pace = pace or Pace(None)
        submits = submits or SubmitOptions()
        self._alphabet = submits.alphabet
        self._receipt_options = receipts
        self._encoder = SubmitEncoder(submits)
        self._unencodable: set[str] = set()
        """Reasons told of: the next million messages of the same text need no million lines."""
        self._binds = BindPool(
            name,
            endpoint,
            options,
            binds,
            slots or AllBinds(binds),
            self._clock,
            BindEvents(self._deliver_sm, self._room_changed, self._binds_changed, self._vacate),
        )
        self._outgoing = Outgoing(self._binds, self._pace, self._clock, receipts.submit_id)
        self._receipts: ReceiptQueue | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._log = log.bind(gateway=name)

    @classmethod
    def from_url(cls, url: urls.GatewayUrl, worker: UUID | None = None) -> SmppGateway:
        """Make a gateway of `smpp://system_id:password@host:port?…`, or of `smpps://…`, which is TLS.

        With `worker`, which is this process's alone, it shares binds and rate with other workers by way of
        the database. Raises ValueError.
        """
        if not url.host:
            url.refuse("its URL has no host")
        if not url.username:
            url.refuse(f"its URL has no system_id; {url.scheme}://system_id:password@host:port is expected")
        for part, value in (("system_id", url.username), ("password", url.password)):
            if len(value) > LONGEST_CREDENTIAL or not value.isascii() or not value.isprintable():
                url.refuse(f"its {part} must be at most {LONGEST_CREDENTIAL} printable ASCII characters")
        given = url.read(PARAMETERS)
        bind = pdu.Bind(url.username, url.password, given.pop("system_type", ""))
        mode = given.pop("mode", BindMode.TRANSCEIVER)
        context = tls.take(url, given)
        submits = submit_parameters.take(given)
        receipts = receipt_parameters.take(given, submits.long_text)
        binds = given.pop("binds", 1)
        rate = given.pop("rate", None)
        hold = given.pop("hold", DEFAULT_HOLD)
        time_zone = given.pop("time_zone", UTC)
        session = SessionOptions(**given)
        if 0 < session.inactivity <= session.enquire_link:
            url.refuse("inactivity must be more than enquire_link, or no answer could come in time")
        clock = SystemClock()
        pace: SubmitPace = Pace(rate)
        if worker is not None and rate is not None:
            pace = SharedPace(rate, partial(contracted_rate.reserve, url.name), clock)
        return cls(
            url.name,
            Endpoint(url.host, url.port or tls.PORTS[url.scheme], bind, mode, context),
            session,
            binds=binds,
            slots=LeasedBinds(url.name, binds, worker) if worker is not None else None,
            submits=submits,
            receipts=receipts,
            pace=pace,
            hold=hold,
            time_zone=time_zone,
            clock=clock,
        )

    # --- the port ---------------------------------------------------------------------------------

    @property
    def link(self) -> Link:
        """Whether a bind is up, or due to this worker at all."""
        if self._binds.up:
            return Link.UP
        return Link.DOWN if self._binds.held else Link.STANDING_BY

    @property
    def window(self) -> int:
        """How many messages may be given to it and not yet be settled: a window for each bind it holds."""
        return self._binds.window

    @property
    def rate(self) -> float:
        """Segments a second: what others leave of the rate, or less where the message centre takes less."""
        return min(self._pace.rate, self._outgoing.throttle.rate)

    async def start(self, inbound: InboundSink) -> None:
        """Begin connecting, in the background; returns at once. `inbound` gets what comes in, in batches."""
        context = self._binds.endpoint.ssl
        if context is not None and context.verify_mode is ssl.CERT_NONE:
            self._log.warning("smpp_certificate_not_verified", reason="verify=no: anybody may listen in")
        self._receipts = ReceiptQueue(
            self.name, inbound, self._clock, self._time_zone, self._alphabet, self._receipt_options
        )
        outgoing = self._outgoing
        self._tasks = [
            asyncio.create_task(self._kept_running(what, work), name=f"{what} {self.name}")
            for what, work in (
                ("binds", self._binds.run),
                ("pace", lambda: self._pace.run(outgoing.pump)),
                ("receipts", self._receipts.run),
                ("sweep", outgoing.sweep),
            )
        ]

    async def ready(self) -> None:
        """Return when a message given now could be put on the wire at once, or as soon as the rate allows."""
        await self._outgoing.ready()

    def submit(self, submission: Submission) -> asyncio.Future[Handover]:
        """Put one message on the wire, or in line for it. The future always ends in a `Handover`."""
        future: asyncio.Future[Handover] = asyncio.get_running_loop().create_future()
        if self._outgoing.closing or not self._binds.up:
            unknown = (UNKNOWN_SEGMENT,) * len(submission.content.segments)
            future.set_result(Handover(Outcome.NOT_HANDED_OVER, unknown, self._outgoing.retry_after))
            return future
        try:
            bodies = self._encoder.bodies(submission)
        except Unencodable as error:
            if (reason := str(error)) not in self._unencodable:
                self._unencodable.add(reason)
                self._log.warning(
                    "message_cannot_be_encoded", number=masked(submission.number), reason=reason
                )
            refused = SegmentHandover(None, f"0x{error.status:08X}")
            future.set_result(Handover(Outcome.REFUSED, (refused,) * len(submission.content.segments)))
            return future
        deadline = min(self._clock.monotonic() + self._hold, submission.not_after)
        flight = Flight(
            bodies, future, deadline, submission.begin_by, segments=len(submission.content.segments)
        )
        self._outgoing.add(flight)
        return future

    async def close(self, within: float = CLOSE_GRACE) -> None:
        """Give back what was not begun, wait for what is in flight, unbind, disconnect."""
        outgoing = self._outgoing
        outgoing.pump()
        outgoing.closing = True
        outgoing.give_back(flight for flight in outgoing.flights if flight.untouched)
        with suppress(TimeoutError):  # what has no answer yet is in doubt; receipts the centre sends again
            async with asyncio.timeout(within):
                if outgoing.flights:
                    await asyncio.wait([flight.future for flight in outgoing.flights])
                if self._receipts is not None:
                    await self._receipts.drain()
        await end(*self._tasks)
        await self._binds.close()
        outgoing.stop()

    async def _kept_running(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run a loop again when it fails, until it ends or is cancelled."""
        while True:
            try:
                await work()
            except Exception:  # noqa: BLE001
                self._log.exception("gateway_loop_failed", loop=what)
                await self._clock.sleep(RUN_AGAIN)
            else:
                return

    # --- what the binds say -----------------------------------------------------------------------

    def _deliver_sm(self, session: Session, frame: Frame) -> None:
        if self._receipts is not None:
            self._receipts.take(session, frame)

    def _room_changed(self, _: Session) -> None:
        self._outgoing.pump()

    def _binds_changed(self) -> None:
        self._outgoing.binds_changed()

    async def _vacate(self, bind: HeldBind) -> None:
        await self._outgoing.vacate(bind)
        if self._receipts is not None:
            await self._receipts.drain()
