"""What the service promises whatever fails, looked at from outside: journal, database and API.

Every number reaches the message centre at most once and ends DELIVERED, FAILED or UNKNOWN, the last only as
many as were in flight where something died; counts and bills agree with the rows; nothing is stuck; the task
completes of itself and whoever follows it sees that.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import islice
from random import Random

from api.demo.service_client import ServiceClient
from api.schema.global_ids import key_of
from domain import db
from domain.schedule import RECEIPTS_WITHIN
from tests.conftest import wait_until
from tests.e2e.line import Line
from tests.e2e.private_engines import set_clock_ahead
from tests.e2e.watcher import Watcher
from workers.smpp.pdu import Status

UNKNOWN, DELIVERED, FAILED = 1, 2, 3
CONFIRMED, IN_DOUBT = 1, 2
DONE = 2
NOT_TAKEN = (Status.ESME_RTHROTTLED, Status.ESME_RMSGQFUL)
"""Answers after which a message may be submitted again."""
CENTRE_DIGITS = 8
"""Of a message id: the same for all ids one message centre process gives."""

Results = dict[str, tuple[int, int]]
"""Result and handover of each number."""


def phones(count: int, *, after: int = 0) -> list[str]:
    """So many possible Spanish mobile numbers, other ones for another `after`.

    Of a hundred, one is refused and one is not delivered to.
    """
    plain = (number for number in range(10_000_000 + after, 100_000_000, 7) if 99 < number % 10_000 < 9_900)
    bad = (block * 10_000 + ending for block in range(2000 + after // 10_000, 9999) for ending in (1, 9))
    numbers = list(islice(plain, count - count // 50)) + list(islice(bad, count // 50))
    Random(1).shuffle(numbers)
    return [f"+346{number}" for number in numbers]


async def eventually(condition: Callable[[], Awaitable[object]], within: float = 120) -> None:
    """Return once the condition holds; the database may be away meanwhile."""
    async with asyncio.timeout(within):
        while True:
            with suppress(*db.UNAVAILABLE):
                if await condition():
                    return
            await asyncio.sleep(0.1)


async def reached(line: Line, count: int, within: float = 120) -> None:
    """Return once the message centre has accepted so many submits."""

    def enough() -> bool:
        check_nobody_failed(line)
        return len(line.submitted()) >= count

    await asyncio.to_thread(wait_until, enough, within)


def check_nobody_failed(line: Line) -> None:
    """Every process of the line runs, or ended as it was told to."""
    for child in line.children:
        assert child.process.returncode in (None, 0, -signal.SIGKILL), child.log.name


def moments(chance: Random, faults: int, messages: int) -> list[int]:
    """After how many submits to let something fail, in order: in the first three quarters of a task."""
    return sorted(chance.sample(range(1, messages * 3 // 4), faults))


async def status_of(client: ServiceClient, task_id: str) -> str:
    """The task's status."""
    data = await client.execute("query ($id: ID!) { task(id: $id) { status } }", id=task_id)
    status: str = data["task"]["status"]
    return status


async def has_status(client: ServiceClient, task_id: str, *wanted: str) -> bool:
    """Whether the task is in one of these."""
    return await status_of(client, task_id) in wanted


async def results(task_id: str) -> Results:
    """Result and handover of each number, as stored."""
    rows = await db.fetch(
        "SELECT number, result, handover FROM message WHERE task_id = $1", key_of("Task", task_id)
    )
    return {f"+{row['number']}": (row["result"], row["handover"]) for row in rows}


