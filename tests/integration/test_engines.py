"""The embedded engines under real processes that come, go and are killed."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis
from arq.connections import RedisSettings

from domain import db
from domain.engines import EngineError, acquire, engines
from domain.engines.account import engines_account, run_as
from domain.engines.layout import Kind, Layout, Status
from domain.settings import Settings
from tests.conftest import keeper_of, wait_until

USER = """
import json, sys
from pathlib import Path
from domain.engines import engines
from domain.settings import Settings
with engines(Settings(data_dir=Path(sys.argv[1]))) as running:
    print(json.dumps([running.database_url, running.redis_url]), file=sys.stderr, flush=True)
    sys.stdin.read()
"""


class User:
    """A process that uses the engines of a data directory until it is killed or let go."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def urls(self) -> tuple[str, str]:
        """Where its engines are; waits until it has them."""
        assert self.process.stderr is not None
        database_url, redis_url = json.loads(self.process.stderr.readline())
        return database_url, redis_url

    def kill(self) -> None:
        self.process.kill()
        self.end()

    def end(self) -> None:
        self.process.communicate(timeout=30)


@contextmanager
def users(data_dir: Path, count: int) -> Iterator[list[User]]:
    """So many processes, started at the same moment; killed at the end."""
    with ExitStack() as stack:
        started = [User(data_dir) for _ in range(count)]
        for user in started:
            stack.callback(user.kill)
        yield started


def settings(data_dir: Path) -> Settings:
    return Settings(data_dir=data_dir, database_url=None, redis_url=None)


def state_pid(data_dir: Path, kind: Kind) -> int | None:
    state = Layout(data_dir / "engines").read_states()[kind]
    return state.pid if state.status is Status.READY else None


