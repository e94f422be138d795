"""Where a gateway's receipts go: committed before they are acknowledged, applied right after."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from domain import db, receipts
from domain.ports import Inbound, Receipt
from workers.announcer import Announcer

log = structlog.get_logger()


class StoredReceipts:
    """Stores receipts for one gateway and applies them in the background, in batches."""

    def __init__(self, gateway: str, *, shard: int, announcer: Announcer) -> None:
        self._gateway = gateway
        self._shard = shard
        self._announcer = announcer
        self._stored: list[int] = []
        self._arrived = asyncio.Event()

    async def take(self, batch: Sequence[Inbound]) -> None:
        """Commit receipts; a `domain.ports.InboundSink`. Raises what the database raises."""
        self._stored += await receipts.store(
            self._gateway, [inbound for inbound in batch if isinstance(inbound, Receipt)]
        )
        self._arrived.set()

    async def run(self) -> None:
        """Apply what was stored, for ever. What a failure leaves behind, the sweep applies."""
        while True:
            await self._arrived.wait()
            await self.apply()

    async def apply(self) -> None:
        """Apply everything stored so far."""
        self._arrived.clear()
        stored, self._stored = self._stored, []
        if not stored:
            return
        try:
            self._announcer.changed(*await receipts.apply_stored(stored, self._shard))
        except db.UNAVAILABLE as error:
            log.warning("receipts_left_for_sweep", count=len(stored), error=str(error))
