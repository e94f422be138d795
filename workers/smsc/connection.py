"""One connection to the simulated message centre."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final, cast

import structlog

from workers.smpp import pdu
from workers.smpp.pdu import Command, Frame, Status
from workers.smsc.centre import Centre
from workers.smsc.deliveries import Delivery, Mailbox

log = structlog.get_logger()

SUBMITTERS: Final = frozenset({Command.BIND_TRANSMITTER, Command.BIND_TRANSCEIVER})
RECEIVERS: Final = frozenset({Command.BIND_RECEIVER, Command.BIND_TRANSCEIVER})
UNBIND_PATIENCE: Final = 5.0
"""Seconds until an unbind that is not answered ends the connection."""


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
        self._number = 0
        self._bound_as = 0
        self._mailbox: Mailbox | None = None
        self._sequence = 0
        self._unacknowledged: dict[int, tuple[Delivery, float]] = {}
        self._writable = True
        self._heard_at = 0.0
        self._resending: asyncio.TimerHandle | None = None
        self._idling: asyncio.TimerHandle | None = None
        self._unbinding: asyncio.TimerHandle | None = None

    @property
    def room(self) -> int:
        """How many more receipts may be sent and not yet be acknowledged."""
        if not self._writable or self._transport is None or self._transport.is_closing():
            return 0
        return self._centre.behaviour.receipt_window - len(self._unacknowledged)

    def send(self, deliveries: Sequence[Delivery]) -> None:
        """Send deliver_sm PDUs in one write; each is kept until it is acknowledged."""
        if self._mailbox is None:
            return
        centre, now = self._centre, self._loop.time()
        behaviour, journal = centre.behaviour, centre.journal
        for delivery in deliveries:
            delivery.attempts += 1
            self._sequence = self._sequence % pdu.LARGEST_SEQUENCE + 1
            self._unacknowledged[self._sequence] = (delivery, now)
            self._outgoing.append(
                pdu.encode(Command.DELIVER_SM, 0, self._sequence, delivery.encode(behaviour))
            )
            if delivery.message_id:
                centre.counts.receipts += 1
            else:
                centre.counts.replies += 1
            if journal.keeps:
                delivery.note(journal, self._mailbox.system_id)
        self._flush()
        if self._resending is None:
            self._resending = self._loop.call_later(behaviour.resend_after, self._resend_silent)

    def close(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def unbind(self) -> None:
        """Say goodbye, and close once that is answered or has not been for a while."""
        if self._transport is None or self._transport.is_closing() or self._mailbox is None:
            return
        self._centre.journal.unbind(self._mailbox.system_id, self._bound_as, self._number, "centre")
        self._sequence = self._sequence % pdu.LARGEST_SEQUENCE + 1
        self._outgoing.append(pdu.encode(Command.UNBIND, 0, self._sequence))
        self._flush()
        self._cancel(self._unbinding)
        self._unbinding = self._loop.call_later(UNBIND_PATIENCE, self._transport.close)

    def keep_time(self) -> None:
        """Begin to heed what the behaviour now says of idle peers and of unbinding."""
        behaviour = self._centre.behaviour
        self._cancel(self._idling, self._unbinding)
        self._idling = self._unbinding = None
        if behaviour.idle_timeout is not None:
            self._idling = self._loop.call_later(behaviour.idle_timeout, self._close_if_idle)
        if behaviour.unbind_every is not None and self._mailbox is not None:
            self._unbinding = self._loop.call_later(behaviour.unbind_every, self.unbind)

    # --- asyncio.Protocol -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the peer in, unless the centre is away."""
        self._transport = cast("asyncio.Transport", transport)
        if self._centre.is_away:
            self._transport.abort()
            return
        self._centre.connections += 1
        self._number = self._centre.connections
        self._centre.peers.add(self)
        self._heard_at = self._loop.time()
        self.keep_time()

    def data_received(self, data: bytes) -> None:
        """Handle every PDU the read completed."""
        self._heard_at = self._loop.time()
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
        self._centre.peers.discard(self)
        self._cancel(self._resending, self._idling, self._unbinding)
        mailbox = self._mailbox
        if mailbox is None:
            return
        mailbox.binds -= 1
        if self in mailbox.receivers:
            mailbox.receivers.remove(self)
        mailbox.waiting.extendleft(delivery for delivery, _ in reversed(self._unacknowledged.values()))
        self._unacknowledged.clear()
        reason = str(exc) if exc else "closed"
        self._centre.journal.disconnect(mailbox.system_id, self._bound_as, self._number, reason)
        self._centre.journal.write()
        log.info("smsc_unbound", system_id=mailbox.system_id, reason=reason)
        mailbox.deliver()

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
            if self._mailbox is not None:
                self._centre.journal.unbind(self._mailbox.system_id, self._bound_as, self._number, "peer")
            self._hang_up()
        elif command == Command.UNBIND_RESP:
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
        answer = self._centre.accept(self._mailbox, self._number, message, frame.sequence_number)
        if answer.drops:
            self._drop()
        elif answer.delay is not None:
            body = b"" if answer.status else answer.message_id.encode() + b"\0"
            response = pdu.encode(Command.SUBMIT_SM_RESP, answer.status, frame.sequence_number, body)
            if answer.delay:
                later = self._centre.behaviour.response_delay + answer.delay
                self._loop.call_later(later, self._write, response)
            else:
                self._outgoing.append(response)

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
        self._centre.journal.bind(bind.system_id, frame.command_id, self._number, status)
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
        self._mailbox.binds += 1
        if frame.command_id in RECEIVERS:
            self._mailbox.receivers.append(self)
        self.keep_time()

    def _acknowledged(self, frame: Frame) -> None:
        found = self._unacknowledged.pop(frame.sequence_number, None)
        if found is None or self._mailbox is None:
            return
        delivery, journal = found[0], self._centre.journal
        if journal.keeps:
            journal.acknowledged(self._mailbox.system_id, delivery.message_id, frame.command_status)
        if frame.command_status == Status.ESME_ROK:
            self._centre.counts.acknowledged += 1
        elif frame.command_status == Status.ESME_RX_P_APPN:
            log.warning("smsc_receipt_refused_for_good", message_id=delivery.message_id)
        else:
            self._centre.try_again(self._mailbox, delivery)

    def _resend_silent(self) -> None:
        """Give receipts that were never answered back to the mailbox.

        They stand in the order they were sent.
        """
        self._resending = None
        if self._mailbox is None:
            return
        patience = self._centre.behaviour.resend_after
        oldest_allowed = self._loop.time() - patience
        silent = [seq for seq, (_, sent_at) in self._unacknowledged.items() if sent_at <= oldest_allowed]
        for sequence in silent:
            self._mailbox.waiting.append(self._unacknowledged.pop(sequence)[0])
        if self._unacknowledged:
            self._resending = self._loop.call_later(patience, self._resend_silent)
        self._mailbox.deliver()

    def _close_if_idle(self) -> None:
        patience = self._centre.behaviour.idle_timeout
        if patience is None or self._transport is None:
            return
        left = self._heard_at + patience - self._loop.time()
        if left > 0:
            self._idling = self._loop.call_later(left, self._close_if_idle)
        else:
            log.info("smsc_idle", seconds=patience)
            self._transport.close()

    def _answer(self, command_id: int, status: int, frame: Frame, body: bytes = b"") -> None:
        self._outgoing.append(pdu.encode(command_id, status, frame.sequence_number, body))

    def _drop(self) -> None:
        """End the connection here: what was answered goes out, the rest of this read stays unanswered."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

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

    @staticmethod
    def _cancel(*timers: asyncio.TimerHandle | None) -> None:
        for timer in timers:
            if timer is not None:
                timer.cancel()
