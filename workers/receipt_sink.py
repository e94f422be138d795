"""Where a gateway's receipts and replies go: committed before they are acknowledged, applied right after."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

import structlog

from domain import db, metrics, receipts, replies, tracing
from domain.ports import Inbound, Receipt, Reply
from workers.announcer import Announcer

log = structlog.get_logger()

BATCH = 2000
"""Receipts, or ids of segments, that are applied at once at most."""


class StoredReceipts:
    """Stores receipts and replies of one gateway, and applies receipts in the background, in batches."""

    def __init__(
        self, gateway: str, *, shard: int, announcer: Announcer, opt_out_words: Collection[str]
    ) -> None:
        """`opt_out_words` are as `domain.opt_out_words.plain` makes them."""
        self._gateway = gateway
        self._opt_out_words = frozenset(opt_out_words)
        self._shard = shard
        self._announcer = announcer
        self._stored: list[int] = []
        self._settled: list[str] = []
        self._arrived = asyncio.Event()

    async def take(self, batch: Sequence[Inbound]) -> None:
        """Commit receipts and replies; a `domain.ports.InboundSink`. Raises what the database raises."""
        with (
            metrics.RECEIPT_STORE_SECONDS.labels(self._gateway).time(),
            tracing.span("store receipts", gateway=self._gateway, receipts=len(batch)),
        ):
            await self._store(batch)
        metrics.came_in(self._gateway, batch)

    def settled(self, gateway_message_ids: Sequence[str]) -> None:
        """Have receipts applied that came before their segment, one of these, was stored."""
        self._settled += gateway_message_ids
        self._arrived.set()

    async def _store(self, batch: Sequence[Inbound]) -> None:
        # Receipts first: if the replies fail, all come again, and a receipt that comes twice does no harm.
        if reported := [inbound for inbound in batch if isinstance(inbound, Receipt)]:
            stored = await receipts.store(self._gateway, reported)
            self._stored += stored
            self._arrived.set()
        if replied := [inbound for inbound in batch if isinstance(inbound, Reply)]:
            await self._store_replies(replied)

    async def _store_replies(self, replied: Sequence[Reply]) -> None:
        stored = await replies.store(self._gateway, replied, self._opt_out_words)
        if stored.opted_out:
            log.info("numbers_opted_out", gateway=self._gateway, count=stored.opted_out)
        if stored.for_nobody:
            log.warning(
                "replies_for_no_account",
                gateway=self._gateway,
                count=len(stored.for_nobody),
                senders=sorted({reply.destination for reply in stored.for_nobody})[:10],
            )

    async def run(self) -> None:
        """Apply what was stored, for ever. What a failure leaves behind, the sweep applies."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            await self.apply()

    async def apply(self) -> None:
        """Apply everything stored so far."""
        while self._stored or self._settled:
            stored, self._stored = self._stored[:BATCH], self._stored[BATCH:]
            settled, self._settled = self._settled[:BATCH], self._settled[BATCH:]
            await self._apply(stored, settled)

    async def _apply(self, stored: Sequence[int], settled: Sequence[str]) -> None:
        try:
            with (
                metrics.RECEIPT_APPLY_SECONDS.labels(self._gateway).time(),
                tracing.span("apply receipts", gateway=self._gateway, receipts=len(stored)),
            ):
                self._announcer.changed(*await receipts.apply_stored(stored, self._shard))
                self._announcer.changed(*await receipts.apply_waiting(settled, self._shard))
        except db.UNAVAILABLE as error:
            log.warning("receipts_left_for_sweep", count=len(stored) + len(settled), error=str(error))
