"""How long to leave a platform alone that takes nothing, and what to say of it: once, when it changes."""

from __future__ import annotations

import random
from typing import Any, Final

from domain.ports import Clock
from workers.gateways.huawei_api import Difficulty, Trouble

PAUSES: Final = {
    Difficulty.SET_UP: (5.0, 60.0),
    Difficulty.BUSY: (1.0, 30.0),
    Difficulty.UNREACHABLE: (0.5, 30.0),
    Difficulty.UNCLEAR: (1.0, 30.0),
}
"""Seconds: the first pause, and what doubling it ends at."""
LONGEST_ASKED_FOR: Final = 300.0
"""Seconds, at most, that a platform's own Retry-After is followed."""
JITTER: Final = 0.2
"""By what share a pause may be longer, so that processes do not come back all at once."""


class Recovery:
    """From the first request of which nothing was taken, until one is taken again."""

    def __init__(self, clock: Clock, log: Any) -> None:
        """`log` is told when a trouble begins, changes, or ends."""
        self._clock = clock
        self._log = log
        self._trouble: Trouble | None = None
        self._pause = 0.0
        self._until = float("-inf")

    @property
    def in_trouble(self) -> bool:
        """Whether it is not known that the platform takes anything."""
        return self._trouble is not None

    def wait(self, now: float) -> float:
        """Return the seconds for which to leave the platform alone."""
        return max(0.0, self._until - now)

    def failed(self, trouble: Trouble) -> None:
        """A request met this."""
        now = self._clock.monotonic()
        before, self._trouble = self._trouble, trouble
        if before is None or (before.difficulty, before.reason) != (trouble.difficulty, trouble.reason):
            self._say(trouble)
        if self.wait(now) and before is not None:
            return  # the others that were under way say nothing new
        first, longest = PAUSES[trouble.difficulty]
        same = before is not None and before.difficulty is trouble.difficulty
        self._pause = min(longest, self._pause * 2) if same else first
        asked_for = min(LONGEST_ASKED_FOR, trouble.retry_after or 0.0)
        self._until = now + max(asked_for, self._pause) * random.uniform(1, 1 + JITTER)  # noqa: S311

    def succeeded(self) -> None:
        """A request was taken."""
        if self._trouble is not None:
            self._trouble, self._until = None, float("-inf")
            self._log.info("gateway_takes_messages_again")

    def _say(self, trouble: Trouble) -> None:
        if trouble.difficulty is Difficulty.SET_UP:
            self._log.error("gateway_bars_us", reason=trouble.reason, advice="tried again until it is mended")
        elif trouble.difficulty is Difficulty.BUSY:
            self._log.warning("gateway_busy", reason=trouble.reason)
        elif trouble.difficulty is Difficulty.UNREACHABLE:
            self._log.warning("gateway_unreachable", reason=trouble.reason)
        else:
            self._log.warning("gateway_unclear", reason=trouble.reason)
