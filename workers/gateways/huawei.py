"""The gateway to an account of Huawei Cloud's Message & SMS: batchSendSms v1 over HTTPS.

Messages of one kind go out together, up to 500 numbers a request. What nothing was sent of, or the platform
certainly did not take, is given back to be sent again; a request that may have been received and has no
readable answer is in doubt with all its numbers.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import ssl
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import structlog

from domain.cancellation import end
from domain.failure_codes import NO_EXTERNAL_ID
from domain.ports import Clock, Handover, InboundSink, Link, Outcome, Submission
from workers.gateways import huawei_api as api
from workers.gateways.huawei_api import Difficulty, Kind, Reading, Trouble
from workers.gateways.huawei_trouble import Recovery
from workers.pace import Pace
from workers.shared_pace import SharedPace
from workers.smpp.clock import SystemClock

log = structlog.get_logger()

LINGER: Final = 0.01
"""Seconds that a message waits for others to share its request."""
SWEEP_INTERVAL: Final = 0.25
PROBED_WITH: Final = 10
"""Numbers in a request, at most, while it is not known whether the platform takes any."""
LONGEST_ANSWER: Final = 4 * 1024 * 1024
"""Octets: far more than 500 results have."""
IDLE: Final = 2.0
"""Seconds after which an unused connection is closed: what is written to one that the platform is just then
closing would be in doubt."""


@dataclass(frozen=True, slots=True)
class Account:
    """Where an application of the platform is reached, and its keys."""

    url: str
    """The application access address, such as https://smsapi.cn-north-4.myhuaweicloud.com:443."""
    app_key: str
    app_secret: str
    tls: ssl.SSLContext | None = None
    """Says who is trusted to prove that the platform is the platform; None: the usual authorities."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the platform is used. Times are in seconds."""

    window: int = 1000
    connections: int = 4
    connect_timeout: float = 5.0
    response_timeout: float = 30.0


@dataclass(eq=False, slots=True)
class _Flight:
    """One message on its way."""

    submission: Submission
    future: asyncio.Future[Handover]

    def is_over(self, now: float) -> bool:
        return now >= min(self.submission.begin_by, self.submission.not_after)

    def land(self, handover: Handover) -> None:
        if not self.future.done():
            self.future.set_result(handover)


@dataclass(eq=False, slots=True)
class _Request:
    """One POST, with what may become of its messages."""

    kind: Kind
    flights: list[_Flight]
    sent: bool = False
    """Whether anything of it may have left."""

    @property
    def not_after(self) -> float:
        return min(flight.submission.not_after for flight in self.flights)


class _TooLateError(Exception):
    """The moment after which nothing may be sent came before anything was."""


