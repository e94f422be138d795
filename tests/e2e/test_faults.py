"""The message centre killed in the middle of a task."""

from __future__ import annotations

import random
import signal

import pytest

from tests.e2e.line import Line, create, lives, make_international
from tests.e2e.promises import check_promises, moments, phones, reached
from tests.e2e.watcher import watching

pytestmark = pytest.mark.faults

WINDOW = 50


@pytest.mark.long_form
async def test_a_message_centre_killed_and_restarted_in_one_task(
    private_line: Line, chance: random.Random
) -> None:
    line, options = private_line, ("--response-delay", "0.05", "--receipt-delay", "0.3")
    centre = await line.message_centre(*options, query=f"window={WINDOW}")
    port = line.gateway.partition("?")[0].rpartition(":")[2]
    api, client = await line.api()
    worker = await line.worker()
    recipients = phones(3000)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    async with watching(client, task_id) as watcher:
        for moment in moments(chance, 2, len(recipients)):
            await reached(line, moment)
            await centre.stop(signal.SIGKILL)
            centre = await line.message_centre(*options, "--port", port, query=f"window={WINDOW}")
        await check_promises(line, client, task_id, recipients, in_doubt_at_most=2 * WINDOW, watcher=watcher)
    assert lives(api, worker, centre)