async def check_promises(
    line: Line,
    client: ServiceClient,
    task_id: str,
    recipients: list[str],
    *,
    in_doubt_at_most: int,
    watcher: Watcher | None = None,
    clocks_agree: bool = True,
) -> Results:
    """Wait for the task to end without help, and check all that is promised; returns the numbers' results.

    The message centre is to answer every submit, and to send a receipt for each it accepts. Where messages
    stay in doubt, the database's clock is moved past the time in which receipts come. If its clock and the
    centre's do not agree (`clocks_agree`), receipts need not settle what is in doubt: dates do not fit.
    """
    await _settled(line, task_id, clocks_agree)
    found = await results(task_id)
    # It is from then on that receipts are waited for.
    await eventually(lambda: has_status(client, task_id, "SENT", "COMPLETED"))
    if any(result == UNKNOWN for result, _ in found.values()):
        await set_clock_ahead(line.database_url, RECEIPTS_WITHIN * 2)
    await eventually(lambda: has_status(client, task_id, "COMPLETED"))
    _check_sending(line, found, recipients, in_doubt_at_most)
    _check_receipts(line, found, clocks_agree)
    await _check_counts(client, task_id)
    await _check_segments(task_id)
    await _check_bill(task_id)
    await check_nothing_stuck(task_id)
    if watcher is not None:
        last = await watcher.end()
        assert last["status"] == "COMPLETED"
        assert last["counts"] == await _grouped(task_id)
    return found


async def check_nothing_stuck(task_id: str) -> None:
    """No chunk waits or is held, and no receipt waits although its message is there."""
    key = key_of("Task", task_id)
    assert await db.fetchval("SELECT count(*) FROM chunk WHERE task_id = $1 AND state <> $2", key, DONE) == 0

    async def receipts_are_applied() -> bool:
        return not await db.fetchval(
            """
            SELECT count(*) FROM receipt_inbox JOIN segment USING (gateway_message_id, gateway, number)
            WHERE task_id = $1
            """,
            key,
        )

    await eventually(receipts_are_applied)


async def _settled(line: Line, task_id: str, clocks_agree: bool, within: float = 180) -> None:
    """Return once all is handed over, and every receipt that can come has had its effect."""
    missing = ["not looked yet"]

    async def nothing_is_missing() -> bool:
        check_nobody_failed(line)
        missing[:] = await _missing(line, task_id, clocks_agree)
        return not missing

    try:
        await eventually(nothing_is_missing, within)
    except TimeoutError:
        raise AssertionError(f"after {within} s still: {'; '.join(missing)}") from None


async def _missing(line: Line, task_id: str, clocks_agree: bool) -> list[str]:
    """What still has to happen."""
    chunks = await db.fetch(
        "SELECT index, state, marked, last, lease_until FROM chunk WHERE task_id = $1 AND state <> $2",
        key_of("Task", task_id),
        DONE,
    )
    if chunks:
        return [f"{len(chunks)} chunks are not done, such as {dict(chunks[0])}"]
    found = await results(task_id)
    unknown = {number for number, (result, _) in found.items() if result == UNKNOWN}
    answered = {number for number in unknown if found[number][1] == CONFIRMED}
    living, taken = _living(line), _acknowledged(line)
    submitted = {f"+{each['destination']}": each["message_id"] for each in line.submitted()}
    wanted = {message_id for number, message_id in submitted.items() if number in found}
    missing = {
        "accepted messages have no result, such as": answered - _forgotten(line),
        "receipts are not acknowledged, such as": {each for each in wanted if each.startswith(living)}
        - taken,
        "acknowledged receipts decided nothing, such as for": {
            number for number in (unknown if clocks_agree else answered) if submitted.get(number) in taken
        },
    }
    return [f"{len(each)} {what} {min(each)}" for what, each in missing.items() if each]


def _living(line: Line) -> str:
    """How the ids begin that the message centre of now gives."""
    digits: str = line.submitted()[-1]["message_id"][:CENTRE_DIGITS]
    return digits


def _acknowledged(line: Line) -> set[str]:
    return {event["message_id"] for event in line.events("acknowledged") if event["command_status"] == 0}


def _forgotten(line: Line) -> set[str]:
    """The numbers whose receipt died with a message centre before the service had taken it."""
    taken, living = _acknowledged(line), _living(line)
    return {
        f"+{each['destination']}"
        for each in line.submitted()
        if each["message_id"] not in taken and not each["message_id"].startswith(living)
    }


