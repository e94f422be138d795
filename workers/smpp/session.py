"""One bind: an SMPP 3.4 client session over one connection.

Every request has a future, registered under its sequence number before a byte of it is written, so no answer
can come too early. A request whose answer did not come, because time ran out or the connection went, is in
doubt and is never repeated here: only the caller knows whether that is safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from ssl import SSLContext
from typing import Any, Final, cast

import structlog

from domain.ports import Clock
from workers.smpp import pdu
from workers.smpp.pdu import Command, Frame, Status

log = structlog.get_logger()

UNBIND_TIMEOUT: Final = 2.0
"""Seconds to wait for unbind_resp: by then nothing depends on it. So long the peer's own unbind waits, too,
while submits are unanswered: once it has its answer it closes, and they would be in doubt."""

REFUSED_CREDENTIALS: Final = frozenset({Status.ESME_RBINDFAIL, Status.ESME_RINVPASWD, Status.ESME_RINVSYSID})


class SessionError(Exception):
    """A session could not be opened.

    SessionError
    ├── BindRefused     the message centre said no
    └── BindUnanswered  it closed the connection or said nothing
    """


class BindRefused(SessionError):  # noqa: N818
    """The message centre answered the bind with an error."""

    def __init__(self, status: int) -> None:
        super().__init__(f"bind refused: {pdu.describe_status(status)}")
        self.status = status

    @property
    def credentials(self) -> bool:
        """Whether trying again with the same system_id and password is pointless."""
        return self.status in REFUSED_CREDENTIALS


class BindUnanswered(SessionError):  # noqa: N818
    """The connection ended, or time ran out, before the bind was answered."""


class Unanswered(Enum):
    """Why a request has no answer. Either way the peer may have acted on it."""

    TIMED_OUT = "no response in time"
    DISCONNECTED = "connection lost"


Answer = Frame | Unanswered


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How a session keeps time and how much it has in flight. Times are in seconds."""

    window: int = 10
    """Requests on the wire that may be unanswered at once."""
    response_timeout: float = 30.0
    enquire_link: float = 30.0
    """An enquire_link goes out when nothing was heard for so long."""
    inactivity: float = 0.0
    """The connection is dropped when nothing was heard for so long.

    0 stands for enquire_link + response_timeout.
    """

    @property
    def silence_allowed(self) -> float:
        """Seconds without a sound after which the peer is taken for dead."""
        return self.inactivity or self.enquire_link + self.response_timeout


class Lease:
    """Until when a bind may be used: whoever renews it moves `ends`, on the monotonic clock."""

    __slots__ = ("ends",)

    def __init__(self, ends: float = float("inf")) -> None:
        self.ends = ends


