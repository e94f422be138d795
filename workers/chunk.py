"""A chunk in this worker's hands: what of it is still to be sent, and what is under way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta

from domain.dispatch import LEASE, Claim
from domain.sending_hours import may_send_promotion, next_window


class HeldChunk:
    """The worker's view of a claim. Positions move from waiting to under way, and back if they never left."""

    def __init__(self, claim: Claim, asked_at: float) -> None:
        """`asked_at` is when the claim was asked for, on the monotonic clock, in seconds."""
        self.claim = claim
        self.lease_ends = asked_at + LEASE.total_seconds()
        """On the monotonic clock, in seconds."""
        self.marked = claim.marked
        self.lost = False
        """The lease is gone: nothing of it may be sent or settled any more."""
        self.halted = False
        """The task is not running any more: nothing more of it is sent, what is under way is settled."""
        self.marking = asyncio.Lock()
        self.waiting = deque(sorted(claim.numbers))
        """Positions still to be sent, in the order to be sent."""
        self.deferred: list[int] = []
        """Positions whose number is outside its hours for promotion."""
        self._under_way: set[int] = set()
        self._read_at, self._database_time = asked_at, claim.claimed_at

    @property
    def sendable(self) -> bool:
        """Whether something of it is left to be sent."""
        return bool(self.waiting) and not self.lost and not self.halted

    @property
    def idle(self) -> bool:
        """Whether nothing of it is under way."""
        return not self._under_way

    @property
    def all_settled(self) -> bool:
        """Whether there is nothing left to do but to finish it."""
        return not self.waiting and not self.deferred and not self._under_way

    def unsent_up_to(self, position: int) -> list[int]:
        """The positions up to this one that have not been sent, or never left."""
        return [unsent for unsent in (*self.waiting, *self.deferred) if unsent <= position]

    def marked_at(self, asked_at: float, database_time: datetime, marked: int) -> None:
        """Note that a mark is stored, which extends the lease; `asked_at` as for the claim."""
        self.marked = marked
        self.lease_ends = asked_at + LEASE.total_seconds()
        self._read_at, self._database_time = asked_at, database_time

    def take(self, count: int, now: float) -> list[int]:
        """Move up to `count` positions from waiting to under way, and defer those outside their hours.

        `now` is on the monotonic clock.
        """
        taken: list[int] = []
        moment = self._moment(now)
        while self.waiting and len(taken) < count:
            position = self.waiting.popleft()
            if self.claim.is_promotion and not may_send_promotion(self.claim.numbers[position], moment):
                self.deferred.append(position)
            else:
                taken.append(position)
        self._under_way.update(taken)
        return taken

    def wait_until(self, now: float) -> datetime | None:
        """When the first of the deferred positions may be sent, if nothing else waits."""
        if self.waiting or not self.deferred:
            return None
        moment = self._moment(now)
        return min(next_window(self.claim.numbers[position], moment) for position in self.deferred)

    def _moment(self, now: float) -> datetime:
        return self._database_time + timedelta(seconds=now - self._read_at)

    def give_back(self, positions: Sequence[int]) -> None:
        """These never left: they wait again."""
        self._under_way.difference_update(positions)
        self.waiting = deque(sorted([*self.waiting, *positions]))

    def settled(self, positions: Sequence[int]) -> None:
        """What became of these is stored, or will never be."""
        self._under_way.difference_update(positions)
