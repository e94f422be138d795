"""Workers killed at random moments in the middle of a task."""

from __future__ import annotations

import random
import signal
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from domain import db
from domain.dispatch import LEASE
from tests.e2e.line import Line, create, create_from_file, lives, make_international
from tests.e2e.private_engines import PrivateEngines
from tests.e2e.promises import (
    DELIVERED,
    FAILED,
    IN_DOUBT,
    UNKNOWN,
    check_nothing_stuck,
    check_promises,
    eventually,
    has_status,
    moments,
    phones,
    reached,
)
from tests.e2e.watcher import watching

pytestmark = pytest.mark.faults

WINDOW = 10
CENTRE = ("--response-delay", "0.02", "--receipt-delay", "0.05", "--resend-after", "0.5")


async def test_a_lone_worker_killed_again_and_again(
    private_line: Line, private: PrivateEngines, chance: random.Random
) -> None:
    line, kills = private_line, 3
    await line.message_centre(*CENTRE, query=f"window={WINDOW}")
    _, client = await line.api()
    worker = await line.worker()
    recipients = phones(2500)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    async with watching(client, task_id) as watcher:
        for kill, moment in enumerate(moments(chance, kills, len(recipients)), start=1):
            await reached(line, moment)
            await worker.stop(signal.SIGKILL)
            # What the dead one held lapses at once.
            await private.set_clock_ahead(kill * (LEASE + timedelta(seconds=1)))
            worker = await line.worker()
        await check_promises(
            line, client, task_id, recipients, in_doubt_at_most=kills * WINDOW, watcher=watcher
        )
    assert lives(worker)


async def test_a_worker_killed_between_the_segments_of_long_texts(
    private_line: Line, private: PrivateEngines, chance: random.Random
) -> None:
    """No segment goes out twice; a message is DELIVERED only if the centre has all its segments."""
    line, kills, segments = private_line, 3, 3
    await line.message_centre(*CENTRE, query=f"window={WINDOW}")
    _, client = await line.api()
    worker = await line.worker()
    recipients = phones(500)
    task_id = await create(client, await make_international(client, "Hello, dear friend. " * 20), recipients)
    for kill, moment in enumerate(moments(chance, kills, segments * len(recipients)), start=1):
        await reached(line, moment)
        await worker.stop(signal.SIGKILL)
        await private.set_clock_ahead(kill * (LEASE + timedelta(seconds=1)))
        worker = await line.worker()
    await eventually(lambda: has_status(client, task_id, "SENT", "COMPLETED"), 120)
    await eventually(all_that_is_certain_is_settled)
    await check_nothing_stuck(task_id)
    taken = Counter((f"+{event['destination']}", event["segment"]) for event in line.submitted())
    assert max(taken.values()) == 1, "no segment goes out twice"
    whole = {number for number in recipients if all((number, n) in taken for n in range(1, segments + 1))}
    found = {
        f"+{row['number']}": (row["result"], row["handover"])
        for row in await db.fetch("SELECT number, result, handover FROM message")
    }
    assert {number for number, (result, _) in found.items() if result == DELIVERED} <= whole
    assert {result for result, _ in found.values()} <= {UNKNOWN, DELIVERED, FAILED}
    in_doubt = {number for number, (_, handover) in found.items() if handover == IN_DOUBT}
    assert len(in_doubt) <= kills * WINDOW
    assert whole - in_doubt <= {number for number, (result, _) in found.items() if result != UNKNOWN}
    assert lives(worker)


async def all_that_is_certain_is_settled() -> bool:
    """Whether no message that the centre certainly has still waits for a receipt."""
    return not await db.fetchval("SELECT count(*) FROM message WHERE result = 1 AND handover = 1")


@pytest.mark.long_form
async def test_twenty_of_several_workers_killed_in_one_task(
    private_line: Line, tmp_path: Path, chance: random.Random
) -> None:
    # No worker ever has more than half of the binds: others live, and a dead one keeps its share for a while.
    line, kills, at_once, binds = private_line, 20, 3, 12
    await line.message_centre(*CENTRE, query=f"window={WINDOW}&binds={binds}&rate=600")
    api, client = await line.api()
    workers = [await line.worker() for _ in range(at_once)]
    recipients = phones(40_000)
    file = tmp_path / "recipients.csv"
    file.write_text("\n".join(recipients))
    task_id = await create_from_file(client, await make_international(client, "Hello"), file)
    async with watching(client, task_id) as watcher:
        for moment in moments(chance, kills, len(recipients)):
            await reached(line, moment)
            victim = workers.pop(chance.randrange(at_once))
            await victim.stop(signal.SIGKILL)
            workers.append(await line.worker())
        await check_promises(
            line, client, task_id, recipients, in_doubt_at_most=kills * WINDOW * binds // 2, watcher=watcher
        )
    assert lives(api, *workers)
