"""The simulated message centre itself: what it knows beyond any one connection."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from workers.smpp import pdu
from workers.smpp.pdu import ShortMessage, Status, Tag
from workers.smpp.receipt_text import MESSAGE_STATES
from workers.smsc.delay_line import DelayLine
from workers.smsc.endings import Ending, ending_of
from workers.smsc.journal import Journal

if TYPE_CHECKING:
    from workers.smsc.connection import Connection

REGISTERED_DELIVERY: Final = 0x03
"""registered_delivery: the bits that ask for a receipt of the message centre (5.2.17)."""
ON_FAILURE_ONLY: Final = 0x02
STATE_OF: Final = {name: state for state, name in MESSAGE_STATES.items()}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the centre's flags say. Times are in seconds."""

    system_id: str | None = None
    password: str | None = None
    response_delay: float = 0.0
    receipt_delay: float = 0.2
    resend_after: float = 5.0
    receipt_window: int = 500
    rate: int | None = None


@dataclass(slots=True)
class Counts:
    """What has happened since the start."""

    submitted: int = 0
    accepted: int = 0
    receipts: int = 0
    acknowledged: int = 0


@dataclass(slots=True)
class Notice:
    """A receipt to be delivered until it is acknowledged."""

    message_id: str
    message: ShortMessage
    stat: str
    err: str
    submitted_at: str
    done_at: str = ""
    attempts: int = 0

    def encode(self) -> bytes:
        """Return the body of its deliver_sm: the text of Appendix B and the parameters that say the same."""
        delivered = "001" if self.stat == "DELIVRD" else "000"
        text = (
            f"id:{self.message_id} sub:001 dlvrd:{delivered} submit date:{self.submitted_at} "
            f"done date:{self.done_at} stat:{self.stat} err:{self.err} text:"
        )
        return ShortMessage(
            self.message.destination,
            self.message.source,
            text.encode("latin-1"),
            esm_class=pdu.DELIVERY_RECEIPT,
            tlvs=(
                (Tag.RECEIPTED_MESSAGE_ID, self.message_id.encode() + b"\0"),
                (Tag.MESSAGE_STATE, bytes((STATE_OF[self.stat],))),
            ),
        ).encode()


@dataclass(slots=True)
class Mailbox:
    """The receipts for one system_id, kept while no bind of its is there."""

    system_id: str
    waiting: deque[Notice] = field(default_factory=deque)
    receivers: list[Connection] = field(default_factory=list)

    def deliver(self) -> None:
        """Send what is waiting, over all binds that receive, as far as their windows let it."""
        for connection in self.receivers:
            room = connection.receipt_room
            if room > 0 and self.waiting:
                connection.send_receipts(
                    [self.waiting.popleft() for _ in range(min(room, len(self.waiting)))]
                )


class Centre:
    """Takes messages, decides what becomes of them, and sees to their receipts."""

    def __init__(self, behaviour: Behaviour, journal: Journal) -> None:
        self.behaviour = behaviour
        self.journal = journal
        self.counts = Counts()
        self.connections: set[Connection] = set()
        self._mailboxes: dict[str, Mailbox] = {}
        self._turned_away: set[tuple[str, bytes]] = set()
        self._ids = secrets.token_hex(4)
        self._recent: deque[float] = deque(maxlen=behaviour.rate or 1)
        self._loop = asyncio.get_running_loop()
        self._receipts: DelayLine[tuple[Mailbox, Notice]] = DelayLine(behaviour.receipt_delay, self._post)
        self._resends: DelayLine[tuple[Mailbox, Notice]] = DelayLine(behaviour.resend_after, self._post)
        self._second = 0
        self._date = ""

    def check(self, bind: pdu.Bind) -> int:
        """Return the command_status of the bind response."""
        wanted = self.behaviour
        if wanted.system_id is not None and bind.system_id != wanted.system_id:
            return Status.ESME_RINVSYSID
        if wanted.password is not None and bind.password != wanted.password:
            return Status.ESME_RINVPASWD
        return Status.ESME_ROK

    def mailbox(self, system_id: str) -> Mailbox:
        """Return the mailbox of a system_id."""
        return self._mailboxes.setdefault(system_id, Mailbox(system_id))

    def accept(self, mailbox: Mailbox, message: ShortMessage, sequence: int) -> tuple[int, str, Ending]:
        """Decide about a submit_sm: its command_status, its id if accepted, and how to answer."""
        ending = ending_of(message.destination.digits)
        self.counts.submitted += 1
        status = self._status(ending, message)
        message_id = ""
        if status == Status.ESME_ROK:
            self.counts.accepted += 1
            message_id = f"{self._ids}{self.counts.accepted:08x}"
            self._promise_receipts(mailbox, message, message_id, ending)
        self.journal.submit(mailbox.system_id, message, sequence, status, message_id)
        return status, message_id, ending

    def try_again(self, mailbox: Mailbox, notice: Notice) -> None:
        """Send a receipt once more, later."""
        self._resends.put((mailbox, notice))

    def _status(self, ending: Ending, message: ShortMessage) -> int:
        if self.behaviour.rate is not None:
            now = self._loop.time()
            if len(self._recent) == self.behaviour.rate and now - self._recent[0] < 1.0:
                return Status.ESME_RTHROTTLED
            self._recent.append(now)
        if ending.first_status:
            key = (message.destination.digits, message.payload)
            if key not in self._turned_away:
                self._turned_away.add(key)
                return ending.first_status
            self._turned_away.discard(key)
        return ending.status

    def _promise_receipts(
        self, mailbox: Mailbox, message: ShortMessage, message_id: str, ending: Ending
    ) -> None:
        asked = message.registered_delivery & REGISTERED_DELIVERY
        submitted_at = self._now()
        for stat in ending.stats:
            if asked and not (asked == ON_FAILURE_ONLY and stat == "DELIVRD"):
                self._receipts.put((mailbox, Notice(message_id, message, stat, ending.err, submitted_at)))

    def _post(self, notices: list[tuple[Mailbox, Notice]]) -> None:
        now = self._now()
        mailboxes = {}
        for mailbox, notice in notices:
            notice.done_at = notice.done_at or now
            mailbox.waiting.append(notice)
            mailboxes[mailbox.system_id] = mailbox
        for mailbox in mailboxes.values():
            mailbox.deliver()

    def _now(self) -> str:
        """The date as receipts write it, to the second: made once a second."""
        second = int(self._loop.time())
        if second != self._second or not self._date:
            self._second = second
            self._date = datetime.now(UTC).strftime("%y%m%d%H%M%S")
        return self._date
