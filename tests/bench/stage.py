"""Where benchmarks run: the service's own processes on engines of their own, and what they use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import psutil

from domain import db
from domain.engines import engines
from domain.settings import Settings
from tests.conftest import keeper_of, private_data_dir
from tests.e2e.line import Child, Line, running_line

SAMPLED_EVERY = 0.1
"""Seconds between two looks at the memory in use."""
LIFTED = {
    "GROUPSMS_REQUESTS_PER_SECOND": "1000000",
    "GROUPSMS_ANONYMOUS_PER_SECOND": "1000000",
    "GROUPSMS_SOCKETS_AT_ONCE": "1000000",
    "GROUPSMS_SUBSCRIPTIONS_AT_ONCE": "1000000",
}
"""What lets one token ask as much as it can: everything is counted, and nothing refused."""


@asynccontextmanager
async def stage() -> AsyncIterator[Line]:
    """A line without a process yet, on a fresh PostgreSQL and Valkey with the settings everybody gets."""
    with (
        private_data_dir() as data_dir,
        engines(Settings(data_dir=data_dir, database_url=None, redis_url=None)) as running,
    ):
        await db.migrate(running.database_url)
        async with running_line(running.database_url, running.redis_url, data_dir) as line:
            yield line


def family(line: Line, only: Child | None = None) -> Iterator[psutil.Process]:
    """Our processes and the engines, whose keeper is nobody's child, or `only` one and its children.

    Not the process that measures.
    """
    if only is not None:
        process = psutil.Process(only.process.pid)
        yield from (process, *process.children(recursive=True))
        return
    yield from psutil.Process().children(recursive=True)
    if (keeper := keeper_of(line.folder)) is not None:
        yield from psutil.Process(keeper).children(recursive=True)


def processor_seconds(processes: Iterable[psutil.Process]) -> float:
    """What they have used so far, and those of their children that have ended."""
    return sum(sum(process.cpu_times()[:4]) for process in processes)


class Memory:
    """The memory the processes of a line and its engines use together, each shared page counted once."""

    def __init__(self, line: Line, only: Child | None = None) -> None:
        """Of all of them, or `only` of one and its children."""
        self._line = line
        self._only = only
        self.peak = 0
        """Octets."""

    def look(self) -> int:
        """Add up what is used now."""
        used = sum(_proportional(process) for process in family(self._line, self._only))
        self.peak = max(self.peak, used)
        return used


@asynccontextmanager
async def watched_memory(line: Line, only: Child | None = None) -> AsyncIterator[Memory]:
    """Look at the memory in use again and again inside the block."""
    memory = Memory(line, only)
    watching = asyncio.create_task(_watch(memory))
    try:
        yield memory
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _watch(memory: Memory) -> None:
    while True:
        await asyncio.to_thread(memory.look)
        await asyncio.sleep(SAMPLED_EVERY)


def _proportional(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return int(process.memory_full_info().pss)
    return 0


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Seconds the block took, as the one element of the list."""
    loop = asyncio.get_running_loop()
    took: list[float] = []
    began = loop.time()
    try:
        yield took
    finally:
        took.append(loop.time() - began)