def processes_of(data_dir: Path, name: str = "") -> list[int]:
    """The processes (servers, their children aside, and keepers) that name the data directory."""
    found = {
        process.pid: process
        for process in psutil.process_iter(["cmdline", "name", "ppid", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and process.info["name"].startswith(name)
        and any(str(data_dir) in word for word in process.info["cmdline"] or [])
        and USER not in process.info["cmdline"]
    }

    def is_child(process: psutil.Process) -> bool:
        parent = found.get(process.info["ppid"])
        return parent is not None and parent.info["name"] == process.info["name"]

    # A child that PostgreSQL has just forked bears its parent's command line until it has a title of its own.
    return [pid for pid, process in found.items() if not is_child(process)]


async def put(database_url: str, redis_url: str) -> None:
    """Leave a mark in both engines."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE mark (text text); INSERT INTO mark VALUES ('here')")
    await connection.close()
    with redis.Redis.from_url(redis_url) as client:
        client.set("mark", "here")


async def found(database_url: str, redis_url: str) -> list[str]:
    """The marks that are in both engines."""
    connection = await asyncpg.connect(database_url)
    in_database = await connection.fetchval("SELECT text FROM mark")
    await connection.close()
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        return [in_database, str(client.get("mark"))]


def replaced(pid: Callable[[], int | None], former: int | None) -> Callable[[], bool]:
    return lambda: pid() not in (None, former)


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


async def test_two_at_once_share_a_pair_that_outlives_each_and_goes_after_both(data_dir: Path) -> None:
    with users(data_dir, 2) as (first, second):
        urls = first.urls()
        assert second.urls() == urls
        await put(*urls)
        pids = [state_pid(data_dir, kind) for kind in Kind]
        keeper = keeper_of(data_dir)
        assert set(processes_of(data_dir)) == {*pids, keeper}
        first.kill()
        await asyncio.sleep(0.5)  # nothing is to happen, which no condition shows
        assert await found(*urls) == ["here", "here"]
        assert [state_pid(data_dir, kind) for kind in Kind] == pids
        second.kill()
    wait_until(lambda: not processes_of(data_dir) and keeper_of(data_dir) is None)
    assert await found_again(data_dir) == ["here", "here"]


async def found_again(data_dir: Path) -> list[str]:
    with engines(settings(data_dir)) as running:
        return await found(running.database_url, running.redis_url)


async def test_an_engine_that_dies_is_started_again_with_all_it_had(data_dir: Path) -> None:
    with engines(settings(data_dir)) as running:
        await put(running.database_url, running.redis_url)
        for kind in Kind:
            former = state_pid(data_dir, kind)
            kill(former)
            wait_until(replaced(lambda kind=kind: state_pid(data_dir, kind), former))  # type: ignore[misc]
        assert await found(running.database_url, running.redis_url) == ["here", "here"]


async def test_a_killed_keeper_is_replaced_and_takes_nothing_along(data_dir: Path) -> None:
    with engines(settings(data_dir)) as running:
        await put(running.database_url, running.redis_url)
        former = keeper_of(data_dir)
        servers = [state_pid(data_dir, kind) for kind in Kind]
        kill(former)
        wait_until(replaced(lambda: keeper_of(data_dir), former))
        for kind, server in zip(Kind, servers, strict=True):
            wait_until(replaced(lambda kind=kind: state_pid(data_dir, kind), server))  # type: ignore[misc]
        assert await found(running.database_url, running.redis_url) == ["here", "here"]
    wait_until(lambda: not processes_of(data_dir))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next keeper ends them")
def test_engines_without_user_and_keeper_end(data_dir: Path) -> None:
    with users(data_dir, 1) as (user,):
        user.urls()
        user.kill()
    kill(keeper_of(data_dir))
    wait_until(lambda: not processes_of(data_dir))


@contextmanager
def sleeping_process() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the engines' own user that is no engine."""
    with subprocess.Popen(["sleep", "60"], **run_as(engines_account())) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_after_a_power_cut_all_is_there_again(data_dir: Path) -> None:
    with users(data_dir, 1) as (user,):
        urls = user.urls()
        await put(*urls)
        user.kill()
        for pid in (keeper_of(data_dir), *(state_pid(data_dir, kind) for kind in Kind)):
            kill(pid)
    wait_until(lambda: not processes_of(data_dir))
    # After a restart of the machine or container, the server's number may be another process's.
    with sleeping_process() as other:
        postmaster_pid = data_dir / "engines" / "postgresql" / "postmaster.pid"
        lines = postmaster_pid.read_text().splitlines()
        postmaster_pid.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        assert await found_again(data_dir) == ["here", "here"]
        assert other.poll() is None


def test_who_comes_while_the_engines_are_being_stopped_gets_a_working_pair(data_dir: Path) -> None:
    layout = Layout(data_dir / "engines")
    with engines(settings(data_dir)):
        pass
    wait_until(lambda: layout.read_states()[Kind.POSTGRESQL].status in {Status.STOPPING, Status.OFF})
    with engines(settings(data_dir)) as running, redis.Redis.from_url(running.redis_url) as client:
        assert client.ping()


def test_many_coming_and_going_have_one_pair_at_every_moment(data_dir: Path) -> None:
    for _ in range(2):
        with users(data_dir, 5) as crowd:
            urls = {user.urls() for user in crowd}
            assert len(urls) == 1
            assert len(processes_of(data_dir, "postgres")) == 1
            assert len(processes_of(data_dir, "valkey")) == 1
        kill(keeper_of(data_dir))


def test_what_is_given_by_url_is_not_started(data_dir: Path) -> None:
    given = Settings(data_dir=data_dir, database_url="postgresql://db.example/sms", redis_url=None)
    with engines(given) as running:
        assert running.database_url == "postgresql://db.example/sms"
        assert processes_of(data_dir, "valkey")
        assert not processes_of(data_dir, "postgres")
    none = Settings(data_dir=data_dir / "none", database_url="postgresql://h/d", redis_url="redis://h")
    with engines(none) as running:
        assert running.redis_url == "redis://h"
    assert not none.data_dir.exists()


def test_engines_of_a_removed_data_directory_end(data_dir: Path) -> None:
    inner = data_dir / "inner"
    with users(inner, 1) as (user,):
        user.urls()
        shutil.rmtree(inner, ignore_errors=True)
        wait_until(lambda: not processes_of(inner))


async def test_a_path_no_socket_can_have_does_for_all_clients(data_dir: Path) -> None:
    deep = data_dir / "a directory, with 100% of it's marks" / ("x" * 80)
    with engines(settings(deep)) as running:
        await put(running.database_url, running.redis_url)
        assert await found(running.database_url, running.redis_url) == ["here", "here"]
        assert RedisSettings.from_dsn(running.redis_url).unix_socket_path == str(
            Layout(deep / "engines").sockets / "valkey.sock"
        )
        async with db.connected(running.database_url, pool_size=1):
            assert await db.fetchval("SHOW timezone") == "UTC"
            assert await db.fetchval("SHOW server_encoding") == "UTF8"
            assert await db.fetchval("SHOW fsync") == "on"
            assert await db.fetchval("SHOW max_connections") == "200"
            assert await db.fetchval("SHOW listen_addresses") == ""
    wait_until(lambda: not processes_of(deep))
    assert not Layout(deep / "engines").sockets.exists()


def test_valkey_starts_empty_when_its_file_is_broken(data_dir: Path) -> None:
    with acquire(settings(data_dir), [Kind.VALKEY]) as it, redis.Redis.from_url(it.redis_url) as client:
        client.set("mark", "here")
    wait_until(lambda: not processes_of(data_dir))
    for file in (data_dir / "engines" / "valkey").glob("appendonlydir/*.aof"):
        file.write_bytes(b"\xff" * 4096)
    with acquire(settings(data_dir), [Kind.VALKEY]) as it, redis.Redis.from_url(it.redis_url) as client:
        assert client.get("mark") is None
    assert list((data_dir / "engines").glob("valkey.unreadable-*"))


def test_data_of_another_version_is_refused_in_one_line(data_dir: Path) -> None:
    cluster = data_dir / "engines" / "postgresql"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("17\n")
    with pytest.raises(EngineError, match=r"was written by PostgreSQL 17, this is 18: move the data"):
        acquire(settings(data_dir))


def test_a_server_that_does_not_start_says_why_in_one_line(data_dir: Path) -> None:
    with engines(settings(data_dir)):
        pass
    wait_until(lambda: not processes_of(data_dir))
    with (data_dir / "engines" / "postgresql" / "postgresql.conf").open("a") as configuration:
        configuration.write("no_such_option = 1\n")
    with pytest.raises(EngineError, match=r"PostgreSQL did not start: .*log: .*postgresql\.log") as raised:
        acquire(settings(data_dir))
    assert "\n" not in str(raised.value)


def test_a_data_directory_nobody_may_enter_is_refused_in_one_line(data_dir: Path) -> None:
    closed = data_dir / "closed"
    closed.mkdir(mode=0o600)
    with pytest.raises(EngineError, match=r"data directory .* can't be used|cannot use the data directory"):
        acquire(settings(closed / "data"))
