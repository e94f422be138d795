"""How many of something a key may have at once: places, of which every process knows who holds how many.

Each process tells the others how many it holds, again and again; what a process has told counts for some
seconds, so that the places of one that has died are free again by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic

LEASE = 4.0
"""Seconds for which another process' places count without its saying so again."""


class Full(Exception):  # noqa: N818 - it names a state of the world
    """All places of a key are taken."""


class Places:
    """So many places for each key, over all processes."""

    def __init__(self, most: int, clock: Callable[[], float] = monotonic) -> None:
        """`most` is 0 for no limit. `clock` tells seconds that never go back."""
        self.most = most
        self._clock = clock
        self._held: dict[str, int] = {}
        self._elsewhere: dict[str, tuple[float, Mapping[str, int]]] = {}

    def taken(self, key: str) -> int:
        """How many places of the key are taken, as far as this process knows."""
        now = self._clock()
        count = self._held.get(key, 0)
        for told_at, held in self._elsewhere.values():
            if now - told_at < LEASE:
                count += held.get(key, 0)
        return count

    def enter(self, key: str) -> None:
        """Take a place. Raises `Full`."""
        if self.most and self.taken(key) >= self.most:
            raise Full
        self._held[key] = self._held.get(key, 0) + 1

    def leave(self, key: str) -> None:
        """Give a place back."""
        left = self._held[key] - 1
        if left:
            self._held[key] = left
        else:
            del self._held[key]

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Have a place for the block. Raises `Full`."""
        self.enter(key)
        try:
            yield
        finally:
            self.leave(key)

    def held(self) -> dict[str, int]:
        """The places held here."""
        return dict(self._held)

    def note(self, process: str, held: Mapping[str, int]) -> None:
        """Count what another process holds, in place of what it has told before."""
        self._elsewhere[process] = (self._clock(), held)

    def forget_silent(self) -> None:
        """Drop what processes have told that say nothing any more."""
        now = self._clock()
        self._elsewhere = {
            process: told for process, told in self._elsewhere.items() if now - told[0] < LEASE
        }
