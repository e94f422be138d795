"""The database's clock set forth and back by hours in the middle of a task.

Set forth, leases end at once: what was in flight is in doubt. Set back, a lease lasts as long as one given
anew, also that of a worker that is dead. The workers' own clocks take no part.
"""

from __future__ import annotations

import signal
import time
from datetime import timedelta

import pytest

from domain.dispatch import LEASE
from tests.e2e.line import Line, create, lives, make_international
from tests.e2e.private_engines import PrivateEngines
from tests.e2e.promises import check_promises, phones, reached
from tests.e2e.watcher import watching

pytestmark = pytest.mark.faults

WINDOW = 20
HOUR = timedelta(hours=1)
CENTRE = ("--response-delay", "0.05", "--receipt-delay", "0.1", "--resend-after", "3")
QUERY = f"window={WINDOW}&binds=2&rate=300"


async def test_steps_forth_and_back_with_living_workers(private_line: Line, private: PrivateEngines) -> None:
    line = private_line
    await line.message_centre(*CENTRE, query=QUERY)
    api, client = await line.api()
    workers = [await line.worker(), await line.worker()]
    recipients = phones(3_600)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    steps = (3 * HOUR, -2 * HOUR, 2 * HOUR, timedelta())
    forth = 2
    async with watching(client, task_id) as watcher:
        for step, ahead in enumerate(steps, start=1):
            await reached(line, 600 * step)
            await private.set_clock_ahead(ahead)
        await check_promises(
            line,
            client,
            task_id,
            recipients,
            in_doubt_at_most=forth * 2 * WINDOW,
            watcher=watcher,
            clocks_agree=False,
        )
    assert lives(api, *workers)


@pytest.mark.long_form
async def test_a_dead_worker_holds_nothing_for_long_though_the_clock_was_set_back(
    private_line: Line, private: PrivateEngines
) -> None:
    line = private_line
    await private.set_clock_ahead(5 * HOUR)
    await line.message_centre(*CENTRE, query=QUERY)
    api, client = await line.api()
    dead, living = await line.worker(), await line.worker()
    recipients = phones(2_000)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    async with watching(client, task_id) as watcher:
        await reached(line, 500)
        await dead.stop(signal.SIGKILL)
        await private.set_clock_ahead(3 * HOUR)
        set_back_at = time.monotonic()
        await check_promises(
            line,
            client,
            task_id,
            recipients,
            in_doubt_at_most=2 * WINDOW,
            watcher=watcher,
            clocks_agree=False,
        )
    assert time.monotonic() - set_back_at < 2 * LEASE.total_seconds()
    assert lives(api, living)
