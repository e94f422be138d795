"""A message centre that does all that message centres do: every message reaches it once and is accounted for.

Of what it takes and never answers, as many are in doubt at most as were on the wire then.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from domain import db
from tests.e2e.line import Line, create, lives, make_international
from tests.e2e.private_engines import PrivateEngines
from tests.e2e.promises import DELIVERED, FAILED, check_promises, eventually, has_status, phones, reached
from tests.e2e.watcher import watching

pytestmark = pytest.mark.faults

WINDOW = 20
HOUR = timedelta(hours=1)
PROMPT = ("--receipt-delay", "0.1", "--resend-after", "3")


async def run(line: Line, *flags: str, count: int, in_doubt_at_most: int, query: str = "") -> Counter[int]:
    """Send a task through such a centre, and check all promises; how many messages came to which result."""
    await line.message_centre(*PROMPT, *flags, query=f"window={WINDOW}{query}")
    api, client = await line.api()
    workers = [await line.worker(), await line.worker()]
    recipients = phones(count)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    async with watching(client, task_id) as watcher:
        found = await check_promises(
            line, client, task_id, recipients, in_doubt_at_most=in_doubt_at_most, watcher=watcher
        )
    assert lives(api, *workers)
    return Counter(result for result, _ in found.values())


@pytest.mark.long_form
async def test_connections_dropped_in_the_middle_of_windows(private_line: Line) -> None:
    count, every = 3_000, 300
    await run(
        private_line,
        *("--response-delay", "0.02", "--drop-every", str(every)),
        count=count,
        in_doubt_at_most=count // every * WINDOW,
        query="&binds=2",
    )


@pytest.mark.long_form
async def test_submits_that_are_never_answered(private_line: Line) -> None:
    count, every = 2_000, 100
    await run(
        private_line,
        *("--silent-every", str(every)),
        count=count,
        in_doubt_at_most=count // every,
        query="&binds=2&response_timeout=1",
    )


@pytest.mark.long_form
async def test_answers_that_come_late_and_out_of_order(private_line: Line) -> None:
    results = await run(
        private_line,
        *("--response-jitter", "1.5", "--receipt-jitter", "1"),
        count=2_000,
        in_doubt_at_most=0,
        query="&binds=2",
    )
    assert results == {DELIVERED: 1_960, FAILED: 40}


@pytest.mark.long_form
async def test_a_centre_that_throttles_and_whose_queue_is_full(private_line: Line) -> None:
    results = await run(
        private_line,
        *("--rate", "150", "--refuse-every", "97:ESME_RTHROTTLED", "--refuse-every", "61:ESME_RMSGQFUL"),
        count=1_000,
        in_doubt_at_most=0,
        query="&binds=2",
    )
    assert results == {DELIVERED: 980, FAILED: 20}


@pytest.mark.long_form
async def test_receipts_early_late_twice_out_of_order_and_for_nobody(private_line: Line) -> None:
    results = await run(
        private_line,
        *("--receipt-first", "--response-delay", "0.05", "--receipt-jitter", "2"),
        *("--receipt-copies", "2", "--stray-every", "10"),
        count=2_000,
        in_doubt_at_most=0,
        query="&binds=2",
    )
    assert results == {DELIVERED: 1_960, FAILED: 40}


async def test_all_of_it_at_once(private_line: Line) -> None:
    """But receipts for nobody: where one names the number of a message in doubt, none settles that."""
    count = 1_200
    await run(
        private_line,
        *("--response-jitter", "0.3", "--receipt-jitter", "1", "--receipt-copies", "2"),
        *("--drop-every", "400", "--silent-every", "211"),
        *("--refuse-every", "97:ESME_RTHROTTLED", "--unbind-every", "4"),
        count=count,
        # Refused ones are submitted again, so there are more submits than messages.
        in_doubt_at_most=2 * (count // 400 * WINDOW + count // 211) + WINDOW,
        query="&binds=2&response_timeout=1",
    )


async def test_a_centre_that_is_away_for_an_hour(private_line: Line, private: PrivateEngines) -> None:
    """What was not handed over waits, held by nobody, and goes on by itself, for it has 24 hours."""
    line = private_line
    options = (*PROMPT, "--response-delay", "0.05")
    centre = await line.message_centre(*options, query=f"window={WINDOW}")
    port = line.gateway.partition("?")[0].rpartition(":")[2]
    api, client = await line.api()
    worker = await line.worker()
    recipients = phones(1_000)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    async with watching(client, task_id) as watcher:
        await reached(line, 300)
        await centre.stop()
        before = len(line.events("submit_sm"))
        for minutes in (1, 30, 60):
            await private.set_clock_ahead(timedelta(minutes=minutes))
            await eventually(nothing_is_held, 20)
            assert await has_status(client, task_id, "SENDING")
        # What was on its way when the centre went, and was not read any more, is in doubt.
        assert watcher.seen[-1]["counts"]["waiting"] >= len(recipients) - before - WINDOW
        await line.message_centre(*options, "--port", port, query=f"window={WINDOW}")
        await check_promises(line, client, task_id, recipients, in_doubt_at_most=WINDOW, watcher=watcher)
    assert lives(api, worker)


async def nothing_is_held() -> bool:
    """Whether no chunk is leased."""
    return not await db.fetchval("SELECT count(*) FROM chunk WHERE state = 1")


@pytest.mark.long_form
async def test_a_centre_that_is_away_for_longer_than_a_task_may_take(
    private_line: Line, private: PrivateEngines
) -> None:
    """Rule "Life of a task": 24 hours after its time, what is still waiting becomes NOT_SENT."""
    line = private_line
    centre = await line.message_centre(*PROMPT, query=f"window={WINDOW}&rate=200")
    port = line.gateway.partition("?")[0].rpartition(":")[2]
    _, client = await line.api()
    await line.worker()
    recipients = phones(1_000)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    await reached(line, 200)
    await centre.stop()
    await private.set_clock_ahead(25 * HOUR)
    await eventually(lambda: has_status(client, task_id, "SENT", "COMPLETED"), 30)
    before = len(line.events("submit_sm"))
    await line.message_centre(*PROMPT, "--port", port, query=f"window={WINDOW}")
    await eventually(lambda: bound_again(line), 60)
    not_sent = await db.fetchval("SELECT count(*) FROM message WHERE result = 0")
    assert not_sent == len(recipients) - before
    assert await db.fetchval("SELECT rest_not_sent FROM task")
    assert len(line.events("submit_sm")) == before


async def bound_again(line: Line) -> bool:
    """Whether a worker has bound for a second time."""
    return len([event for event in line.events("bind") if event["command_status"] == 0]) > 1
