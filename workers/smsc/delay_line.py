"""Things that happen a fixed while later, any number of them, on one timer."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

GRAIN: Final = 0.002
"""Seconds: items that fall due this close together are handled at once."""


class DelayLine(Generic[T]):
    """What is put in comes out `delay` seconds later, in the same order, in lists of what is due."""

    def __init__(self, delay: float, handle: Callable[[list[T]], None]) -> None:
        self._delay = delay
        self._handle = handle
        self._items: deque[tuple[float, T]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def put(self, item: T) -> None:
        """Let `item` come out after the delay."""
        self._items.append((self._loop.time() + self._delay, item))
        if self._timer is None:
            self._timer = self._loop.call_later(self._delay, self._due)

    def take_all(self) -> list[T]:
        """Return what is still inside, and stop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        left = [item for _, item in self._items]
        self._items.clear()
        return left

    def _due(self) -> None:
        now = self._loop.time() + GRAIN
        due: list[T] = []
        while self._items and self._items[0][0] <= now:
            due.append(self._items.popleft()[1])
        self._timer = self._loop.call_at(max(now, self._items[0][0]), self._due) if self._items else None
        self._handle(due)
