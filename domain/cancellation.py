"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from typing import Any, Final

CANCEL_AGAIN: Final = 1.0
"""Seconds a cancelled task gets to put things in order before it is cancelled once more."""


async def end(*tasks: asyncio.Task[Any], again: float = CANCEL_AGAIN) -> None:
    """Cancel tasks, and every `again` seconds once more; return when all have ended, however they did.

    Once is not always enough: a cancellation that comes at the very moment a library gets what it waits for
    can be lost in it (Redis' client does that), and a process would never stop.
    """
    while undone := [task for task in tasks if not task.done()]:
        for task in undone:
            task.cancel()
        await asyncio.wait(undone, timeout=again)
    await asyncio.gather(*tasks, return_exceptions=True)
