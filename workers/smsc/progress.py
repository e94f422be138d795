"""Tells whoever watches the simulated message centre on a terminal what it is doing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

import click

from workers.smsc.centre import Centre

EVERY: Final = 3.0
"""Seconds from one line to the next."""


async def show_progress(centre: Centre) -> None:
    """Write a line to stderr every few seconds in which something happened, until cancelled."""
    loop = asyncio.get_running_loop()
    last, last_at = replace(centre.counts), loop.time()
    while True:
        await asyncio.sleep(EVERY)
        now, now_at = replace(centre.counts), loop.time()
        if now != last:
            rate = (now.submitted - last.submitted) / (now_at - last_at)
            click.echo(
                f"submitted {now.submitted:,} ({rate:,.0f}/s)  accepted {now.accepted:,}  "
                f"receipts {now.receipts:,}  acknowledged {now.acknowledged:,}  "
                f"connections {len(centre.peers)}",
                err=True,
            )
        last, last_at = now, now_at