class HuaweiGateway:
    """`domain.ports.Gateway` to one application of Message & SMS."""

    def __init__(
        self,
        name: str,
        account: Account,
        options: Options = Options(),
        *,
        slots: Pace | SharedPace | None = None,
        slot_size: int = api.MOST_NUMBERS,
        callback: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`slots` says when requests may begin, each with `slot_size` segments at most; a message of more
        takes several slots. `callback` is where the platform is to report; None: where its settings say.
        """
        self.name = name
        self.window = options.window
        self._account = account
        self._options = options
        self._slots = slots
        self._slot_size = slot_size
        self._callback = callback
        self._clock = clock or SystemClock()
        self._client: httpx.AsyncClient | None = None
        self._background: list[asyncio.Task[None]] = []
        self._waiting: dict[Kind, deque[_Flight]] = {}
        self._requests: set[asyncio.Task[None]] = set()
        self._awaits_slot: _Request | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._changed, self._slots_came = asyncio.Event(), asyncio.Event()
        self._closing = False
        self._log = log.bind(gateway=name)
        self._recovery = Recovery(self._clock, self._log)
        self._told: set[str] = set()

    # --- the port ---------------------------------------------------------------------------------

    @property
    def link(self) -> Link:
        """Whether the platform took what it was given last."""
        return Link.DOWN if self._recovery.in_trouble else Link.UP

    @property
    def rate(self) -> float:
        """Segments a second."""
        return float("inf") if self._slots is None else self._slots.rate * self._slot_size

    async def start(self, inbound: InboundSink) -> None:  # noqa: ARG002 - the platform reports to the API
        """Open no connection yet; returns at once."""
        self._client = httpx.AsyncClient(
            base_url=self._account.url,
            verify=self._account.tls or True,
            timeout=httpx.Timeout(
                self._options.response_timeout, connect=self._options.connect_timeout, pool=None
            ),
            limits=httpx.Limits(max_connections=self._options.connections, keepalive_expiry=IDLE),
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            # Not through a proxy that the environment names for something else.
            trust_env=False,
            follow_redirects=False,
        )
        self._background = [asyncio.create_task(self._sweep(), name=f"sweep {self.name}")]
        if isinstance(self._slots, SharedPace):
            pace = self._slots.run(self._slots_came.set)
            self._background.append(asyncio.create_task(pace, name=f"pace {self.name}"))

    async def ready(self) -> None:
        """Return when a message given now would be in the next request that may begin."""
        while True:
            now = self._clock.monotonic()
            if pause := self._recovery.wait(now):
                await self._clock.sleep(pause)
            elif self._room() and not self._waiting:
                return
            else:
                self._changed.clear()
                await self._changed.wait()

    def submit(self, submission: Submission) -> asyncio.Future[Handover]:
        """Put one message into a request. The future always ends in a `Handover`."""
        future: asyncio.Future[Handover] = asyncio.get_running_loop().create_future()
        segments = len(submission.content.segments)
        hold = self._recovery.wait(self._clock.monotonic())
        if self._closing or self._client is None or hold:
            future.set_result(api.not_taken(segments, hold))
        elif not submission.external_template_id:
            future.set_result(api.refused(segments, NO_EXTERNAL_ID))
        else:
            kind = Kind(submission.sender, submission.external_template_id, submission.signature, segments)
            line = self._waiting.setdefault(kind, deque())
            line.append(_Flight(submission, future))
            if len(line) >= self._most(kind):
                self._pump()
            elif self._linger is None:
                self._linger = asyncio.get_running_loop().call_later(LINGER, self._lingered)
        return future

    async def close(self, within: float = 5.0) -> None:
        """Give back what is in no request, wait up to `within` seconds for answers, disconnect."""
        self._closing = True
        self._give_back_waiting()
        if self._requests:
            await asyncio.wait(self._requests, timeout=within)
        if self._linger is not None:
            self._linger.cancel()
        await end(*self._requests, *self._background)
        if self._client is not None:
            await self._client.aclose()

    # --- requests ---------------------------------------------------------------------------------

    def _room(self) -> bool:
        most = 1 if self._recovery.in_trouble else self._options.connections
        return len(self._requests) < most and self._awaits_slot is None

    def _most(self, kind: Kind) -> int:
        """Numbers of this kind in one request, at most."""
        most = PROBED_WITH if self._recovery.in_trouble else api.MOST_NUMBERS
        return most if self._slots is None else max(1, min(most, self._slot_size // kind.segments))

    def _lingered(self) -> None:
        self._linger = None
        self._pump()

    def _pump(self) -> None:
        """Make requests of what is waiting, as far as there is room."""
        self._give_back_overdue()
        while self._waiting and self._room() and not self._closing:
            kind = next(iter(self._waiting))
            request = _Request(kind, self._take(kind))
            if self._slots is not None:
                self._awaits_slot = request
            task = asyncio.create_task(self._send(request), name=f"request {self.name}")
            self._requests.add(task)
            task.add_done_callback(self._sent)
        self._changed.set()

    def _take(self, kind: Kind) -> list[_Flight]:
        """Take what goes into one request; a number twice in it would be refused (E200041)."""
        line, rest = self._waiting.pop(kind), deque[_Flight]()
        taken: dict[str, _Flight] = {}
        while line and len(taken) < self._most(kind):
            flight = line.popleft()
            if taken.setdefault(flight.submission.number, flight) is not flight:
                rest.append(flight)
        if rest or line:
            self._waiting[kind] = deque([*rest, *line])
        return list(taken.values())

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._requests.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("request_failed", exc_info=error)
        self._pump()

    async def _send(self, request: _Request) -> None:
        """Make one request, and let its messages land whatever happens."""
        reason = "stopped"
        try:
            # Begun when the request is written: connecting and its slot have limits of their own.
            async with asyncio.timeout(None) as timeout:
                self._read(request, await self._ask(request, timeout))
        except (httpx.HTTPError, TimeoutError) as error:
            reason = f"{type(error).__name__} {error}".strip()
            difficulty = Difficulty.UNCLEAR if request.sent else Difficulty.UNREACHABLE
            self._recovery.failed(Trouble(difficulty, reason))
        except _TooLateError:
            reason = "too late"
        finally:
            self._needs_no_slot(request)
            self._leave_unanswered(request, reason)

    async def _ask(self, request: _Request, timeout: asyncio.Timeout) -> Reading:
        assert self._client is not None, "submit gives everything back before start"

        async def trace(event: str, _: dict[str, Any]) -> None:
            # The last that happens, on an open connection, before octets of the request are written.
            if event == "http11.send_request_headers.started":
                await self._slot(request)
                timeout.reschedule(asyncio.get_running_loop().time() + self._options.response_timeout)
                request.sent = True

        segments = {flight.submission.number: request.kind.segments for flight in request.flights}
        who, now = self._account, datetime.now(UTC)
        headers = api.headers(who.app_key, who.app_secret, secrets.token_hex(16), now)
        async with self._client.stream(
            "POST",
            api.PATH,
            content=api.form(request.kind, segments, self._callback, now),
            headers={**headers, "Content-Type": "application/x-www-form-urlencoded"},
            extensions={"trace": trace},
        ) as response:
            body = bytearray()
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > LONGEST_ANSWER:
                    raise httpx.ReadError("the answer is too long")
        retry_after = _seconds(response.headers.get("Retry-After", ""))
        return api.read_answer(response.status_code, bytes(body), segments, retry_after)

    async def _slot(self, request: _Request) -> None:
        """Return when the rate allows the request. Raises `_TooLateError`."""
        needed = 0 if self._slots is None else len(request.flights) * request.kind.segments / self._slot_size
        while True:
            now = self._clock.monotonic()  # each time: a process may be frozen at any point
            if now >= request.not_after or self._closing:
                raise _TooLateError
            if self._slots is None or needed <= 0:
                self._needs_no_slot(request)
                return
            self._slots_came.clear()
            if pause := self._slots.take(now):
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(pause, SWEEP_INTERVAL)):
                        await self._slots_came.wait()
            else:
                needed -= 1

    def _needs_no_slot(self, request: _Request) -> None:
        if self._awaits_slot is request:
            self._awaits_slot = None
            asyncio.get_running_loop().call_soon(self._pump)

    # --- answers ----------------------------------------------------------------------------------

    def _read(self, request: _Request, reading: Reading) -> None:
        """Tell each message what the answer says of it."""
        if reading.trouble is not None:
            self._recovery.failed(reading.trouble)
        elif any(handover.outcome is not Outcome.IN_DOUBT for handover in reading.handovers.values()):
            self._recovery.succeeded()
        else:
            reason = reading.remark or "the answer has no result for any number"
            self._recovery.failed(Trouble(Difficulty.UNCLEAR, reason))
        if reading.remark and reading.remark not in self._told:
            self._told.add(reading.remark)
            self._log.warning("request_not_accepted", reason=reading.remark, numbers=len(request.flights))
        for flight in request.flights:
            handover = reading.handovers.get(flight.submission.number)
            if handover is None or handover.outcome is Outcome.NOT_HANDED_OVER:
                self._give_back((flight,))
            else:
                flight.land(handover)
        if self._recovery.in_trouble:
            self._give_back_waiting()

    def _leave_unanswered(self, request: _Request, reason: str) -> None:
        """Land what an answer has not landed."""
        flights = [flight for flight in request.flights if not flight.future.done()]
        if not flights:
            return
        if request.sent:
            self._log.warning("request_in_doubt", reason=reason, numbers=len(flights))
            for flight in flights:
                flight.land(api.in_doubt(request.kind.segments))
        else:
            self._give_back(flights)
        if self._recovery.in_trouble:
            self._give_back_waiting()

    def _give_back(self, flights: Iterable[_Flight]) -> None:
        hold = self._recovery.wait(self._clock.monotonic())
        for flight in flights:
            flight.land(api.not_taken(len(flight.submission.content.segments), hold))

    def _give_back_waiting(self) -> None:
        for line in self._waiting.values():
            self._give_back(line)
        self._waiting.clear()

    def _give_back_overdue(self) -> None:
        now = self._clock.monotonic()
        for kind, line in list(self._waiting.items()):
            self._give_back(flight for flight in line if flight.is_over(now))
            if left := deque(flight for flight in line if not flight.future.done()):
                self._waiting[kind] = left
            else:
                del self._waiting[kind]

    async def _sweep(self) -> None:
        """Give back what has waited too long."""
        while True:
            await self._clock.sleep(SWEEP_INTERVAL)
            self._give_back_overdue()


def _seconds(retry_after: str) -> float | None:
    """The header's number of seconds; a date is not understood, and the usual pause is made."""
    return float(retry_after) if re.fullmatch(r"[0-9]{1,6}", retry_after) else None
