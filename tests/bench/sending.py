"""Messages through SMPP to a message centre on loopback, until every receipt is committed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from pathlib import Path

import asyncpg
from rich.console import Console

from api.demo.service_client import ServiceClient
from api.schema.global_ids import key_of
from domain import db
from domain.ports import Submission
from domain.segments import segment
from domain.states import Region
from tests.bench import kannel
from tests.bench.figures import Figure
from tests.bench.stage import family, processor_seconds, stage, stopwatch
from tests.e2e.line import Child, Line, make_international
from workers.smpp import pdu
from workers.smpp.clock import SystemClock
from workers.smpp.pdu import Frame, Status
from workers.smpp.session import Session, SessionOptions, open_session
from workers.smpp.submit_options import SubmitOptions
from workers.smpp.submits import SubmitEncoder

SHORT = "Our new store opens on Saturday at 10:00. You are welcome!"
LONG = SHORT * 6
"""Three segments."""
LARGE = int(os.environ.get("BENCH_MESSAGES", "1_000_000"))
"""Messages of the task that shows how sending fares as tasks grow."""
WINDOW = 500
BATCH = 500
"""Rows the bare statements change at once: about what a window settles together."""
CREATE = """mutation ($input: CreateTaskInput!) { createTask(input: $input) {
  task { id } errors { code message } } }"""
FINISHED_WITHIN = 1800.0

PEERS: tuple[tuple[str, int, bool, float | None], ...] = (
    ("as it is installed: a window of 10", 10, True, 2.5),
    (f"a window of {WINDOW}, its messages in files", WINDOW, True, 2.5),
    (f"a window of {WINDOW}, its messages in memory", WINDOW, False, None),
)
"""What Kannel is called, its window, whether messages outlive it, and how often its rate is to be reached."""

BARE = "bare session, settle and apply, one after another"


async def bench() -> AsyncIterator[Figure]:
    """One worker and several, short texts and long ones, small tasks and a million."""
    if not kannel.is_installed():
        Console(stderr=True).print(kannel.HOW_TO_INSTALL)
    async with stage() as line:
        address = await _centre(line)
        _, client = await line.api()
        short, long = [await make_international(client, text) for text in (SHORT, LONG)]
        chain = await _bare_chain(line, address, 100_000)
        worker = await _worker(line)
        before = _spent(line, worker)
        one = await _sent(client, short, line.folder, 100_000)
        spent = {who: seconds - before[who] for who, seconds in _spent(line, worker).items()}
        yield Figure("messages, one worker", one, "/s", chain, BARE, at_least=0.3)
        everybody = sum(spent.values())
        for who, seconds in spent.items():
            what = f"processor time of a message, its import included: {who}"
            yield Figure(what, seconds / 100_000 * 1e6, "µs", everybody / 100_000 * 1e6, "all of them")
        if kannel.is_installed():
            for name, window, durable, goal in PEERS:
                numbers = list(islice(_numbers(), min(20_000, 500 * window)))
                peer = await kannel.rate(line.folder, address, numbers, SHORT, window, durable=durable)
                yield Figure("messages, one worker", one, "/s", peer, f"Kannel, {name}", at_least=goal)
        segments = 3 * await _sent(client, long, line.folder, 50_000)
        yield Figure("segments of 3-segment texts, one worker", segments, "/s", chain, BARE, at_least=0.3)
        few = await _sent(client, short, line.folder, 10_000)
        many = await _sent(client, short, line.folder, LARGE)
        yield Figure(f"messages of a task of {LARGE:,}", many, "/s", few, "of a task of 10,000", at_least=0.9)
        for workers in (2, 4):
            while sum(child.log.name.startswith("workers-") for child in line.children) < workers:
                await _worker(line)
            rate = await _sent(client, short, line.folder, 100_000)
            yield Figure(f"messages, {workers} workers", rate, "/s", one, "one worker", at_least=0.9)


async def _centre(line: Line) -> str:
    """Start a message centre that keeps no journal, for workers to send to; its address."""
    _, address = await line.start(
        "workers.smsc", "--port", "0", "--receipt-delay", "0", until="listening on "
    )
    line.gateway = f"smpp://bench:secret@{address}?window={WINDOW}&binds=4"
    return address


async def _worker(line: Line) -> Child:
    child = await line.worker()
    async with asyncio.timeout(60):
        while "smpp_bound" not in child.log.read_text():  # noqa: ASYNC110 - another process rings no event
            await asyncio.sleep(0.05)
    return child


def _spent(line: Line, worker: Child) -> dict[str, float]:
    """Seconds of a processor that have been used so far, by whom."""
    everybody = list(family(line))
    spent = {
        "worker": processor_seconds(family(line, worker)),
        "PostgreSQL": processor_seconds(each for each in everybody if each.name() == "postgres"),
    }
    rest = processor_seconds(everybody) - sum(spent.values())
    return {**spent, "API and message centre": rest}


async def _sent(client: ServiceClient, made_from: dict[str, str], folder: Path, count: int) -> float:
    """Send to so many numbers; messages a second from the start to the last receipt."""
    file = folder / "numbers.txt"
    await asyncio.to_thread(file.write_text, "\n".join(islice(_numbers(), count)))
    order = {"name": "Bench", **made_from, "recipients": {"file": None}}
    payload = (await client.upload(CREATE, file, "input.recipients.file", input=order))["createTask"]
    assert payload["errors"] == [], payload
    task_id = key_of("Task", payload["task"]["id"])
    async with asyncio.timeout(FINISHED_WITHIN):
        while (row := await db.fetchrow(_FINISHED, task_id)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert row["delivered"] == count, row
    return float(count / row["seconds"])


_FINISHED = """
SELECT extract(epoch FROM finished_at - started_at)::float8 AS seconds,
       (SELECT sum(delivered) FROM task_counter WHERE task_id = task.id) AS delivered
