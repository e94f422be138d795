"""A gateway without a network: everything is taken, and the numbers' endings decide what becomes of it."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, TypeVar

import structlog

from domain.ports import (
    Handover,
    Inbound,
    InboundSink,
    Link,
    Outcome,
    Receipt,
    Reply,
    SegmentHandover,
    Submission,
)
from workers.gateways import urls
from workers.smpp.receipt_text import state_of
from workers.smsc.delay_line import DelayLine
from workers.smsc.endings import Ending, ending_of

log = structlog.get_logger()

BATCH: Final = 500
SINK_PAUSE: Final = 1.0
"""Seconds to leave a sink alone that has failed."""

PARAMETERS: Final = {
    "window": urls.whole(1, 100_000),
    "delay": urls.number(0, 60),
    "receipt_delay": urls.number(0, 3600),
}

T = TypeVar("T")
_Answer = tuple[asyncio.Future[Handover], Handover, Ending, list[Inbound]]


class SimulatorGateway:
    """`domain.ports.Gateway` inside this process; what it has not told yet is lost with the process.

    An ending that throttles the first time looks like success here, as it does behind the SMPP gateway, which
    tries again by itself; one that is never answered is in doubt at once, without the wait for a response.
    """

    def __init__(
        self, name: str, *, window: int = 1000, delay: float = 0.05, receipt_delay: float = 0.2
    ) -> None:
        """`delay` until a message is accepted and `receipt_delay` from then to its receipt, in seconds."""
        self.name = name
        self.link = Link.UP
        self.window = window
        self.rate = float("inf")
        self._delay = delay
        self._receipt_delay = receipt_delay
        self._ids = secrets.token_hex(4)
        self._count = 0
        self._waiting: deque[Inbound] = deque()
        self._arrived = asyncio.Event()
        self._sink: InboundSink | None = None
        self._answers: dict[float, DelayLine[_Answer]] = {}
        self._receipts: dict[float, DelayLine[Inbound]] = {}
        self._feeder: asyncio.Task[None] | None = None

    @classmethod
    def from_url(cls, url: urls.GatewayUrl) -> SimulatorGateway:
        """Make a gateway of `simulator://?…`. Raises ValueError."""
        if url.host or url.username or url.password or url.port is not None:
            url.refuse("simulator:// takes no host and no credentials")
        return cls(url.name, **url.read(PARAMETERS))

    async def start(self, inbound: InboundSink) -> None:
        """Begin; receipts go to `inbound` in batches."""
        self._sink = inbound
        self._feeder = asyncio.create_task(self._feed(), name=f"receipts {self.name}")

    async def ready(self) -> None:
        """Return at once: there is always room."""

    def submit(self, submission: Submission) -> asyncio.Future[Handover]:
        """Take one message. The future ends in its `Handover` after the delay."""
        future: asyncio.Future[Handover] = asyncio.get_running_loop().create_future()
        if self._feeder is None:
            unknown = (SegmentHandover(None),) * len(submission.content.segments)
            future.set_result(Handover(Outcome.NOT_HANDED_OVER, unknown))
            return future
        ending = ending_of(submission.number)
        ids = [self._next_id() for _ in submission.content.segments]
        handover, inbound = _handover(ids, ending), _inbound(submission, ids, ending)
        if ending.receipt_first:
            self._queue(inbound)
            inbound = []
        line = _line(self._answers, self._delay + ending.response_delay, self._answer)
        line.put((future, handover, ending, inbound))
        return future

    async def close(self, within: float = 5.0) -> None:  # noqa: ARG002 - nothing is waited for
        """Answer what was submitted, and give the sink the receipts that are still to come, without delay."""
        if self._feeder is None:
            return
        feeder, self._feeder = self._feeder, None
        for answers in self._answers.values():
            self._answer(answers.take_all())
        for receipts in self._receipts.values():
            self._queue(receipts.take_all())
        feeder.cancel()
        await asyncio.gather(feeder, return_exceptions=True)
        while self._waiting and await self._pass_on():
            pass

    def _next_id(self) -> str:
        self._count += 1
        return f"{self._ids}{self._count:08x}"

    def _answer(self, answers: list[_Answer]) -> None:
        for future, handover, ending, inbound in answers:
            if not future.done():
                future.set_result(handover)
            line = _line(self._receipts, self._receipt_delay + ending.receipt_delay, self._queue)
            for said in inbound:
                line.put(said)

    def _queue(self, receipts: list[Inbound]) -> None:
        self._waiting.extend(receipts)
        self._arrived.set()

    async def _feed(self) -> None:
        while True:
            await self._arrived.wait()
            if not await self._pass_on():
                await asyncio.sleep(SINK_PAUSE)

    async def _pass_on(self) -> bool:
        """Give one batch to the sink; receipts leave the line only when it has stored them."""
        now = datetime.now(UTC)
        batch = [self._waiting[at] for at in range(min(BATCH, len(self._waiting)))]
        try:
            if self._sink is not None:
                await self._sink([replace(said, received_at=now) for said in batch])
        except Exception:
            log.exception("receipts_not_stored", gateway=self.name, receipts=len(batch))
            return False
        for _ in batch:
            self._waiting.popleft()
        if not self._waiting:
            self._arrived.clear()
        return True


def _line(lines: dict[float, DelayLine[T]], delay: float, handle: Callable[[list[T]], None]) -> DelayLine[T]:
    """The line for what comes so much later."""
    return lines.get(delay) or lines.setdefault(delay, DelayLine(delay, handle))


def _handover(ids: list[str], ending: Ending) -> Handover:
    if not ending.answered:
        return Handover(Outcome.IN_DOUBT, (SegmentHandover(None),) * len(ids))
    segments = tuple(
        SegmentHandover(None, f"0x{status:08X}") if status else SegmentHandover(message_id)
        for message_id, status in zip(ids, _statuses(ids, ending), strict=True)
    )
    refused = any(segment.error_code for segment in segments)
    return Handover(Outcome.REFUSED if refused else Outcome.ACCEPTED, segments)


def _statuses(ids: list[str], ending: Ending) -> list[int]:
    return [ending.status_of(last_of_several=_is_last(at, ids)) for at in range(len(ids))]


def _inbound(submission: Submission, ids: list[str], ending: Ending) -> list[Inbound]:
    """The receipts to come, and then the reply; the moment they are received is not known yet."""
    not_yet = datetime.min.replace(tzinfo=UTC)
    accepted = [at for at, status in enumerate(_statuses(ids, ending)) if not status]
    once = ending.once and len(ids) > 1
    said: list[Inbound] = [
        Receipt(ids[at], submission.number, state_of(stat), stat, ending.err, not_yet, whole_message=once)
        for at in ([len(ids) - 1] if once else accepted)
        for stat in ending.stats_of(last_of_several=_is_last(at, ids))
    ]
    if ending.reply:
        said.append(Reply(submission.number, submission.sender, ending.reply, not_yet))
    return said


def _is_last(at: int, ids: list[str]) -> bool:
    return at == len(ids) - 1 > 0
