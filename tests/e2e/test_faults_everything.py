"""Everything killed at one moment, as when a machine loses its power, then started again."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from api.demo.service_client import ServiceClient
from domain.dispatch import LEASE
from domain.engines.layout import Kind, Layout
from tests.conftest import keeper_of
from tests.e2e.line import Child, Line, create, free_port, lives, make_international, running_line
from tests.e2e.private_engines import private_engines, set_clock_ahead
from tests.e2e.promises import check_promises, moments, phones, reached
from tests.e2e.watcher import watching

pytestmark = pytest.mark.faults

WINDOW, BINDS = 25, 2
EMBEDDED = {"GROUPSMS_DATABASE_URL": "", "GROUPSMS_REDIS_URL": ""}
"""Nothing is configured: whoever starts first starts the engines too."""


@pytest.mark.parametrize("times", [1, pytest.param(5, marks=pytest.mark.long_form)])
async def test_everything_killed_at_once_and_started_again(
    data_dir: Path, chance: random.Random, times: int
) -> None:
    async with private_engines(data_dir) as engines:
        urls = engines.database_url, engines.redis_url
    # From here on only the processes of the line hold the engines.
    async with running_line(*urls, data_dir) as line:
        centre = await line.message_centre(
            "--receipt-delay", "0.05", "--resend-after", "0.5",
            query=f"window={WINDOW}&binds={BINDS}&rate=200",
        )  # fmt: skip
        port = free_port()
        living, client = await _start(line, port, timedelta())
        recipients = phones(1200 * times)
        task_id = await create(client, await make_international(client, "Hello"), recipients)
        async with watching(client, task_id) as watcher:
            for kill, moment in enumerate(moments(chance, times, len(recipients)), start=1):
                await reached(line, moment)
                await _kill_all(living, data_dir, chance)
                # What the dead workers held lapses before others begin.
                living, client = await _start(line, port, kill * (LEASE + timedelta(seconds=1)))
            await check_promises(
                line, client, task_id, recipients,
                in_doubt_at_most=times * WINDOW * BINDS, watcher=watcher,
            )  # fmt: skip
        assert watcher.cut_off >= times
        assert lives(centre, *living)


async def _start(line: Line, port: int, ahead: timedelta) -> tuple[list[Child], ServiceClient]:
    api, client = await line.api(port, **EMBEDDED)
    await set_clock_ahead(line.database_url, ahead)
    workers = [(await line.start("workers", **EMBEDDED))[0] for _ in range(2)]
    return [api, *workers], client


async def _kill_all(children: list[Child], data_dir: Path, chance: random.Random) -> None:
    keeper = keeper_of(data_dir)
    assert keeper is not None
    states = Layout(data_dir / "engines").read_states()
    pids = [child.process.pid for child in children] + [keeper]
    for kind in Kind:
        pid = states[kind].pid
        assert pid is not None
        server = psutil.Process(pid)
        pids += [pid, *(process.pid for process in server.children(recursive=True))]
    chance.shuffle(pids)
    dying = [psutil.Process(pid) for pid in pids]
    for process in dying:
        # One may have ended of itself when its parent was killed.
        with suppress(psutil.NoSuchProcess):
            process.kill()
    for child in children:
        await child.process.wait()
    _, left = await asyncio.to_thread(psutil.wait_procs, dying, 30)
    assert left == []
