"""For a run that failed to be understood afterwards: what its processes said, and the seed of its chances."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from tests.e2e.line import Line, running_line
from tests.e2e.private_engines import PrivateEngines, private_engines

SEED = "FAULTS_SEED"
"""Set to repeat what a failed run did at random."""
LINES = 80
"""Of each log that are shown at most: its last ones."""
WIDTH = 1000
"""Characters of a line that are shown."""


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Chooses random moments; how it was seeded is shown with a failure."""
    seed = int(os.environ.get(SEED) or random.SystemRandom().getrandbits(32))
    request.node.add_report_section("call", "seed", f"{SEED}={seed} repeats these choices")
    return random.Random(seed)


@pytest.fixture
async def private(data_dir: Path) -> AsyncIterator[PrivateEngines]:
    """Engines that nobody else uses."""
    async with private_engines(data_dir) as engines:
        yield engines


@pytest.fixture
async def private_line(private: PrivateEngines, tmp_path: Path) -> AsyncIterator[Line]:
    """A line on engines that nobody else uses."""
    async with running_line(private.database_url, private.redis_url, tmp_path) as line:
        yield line


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure the ends of the logs of all processes of the test."""
    report = yield
    if report.when == "call" and report.failed and isinstance(item, pytest.Function):
        for log in _logs(item):
            lines = log.read_text(errors="replace").splitlines()
            if lines:
                shown = "\n".join(line[:WIDTH] for line in lines[-LINES:])
                report.sections.append((f"{log.name}, {len(lines)} lines", shown))
    return report


def _logs(item: pytest.Function) -> Iterator[Path]:
    for fixture, folder in (("tmp_path", "."), ("data_dir", "."), ("data_dir", "engines")):
        given = item.funcargs.get(fixture)
        if isinstance(given, Path):
            yield from sorted((given / folder).glob("*.log"))
