"""Receipts and replies on their way to the sink.

They are collected in batches, acknowledged only when the sink has stored them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime, tzinfo
from typing import Final

import structlog

from domain.ports import Clock, Inbound, InboundSink
from workers.smpp import pdu
from workers.smpp.pdu import Frame, ShortMessage, Status
from workers.smpp.receipt_options import AS_THEY_COME, ReceiptOptions
from workers.smpp.receipt_text import UnusableReceipt, read_deliver_sm
from workers.smpp.session import Session
from workers.smpp.submit_options import Alphabet

log = structlog.get_logger()

BATCH: Final = 500
FULL: Final = 10_000
"""Receipts that may wait for the sink; beyond that the centre is told to try again later."""
SINK_PAUSE: Final = 1.0
"""Seconds to leave a sink alone that has failed."""


class ReceiptQueue:
    """Takes deliver_sm from any number of sessions and gives what they say to one sink, in batches."""

    def __init__(
        self,
        name: str,
        sink: InboundSink,
        clock: Clock,
        zone: tzinfo,
        alphabet: Alphabet,
        options: ReceiptOptions = AS_THEY_COME,
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._zone = zone
        self._alphabet = alphabet
        self._options = options
        self._waiting: deque[tuple[Session, int, Inbound]] = deque()
        self._arrived = asyncio.Event()
        self._passing_on = asyncio.Lock()
        self._log = log.bind(gateway=name)

    def take(self, session: Session, frame: Frame) -> None:
        """Read one deliver_sm and queue it; answer at once what cannot be read."""
        sequence = frame.sequence_number
        try:
            message = ShortMessage.decode(frame.body)
            said = read_deliver_sm(message, datetime.now(UTC), self._zone, self._alphabet, self._options)
        except (pdu.BadBody, UnusableReceipt) as error:
            self._log.warning("smpp_deliver_sm_unusable", reason=str(error))
            session.acknowledge(
                sequence, Status.ESME_RX_P_APPN
            )  # permanent: sent again it would be no better
            return
        if len(self._waiting) >= FULL:
            session.acknowledge(sequence, Status.ESME_RX_T_APPN)
        else:
            self._waiting.append((session, sequence, said))
            self._arrived.set()

    async def run(self) -> None:
        """Feed the sink until cancelled."""
        while True:
            await self._arrived.wait()
            if not await self._pass_on():
                await self._clock.sleep(SINK_PAUSE)

    async def drain(self) -> None:
        """Pass on what is waiting now. Stops at the first failure: the centre will send the rest again."""
        while await self._pass_on() and self._waiting:
            pass

    async def _pass_on(self) -> bool:
        """Give one batch to the sink and answer the centre. Returns whether the sink took it."""
        async with self._passing_on:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            if not self._waiting:
                self._arrived.clear()
            if not batch:
                return True
            status = Status.ESME_ROK
            try:
                await self._sink([said for _, _, said in batch])
            except Exception:  # noqa: BLE001
                self._log.exception("receipts_not_stored", receipts=len(batch))
                status = Status.ESME_RX_T_APPN
            for session, sequence, _ in batch:
                session.acknowledge(sequence, status)
            return status == Status.ESME_ROK


def masked(number: str) -> str:
    """A number as logs may show it: where it belongs to, not whose it is."""
    return number[:5] + "*" * (len(number) - 5)
