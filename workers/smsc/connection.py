"""One connection to the simulated message centre."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import cast

import structlog

from workers.smpp import pdu
from workers.smpp.pdu import Command, Frame, Status
from workers.smsc.centre import Centre, Mailbox, Notice

log = structlog.get_logger()

SUBMITTERS = frozenset({Command.BIND_TRANSMITTER, Command.BIND_TRANSCEIVER})
RECEIVERS = frozenset({Command.BIND_RECEIVER, Command.BIND_TRANSCEIVER})


class Connection(asyncio.Protocol):
    """Answers one peer.

    All answers to one read go out in one write, after the journal has what they answer.
    """

    def __init__(self, centre: Centre) -> None:
        self._centre = centre
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._splitter = pdu.Splitter()
        self._outgoing: list[bytes] = []
        self._bound_as: int | None = None
        self._mailbox: Mailbox | None = None
        self._sequence = 0
        self._unacknowledged: dict[int, tuple[Notice, float]] = {}
        self._writable = True
        self._watch: asyncio.TimerHandle | None = None

    @property
    def receipt_room(self) -> int:
        """How many more receipts may be sent and not yet be acknowledged."""
        if not self._writable or self._transport is None or self._transport.is_closing():
            return 0
        return self._centre.behaviour.receipt_window - len(self._unacknowledged)

    def send_receipts(self, notices: list[Notice]) -> None:
        """Send deliver_sm PDUs in one write; each is kept until it is acknowledged."""
        if self._mailbox is None:
            return
        now = self._loop.time()
        for notice in notices:
            notice.attempts += 1
            self._sequence = self._sequence % pdu.LARGEST_SEQUENCE + 1
            self._unacknowledged[self._sequence] = (notice, now)
            self._outgoing.append(pdu.encode(Command.DELIVER_SM, 0, self._sequence, notice.encode()))
            self._centre.counts.receipts += 1
            self._centre.journal.receipt(
                self._mailbox.system_id,
                notice.message_id,
                notice.message.destination.digits,
                notice.stat,
                notice.err,
                notice.attempts,
            )
        self._flush()
        if self._watch is None:
            self._watch = self._loop.call_later(self._centre.behaviour.resend_after, self._resend_silent)

    def close(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the peer in."""
        self._transport = cast("asyncio.Transport", transport)
        self._centre.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Handle every PDU the read completed."""
        try:
            for frame in self._splitter.feed(data):
                self._handle(frame)
        except pdu.BadLength as error:
            log.warning("smsc_framing_lost", reason=str(error))
            self._outgoing.append(pdu.encode(Command.GENERIC_NACK, Status.ESME_RINVCMDLEN, 0))
            self._hang_up()
        self._flush()
        if self._mailbox is not None and self._mailbox.waiting:
            self._mailbox.deliver()

    def pause_writing(self) -> None:
        """Hold receipts back: the peer reads more slowly than we write."""
        self._writable = False

    def resume_writing(self) -> None:
        """Send receipts again."""
        self._writable = True
        if self._mailbox is not None:
            self._mailbox.deliver()

    def connection_lost(self, exc: Exception | None) -> None:
        """Put what was not acknowledged back into the mailbox, for the next bind."""
        self._centre.connections.discard(self)
        if self._watch is not None:
            self._watch.cancel()
        if self._mailbox is not None:
            if self in self._mailbox.receivers:
                self._mailbox.receivers.remove(self)
            self._mailbox.waiting.extendleft(notice for notice, _ in reversed(self._unacknowledged.values()))
            self._unacknowledged.clear()
            log.info("smsc_unbound", system_id=self._mailbox.system_id, reason=str(exc) if exc else "closed")

    # --- inside -----------------------------------------------------------------------------------

    def _handle(self, frame: Frame) -> None:
        command = frame.command_id
        if command == Command.SUBMIT_SM:
            self._submit(frame)
        elif command == Command.DELIVER_SM_RESP:
            self._acknowledged(frame)
        elif command in pdu.BINDS:
            self._bind(frame)
        elif command == Command.ENQUIRE_LINK:
            self._answer(Command.ENQUIRE_LINK_RESP, Status.ESME_ROK, frame)
        elif command == Command.UNBIND:
            self._answer(Command.UNBIND_RESP, Status.ESME_ROK, frame)
            self._hang_up()
        elif not command & pdu.RESPONSE_BIT:
            self._answer(Command.GENERIC_NACK, Status.ESME_RINVCMDID, frame)

    def _submit(self, frame: Frame) -> None:
        if self._mailbox is None or self._bound_as not in SUBMITTERS:
            self._answer(Command.SUBMIT_SM_RESP, Status.ESME_RINVBNDSTS, frame)
            return
        try:
            message = pdu.ShortMessage.decode(frame.body)
        except pdu.BadBody as error:
            log.warning("smsc_submit_sm_unreadable", reason=str(error))
            self._answer(Command.SUBMIT_SM_RESP, Status.ESME_RINVMSGLEN, frame)
            return
        status, message_id, ending = self._centre.accept(self._mailbox, message, frame.sequence_number)
        if status != Status.ESME_ROK:
            self._answer(Command.SUBMIT_SM_RESP, status, frame)
        elif ending.answered:
            self._answer(Command.SUBMIT_SM_RESP, status, frame, message_id.encode() + b"\0")
        elif ending.disconnects:
            self._centre.journal.write()
            self.close()

    def _bind(self, frame: Frame) -> None:
        response = frame.command_id | pdu.RESPONSE_BIT
        if self._mailbox is not None:
            self._answer(response, Status.ESME_RALYBND, frame)
            return
        try:
            bind = pdu.Bind.decode(frame.body)
        except pdu.BadBody:
            self._answer(response, Status.ESME_RBINDFAIL, frame)
            return
        status = self._centre.check(bind)
        if status != Status.ESME_ROK:
            log.warning("smsc_bind_refused", system_id=bind.system_id, status=pdu.describe_status(status))
            self._answer(response, status, frame)
            self._hang_up()
            return
        log.info("smsc_bound", system_id=bind.system_id, command=Command(frame.command_id).name)
        self._outgoing.append(
            pdu.encode(response, status, frame.sequence_number, pdu.encode_bind_resp("groupsms-smsc"))
        )
        self._bound_as = frame.command_id
        self._mailbox = self._centre.mailbox(bind.system_id)
        if frame.command_id in RECEIVERS:
            self._mailbox.receivers.append(self)

    def _acknowledged(self, frame: Frame) -> None:
        found = self._unacknowledged.pop(frame.sequence_number, None)
        if found is None or self._mailbox is None:
            return
        notice = found[0]
        self._centre.journal.acknowledged(self._mailbox.system_id, notice.message_id, frame.command_status)
        if frame.command_status == Status.ESME_ROK:
            self._centre.counts.acknowledged += 1
        elif frame.command_status == Status.ESME_RX_P_APPN:
            log.warning("smsc_receipt_refused_for_good", message_id=notice.message_id)
        else:
            self._centre.try_again(self._mailbox, notice)

    def _resend_silent(self) -> None:
        """Give receipts that were never answered back to the mailbox.

        They stand in the order they were sent.
        """
        self._watch = None
        if self._mailbox is None:
            return
        patience = self._centre.behaviour.resend_after
        oldest_allowed = self._loop.time() - patience
        silent = [seq for seq, (_, sent_at) in self._unacknowledged.items() if sent_at <= oldest_allowed]
        for sequence in silent:
            self._mailbox.waiting.append(self._unacknowledged.pop(sequence)[0])
        if self._unacknowledged:
            self._watch = self._loop.call_later(patience, self._resend_silent)
        self._mailbox.deliver()

    def _answer(self, command_id: int, status: int, frame: Frame, body: bytes = b"") -> None:
        self._outgoing.append(pdu.encode(command_id, status, frame.sequence_number, body))

    def _hang_up(self) -> None:
        """Close once what has been answered is on its way."""
        self._flush()
        if self._transport is not None:
            self._loop.call_later(self._centre.behaviour.response_delay, self._transport.close)

    def _flush(self) -> None:
        """Write the journal first: an answer means that the message is in it."""
        self._centre.journal.write()
        if not self._outgoing or self._transport is None:
            return
        octets = b"".join(self._outgoing)
        self._outgoing.clear()
        if self._centre.behaviour.response_delay:
            self._loop.call_later(self._centre.behaviour.response_delay, partial(self._write, octets))
        else:
            self._write(octets)

    def _write(self, octets: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(octets)
