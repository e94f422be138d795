"""A chunk in this worker's hands: what of it is still to be sent, and what is under way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from domain.dispatch import Claim


class HeldChunk:
    """The worker's view of a claim. Positions move from waiting to under way, and back if they never left."""

    def __init__(self, claim: Claim, lease_ends: float) -> None:
        """`lease_ends` is on the monotonic clock, in seconds."""
        self.claim = claim
        self.lease_ends = lease_ends
        self.marked = claim.marked
        self.lost = False
        """The lease is gone: nothing of it may be sent or settled any more."""
        self.halted = False
        """The task is not running any more: nothing more of it is sent, what is under way is settled."""
        self.marking = asyncio.Lock()
        self.waiting = deque(sorted(claim.numbers))
        """Positions still to be sent, in the order to be sent."""
        self._under_way: set[int] = set()

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
        return not self.waiting and not self._under_way

    def take(self, count: int) -> list[int]:
        """Move up to `count` positions from waiting to under way."""
        taken = [self.waiting.popleft() for _ in range(min(count, len(self.waiting)))]
        self._under_way.update(taken)
        return taken

    def give_back(self, positions: Sequence[int]) -> None:
        """These never left: they wait again."""
        self._under_way.difference_update(positions)
        self.waiting = deque(sorted([*self.waiting, *positions]))

    def settled(self, positions: Sequence[int]) -> None:
        """What became of these is stored, or will never be."""
        self._under_way.difference_update(positions)
