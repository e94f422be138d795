"""How often something may happen for each of many keys: the generic cell rate algorithm (ITU-T I.371).

A key costs one number, the moment at which all it has used is made good again. Pure but for the clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic

MOST_OWED = 60.0
"""Seconds' worth that a key can owe beyond its burst, for what it has used at other processes."""
_ROUNDING = 1e-9
"""Seconds: the sum of many steps is not quite their product."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What came of asking."""

    wait: float
    """Seconds until it is worth asking again; 0 if it was granted."""
    left: int
    """How many more are granted at this moment."""
    full_in: float
    """Seconds until as many as ever are granted at once."""


class Meter:
    """So many a second for each key, and a burst of them at once."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = monotonic) -> None:
        """`clock` tells seconds that never go back."""
        self.per_second = per_second
        self.burst = burst
        self._step = 1 / per_second
        self._window = burst / per_second
        self._clock = clock
        self._even_at: dict[str, float] = {}
        self._used: dict[str, int] = {}

    @property
    def window(self) -> float:
        """Seconds in which a burst is made good again."""
        return self._window

    def take(self, key: str) -> Allowance:
        """Ask for one."""
        now = self._clock()
        owed = max(self._even_at.get(key, now) - now, 0.0)
        beyond = owed + self._step - self._window
        if beyond > _ROUNDING:
            return Allowance(beyond, 0, owed)
        owed += self._step
        self._even_at[key] = now + owed
        self._used[key] = self._used.get(key, 0) + 1
        return Allowance(0.0, int((self._window - owed) * self.per_second + 1e-6), owed)

    def give_back(self, key: str) -> None:
        """Undo a `take` that was granted."""
        if key in self._even_at:
            self._even_at[key] -= self._step
        self._used[key] = self._used.get(key, 0) - 1

    def charge(self, used: Mapping[str, int]) -> None:
        """Count what was granted elsewhere."""
        now = self._clock()
        for key, count in used.items():
            owed = max(self._even_at.get(key, now) - now, 0.0) + count * self._step
            self._even_at[key] = now + min(owed, self._window + MOST_OWED)

    def used(self) -> dict[str, int]:
        """What was granted here since this was asked last."""
        used = {key: count for key, count in self._used.items() if count}
        self._used = {}
        now = self._clock()
        for key in [key for key, even_at in self._even_at.items() if even_at <= now]:
            del self._even_at[key]
        return used


def whole_seconds(wait: float) -> int:
    """A wait as it is told: whole seconds, and at least one."""
    return max(1, math.ceil(wait))
