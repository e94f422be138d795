"""How fast one process may send: so many submit_sm a second, evenly, and never more in any second."""

from collections.abc import Callable
from typing import Final, Protocol

CATCH_UP: Final = 0.010
"""Seconds of sending that may be made good after the event loop was late.

Without it every late wake-up costs rate.
"""
TRANSPORT_JITTER: Final = 0.015
"""Seconds by which the way to the message centre may crowd submits together."""


class SubmitPace(Protocol):
    """When the next submit_sm may be written. Moments are on the monotonic clock, in seconds."""

    @property
    def rate(self) -> float:
        """Submits a second that this process may count on; infinite without a limit."""
        ...

    def wait(self, now: float) -> float:
        """Return how many seconds remain until one submit_sm should be at hand; counts nothing."""
        ...

    def take(self, now: float) -> float:
        """Count one submit_sm and return 0.0, or count nothing and return how many seconds to wait.

        Infinite seconds: until `run` calls `on_more`.
        """
        ...

    async def run(self, on_more: Callable[[], None]) -> None:
        """Do what it takes to go on, until cancelled or there is nothing to do."""
        ...


class Pace:
    """The generic cell rate algorithm (ITU-T I.371) over submit_sm, for one process alone.

    Within any second at most (1 + CATCH_UP) / interval submits start; the interval is stretched so that this,
    and the jitter of the way, stay within the rate: 97.5 % of it are used.
    """

    def __init__(self, rate: float | None) -> None:
        """`rate`: submit_sm a second; None is no limit. Raises ValueError unless it is above zero."""
        if rate is not None and not rate > 0:
            raise ValueError("a rate must be above zero")
        self.rate = rate or float("inf")
        """Segments a second that it was made for."""
        self._interval = (1 + CATCH_UP + TRANSPORT_JITTER) / rate if rate else 0.0
        self._due = float("-inf")

    def wait(self, now: float) -> float:
        """Return how many seconds remain until one submit_sm may be written; counts nothing."""
        if not self._interval:
            return 0.0
        return max(0.0, self._due - CATCH_UP - now)

    def take(self, now: float) -> float:
        """Count one submit_sm and return 0.0, or count nothing and return how many seconds to wait."""
        delay = self.wait(now)
        if self._interval and not delay:
            self._due = max(self._due, now) + self._interval
        return delay

    async def run(self, on_more: Callable[[], None]) -> None:
        """Nothing has to be fetched."""