class Session(asyncio.Protocol):
    """A client session. Use `open_session`; it is bound when that returns.

    `on_deliver_sm` gets every deliver_sm, also one that comes right behind the bind response, and answers it
    when it likes with `acknowledge`. `on_room` is called when the window has room again or the session has
    ended. Nothing is written after the lease has ended.
    """

    def __init__(
        self,
        options: SessionOptions,
        clock: Clock,
        on_deliver_sm: Callable[[Session, Frame], None],
        on_room: Callable[[Session], None],
        lease: Lease,
        log: Any,
    ) -> None:
        self.options = options
        self.bound = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection is gone."""
        self._clock = clock
        self._on_deliver_sm = on_deliver_sm
        self._on_room = on_room
        self._lease = lease
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._splitter = pdu.Splitter()
        self._pending: dict[int, tuple[asyncio.Future[Answer], int, float]] = {}
        self._sequence = 0
        self._outgoing: list[bytes] = []
        self._writable = True
        self._heard_at = clock.monotonic()
        self._watch: asyncio.Task[None] | None = None
        self._enquiry: asyncio.Future[Answer] | None = None
        self._parting: asyncio.Task[None] | None = None

    # --- what callers use -------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many more requests fit on the wire now; 0 while unbound or while the socket is choked."""
        if not self.bound or not self._writable:
            return 0
        return self.options.window - len(self._pending)

    def submit(self, body: bytes) -> asyncio.Future[Answer]:
        """Send one submit_sm.

        The future ends in submit_sm_resp, generic_nack or `Unanswered`, never in an error.
        """
        return self.request(Command.SUBMIT_SM, body)

    def request(self, command_id: int, body: bytes = b"") -> asyncio.Future[Answer]:
        """Send one request.

        The future ends in its response, generic_nack or `Unanswered`, never in an error.
        """
        future: asyncio.Future[Answer] = self._loop.create_future()
        if self._transport is None or self.closed.done():
            future.set_result(Unanswered.DISCONNECTED)
            return future
        sequence = self._next_sequence()
        self._pending[sequence] = (
            future,
            command_id | pdu.RESPONSE_BIT,
            self._clock.monotonic() + self.options.response_timeout,
        )
        self._send(pdu.encode(command_id, 0, sequence, body))
        return future

    def acknowledge(self, sequence_number: int, status: int = Status.ESME_ROK) -> None:
        """Answer a deliver_sm. On a session that has ended it does nothing: the centre will send it again."""
        self._send(pdu.encode(Command.DELIVER_SM_RESP, status, sequence_number, b"\0"))

    async def unbind(self) -> None:
        """Say goodbye, wait shortly for the answer, and disconnect. What is in flight then is in doubt."""
        if not self.closed.done():
            self.bound = False
            await asyncio.wait([self.request(Command.UNBIND)], timeout=UNBIND_TIMEOUT)
            self.disconnect()
            await asyncio.wait([self.closed], timeout=UNBIND_TIMEOUT)
        if not self.closed.done() and self._transport is not None:
            self._transport.abort()
        await self.closed

    def disconnect(self) -> None:
        """Flush and close the connection."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection, and with it what was not written yet."""
        self.bound = False
        self._outgoing.clear()
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to watch over the connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._heard_at = self._clock.monotonic()
        self._watch = self._loop.create_task(self._keep_watch())

    def data_received(self, data: bytes) -> None:
        """Handle every PDU the read completed."""
        self._heard_at = self._clock.monotonic()
        try:
            for frame in self._splitter.feed(data):
                self._handle(frame)
        except pdu.BadLength as error:
            self._log.warning("smpp_framing_lost", reason=str(error))
            self._send(pdu.encode(Command.GENERIC_NACK, Status.ESME_RINVCMDLEN, 0))
            self.bound = False
            self.disconnect()
        self._on_room(self)

    def pause_writing(self) -> None:
        """Stop offering room: the peer reads more slowly than we write."""
        self._writable = False

    def resume_writing(self) -> None:
        """Offer room again."""
        self._writable = True
        self._on_room(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Put everything in flight in doubt."""
        self.bound = False
        if self._watch is not None:
            self._watch.cancel()
        pending, self._pending = self._pending, {}
        for future, _, _ in pending.values():
            if not future.done():
                future.set_result(Unanswered.DISCONNECTED)
        if not self.closed.done():
            self.closed.set_result(None)
        if exc is not None:
            self._log.warning("smpp_connection_lost", reason=str(exc), in_flight=len(pending))
        self._on_room(self)

    # --- inside -----------------------------------------------------------------------------------

    def _next_sequence(self) -> int:
        sequence = self._sequence
        while True:
            sequence = 1 if sequence >= pdu.LARGEST_SEQUENCE else sequence + 1
            if sequence not in self._pending:
                self._sequence = sequence
                return sequence

    def _send(self, octets: bytes) -> None:
        """Queue for one write an event loop turn.

        A window of submits costs one system call, not a hundred.
        """
        if self.closed.done():
            return
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(octets)

    def _flush(self) -> None:
        if self._outgoing and self._transport is not None and not self._transport.is_closing():
            # Looked at here: the process may have been frozen since whoever wrote this looked.
            if self._clock.monotonic() >= self._lease.ends:
                self._log.warning("smpp_lease_over", in_flight=len(self._pending))
                self.abort()
                return
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def _handle(self, frame: Frame) -> None:
        if frame.command_id & pdu.RESPONSE_BIT:
            self._handle_response(frame)
        elif frame.command_id == Command.DELIVER_SM:
            # Also behind the peer's unbind: some would drop for good what is refused for the bind's state.
            if self.bound or self._parting is not None:
                self._on_deliver_sm(self, frame)
            else:
                self.acknowledge(frame.sequence_number, Status.ESME_RX_T_APPN)  # for whoever binds next
        elif frame.command_id == Command.ENQUIRE_LINK:
            self._send(pdu.encode(Command.ENQUIRE_LINK_RESP, 0, frame.sequence_number))
        elif frame.command_id == Command.UNBIND:
            self._log.info("smpp_unbound_by_peer", in_flight=len(self._pending))
            self.bound = False
            self._parting = self._loop.create_task(self._part(frame.sequence_number))
        elif frame.command_id not in (Command.ALERT_NOTIFICATION, Command.OUTBIND):
            self._log.warning("smpp_unknown_command", command_id=f"0x{frame.command_id:08X}")
            self._send(pdu.encode(Command.GENERIC_NACK, Status.ESME_RINVCMDID, frame.sequence_number))

    def _handle_response(self, frame: Frame) -> None:
        waiting = self._pending.get(frame.sequence_number)
        if waiting is None or frame.command_id not in (waiting[1], Command.GENERIC_NACK):
            self._log.warning(
                "smpp_response_unexpected",
                command_id=f"0x{frame.command_id:08X}",
                status=pdu.describe_status(frame.command_status),
            )
            return
        del self._pending[frame.sequence_number]
        if frame.command_status == 0 and frame.command_id & ~pdu.RESPONSE_BIT in pdu.BINDS:
            # Here and not where the bind is awaited: a receipt may follow in the same read.
            self.bound = True
        if not waiting[0].done():
            waiting[0].set_result(frame)

    async def _part(self, unbind: int) -> None:
        """Answer the peer's unbind, once it has answered what is in flight, or has not for a while."""
        if in_flight := [future for future, _, _ in self._pending.values()]:
            await asyncio.wait(in_flight, timeout=UNBIND_TIMEOUT)
        self._send(pdu.encode(Command.UNBIND_RESP, 0, unbind))
        self.disconnect()

    async def _keep_watch(self) -> None:
        options = self.options
        tick = max(0.02, min(1.0, options.response_timeout / 4, options.enquire_link / 4))
        while True:
            await self._clock.sleep(tick)
            now = self._clock.monotonic()
            self._expire(now)
            silent = now - self._heard_at
            if silent >= options.silence_allowed and self._transport is not None:
                self._log.warning("smpp_peer_silent", seconds=round(silent, 1), in_flight=len(self._pending))
                self._transport.abort()
                return
            if (
                silent >= options.enquire_link
                and self.bound
                and (self._enquiry is None or self._enquiry.done())
            ):
                self._enquiry = self.request(Command.ENQUIRE_LINK)

    def _expire(self, now: float) -> None:
        """Give up on requests whose time ran out; they stand in the order they were sent."""
        expired: list[int] = []
        for sequence, (_, _, deadline) in self._pending.items():
            if deadline > now:
                break
            expired.append(sequence)
        for sequence in expired:
            future = self._pending.pop(sequence)[0]
            if not future.done():
                future.set_result(Unanswered.TIMED_OUT)
        if expired:
            self._log.warning("smpp_response_timeout", requests=len(expired))
            self._on_room(self)


async def open_session(
    host: str,
    port: int,
    bind: pdu.Bind,
    options: SessionOptions,
    clock: Clock,
    on_deliver_sm: Callable[[Session, Frame], None],
    on_room: Callable[[Session], None],
    *,
    command_id: int = Command.BIND_TRANSCEIVER,
    ssl: SSLContext | None = None,
    lease: Lease | None = None,
    log: Any = log,
) -> Session:
    """Connect and bind; with `ssl`, to a peer whose certificate that context accepts for `host`.

    `log` is what the session writes to: it knows whose it is.

    Raises:
        BindRefused: the message centre answered with an error.
        BindUnanswered: it did not answer.
        OSError: no connection, TimeoutError among them.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(options.response_timeout):
        _, session = await loop.create_connection(
            lambda: Session(options, clock, on_deliver_sm, on_room, lease or Lease(), log),
            host,
            port,
            ssl=ssl,
        )
    try:
        answer = await session.request(command_id, bind.encode())
    except BaseException:
        session.disconnect()
        raise
    if isinstance(answer, Unanswered):
        session.disconnect()
        raise BindUnanswered(f"bind: {answer.value}")
    if answer.command_status != Status.ESME_ROK or answer.command_id == Command.GENERIC_NACK:
        session.disconnect()
        raise BindRefused(answer.command_status)
    return session
