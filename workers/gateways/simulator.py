"""A gateway without a network: everything is taken, and the numbers' endings decide what becomes of it."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from datetime import UTC, datetime
from typing import Final

import structlog

from domain.ports import Handover, InboundSink, Outcome, Receipt, SegmentHandover, Submission
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

_Answer = tuple[asyncio.Future[Handover], Handover, list[Receipt]]


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
        self.window = window
        self.rate = float("inf")
        self._delay = delay
        self._receipt_delay = receipt_delay
        self._ids = secrets.token_hex(4)
        self._count = 0
        self._waiting: deque[Receipt] = deque()
        self._arrived = asyncio.Event()
        self._sink: InboundSink | None = None
        self._answers: DelayLine[_Answer] | None = None
        self._receipts: DelayLine[Receipt] | None = None
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
        self._answers = DelayLine(self._delay, self._answer)
        self._receipts = DelayLine(self._receipt_delay, self._queue)
        self._feeder = asyncio.create_task(self._feed(), name=f"receipts {self.name}")

    async def ready(self) -> None:
        """Return at once: there is always room."""

    def submit(self, submission: Submission) -> asyncio.Future[Handover]:
        """Take one message. The future ends in its `Handover` after the delay."""
        future: asyncio.Future[Handover] = asyncio.get_running_loop().create_future()
        if self._answers is None:
            unknown = (SegmentHandover(None),) * len(submission.content.segments)
            future.set_result(Handover(Outcome.NOT_HANDED_OVER, unknown))
            return future
        ending = ending_of(submission.number)
        ids = [self._next_id() for _ in submission.content.segments]
        receipts = [] if ending.status else _receipts(submission.number, ids, ending)
        self._answers.put((future, _handover(ids, ending), receipts))
        return future

    async def close(self, within: float = 5.0) -> None:  # noqa: ARG002 - nothing is waited for
        """Answer what was submitted, and give the sink the receipts that are still to come, without delay."""
        if self._answers is None or self._receipts is None or self._feeder is None:
            return
        self._answer(self._answers.take_all())
        self._queue(self._receipts.take_all())
        self._answers = None
        self._feeder.cancel()
        await asyncio.gather(self._feeder, return_exceptions=True)
        while self._waiting and await self._pass_on():
            pass

    def _next_id(self) -> str:
        self._count += 1
        return f"{self._ids}{self._count:08x}"

    def _answer(self, answers: list[_Answer]) -> None:
        for future, handover, receipts in answers:
            if not future.done():
                future.set_result(handover)
            for receipt in receipts:
                if self._receipts is not None:
                    self._receipts.put(receipt)

    def _queue(self, receipts: list[Receipt]) -> None:
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
                await self._sink([_received(receipt, now) for receipt in batch])
        except Exception:
            log.exception("receipts_not_stored", gateway=self.name, receipts=len(batch))
            return False
        for _ in batch:
            self._waiting.popleft()
        if not self._waiting:
            self._arrived.clear()
        return True


def _handover(ids: list[str], ending: Ending) -> Handover:
    if ending.status:
        refused = SegmentHandover(None, f"0x{ending.status:08X}")
        return Handover(Outcome.REFUSED, (refused,) * len(ids))
    if not ending.answered:
        return Handover(Outcome.IN_DOUBT, (SegmentHandover(None),) * len(ids))
    return Handover(Outcome.ACCEPTED, tuple(SegmentHandover(message_id) for message_id in ids))


def _receipts(number: str, ids: list[str], ending: Ending) -> list[Receipt]:
    """The receipts to come; the moment they are received is not known yet."""
    not_yet = datetime.min.replace(tzinfo=UTC)
    return [
        Receipt(message_id, number, state_of(stat), stat, ending.err, not_yet)
        for stat in ending.stats
        for message_id in ids
    ]


def _received(receipt: Receipt, now: datetime) -> Receipt:
    return Receipt(
        receipt.gateway_message_id, receipt.number, receipt.state, receipt.status, receipt.error_code, now
    )