def _check_sending(line: Line, found: Results, recipients: list[str], in_doubt_at_most: int) -> None:
    times = Counter(
        f"+{event['destination']}"
        for event in line.events("submit_sm")
        if event["command_status"] not in NOT_TAKEN and f"+{event['destination']}" in found
    )
    assert max(times.values()) == 1, "nobody gets it twice"
    assert found.keys() == set(recipients)
    assert {result for result, _ in found.values()} <= {UNKNOWN, DELIVERED, FAILED}
    unknown = {number for number, (result, _) in found.items() if result == UNKNOWN} - _forgotten(line)
    assert len(unknown) <= in_doubt_at_most
    in_doubt = {number for number, (_, handover) in found.items() if handover == IN_DOUBT}
    assert len(in_doubt) <= in_doubt_at_most
    assert unknown <= in_doubt
    assert found.keys() - times.keys() <= in_doubt, "what is not in doubt has been sent"


def _check_receipts(line: Line, found: Results, clocks_agree: bool) -> None:
    """What we acknowledged is not lost: it decided the result, even where only the number told of which."""
    stats = {event["message_id"]: event["stat"] for event in line.events("receipt") if not event["stray"]}
    acknowledged = _acknowledged(line)
    told = {
        f"+{each['destination']}": DELIVERED if stats[each["message_id"]] == "DELIVRD" else FAILED
        for each in line.submitted()
        if each["message_id"] in acknowledged and f"+{each['destination']}" in found
    }
    if not clocks_agree:
        told = {number: result for number, result in told.items() if found[number][0] != UNKNOWN}
    assert {number: found[number][0] for number in told} == told


async def _grouped(task_id: str) -> dict[str, int]:
    row = await db.fetchrow(
        """
        SELECT count(*) FILTER (WHERE result = 1) AS unknown, count(*) FILTER (WHERE result = 2) AS delivered,
               count(*) FILTER (WHERE result = 3) AS failed, count(*) AS total,
               count(*) FILTER (WHERE result = 0) AS waiting, count(*) FILTER (WHERE result = 4) AS "notSent",
               count(*) FILTER (WHERE result = 1 AND handover = 2) AS "inDoubt"
        FROM message WHERE task_id = $1
        """,
        key_of("Task", task_id),
    )
    assert row is not None
    return dict(row)


async def _check_counts(client: ServiceClient, task_id: str) -> None:
    """The API says what a GROUP BY says."""
    data = await client.execute(
        """query ($id: ID!) { task(id: $id) {
          counts { total waiting unknown delivered failed notSent inDoubt } } }""",
        id=task_id,
    )
    assert data["task"]["counts"] == await _grouped(task_id)


async def _check_segments(task_id: str) -> None:
    """Each message that was handed over, or may have been, has all its segments."""
    incomplete = await db.fetchval(
        """
        SELECT count(*) FROM message m JOIN task ON task.id = m.task_id
        WHERE m.task_id = $1 AND m.result IN (1, 2, 3) AND task.segments_per_message
            <> (SELECT count(*) FROM segment s WHERE s.task_id = m.task_id AND s.position = m.position)
        """,
        key_of("Task", task_id),
    )
    assert incomplete == 0


async def _check_bill(task_id: str) -> None:
    """What is charged and what has failed, as counted, is what the rows say."""
    key = key_of("Task", task_id)
    charged = await db.fetchval("SELECT count(*) FROM segment WHERE task_id = $1 AND charged", key)
    counted = await db.fetchval("SELECT coalesce(sum(segments), 0) FROM task_charge WHERE task_id = $1", key)
    assert counted == charged
    undelivered = "SELECT count(*) FROM segment WHERE task_id = $1 AND result = 2 AND NOT charged"
    assert await db.fetchval(undelivered, key) == 0, "what was delivered is charged"
    rows = "SELECT coalesce(error_code, '') AS code, count(*) AS n FROM message"
    failed = await db.fetch(f"{rows} WHERE task_id = $1 AND result = 3 GROUP BY 1", key)
    blamed = await db.fetch(
        "SELECT error_code AS code, sum(messages) AS n FROM task_failure WHERE task_id = $1 GROUP BY 1", key
    )
    assert {row["code"]: row["n"] for row in blamed} == {row["code"]: row["n"] for row in failed}