FROM task WHERE id = $1 AND status = 'COMPLETED'
"""


def _numbers() -> Iterator[str]:
    """Spanish mobile numbers with which the message centre does nothing special."""
    return (f"+34{number}" for number in range(610_000_000, 620_000_000) if 999 < number % 10_000 < 9_000)


async def _bare_chain(line: Line, address: str, count: int) -> float:
    """Messages a second if the least of each step came one after another."""
    numbers = list(islice(_numbers(), count))
    with stopwatch() as speaking:
        ids = await _bare_session(address, numbers)
    connection = await asyncpg.connect(line.database_url)
    try:
        await connection.execute(
            "CREATE TABLE bare (position int PRIMARY KEY, number bigint, result smallint, id text)"
            " WITH (fillfactor = 75)"
        )
        await connection.execute("CREATE INDEX ON bare (id)")
        await connection.copy_records_to_table(
            "bare", records=[(position, int(number), 0, None) for position, number in enumerate(numbers)]
        )
        with stopwatch() as settling:
            for begin in range(0, count, BATCH):
                positions = range(begin, min(begin + BATCH, count))
                await connection.execute(_SETTLE, list(positions), ids[begin : begin + BATCH])
        with stopwatch() as applying:
            for begin in range(0, count, BATCH):
                await connection.execute(_APPLY, ids[begin : begin + BATCH])
        await connection.execute("DROP TABLE bare")
    finally:
        await connection.close()
    return count / (speaking[0] + settling[0] + applying[0])


_SETTLE = """
UPDATE bare SET result = 1, id = answer.id FROM unnest($1::int[], $2::text[]) AS answer (position, id)
WHERE bare.position = answer.position
"""
_APPLY = "UPDATE bare SET result = 2 WHERE id = ANY($1::text[])"


async def _bare_session(address: str, numbers: Sequence[str]) -> list[str]:
    """Submit with the window always full, acknowledge every receipt at once; the ids given."""
    host, _, port = address.rpartition(":")
    received = 0
    all_received = asyncio.Event()
    room = asyncio.Event()

    def on_deliver_sm(session: Session, frame: Frame) -> None:
        nonlocal received
        session.acknowledge(frame.sequence_number)
        received += 1
        if received == len(numbers):
            all_received.set()

    session = await open_session(
        host,
        int(port),
        pdu.Bind("bare", "secret"),
        SessionOptions(window=WINDOW),
        SystemClock(),
        on_deliver_sm,
        lambda _: room.set(),
    )
    encoder = SubmitEncoder(SubmitOptions())
    content = segment(SHORT, Region.INTERNATIONAL)
    answers = []
    for number in numbers:
        while session.room <= 0:
            room.clear()
            await room.wait()
        (body,) = encoder.bodies(Submission(content, number, "Shop"))
        answers.append(session.submit(body))
    ids = []
    for answer in answers:
        frame = await answer
        assert isinstance(frame, Frame)
        assert frame.command_status == Status.ESME_ROK
        ids.append(pdu.c_string(frame.body))
    await all_received.wait()
    await session.unbind()
    return ids
