"""The contracted rate where several processes keep to it together: moments reserved ahead in the database.

Each submit_sm has a moment of its own, by the database's clock, and is written within `CATCH_UP` after it or
not in it at all. Moments are `interval` apart over all workers, so whatever any of them does, no second sees
more than the rate.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from domain import db
from domain.contracted_rate import Horizon, Reservation
from domain.ports import Clock
from workers.pace import CATCH_UP, TRANSPORT_JITTER

log = structlog.get_logger()

DOUBT_ALLOWED: Final = 0.005
"""Seconds by which this process may be unsure of the database's clock."""
DRIFT: Final = 0.0005
"""Seconds a second by which two clocks may drift apart: what adjusting by NTP may do."""
STEP: Final = 0.020
"""Seconds of disagreement beyond which the database's clock was set, not adjusted."""
LONGEST_BLOCK: Final = 0.06
"""Seconds of the rate that are reserved at once; as much again is when the first of it is used."""
SHORTEST_AHEAD: Final = 1.0
LEAST_LEAD: Final = 0.002
MOST_LEAD: Final = 0.1
"""Seconds, at most, that moments are reserved ahead of the time the answer takes."""
AT_HAND: Final = 0.05
"""Seconds before its moment at which a submit may be brought here."""
CROWDED: Final = 0.05
"""Seconds to wait at least when too much is given away already."""
PATIENCE: Final = 5.0
"""Seconds after which a connection to the database is taken for dead."""
RETRY: Final = 0.5
"""Seconds to wait after the database failed."""

Reserve = Callable[[float, Horizon, float], Awaitable[Reservation | None]]
"""See `domain.contracted_rate.reserve`: length, horizon and lead."""


class DatabaseTime:
    """Bounds of the difference between this process's clock and the database's, in seconds.

    A sample is made between asking and answering; the tightest samples count for long, widened by `DRIFT`.
    """

    def __init__(self) -> None:
        self._lower = float("-inf")
        self._upper = float("inf")
        self._at = 0.0

    def observe(self, asked_at: float, answered_at: float, database: float) -> bool:
        """Take a sample; return whether it shows that one of the clocks was set since the last."""
        aged = DRIFT * (answered_at - self._at)
        lower, upper = asked_at - database, answered_at - database
        kept_lower, kept_upper = self._lower - aged, self._upper + aged
        self._at = answered_at
        self._lower, self._upper = max(lower, kept_lower), min(upper, kept_upper)
        if self._lower <= self._upper:
            return False
        self._lower, self._upper = lower, upper
        return lower - kept_upper > STEP or kept_lower - upper > STEP

    def local(self, database: float) -> float:
        """Return when this clock certainly has reached a moment of the database's.

        Where the bounds are further apart than `DOUBT_ALLOWED` the ways to the database and back are taken
        to be about as long as each other.
        """
        if self._upper - self._lower > DOUBT_ALLOWED:
            return database + (self._lower + self._upper + DOUBT_ALLOWED) / 2
        return database + self._upper


class Block:
    """A run of moments by this process's clock."""

    __slots__ = ("count", "first", "interval", "passed", "used")

    def __init__(self, first: float, interval: float, count: int) -> None:
        self.first = first
        self.interval = interval
        self.count = count
        self.passed = 0
        """Moments that were used or have gone by."""
        self.used = 0

    @property
    def next_at(self) -> float:
        """The next moment."""
        return self.first + self.passed * self.interval

    @property
    def left(self) -> int:
        """How many there are still."""
        return self.count - self.passed

    def forfeit(self, now: float) -> None:
        """Let go by what is too late."""
        while self.left and self.next_at < now - CATCH_UP:
            self.passed += 1

    def use(self) -> None:
        """Use the next moment."""
        self.passed += 1
        self.used += 1


