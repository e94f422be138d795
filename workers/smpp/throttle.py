"""How the sender slows down when the message centre says it is too fast. Pure: the caller brings the time."""

from __future__ import annotations

from collections import deque
from typing import Final

from workers.pace import CATCH_UP

FIRST_PAUSE: Final = 0.05
"""Seconds the sender stands still after ESME_RTHROTTLED or ESME_RMSGQFUL, while no rate is known."""
SHORTEST_PAUSE: Final = 0.005
LONGEST_PAUSE: Final = 1.0
"""What doubling the pause ends at. A centre that counts by the second takes submits again by then."""
PAUSED_SUBMITS: Final = 5
"""So many submits are left out by the first pause at a known rate: room for the centre to catch up."""
MEASURED_OVER: Final = 1.0
"""Seconds over which accepted submits are counted: the time over which rates are agreed upon."""
CALM: Final = 200
"""At a known rate, the centre is asked for more often enough to be refused once in about so many submits."""
LIFTED: Final = 2 * CALM
LIFTED_FOR: Final = 5.0
"""After so many submits and seconds without a refusal the limit is another, far above."""
GROWTH: Final = 0.02 / CALM
"""By what share the rate grows with each accepted submit, and the more the longer nothing was refused."""
FEW: Final = 4
"""Fewer than so many accepted between two refusals: they mean a limit."""
SAFE_SHARE: Final = 0.95
"""Of what was accepted in a second: submits bunch together on their way."""
LOWEST_RATE: Final = 1.0
BINDING: Final = 0.25
"""A rate of which less than this share was accepted in the last second held nothing back: a refusal then is
not about it."""


class Throttle:
    """Finds the rate at which the centre takes submits, and keeps the sender to it.

    There is no rate until the centre refuses twice with next to nothing accepted between: a lone refusal is
    no limit, nor is it when far less was sent than the rate allows. Then the rate is what it accepted in the
    second before. From there it doubles every second until refused once more, for that first measure may be a
    fraction of the truth; afterwards it is felt for in small steps, up with each submit accepted and down
    with each refusal, the more the closer these come. If these stop, it doubles again.

    Answers to submits written before the last pause tell nothing new and change nothing.
    """

    def __init__(self) -> None:
        self.rate = float("inf")
        """Submits a second; infinite while no limit is known."""
        self._coarse = True
        """Whether the rate is a first guess still."""
        self._pause = FIRST_PAUSE
        self._resume_at = self._due = float("-inf")
        self._accepted_at: deque[float] = deque()
        self._since_refusal = CALM
        self._sustained = 1
        """What was accepted in the second before the refusals began."""
        self._grown_at = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until the sender may write one submit."""
        return max(0.0, self._resume_at - now, self._due - CATCH_UP - now)

    def wrote(self, now: float) -> None:
        """One submit was written."""
        self._due = max(self._due, now) + 1 / self.rate

    def accepted(self, written_at: float, now: float) -> None:
        """The centre took what was written at `written_at`."""
        self._accepted_at.append(now)
        self._forget(now)
        if written_at < self._resume_at:
            return
        self._since_refusal += 1
        if self._since_refusal >= LIFTED and now - self._resume_at >= LIFTED_FOR:
            self._coarse = True
        if self._coarse:
            self.rate *= 2.0 ** min(1.0, now - max(self._grown_at, self._resume_at))
        else:
            self.rate *= 1 + GROWTH * (1 + self._since_refusal / CALM)
        self._grown_at = now

    def throttled(self, written_at: float, now: float) -> None:
        """The centre said "too fast" to what was written at `written_at`."""
        if written_at < self._resume_at:
            return
        self._forget(now)
        if self._since_refusal:
            self._sustained = max(1, len(self._accepted_at))
            self._pause = self._first_pause()
        else:
            self._pause = min(LONGEST_PAUSE, self._pause * 2)
        self._slow_down()
        self._since_refusal = 0
        self._resume_at = now + self._pause
        self._due = self._resume_at

    def _slow_down(self) -> None:
        measured = SAFE_SHARE * self._sustained
        if self._sustained < BINDING * self.rate:
            if self._since_refusal < FEW:
                self.rate, self._coarse = max(LOWEST_RATE, measured), True
        elif self._coarse and self._since_refusal:
            self.rate, self._coarse = max(LOWEST_RATE, min(self.rate, measured)), False
        elif not self._coarse:
            less = self.rate * (1 - min(0.5, 2 / min(CALM, max(1, self._since_refusal))))
            self.rate = max(LOWEST_RATE, less, min(self.rate, measured))

    def _first_pause(self) -> float:
        if self.rate == float("inf"):
            return FIRST_PAUSE
        return min(LONGEST_PAUSE, max(SHORTEST_PAUSE, PAUSED_SUBMITS / self.rate))

    def _forget(self, now: float) -> None:
        while self._accepted_at and self._accepted_at[0] <= now - MEASURED_OVER:
            self._accepted_at.popleft()
