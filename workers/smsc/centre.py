"""The simulated message centre itself: what it knows beyond any one connection."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, Protocol

from workers.smpp import pdu
from workers.smpp.pdu import Address, ShortMessage, Status
from workers.smsc.behaviour import Behaviour, ReceiptsFor
from workers.smsc.delay_line import DelayLine
from workers.smsc.deliveries import Delivery, Mailbox, Notice, PhoneReply
from workers.smsc.endings import DELIVERED, Ending, ending_of
from workers.smsc.journal import Journal
from workers.smsc.parts import Part, part_of

REGISTERED_DELIVERY: Final = 0x03
"""registered_delivery: the bits that ask for a receipt of the message centre (5.2.17)."""
ON_FAILURE_ONLY: Final = 0x02
UNFINISHED_KEPT: Final = 100_000
"""Long messages of which segments are missing and that are to get one receipt."""
JITTER_STEPS: Final = 32
"""A random delay is one of so many, so that each has its own line."""
UNKNOWN_ID: Final = 1_000_000_000
"""How far from any id that was given out a stray receipt's id is."""


class Peer(Protocol):
    """A connection, bound or not."""

    def close(self) -> None:
        """Drop it at once."""
        ...

    def unbind(self) -> None:
        """Say goodbye, and close once that is answered."""
        ...

    def keep_time(self) -> None:
        """Begin to heed what the behaviour now says of time."""
        ...


@dataclass(slots=True)
class Counts:
    """What has happened since the start."""

    submitted: int = 0
    accepted: int = 0
    receipts: int = 0
    acknowledged: int = 0
    replies: int = 0


class Answer(NamedTuple):
    """How a submit_sm is answered."""

    status: int
    message_id: str
    delay: float | None = 0.0
    """Seconds; None: never."""
    drops: bool = False
    """Whether the connection ends here: what is not answered yet never is."""


@dataclass(slots=True)
class _Long:
    """A long message that gets one receipt: the numbers of its segments' ids, by their place."""

    ids: dict[int, int] = field(default_factory=dict)


