"""Real engines for the tests: one PostgreSQL and one Valkey a run, a fresh database a test."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import psutil
import pytest
import redis

from domain.db import migrate
from domain.engines import Engines
from domain.engines import engines as embedded_engines
from domain.engines.locks import try_exclusive
from domain.settings import PREFIX, Settings

COMPLETE = "TESTS_MUST_BE_COMPLETE"
"""Set where nothing may be left out: a skipped test is a failure then."""

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TEMPLATE = "template_of_tests"
NO_CHROMIUM = "needs Chromium: apt-get install chromium"


def pytest_configure() -> None:
    """The settings of whoever runs the tests are not the tests' settings."""
    for name in list(os.environ):
        if name.upper().startswith(PREFIX):
            del os.environ[name]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out a test for which this machine lacks something, saying how to get it."""
    if item.get_closest_marker("browser") and _chromium() is None:
        pytest.skip(NO_CHROMIUM)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where the run must be complete, a test left out fails it."""
    if hasattr(session.config, "workerinput"):
        return  # whoever collects the results of the parallel processes decides
    if os.environ.get(COMPLETE) and session.exitstatus == pytest.ExitCode.OK and _left_out(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say at the end, where it is read, what was left out and why."""
    left_out = _left_out(config)
    if not left_out:
        return
    refused = f" ({COMPLETE} is set: this fails the run)" if os.environ.get(COMPLETE) else ""
    terminalreporter.write_sep(
        "=", f"left out: {len(left_out)} tests{refused}", red=bool(refused), yellow=True
    )
    for reason in sorted(set(left_out)):
        terminalreporter.write_line(f"{left_out.count(reason)} x {reason}")


def _left_out(config: pytest.Config) -> list[str]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    assert isinstance(reporter, pytest.TerminalReporter)
    return [str(report.longrepr[2]).removeprefix("Skipped: ") for report in reporter.stats.get("skipped", [])]


def _chromium() -> Path | None:
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    return None if found is None else Path(found)


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The Chromium of this machine, for tests marked `browser`."""
    found = _chromium()
    assert found is not None, "mark the test: @pytest.mark.browser"
    return found


def wait_until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    """Return once the condition holds, by looking again and again; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        time.sleep(0.02)


def keeper_of(data_dir: Path) -> int | None:
    """The process id of the keeper of a data directory's engines; None when there is no keeper."""
    lock_file = data_dir / "engines" / "keeper.lock"
    if not lock_file.exists():
        return None
    lock = try_exclusive(lock_file)
    if lock is not None:
        os.close(lock)
        return None
    return int(lock_file.read_text() or 0) or None


@contextmanager
def private_data_dir() -> Iterator[Path]:
    """A new data directory with a short path, enterable for the engines' own user; removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="groupsms-test-"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        if keeper := keeper_of(path):
            os.kill(keeper, signal.SIGTERM)
        wait_until(lambda: not _processes_naming(path), 60)
        shutil.rmtree(path)


def _processes_naming(path: Path) -> list[psutil.Process]:
    """The processes with the path on their command line: the keeper and the servers."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(path) in word for word in process.info["cmdline"] or [])
    ]


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data directory for one test; engines running there afterwards are stopped."""
    with private_data_dir() as path:
        yield path


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    """The PostgreSQL and the Valkey of this test run, on a data directory of their own."""
    with private_data_dir() as path:
        settings = Settings(data_dir=path, database_url=None, redis_url=None)
        with embedded_engines(settings) as running:
            yield running


@pytest.fixture(scope="session")
async def template_database(engines: Engines) -> str:
    """The name of a database that has all migrations, for others to be copied from."""
    await _sql(engines, f"CREATE DATABASE {TEMPLATE}")
    await migrate(_with_database(engines.database_url, TEMPLATE))
    return TEMPLATE


@pytest.fixture
async def database_url(engines: Engines, template_database: str) -> AsyncIterator[str]:
    """The URL of a migrated, empty database for one test."""
    name = f"test_{uuid4().hex}"
    await _sql(engines, f"CREATE DATABASE {name} TEMPLATE {template_database}")
    try:
        yield _with_database(engines.database_url, name)
    finally:
        await _sql(engines, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def redis_url(engines: Engines) -> str:
    """The URL of the Valkey, flushed for this test."""
    with redis.Redis.from_url(engines.redis_url) as client:
        client.flushall()
    return engines.redis_url


async def _sql(engines: Engines, statement: str) -> None:
    connection = await asyncpg.connect(engines.database_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
