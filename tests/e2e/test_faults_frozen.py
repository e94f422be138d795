"""Workers frozen by SIGSTOP and resumed: past its lease one writes nothing more, and goes on with new claims.

The message centre tells workers apart by their system_id.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from typing import Any

import pytest

from domain import binds
from domain.dispatch import LEASE
from tests.e2e.line import Child, Line, create, lives, make_international
from tests.e2e.private_engines import PrivateEngines
from tests.e2e.promises import check_promises, eventually, phones, reached
from tests.e2e.watcher import watching

pytestmark = pytest.mark.faults

WINDOW = 20
CENTRE = ("--receipt-delay", "0.1", "--resend-after", "3")


async def named_worker(line: Line, system_id: str) -> Child:
    """A worker that binds with this system_id, each with a bind of its own."""
    url = line.gateway.replace("//line:", f"//{system_id}:")
    child, _ = await line.start("workers", GROUPSMS_GATEWAYS__DEFAULT=url)
    return child


def submits_of(line: Line, system_id: str, since: float) -> list[dict[str, Any]]:
    """What a worker has submitted since that moment of the monotonic clock, in order."""
    return [e for e in line.events("submit_sm") if e["system_id"] == system_id and e["at"] > since]


def binds_of(line: Line, system_id: str, since: float) -> list[dict[str, Any]]:
    """The binds of a worker since then."""
    return [e for e in line.events("bind") if e["system_id"] == system_id and e["at"] > since]


async def freeze(*workers: Child, seconds: float) -> float:
    """Stop processes for so long; returns the moment they were resumed, on the monotonic clock."""
    for worker in workers:
        worker.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    resumed_at = time.monotonic()
    for worker in workers:
        worker.process.send_signal(signal.SIGCONT)
    return resumed_at


async def test_a_worker_frozen_past_its_leases_writes_nothing_more_and_then_goes_on(
    private_line: Line, private: PrivateEngines
) -> None:
    """Its windows are full; for the database even the lease of its chunks is over."""
    line = private_line
    await line.message_centre(
        *CENTRE, "--response-delay", "0.3", query=f"window={WINDOW}&binds=2&response_timeout=5"
    )
    api, client = await line.api()
    frozen, other = await named_worker(line, "frozen"), await named_worker(line, "other")
    recipients = phones(4_000)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    async with watching(client, task_id) as watcher:
        await eventually(lambda: both_send(line))
        frozen.process.send_signal(signal.SIGSTOP)
        await private.set_clock_ahead(LEASE)
        resumed_at = await freeze(frozen, seconds=binds.LEASE.total_seconds() + 1)
        await eventually(lambda: sends_again(line, resumed_at))
        check_new_binds_only(line, resumed_at)
        await check_promises(
            line, client, task_id, recipients, in_doubt_at_most=2 * 2 * WINDOW, watcher=watcher
        )
    assert lives(api, frozen, other)


async def both_send(line: Line) -> bool:
    """Whether the workers of both names have submitted something."""
    return bool(submits_of(line, "frozen", 0) and submits_of(line, "other", 0))


async def sends_again(line: Line, resumed_at: float) -> bool:
    """Whether the resumed worker has submitted something since."""
    return bool(submits_of(line, "frozen", resumed_at))


def check_new_binds_only(line: Line, resumed_at: float) -> None:
    """What was submitted since went over binds made since."""
    made = {event["connection"] for event in binds_of(line, "frozen", resumed_at)}
    assert {event["connection"] for event in submits_of(line, "frozen", resumed_at)} <= made


@pytest.mark.long_form
@pytest.mark.parametrize(
    "flags",
    [
        ("--response-delay", "0.5"),
        ("--rate", "150"),
        ("--response-delay", "0.01"),
    ],
    ids=["full windows", "throttled", "anywhere"],
)
async def test_workers_frozen_past_the_lease_by_every_clock(
    private_line: Line, chance: random.Random, flags: tuple[str, ...]
) -> None:
    line = private_line
    await line.message_centre(*CENTRE, *flags, query=f"window={WINDOW}&binds=3&rate=200&response_timeout=5")
    api, client = await line.api()
    workers = [await named_worker(line, name) for name in ("frozen", "frozen", "other")]
    recipients = phones(9_000)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    async with watching(client, task_id) as watcher:
        await eventually(lambda: both_send(line))
        await asyncio.sleep(chance.uniform(0, 1))
        resumed_at = await freeze(*workers[:2], seconds=LEASE.total_seconds() + 1)
        await eventually(lambda: sends_again(line, resumed_at))
        check_new_binds_only(line, resumed_at)
        await check_promises(line, client, task_id, recipients, in_doubt_at_most=3 * WINDOW, watcher=watcher)
    assert lives(api, *workers)


@pytest.mark.long_form
async def test_short_freezes_lose_nothing(private_line: Line, chance: random.Random) -> None:
    line = private_line
    await line.message_centre(*CENTRE, "--response-delay", "0.05", query=f"window={WINDOW}&binds=2")
    api, client = await line.api()
    workers = [await line.worker(), await line.worker()]
    recipients = phones(4_000)
    task_id = await create(client, await make_international(client, "Hello"), recipients)
    async with watching(client, task_id) as watcher:
        for moment in (300, 1_000, 1_700, 2_400):
            await reached(line, moment)
            await asyncio.sleep(chance.uniform(0, 0.1))
            await freeze(chance.choice(workers), seconds=1.5)
        await check_promises(line, client, task_id, recipients, in_doubt_at_most=0, watcher=watcher)
    assert lives(api, *workers)
