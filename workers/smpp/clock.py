"""The clock of a running process."""

import asyncio
import time


class SystemClock:
    """`domain.ports.Clock` by the machine's own monotonic clock."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        await asyncio.sleep(seconds)
