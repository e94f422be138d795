"""Processes asked to stop at every kind of moment: they end in time, in good order, and say how it went."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import asyncpg
import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from api.demo.service_client import ServiceClient, ServiceError
from api.schema.global_ids import key_of
from domain import db
from domain.startup import CUT_SHORT
from tests.e2e.line import CREATE, FOLLOW, Child, Line, create, make_international
from tests.e2e.private_engines import PrivateEngines
from tests.e2e.promises import check_promises, eventually, phones, reached

pytestmark = pytest.mark.faults

WINDOW = 50
SLACK = 4.0
"""Seconds for a process to end beyond the time it was given: its pools and its interpreter."""


async def held_chunks() -> int:
    """How many chunks are leased."""
    count: int = await db.fetchval("SELECT count(*) FROM chunk WHERE state = 1")
    return count


async def in_doubt(task_id: str) -> int:
    """How many messages are in doubt."""
    count: int = await db.fetchval(
        "SELECT count(*) FROM message WHERE task_id = $1 AND handover = 2", key_of("Task", task_id)
    )
    return count


async def stopped(child: Child, number: signal.Signals = signal.SIGTERM, within: float = 15) -> int:
    """Ask a process to stop; its exit code. It must end within its time."""
    began = time.monotonic()
    code = await child.stop(number, within + SLACK)
    assert time.monotonic() - began <= within + SLACK
    return code


@pytest.mark.parametrize(
    "signals",
    [
        (signal.SIGTERM,),
        pytest.param((signal.SIGINT,), marks=pytest.mark.long_form),
        pytest.param(
            (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGTERM), marks=pytest.mark.long_form
        ),
    ],
    ids=lambda signals: "+".join(each.name for each in signals),
)
async def test_a_worker_settles_what_is_under_way_unbinds_and_gives_the_rest_back(
    private_line: Line, signals: tuple[signal.Signals, ...]
) -> None:
    line = private_line
    await line.message_centre("--response-delay", "1", "--receipt-delay", "0.05", query=f"window={WINDOW}")
    _, client = await line.api()
    worker = await line.worker()
    recipients = phones(600)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    await reached(line, 100)
    for number in signals[:-1]:
        worker.process.send_signal(number)
        await asyncio.sleep(0.1)  # signals of one kind that come together are one
    assert await stopped(worker, signals[-1]) == 0
    assert await held_chunks() == 0
    assert await in_doubt(task_id) == 0
    handed_over = "SELECT count(*) FROM message WHERE task_id = $1 AND result <> 0"
    assert await db.fetchval(handed_over, key_of("Task", task_id)) == len(line.events("submit_sm"))
    assert [event["by"] for event in line.events("unbind")] == ["peer"]
    await line.worker()
    await check_promises(line, client, task_id, recipients, in_doubt_at_most=0)


async def test_what_a_silent_centre_does_not_answer_is_in_doubt_before_the_worker_ends(
    private_line: Line,
) -> None:
    line = private_line
    centre = await line.message_centre(
        "--receipt-delay", "0.05", "--silent-every", "1", query=f"window={WINDOW}&response_timeout=120"
    )
    _, client = await line.api()
    worker, _ = await line.start("workers", GROUPSMS_SHUTDOWN_SECONDS="8")
    recipients = phones(600)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    await reached(line, WINDOW - 5)  # some numbers are refused
    assert await stopped(worker, within=8) == 0
    assert await held_chunks() == 0
    unanswered = "SELECT count(*) FROM message WHERE task_id = $1 AND result = 1 AND handover = 2"
    # A receipt may have settled some since.
    assert await db.fetchval(unanswered, key_of("Task", task_id)) <= WINDOW
    waiting = "SELECT count(*) FROM message WHERE task_id = $1 AND result = 0"
    assert await db.fetchval(waiting, key_of("Task", task_id)) == len(recipients) - len(
        line.events("submit_sm")
    )
    await tell(centre, "silent-every=off")
    await line.worker()
    await check_promises(line, client, task_id, recipients, in_doubt_at_most=WINDOW)


async def tell(centre: Child, step: str) -> None:
    """Have the message centre behave otherwise from now on."""
    assert centre.process.stdin is not None
    centre.process.stdin.write(f"{step}\n".encode())
    await centre.process.stdin.drain()


@pytest.mark.long_form
async def test_a_worker_without_a_bind_ends_at_once(private_line: Line) -> None:
    line = private_line
    centre = await line.message_centre()
    await centre.stop()
    _, client = await line.api()
    worker = await line.worker()
    await create(client, await make_international(client, "Hello"), phones(100))
    await said(worker, "smpp_not_connected")
    assert await stopped(worker, within=5) == 0
    assert await held_chunks() == 0


async def said(child: Child, event: str) -> None:
    """Return once a process has logged this."""

    async def logged() -> bool:
        return event in child.log.read_text()

    await eventually(logged, 30)


class Gate:
    """A way to PostgreSQL that can be closed: whoever is on it is cut off, and nobody comes through."""

    def __init__(self, socket_path: str) -> None:
        self.open = True
        self.port = 0
        self._socket_path = socket_path
        self._writers: set[asyncio.StreamWriter] = set()

    def close(self) -> None:
        """Let nothing through any more."""
        self.open = False
        for writer in self._writers:
            writer.transport.abort()

    async def pass_through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        if not self.open:
            writer.transport.abort()
            return
        from_server, to_server = await asyncio.open_unix_connection(self._socket_path)
        self._writers |= {writer, to_server}
        await asyncio.gather(_carry(reader, to_server), _carry(from_server, writer))
        self._writers -= {writer, to_server}


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while octets := await reader.read(65_536):
            writer.write(octets)
    writer.transport.abort()


@asynccontextmanager
async def gate_to(database_url: str) -> AsyncIterator[tuple[Gate, str]]:
    """A gate, and the URL of the database through it."""
    parts = urlsplit(database_url)
    query = {key: values[0] for key, values in parse_qs(parts.query).items()}
    gate = Gate(f"{query['host']}/.s.PGSQL.{query.get('port', 5432)}")
    server = await asyncio.start_server(gate.pass_through, "127.0.0.1", 0)
    gate.port = server.sockets[0].getsockname()[1]
    credentials = parts.netloc.partition("@")[0] if "@" in parts.netloc else "postgres"
    try:
        yield gate, f"postgresql://{credentials}@127.0.0.1:{gate.port}{parts.path}?sslmode=disable"
    finally:
        gate.close()
        server.close()


@pytest.mark.long_form
async def test_with_the_database_away_a_worker_ends_in_time_and_says_what_it_left(private_line: Line) -> None:
    line = private_line
    await line.message_centre("--response-delay", "1", "--receipt-delay", "0.05", query=f"window={WINDOW}")
    _, client = await line.api()
    async with gate_to(line.database_url) as (gate, url):
        worker, _ = await line.start("workers", GROUPSMS_DATABASE_URL=url, GROUPSMS_SHUTDOWN_SECONDS="6")
        recipients = phones(600)
        task_id = await create(client, await make_international(client, "Hello"), recipients)
        await reached(line, 100)
        gate.close()
        assert await stopped(worker, within=6) == CUT_SHORT
    line.children.remove(worker)  # for it was right to fail
    await line.worker()
    await check_promises(line, client, task_id, recipients, in_doubt_at_most=WINDOW)


@pytest.mark.long_form
async def test_with_the_database_away_a_worker_that_has_nothing_leaves_nothing(private_line: Line) -> None:
    line = private_line
    await line.message_centre()
    async with gate_to(line.database_url) as (gate, url):
        worker, _ = await line.start("workers", GROUPSMS_DATABASE_URL=url, GROUPSMS_SHUTDOWN_SECONDS="6")
        await said(worker, "smpp_bound")
        gate.close()
        await said(worker, "database_unavailable")
        assert await stopped(worker, within=6) == 0


@pytest.mark.long_form
@pytest.mark.parametrize("module", ["workers", "api"])
async def test_stopped_at_any_moment_of_its_start_a_process_ends(
    private_line: Line, module: str, chance: random.Random
) -> None:
    """Only before Python itself has begun to listen does the signal end it as signals do."""
    line = private_line
    for _ in range(5):
        child, _ = await line.start(module)
        await asyncio.sleep(chance.uniform(0.05, 2.5))
        assert await stopped(child, within=5) in (0, -signal.SIGTERM)
        assert "Traceback" not in child.log.read_text()


@pytest.mark.long_form
@pytest.mark.parametrize("module", ["workers", "api"])
async def test_stopped_while_waiting_for_somebodys_migration_a_process_ends_with_0(
    private_line: Line, private: PrivateEngines, module: str
) -> None:
    line = private_line
    holder = await asyncpg.connect(line.database_url)
    try:
        await holder.execute("SELECT pg_advisory_lock($1)", db.MIGRATION_LOCK)
        # Embedded engines: only there does a process migrate by itself.
        child, _ = await line.start(module, **embedded(private))
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"

        async def waiting() -> bool:
            return bool(await db.fetchval(waits))

        await eventually(waiting, 30)
        assert await stopped(child, within=5) == 0

        async def gone() -> bool:
            return not await db.fetchval(waits)

        await eventually(gone, 10)
    finally:
        await holder.close()
    assert await db.pending_migrations() == []


def embedded(private: PrivateEngines) -> dict[str, str]:
    """Settings of a process on the very engines of a private line."""
    return {
        "GROUPSMS_DATABASE_URL": "",
        "GROUPSMS_REDIS_URL": "",
        "GROUPSMS_DATA_DIR": str(private.data_dir),
    }


# --- the API ----------------------------------------------------------------------------------------


async def subscribed(client: ServiceClient, token: str, task_id: str) -> ClientConnection:
    """A socket on which a task is followed; its first update has come."""
    url = client.base_url.replace("http", "ws", 1) + "/graphql"
    socket = await connect(url, subprotocols=[Subprotocol("graphql-transport-ws")])
    follow = {"query": FOLLOW, "variables": {"id": task_id}}
    for message in (
        {"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}},
        {"type": "subscribe", "id": "1", "payload": follow},
    ):
        await socket.send(json.dumps(message))
        answer = json.loads(await socket.recv())
    assert answer["type"] == "next"
    return socket


async def read_on(socket: ClientConnection) -> None:
    """Read what comes until the socket is closed. Raises `ConnectionClosed`."""
    while True:
        await socket.recv()


@asynccontextmanager
async def blocked(table: str) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
    """Nobody can write into the table; yields a condition: somebody is waiting to."""

    async def somebody_waits() -> bool:
        waiting = await db.fetchval(
            """
            SELECT count(*) FROM pg_locks JOIN pg_partition_tree($1::text::regclass) ON relation = relid
            WHERE NOT granted
            """,
            table,
        )
        return bool(waiting)

    async with db.transaction() as conn:
        await conn.execute(f"LOCK TABLE {table} IN SHARE MODE")
        yield somebody_waits


async def test_the_api_answers_what_it_was_asked_closes_sockets_politely_and_ends_with_0(
    private_line: Line,
) -> None:
    line = private_line
    api, client = await line.api()
    made_from = await make_international(client, "Hello")
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    task_id = await create(client, made_from, phones(100), sendAt=later)
    socket = await subscribed(client, line.token, task_id)
    async with blocked("message") as somebody_waits:
        order = {"name": "Slow", **made_from, "recipients": {"numbers": phones(100)}, "sendAt": later}
        creating = asyncio.create_task(client.execute(CREATE, input=order))
        await eventually(somebody_waits)
        api.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            await read_on(socket)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code in (1001, 1012)
        assert api.process.returncode is None
    payload = (await creating)["createTask"]
    assert payload["errors"] == []
    async with asyncio.timeout(15):
        assert await api.process.wait() == 0


@pytest.mark.long_form
async def test_the_api_says_when_time_ran_out_for_a_request(private_line: Line) -> None:
    line = private_line
    api, client = await line.api(GROUPSMS_SHUTDOWN_SECONDS="2")
    made_from = await make_international(client, "Hello")
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    order = {"name": "Slow", **made_from, "recipients": {"numbers": phones(100)}, "sendAt": later}
    async with blocked("message") as somebody_waits:
        creating = asyncio.create_task(client.execute(CREATE, input=order))
        await eventually(somebody_waits)
        assert await stopped(api, within=3) == CUT_SHORT
    with pytest.raises((ServiceError, httpx.TransportError)):
        await creating
    assert await db.fetchval("SELECT count(*) FROM task") == 0, "what was cut off is not half done"
