"""The clock of a running process."""

import asyncio
import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine is suspended, where there is such a clock: a lease runs out meanwhile."""


class SystemClock:
    """`domain.ports.Clock` by the machine's own monotonic clock."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        return time.clock_gettime(_CLOCK)

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        await asyncio.sleep(seconds)