class Centre:
    """Takes messages, decides what becomes of them, and sees to their receipts."""

    def __init__(self, behaviour: Behaviour, journal: Journal, first_id: int | None = None) -> None:
        """Begin; message ids count from `first_id`, else from a random number."""
        self.behaviour = behaviour
        self.journal = journal
        self.counts = Counts()
        self.peers: set[Peer] = set()
        self.connections = 0
        """How many there have been."""
        self.on_submit: Callable[[], None] | None = None
        """Called after each submit_sm."""
        self._mailboxes: dict[str, Mailbox] = {}
        self._turned_away: set[tuple[str, bytes]] = set()
        self._unfinished: dict[tuple[object, ...], _Long] = {}
        self._before_first = secrets.randbits(31) << 32 if first_id is None else first_id - 1
        self._loop = asyncio.get_running_loop()
        self._lines: dict[float, DelayLine[tuple[Mailbox, Delivery]]] = {}
        self._recent: deque[float] = deque()
        self._away_until = self._refusing_until = 0.0
        self._apply()

    # --- behaviour that changes -------------------------------------------------------------------

    def change(self, **changes: Any) -> None:
        """Behave differently from now on; the names are those of `Behaviour`."""
        self.behaviour = replace(self.behaviour, **changes)
        self._apply()

    def go_away(self, seconds: float) -> None:
        """Drop every connection, and each new one at once, for so long."""
        self._away_until = self._loop.time() + seconds
        self.drop_all()

    def drop_all(self) -> None:
        """Drop every connection."""
        for peer in list(self.peers):
            peer.close()

    def unbind_all(self) -> None:
        """Unbind every peer."""
        for peer in list(self.peers):
            peer.unbind()

    def refuse_binds(self, seconds: float) -> None:
        """Refuse every bind for so long."""
        self._refusing_until = self._loop.time() + seconds

    @property
    def is_away(self) -> bool:
        """Whether nobody can connect."""
        return self._loop.time() < self._away_until

    def _apply(self) -> None:
        now = self.behaviour
        self._recent = deque(self._recent, maxlen=now.rate or 1)
        self._plain_answers = not (now.response_jitter or now.silent_every or now.drop_every)
        self._plain_receipts = (
            not (now.receipt_jitter or now.receipt_first or now.stray_every)
            and now.receipt_copies == 1
            and now.receipts_for is ReceiptsFor.SEGMENT
        )
        self._line = self._line_of(now.receipt_delay)
        for peer in self.peers:
            peer.keep_time()

    # --- binds ------------------------------------------------------------------------------------

    def check(self, bind: pdu.Bind) -> int:
        """Return the command_status of the bind response."""
        wanted = self.behaviour
        if self._loop.time() < self._refusing_until:
            return Status.ESME_RBINDFAIL
        if wanted.system_id is not None and bind.system_id != wanted.system_id:
            return Status.ESME_RINVSYSID
        if wanted.password is not None and bind.password != wanted.password:
            return Status.ESME_RINVPASWD
        if wanted.max_binds is not None and self.mailbox(bind.system_id).binds >= wanted.max_binds:
            return Status.ESME_RALYBND
        return Status.ESME_ROK

    def mailbox(self, system_id: str) -> Mailbox:
        """Return the mailbox of a system_id."""
        return self._mailboxes.setdefault(system_id, Mailbox(system_id))

    # --- messages ---------------------------------------------------------------------------------

    def accept(self, mailbox: Mailbox, connection: int, message: ShortMessage, sequence: int) -> Answer:
        """Decide about a submit_sm: its command_status, its id if accepted, and how to answer."""
        ending = ending_of(message.destination.digits)
        self.counts.submitted += 1
        status = self._status(ending, message)
        message_id = ""
        if status == Status.ESME_ROK:
            self.counts.accepted += 1
            number = self._before_first + self.counts.accepted
            message_id = self.behaviour.ids.write(number)
            self._promise(mailbox, message, number, message_id, ending)
        self.journal.submit(
            mailbox.system_id, connection, message, sequence, status, message_id, self.behaviour.alphabet
        )
        if self.on_submit is not None:
            self.on_submit()
        if ending is DELIVERED and self._plain_answers:
            return Answer(status, message_id)
        return self._answer(status, message_id, ending)

    def try_again(self, mailbox: Mailbox, delivery: Delivery) -> None:
        """Send a receipt or a reply once more, later."""
        self._line_of(self.behaviour.resend_after).put((mailbox, delivery))

    def _status(self, ending: Ending, message: ShortMessage) -> int:
        behaviour = self.behaviour
        if behaviour.rate is not None:
            now = self._loop.time()
            if len(self._recent) == behaviour.rate and now - self._recent[0] < 1.0:
                return Status.ESME_RTHROTTLED
            self._recent.append(now)
        for refusal in behaviour.refuse_every:
            if self.counts.submitted % refusal.every == 0:
                return refusal.status
        if ending is DELIVERED:
            return Status.ESME_ROK
        if ending.first_status:
            key = (message.destination.digits, message.payload)
            if key not in self._turned_away:
                self._turned_away.add(key)
                return ending.first_status
            self._turned_away.discard(key)
        return ending.status_of(last_of_several=part_of(message).last_of_several)

    def _answer(self, status: int, message_id: str, ending: Ending) -> Answer:
        behaviour, count = self.behaviour, self.counts.submitted
        if behaviour.drop_every and count % behaviour.drop_every == 0:
            return Answer(status, message_id, drops=True)
        if behaviour.silent_every and count % behaviour.silent_every == 0:
            return Answer(status, message_id, None)
        if not ending.answered and status == Status.ESME_ROK:
            return Answer(status, message_id, None, ending.disconnects)
        return Answer(status, message_id, ending.response_delay + _jittered(behaviour.response_jitter))

    # --- what is delivered ------------------------------------------------------------------------

    def _promise(
        self, mailbox: Mailbox, message: ShortMessage, number: int, message_id: str, ending: Ending
    ) -> None:
        asked = message.registered_delivery & REGISTERED_DELIVERY
        if ending is DELIVERED and self._plain_receipts and asked != ON_FAILURE_ONLY:
            if asked:
                self._line.put((mailbox, self._notice(message, number, message_id, "DELIVRD", "000")))
            return
        delay = self.behaviour.receipt_delay + ending.receipt_delay
        part = part_of(message)
        about = self._about(mailbox, message, number, part, ending)
        stats = ending.stats_of(last_of_several=part.last_of_several) if asked and about is not None else ()
        for stat in stats:
            if asked == ON_FAILURE_ONLY and stat == "DELIVRD":
                continue
            written = message_id if about == number else self.behaviour.ids.write(about or number)
            for _ in range(self.behaviour.receipt_copies):
                notice = self._notice(message, about or number, written, stat, ending.err)
                self._deliver_later(mailbox, notice, delay, ending)
            if self.behaviour.stray_every and self.counts.accepted % self.behaviour.stray_every == 0:
                self._stray(mailbox, message, number, delay)
        if ending.reply and part.number == part.total:
            self._line_of(delay).put((mailbox, PhoneReply(message, ending.reply)))

    def _notice(
        self, message: ShortMessage, number: int, message_id: str, stat: str, err: str, *, stray: bool = False
    ) -> Notice:
        form = self.behaviour.receipt_ids
        written = message_id if form is None else form.write(number)
        submitted_at = int(time.time())
        return Notice(message_id, written, message, message.destination, stat, err, submitted_at, stray)

    def _about(
        self, mailbox: Mailbox, message: ShortMessage, number: int, part: Part, ending: Ending
    ) -> int | None:
        """The number of the id that a receipt bears now; None: it waits for the message's other segments."""
        wanted = self.behaviour.receipts_for
        if part.total == 1 or (wanted is ReceiptsFor.SEGMENT and not ending.once):
            return number
        key = (mailbox.system_id, message.source, message.destination, part.reference, part.total)
        long = self._unfinished.setdefault(key, _Long())
        long.ids[part.number] = number
        if len(long.ids) < part.total:
            if len(self._unfinished) > UNFINISHED_KEPT:
                self._unfinished.pop(next(iter(self._unfinished)))
            return None
        del self._unfinished[key]
        return long.ids[1 if wanted is ReceiptsFor.FIRST else part.total]

    def _deliver_later(self, mailbox: Mailbox, notice: Notice, delay: float, ending: Ending) -> None:
        if ending.receipt_first or self.behaviour.receipt_first:
            self._post([(mailbox, notice)])
        else:
            self._line_of(delay + _jittered(self.behaviour.receipt_jitter)).put((mailbox, notice))

    def _stray(self, mailbox: Mailbox, message: ShortMessage, number: int, delay: float) -> None:
        """Two receipts to be matched with nothing: an id never given out, and this id with another number."""
        unknown = number + UNKNOWN_ID
        nowhere = self._notice(
            message, unknown, self.behaviour.ids.write(unknown), "UNDELIV", "099", stray=True
        )
        elsewhere = self._notice(
            message, number, self.behaviour.ids.write(number), "UNDELIV", "099", stray=True
        )
        ton, npi, digits = message.destination
        elsewhere.number = Address(ton, npi, f"{digits[:-1]}{(int(digits[-1]) + 1) % 10}")
        for notice in (nowhere, elsewhere):
            self._line_of(delay).put((mailbox, notice))

    def _line_of(self, delay: float) -> DelayLine[tuple[Mailbox, Delivery]]:
        line = self._lines.get(delay)
        if line is None:
            line = self._lines[delay] = DelayLine(delay, self._post)
        return line

    def _post(self, deliveries: list[tuple[Mailbox, Delivery]]) -> None:
        now = int(time.time())
        mailboxes = {}
        for mailbox, delivery in deliveries:
            delivery.done_at = delivery.done_at or now
            mailbox.waiting.append(delivery)
            mailboxes[mailbox.system_id] = mailbox
        for mailbox in mailboxes.values():
            mailbox.deliver()


def _jittered(most: float) -> float:
    """Up to `most`, in steps."""
    return most * random.randrange(JITTER_STEPS) / (JITTER_STEPS - 1) if most else 0.0  # noqa: S311 - no secret
