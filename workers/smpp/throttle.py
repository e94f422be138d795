"""How the sender slows down when the message centre says it is too fast. Pure: the caller brings the time."""

from typing import Final

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 10.0
"""Seconds the sender stands still after ESME_RTHROTTLED or ESME_RMSGQFUL.

Doubled each time it happens again.
"""


class Throttle:
    """Pauses the sender and halves what it has in flight, then opens up again, as TCP does on loss.

    Answers to submits written before the last pause tell nothing new and change nothing.
    """

    def __init__(self, window: int) -> None:
        self._window = float(window)
        self._allowed = float(window)
        self._pause = FIRST_PAUSE
        self._resume_at = float("-inf")

    @property
    def allowed(self) -> int:
        """How many requests may be in flight now."""
        return int(self._allowed)

    def wait(self, now: float) -> float:
        """Seconds until the sender may go on."""
        return max(0.0, self._resume_at - now)

    def throttled(self, written_at: float, now: float) -> None:
        """The message centre said "too fast" to what was written at `written_at`."""
        if written_at < self._resume_at:
            return
        self._allowed = max(1.0, self._allowed / 2)
        self._resume_at = now + self._pause
        self._pause = min(LONGEST_PAUSE, self._pause * 2)

    def accepted(self) -> None:
        """The message centre took one."""
        if self._allowed < self._window:
            self._allowed = min(self._window, self._allowed + 1 / self._allowed)
        if self._allowed >= self._window / 2:
            self._pause = FIRST_PAUSE
