"""The arq jobs of a worker end when they are told to."""

from __future__ import annotations

import asyncio

from domain.bus import open_bus
from workers.jobs import run_jobs


async def test_jobs_cancelled_at_any_moment_end(redis_url: str) -> None:
    """A cancellation that Redis' client loses would keep a stopped worker until it is killed."""
    async with open_bus(redis_url) as bus:
        for moment in range(200):
            running = asyncio.create_task(run_jobs(redis_url, bus))
            await asyncio.wait([running], timeout=moment / 2000)
            running.cancel()
            done, _ = await asyncio.wait([running], timeout=5)
            assert done, f"still running when cancelled after {moment / 2} ms"
            assert running.cancelled()
