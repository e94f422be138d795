"""What the simulated message centre delivers: receipts and replies, until they are acknowledged."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Protocol, TypeAlias

from domain.segments import gsm7_encode, is_gsm7
from workers.smpp import pdu
from workers.smpp.pdu import Address, ShortMessage, Tag, Tlvs
from workers.smpp.receipt_text import MESSAGE_STATES
from workers.smpp.reply_text import reply_text
from workers.smpp.submit_options import Alphabet
from workers.smsc.behaviour import Behaviour
from workers.smsc.journal import Journal
from workers.smsc.receipt_form import ReceiptForm, ReceiptText

STATE_OF: Final = {name: state for state, name in MESSAGE_STATES.items()}
UNDELIVERABLE: Final = STATE_OF["UNDELIV"]
"""The message_state beside a vendor's own word in the text."""
UCS2: Final = 8
QUOTED: Final = 20
"""Characters of the message that `{text}` repeats (Appendix B)."""


@dataclass(slots=True)
class Notice:
    """A receipt to be delivered until it is acknowledged."""

    message_id: str
    """As submit_sm_resp gave it."""
    written_id: str
    """As the receipt writes it."""
    message: ShortMessage
    number: Address
    """Whose receipt it is."""
    stat: str
    err: str
    submitted_at: int
    """Seconds since 1970, as is `done_at`; 0: not yet."""
    stray: bool = False
    """Whether it is about nothing that was ever sent."""
    done_at: int = 0
    attempts: int = 0

    def encode(self, behaviour: Behaviour) -> bytes:
        """Return the body of its deliver_sm."""
        text = b""
        tlvs: Tlvs = ()
        if behaviour.receipt_form is not ReceiptForm.TLV:
            text = self._text(behaviour)
        if behaviour.receipt_form is not ReceiptForm.TEXT:
            tlvs = (
                (Tag.RECEIPTED_MESSAGE_ID, self.written_id.encode() + b"\0"),
                (Tag.MESSAGE_STATE, bytes((STATE_OF.get(self.stat, UNDELIVERABLE),))),
            )
        if behaviour.echo_reference:
            reference = self.message.tlv(Tag.USER_MESSAGE_REFERENCE)
            tlvs += ((Tag.USER_MESSAGE_REFERENCE, reference),) if reference is not None else ()
        return ShortMessage(
            self.number,
            self.message.source,
            text,
            esm_class=pdu.DELIVERY_RECEIPT,
            data_coding=UCS2 if behaviour.receipt_ucs2 else 0,
            tlvs=tlvs,
        ).encode()

    def _text(self, behaviour: Behaviour) -> bytes:
        writer = text_writer(behaviour.receipt_text)
        quoted = reply_text(self.message, behaviour.alphabet)[:QUOTED] if writer.quotes else ""
        text = writer.write(
            self.written_id, self.stat, self.err, self.submitted_at, self.done_at or self.submitted_at, quoted
        )
        if behaviour.receipt_ucs2:
            return text.encode("utf-16-be")[:254]
        return text.encode("latin-1", errors="replace")[:254]

    def note(self, journal: Journal, system_id: str) -> None:
        """Put into the journal that it is sent."""
        journal.receipt(
            system_id,
            self.message_id,
            self.written_id,
            self.number.digits,
            self.stat,
            self.err,
            self.attempts,
            stray=self.stray,
        )


text_writer: Final = lru_cache(maxsize=16)(ReceiptText)


@dataclass(slots=True)
class PhoneReply:
    """What a phone answers, to be delivered until it is acknowledged."""

    message: ShortMessage
    text: str
    done_at: int = 0
    attempts: int = 0

    @property
    def message_id(self) -> str:
        """A reply has none."""
        return ""

    def encode(self, behaviour: Behaviour) -> bytes:
        """Return the body of its deliver_sm."""
        if behaviour.alphabet is Alphabet.GSM7 and is_gsm7(self.text):
            coding, octets = 0, gsm7_encode(self.text)
        else:
            coding, octets = UCS2, self.text.encode("utf-16-be")
        return ShortMessage(
            self.message.destination, self.message.source, octets, data_coding=coding
        ).encode()

    def note(self, journal: Journal, system_id: str) -> None:
        """Put into the journal that it is sent."""
        journal.reply(
            system_id,
            self.message.destination.digits,
            self.message.source.digits,
            self.text,
            self.attempts,
        )


Delivery: TypeAlias = Notice | PhoneReply


class Receiver(Protocol):
    """A bind that takes deliver_sm."""

    @property
    def room(self) -> int:
        """How many more may be sent and not yet be acknowledged."""
        ...

    def send(self, deliveries: Sequence[Delivery]) -> None:
        """Send them in one write."""
        ...


@dataclass(slots=True)
class Mailbox:
    """What is to be delivered to one system_id, kept while no bind of its is there."""

    system_id: str
    waiting: deque[Delivery] = field(default_factory=deque)
    receivers: deque[Receiver] = field(default_factory=deque)
    """Whose turn is next is first."""
    binds: int = 0
    """How many connections are bound as this system_id."""

    def deliver(self) -> None:
        """Send what is waiting, over the binds that receive, in turn, as far as their windows let it."""
        for _ in range(len(self.receivers)):
            if not self.waiting:
                return
            connection = self.receivers[0]
            self.receivers.rotate(-1)
            room = connection.room
            if room > 0:
                connection.send([self.waiting.popleft() for _ in range(min(room, len(self.waiting)))])