class SharedPace:
    """As `workers.pace.Pace`, for one of several processes. Moments are fetched by `run`."""

    def __init__(self, rate: float, reserve: Reserve, clock: Clock) -> None:
        """`rate`: submit_sm a second, over all processes."""
        self._contracted = rate
        self._reserve = reserve
        self._clock = clock
        self._interval = (1 + CATCH_UP + DOUBT_ALLOWED + TRANSPORT_JITTER) / rate
        self._largest = max(1, int(LONGEST_BLOCK / self._interval))
        longest = self._largest * self._interval
        self._horizon = Horizon(ahead=max(SHORTEST_AHEAD, longest), longest=longest)
        self._time = DatabaseTime()
        self._blocks: deque[Block] = deque()
        self._size = self._largest
        self._lead = LEAST_LEAD
        self._share = 1.0
        self._recent: deque[Block] = deque(maxlen=2)
        self._wanted = asyncio.Event()

    @property
    def rate(self) -> float:
        """Submits a second that this process gets of late, while it has enough to send."""
        return self._contracted * self._share

    def wait(self, now: float) -> float:
        """Return how many seconds remain until it is time to bring a submit; counts nothing."""
        self._forfeit(now)
        return max(0.0, self._blocks[0].next_at - AT_HAND - now) if self._blocks else 0.0

    def take(self, now: float) -> float:
        """Count one submit_sm and return 0.0, or count nothing and return how many seconds to wait.

        Infinite seconds: until `run` says that there is more.
        """
        self._forfeit(now)
        delay = float("inf")
        if self._blocks:
            block = self._blocks[0]
            delay = max(0.0, block.next_at - now)
            if not delay:
                block.use()
        if sum(block.left for block in self._blocks) < self._size:
            self._wanted.set()
        return delay

    async def run(self, on_more: Callable[[], None]) -> None:
        """Reserve what `take` asks for until cancelled; `on_more` is called when there is more."""
        said = False
        while True:
            await self._wanted.wait()
            try:
                block = await self._fetch()
            except db.UNAVAILABLE as error:
                if not said:
                    log.warning("rate_not_reserved", error=str(error) or type(error).__name__)
                said = True
                await self._clock.sleep(RETRY)
                continue
            said = False
            self._blocks.append(block)
            self._wanted.clear()
            on_more()

    async def _fetch(self) -> Block:
        count = self._next_count()
        lead = self._lead
        while True:
            asked_at = self._clock.monotonic()
            async with asyncio.timeout(PATIENCE):
                reserved = await self._reserve(count * self._interval, self._horizon, lead)
            answered_at = self._clock.monotonic()
            if reserved is None:
                await self._clock.sleep(max(CROWDED, count * self._interval / 4))
            elif self._time.observe(asked_at, answered_at, reserved.now):
                # What others hold by the former time is over only when this long has passed.
                log.warning("database_clock_set")
                self._blocks.clear()
                lead = self._horizon.over
            else:
                break
        self._lead = min(MOST_LEAD, max(LEAST_LEAD, answered_at - asked_at, self._lead * 0.9))
        block = Block(self._time.local(reserved.first), self._interval, count)
        self._measure_share(block, asked_at)
        self._size = count
        self._recent.append(block)
        return block

    def _next_count(self) -> int:
        """As many moments as are likely to be used: others may need the rest."""
        self._forfeit(self._clock.monotonic())
        used = sum(block.used for block in self._recent)
        if used * 2 >= sum(block.passed for block in self._recent):
            return min(self._largest, self._size * 2)
        return max(1, used)

    def _measure_share(self, block: Block, asked_at: float) -> None:
        measured = 1.0
        if self._recent and block.first > asked_at + 2 * self._lead:
            latest = self._recent[-1]
            length = latest.count * self._interval
            between = min(block.first - latest.first, block.first - asked_at + length)
            measured = min(1.0, length / between) if between > 0 else 1.0
        self._share = (self._share + measured) / 2

    def _forfeit(self, now: float) -> None:
        while self._blocks:
            self._blocks[0].forfeit(now)
            if self._blocks[0].left:
                return
            self._blocks.popleft()
