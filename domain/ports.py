"""What the domain asks of the world around it: a clock, a gateway, a doorbell. Adapters implement these."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol, TypeAlias

from domain.segments import Content


class Clock(Protocol):
    """Time as a process sees it. What decides races is the database's clock, not this one."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Submission:
    """One message to be handed to a gateway: the task's content, for one number."""

    content: Content
    number: str
    """E.164 with its plus sign."""
    sender: str
    """What the phone shows as the sender; may be empty."""
    not_after: float = float("inf")
    """The moment, on the monotonic clock, after which nothing of it may be put on the wire."""
    begin_by: float = float("inf")
    """The moment, on the monotonic clock, after which it is to be given back unless a part of it has left."""
    references: tuple[int, ...] = ()
    """A 16-bit reference for each segment, which some carriers echo in receipts; see `domain.references`."""
    signature: str | None = None
    """The name of its signature, for platforms that put it into the text themselves."""
    external_template_id: str | None = None
    """What the platform calls its template, for platforms that send only their own."""


class Outcome(Enum):
    """What is known about a message after it was given to a gateway."""

    ACCEPTED = "accepted"
    """Every segment was accepted by the message centre."""
    REFUSED = "refused"
    """At least one segment was refused for good."""
    NOT_HANDED_OVER = "not handed over"
    """It cannot have reached the message centre, or was told to try again later: safe to send again."""
    IN_DOUBT = "in doubt"
    """It may or may not have reached the message centre: never send it again by guess."""


@dataclass(frozen=True, slots=True)
class SegmentHandover:
    """What the message centre said of one segment."""

    gateway_message_id: str | None
    """The id its receipts will carry; None if it was not accepted or is in doubt."""
    error_code: str | None = None
    """Why it was refused: the SMPP command_status as `0x%08X`, or the gateway's own code."""


@dataclass(frozen=True, slots=True)
class Handover:
    """What became of a `Submission`: one entry a segment, in order, whatever the outcome."""

    outcome: Outcome
    segments: tuple[SegmentHandover, ...] = ()
    retry_after: float = 0.0
    """Seconds to wait before sending again, for NOT_HANDED_OVER."""


class ReceiptState(Enum):
    """What a delivery receipt says, reduced to what moves a result."""

    DELIVERED = "delivered"
    FAILED = "failed"
    NOT_FINAL = "not final"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A delivery receipt, as the message centre sent it."""

    gateway_message_id: str
    number: str
    """E.164 with its plus sign, as far as the message centre gave it."""
    state: ReceiptState
    status: str
    """The raw state, such as DELIVRD or UNDELIV."""
    error_code: str | None
    """The raw `err:` field, or None."""
    received_at: datetime
    """UTC: the message centre's done date where it is sane, else the moment we received it."""
    submitted_at: datetime | None = None
    """UTC: when the message centre says it was submitted, to the minute or the second."""
    sender: str | None = None
    """The sender it was sent with, as far as the message centre says."""
    reference: int | None = None
    """The segment's reference, where the message centre echoes it."""
    segment: int | None = None
    """Which segment it is about, from 1, where several have the same id; None: all of that id."""
    whole_message: bool = False
    """Whether it speaks for all segments of the message, whichever of their ids it bears."""
    same_id: bool = False
    """Whether its id is certainly written as the answer to the submit had it; see `domain.gateway_ids`."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A message from a phone."""

    number: str
    """E.164 with its plus sign, as far as the message centre gave it."""
    destination: str
    """The sender it answers."""
    text: str
    received_at: datetime
    """UTC."""


Inbound: TypeAlias = Receipt | Reply
InboundSink = Callable[[Sequence[Inbound]], Awaitable[None]]
"""Stores what came in; when it returns that is committed, and only then may it be acknowledged."""


class Link(Enum):
    """How a gateway stands with the other side."""

    UP = "up"
    """What is given to it now goes out, as far as is known."""
    STANDING_BY = "standing by"
    """Other workers hold all connections that there may be; it gets one when they go."""
    DOWN = "down"
    """It tries to connect, or is told to come back later."""


class Gateway(Protocol):
    """A way out to the phones. One object a process and gateway name."""

    name: str

    @property
    def link(self) -> Link:
        """How it stands with the other side, as of now."""
        ...

    @property
    def window(self) -> int:
        """How many messages may be given to it and not yet be settled, as of now."""
        ...

    @property
    def rate(self) -> float:
        """Segments it puts on the wire in a second at most, as of now; infinite if nothing holds it back."""
        ...

    async def start(self, inbound: InboundSink) -> None:
        """Begin connecting, in the background; returns at once. `inbound` gets what comes in, in batches."""
        ...

    async def ready(self) -> None:
        """Return when a message given now could be put on the wire at once."""
        ...

    def submit(self, submission: Submission) -> asyncio.Future[Handover]:
        """Put one message on the wire. The future always ends in a `Handover`, never in an exception."""
        ...

    async def close(self, within: float = 5.0) -> None:
        """Wait up to `within` seconds for what is in flight, say goodbye, disconnect.

        Every future has ended then: what has no answer yet is in doubt.
        """
        ...


class Doorbell(Protocol):
    """Rings for the workers and tells subscribers that something changed.

    It may be out of order: whatever it announces is found without it, some seconds later.
    """

    async def task_changed(self, account_id: int, task_id: int) -> None:
        """Hint that a task has changed. Never raises."""
        ...

    async def task_due(self, task_id: int, send_at: datetime) -> None:
        """Ask for the task to be started at `send_at`. Never raises."""
        ...
