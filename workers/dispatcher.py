"""The loop that empties the tasks of one gateway: claim, mark, submit, settle.

A slot is held for every message from its mark until its settlement is committed, so a crash leaves at most
`gateway.window` messages in doubt. Several tasks share the gateway; see `workers.turns`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar
from uuid import uuid4

import structlog

from domain import dispatch
from domain.dispatch import LEASE, Settlement
from domain.ports import Clock, Gateway, Handover, Outcome, Submission
from domain.references import references_of
from domain.tracing import working_on
from workers import metrics
from workers.announcer import Announcer
from workers.chunk import HeldChunk
from workers.patience import Patience
from workers.turns import Turns

log = structlog.get_logger()

T = TypeVar("T")

ENOUGH_HELD = 2
"""Chunks with something to send that are held at least, so that one is at hand when another is empty."""
MOST_HELD = 64
"""Chunks with something to send that are held at most, for so many tasks to take turns."""
LOOK_AGAIN = 1.0
"""Seconds after which to look for work without a hint."""
GIVE_BACK_AFTER = 3.0
"""Seconds the gateway may be away before others are given what this process holds."""
PACED_AHEAD = 0.5
"""Seconds of its rate that a gateway is given at once: it cannot be told to stop what it was given."""
BEGUN_WITHIN = 0.75
"""Seconds a message may wait in a gateway that was throttled meanwhile: the task may be paused by then."""


class Dispatcher:
    """Sends the running tasks of one gateway from this process. It is run once."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        shard: int,
        clock: Clock,
        announcer: Announcer,
        on_settled: Callable[[Sequence[str]], None],
    ) -> None:
        """`shard` says which counters it adds to; `on_settled` is told the gateway's ids of what was stored.

        Receipts may have come before that.
        """
        self._gateway = gateway
        self._shard = shard
        self._clock = clock
        self._announcer = announcer
        self._on_settled = on_settled
        self._held: list[HeldChunk] = []
        self._answers: list[tuple[HeldChunk, int, Handover]] = []
        self._answered = asyncio.Event()
        self._unsettled = 0
        self._progress = asyncio.Event()
        self._work = asyncio.Event()
        """There is something to send, or it is time to stop."""
        self._look = asyncio.Event()
        """There may be something to claim."""
        self._can_send = asyncio.Event()
        """The gateway is not away."""
        self._stopped = asyncio.Event()
        self._turns = Turns()
        self._last_task = 0
        self._send_again_at = float("-inf")
        self._patience = Patience(gateway.name, clock)

    @property
    def unsettled(self) -> int:
        """How many messages are under way, or not yet settled."""
        return self._unsettled

    @property
    def chunks(self) -> int:
        """How many chunks it holds."""
        return len(self._held)

    def look(self) -> None:
        """There may be work."""
        self._look.set()

    def stop(self) -> None:
        """Send nothing more; `run` returns when what is under way is settled and the rest is given back."""
        self._stopped.set()
        self._look.set()
        self._can_send.set()
        self._work.set()
        self._progress.set()

    async def run(self) -> None:
        """Send until `stop`."""
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(self._settle_for_ever()),
                group.create_task(self._renew_for_ever()),
            ]
            claiming = group.create_task(self._claim_until_stopped())
            await self._send_until_stopped()
            await claiming
            while any(not chunk.idle and not chunk.lost for chunk in self._held):
                await self._wait_for_progress()
            for chunk in list(self._held):
                await self._release(chunk)
            for task in background:
                task.cancel()

    async def _send_until_stopped(self) -> None:
        while not self._stopped.is_set():
            self._work.clear()
            await self._until_ready_or_stopped()
            chunk = await self._next_chunk()
            if chunk is None:
                await self._work.wait()
            elif await self._slots_free():
                with working_on(chunk.claim.task_id, "send window", gateway=self._gateway.name):
                    await self._send_window(chunk)

    async def _until_ready_or_stopped(self) -> None:
        waits = [
            asyncio.ensure_future(wait)
            for wait in (self._gateway.ready(), self._send_again(), self._stopped.wait())
        ]
        ready, rested, stopped = waits
        try:
            while not stopped.done() and not (ready.done() and rested.done()):
                undone = [wait for wait in waits if not wait.done()]
                done, _ = await asyncio.wait(
                    undone, timeout=GIVE_BACK_AFTER, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    self._can_send.clear()
                    await self._release_idle()
            self._can_send.set()
        finally:
            for wait in waits:
                wait.cancel()

    async def _send_again(self) -> None:
        if (rest := self._send_again_at - self._clock.monotonic()) > 0:
            await self._clock.sleep(rest)

    async def _next_chunk(self) -> HeldChunk | None:
        """A chunk of the task whose turn it is, or None if there is nothing to send."""
        for chunk in [chunk for chunk in self._held if chunk.idle and not chunk.sendable]:
            await self._conclude(chunk)
        sendable = self._sendable()
        first: dict[int, HeldChunk] = {}
        for chunk in sendable:
            first.setdefault(chunk.claim.task_id, chunk)
        if not first:
            return None
        return first[self._turns.next({task_id: self._turn(chunk) for task_id, chunk in first.items()})]

    def _sendable(self) -> list[HeldChunk]:
        return [chunk for chunk in self._held if chunk.sendable]

    def _turn(self, chunk: HeldChunk) -> int:
        """How many submits are given to the gateway if it is this chunk's turn."""
        return min(self._most(chunk), len(chunk.waiting)) * len(chunk.claim.content.segments)

    async def _claim_until_stopped(self) -> None:
        """Hold a chunk of any task while few are held, and one of each of the others if there are any.

        Beside the sending, for a gateway must not wait until all tasks have been looked at.
        """
        while not self._stopped.is_set():
            await self._can_send.wait()
            self._look.clear()
            sendable = self._sendable()
            few = len(sendable) < ENOUGH_HELD
            but_not = frozenset() if few else frozenset(chunk.claim.task_id for chunk in sendable)
            if len(sendable) >= MOST_HELD or not await self._until_stopped(partial(self._claim, but_not)):
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_AGAIN):
                        await self._look.wait()

    async def _claim(self, but_not: frozenset[int]) -> bool:
        """Claim a chunk of the next task that is not among `but_not`, if there is one."""
        task_ids = await dispatch.waiting_tasks(self._gateway.name)
        for task_id in sorted(task_ids, key=lambda task_id: (task_id <= self._last_task, task_id)):
            if task_id in but_not:
                continue
            asked_at = self._clock.monotonic()
            claim = await dispatch.claim(task_id, uuid4())
            if claim is None:
                continue
            self._last_task = task_id
            if not claim.numbers:
                await dispatch.finish(claim)
                self._announcer.changed(task_id)
                continue
            self._held.append(HeldChunk(claim, asked_at))
            self._work.set()
            return True
        return False

    @property
    def _free(self) -> int:
        """How many slots are free as of now: the gateway's window follows the binds that it holds."""
        return self._gateway.window - self._unsettled

    async def _slots_free(self) -> bool:
        """Wait until a fair part of the window is free, so that one mark serves many messages."""
        enough = max(1, self._gateway.window // 4)
        while self._free < enough and not self._stopped.is_set():
            await self._wait_for_progress()
        return not self._stopped.is_set()

    async def _wait_for_progress(self) -> None:
        self._progress.clear()
        await self._progress.wait()

    async def _send_window(self, chunk: HeldChunk) -> None:
        async with chunk.marking:
            positions = chunk.take(self._most(chunk), self._clock.monotonic()) if chunk.sendable else []
            if positions and not await self._mark(chunk, max(positions[-1], chunk.marked)):
                chunk.give_back(positions)
                positions = []
        if not chunk.sendable:
            # Another of its task is to be at hand for its next turn, or it gets less than its share.
            self._look.set()
        if not positions:
            await self._conclude(chunk)
            return
        if self._clock.monotonic() >= chunk.lease_ends:
            chunk.give_back(positions)
            self._lose(chunk)
            return
        self._unsettled += len(positions)
        self._turns.gave(chunk.claim.task_id, len(positions) * len(chunk.claim.content.segments))
        begin_by = self._clock.monotonic() + BEGUN_WITHIN
        claim = chunk.claim
        for position in positions:
            submission = Submission(
                claim.content,
                claim.numbers[position],
                claim.sender,
                not_after=chunk.lease_ends,
                begin_by=begin_by,
                references=references_of(claim.task_id, position, len(claim.content.segments)),
                signature=claim.signature,
                external_template_id=claim.external_template_id,
            )
            self._gateway.submit(submission).add_done_callback(self._collector(chunk, position))

    def _most(self, chunk: HeldChunk) -> int:
        """How many messages to give to the gateway at once, so that a pause or a stop is felt soon."""
        ahead = self._gateway.rate * PACED_AHEAD / len(chunk.claim.content.segments)
        return int(min(self._free, max(1.0, ahead)))

    async def _mark(self, chunk: HeldChunk, marked: int) -> bool:
        """Store the chunk's high-water mark; if that is refused, the task is halted or the lease is lost."""
        asked_at = self._clock.monotonic()
        returned = chunk.unsent_up_to(marked)
        database_time = await self._while_leased(chunk, lambda: dispatch.mark(chunk.claim, marked, returned))
        if database_time is None:
            # Either way nothing more of it is sent; the lease guards the settling of what is under way.
            chunk.halted = True
            return False
        chunk.marked_at(asked_at, database_time, marked)
        return True

    def _collector(self, chunk: HeldChunk, position: int) -> Callable[[asyncio.Future[Handover]], None]:
        def collect(future: asyncio.Future[Handover]) -> None:
            self._answers.append((chunk, position, future.result()))
            self._answered.set()

        return collect

    async def _settle_for_ever(self) -> None:
        while True:
            await self._answered.wait()
            self._answered.clear()
            answers, self._answers = self._answers, []
            by_chunk: dict[HeldChunk, list[tuple[int, Handover]]] = {}
            for chunk, position, handover in answers:
                by_chunk.setdefault(chunk, []).append((position, handover))
            metrics.came_back(self._gateway.name, [handover for _, _, handover in answers])
            for chunk, handovers in by_chunk.items():
                with (
                    metrics.SETTLE_SECONDS.labels(self._gateway.name).time(),
                    working_on(
                        chunk.claim.task_id,
                        "settle window",
                        gateway=self._gateway.name,
                        messages=len(handovers),
                    ),
                ):
                    await self._settle(chunk, handovers)
                self._unsettled -= len(handovers)
                self._progress.set()

    async def _settle(self, chunk: HeldChunk, handovers: list[tuple[int, Handover]]) -> None:
        unsent = [p for p, handover in handovers if handover.outcome is Outcome.NOT_HANDED_OVER]
        settlements = [
            Settlement(position, chunk.claim.numbers[position], handover)
            for position, handover in handovers
            if handover.outcome is not Outcome.NOT_HANDED_OVER
        ]
        if settlements:
            await self._store(chunk, settlements)
        if unsent:
            rest = max(handover.retry_after for _, handover in handovers)
            self._send_again_at = self._clock.monotonic() + rest
            async with chunk.marking:
                chunk.give_back(unsent)
                self._work.set()
                # Stored at once, so that a crash does not put in doubt what never left.
                await self._mark(chunk, chunk.marked)
        await self._conclude(chunk)

    async def _conclude(self, chunk: HeldChunk) -> None:
        """Finish a chunk that is settled; give back one of which nothing more can be sent from here now."""
        if chunk.lost:
            self._drop(chunk)
        elif chunk.all_settled:
            await self._while_leased(chunk, lambda: dispatch.finish(chunk.claim))
            self._announcer.changed(chunk.claim.task_id)
            self._drop(chunk)
        elif chunk.idle and not chunk.sendable:
            await self._release(chunk)

    async def _store(self, chunk: HeldChunk, settlements: list[Settlement]) -> None:
        kept = await self._while_leased(chunk, lambda: dispatch.settle(chunk.claim, settlements, self._shard))
        chunk.settled([settlement.position for settlement in settlements])
        if not kept:
            self._lose(chunk)
            return
        self._on_settled(
            [
                part.gateway_message_id
                for settlement in settlements
                for part in settlement.handover.segments
                if part.gateway_message_id is not None
            ]
        )
        self._announcer.changed(chunk.claim.task_id)

    async def _renew_for_ever(self) -> None:
        while True:
            await self._clock.sleep(LEASE.total_seconds() / 3)
            asked_at = self._clock.monotonic()
            held = list(self._held)
            kept = await self._patience.until_done(
                partial(dispatch.renew, [chunk.claim.owner for chunk in held])
            )
            for chunk in held:
                if chunk.claim.owner in kept:
                    chunk.lease_ends = max(chunk.lease_ends, asked_at + LEASE.total_seconds())
                elif chunk in self._held:
                    self._lose(chunk)

    async def _release_idle(self) -> None:
        """Let others have what cannot be sent from here for now."""
        for chunk in [chunk for chunk in self._held if chunk.idle]:
            await self._release(chunk)

    async def _release(self, chunk: HeldChunk) -> None:
        """Give back a chunk with nothing under way."""
        async with chunk.marking:
            if not chunk.lost:
                returned = chunk.unsent_up_to(chunk.marked)
                wait_until = chunk.wait_until(self._clock.monotonic())
                await self._while_leased(
                    chunk, lambda: dispatch.release(chunk.claim, chunk.marked, returned, wait_until)
                )
                chunk.lost = True
                self._announcer.changed(chunk.claim.task_id)
        self._drop(chunk)

    def _lose(self, chunk: HeldChunk) -> None:
        if not chunk.lost:
            metrics.LEASES_LOST.labels(self._gateway.name).inc()
            log.warning("lease_lost", task_id=chunk.claim.task_id, chunk=chunk.claim.index)
        chunk.lost = True
        self._progress.set()
        self._work.set()

    def _drop(self, chunk: HeldChunk) -> None:
        if chunk in self._held:
            self._held.remove(chunk)

    async def _while_leased(self, chunk: HeldChunk, operation: Callable[[], Awaitable[T]]) -> T | None:
        """Try until it succeeds, or return None when the chunk's lease has run out."""

        def is_leased() -> bool:
            return not chunk.lost and self._clock.monotonic() < chunk.lease_ends

        return await self._patience.while_wanted(is_leased, operation)

    async def _until_stopped(self, operation: Callable[[], Awaitable[T]]) -> T | None:
        """Try until it succeeds, or return None when nothing more is to be sent from here."""
        return await self._patience.while_wanted(lambda: not self._stopped.is_set(), operation)
