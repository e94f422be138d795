"""Tasks that run at the same time share a gateway fairly: in submit_sm, whatever their sizes.

Measured in submits at the message centre, in their order, so that a slow machine changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from domain.engines import Engines
from domain.states import TaskStatus
from tests.integration.dispatching import handed_over, is_at, worker
from tests.integration.message_centre import SimulatedCentre, simulated_centre
from tests.integration.world import LONG_TEXT, Materials, World, eventually, mainland, phones
from workers.dispatcher import LOOK_AGAIN

pytestmark = pytest.mark.alone

RATE = 400
TURN = RATE // 2
"""Submits that a worker gives to its gateway in one turn."""
SOON = int(RATE * LOOK_AGAIN) + 2 * TURN
"""Submits until a worker has found a task of which no bell told it, and gives it a turn."""


@asynccontextmanager
async def workers(
    count: int, engines: Engines, redis_url: str, tmp_path: Path
) -> AsyncIterator[SimulatedCentre]:
    """So many workers that send to one centre, at RATE in all."""
    async with simulated_centre(tmp_path, "--receipt-delay", "0") as centre, AsyncExitStack() as stack:
        for each in range(count):
            url = centre.url(f"window=200&binds={count}&rate={RATE}", system_id=f"worker{each}")
            await stack.enter_async_context(worker(engines, redis_url, url))
        yield centre
        assert len({event["system_id"] for event in centre.events("submit_sm")}) == count, "each has sent"


def plain(count: int, block: int = 0) -> list[str]:
    """So many numbers whose message is simply delivered: their endings stand for nothing else."""
    return phones(count, first=10_000 * block + 100)


def submits(centre: SimulatedCentre) -> list[str]:
    """The destinations of all submits so far, in order."""
    return [f"+{event['destination']}" for event in centre.events("submit_sm")]


async def started(
    world: World, centre: SimulatedCentre, numbers: Sequence[str], materials: Materials | None = None
) -> tuple[int, int]:
    """A further task, just started, and how many submits there were before."""
    task_id = await world.create(numbers, materials=materials)
    await eventually(is_at(world, task_id, TaskStatus.SENDING, TaskStatus.SENT, TaskStatus.COMPLETED), 5)
    return task_id, len(submits(centre))


def until_through(reached: Sequence[str], numbers: Sequence[str], since: int) -> int:
    """How many submits there were from `since` until the last to one of these numbers."""
    ours = {number if number.startswith("+") else f"+{number}" for number in numbers}
    return max(at for at, number in enumerate(reached) if number in ours) + 1 - since


@pytest.mark.parametrize("count", [1, 2])
async def test_a_short_task_behind_a_long_one_needs_the_time_of_its_share(
    world: World, engines: Engines, redis_url: str, tmp_path: Path, count: int
) -> None:
    long, short = plain(9_000), plain(1_000, block=5)
    long_id = await world.create(long)
    async with workers(count, engines, redis_url, tmp_path) as centre:
        await eventually(handed_over(world, long_id, 500))
        short_id, before = await started(world, centre, short)
        await eventually(is_at(world, short_id, TaskStatus.SENT, TaskStatus.COMPLETED), 40)
        assert until_through(submits(centre), short, before) <= 2 * len(short) + SOON


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("long_one_has_more_segments", [True, False])
async def test_shares_are_in_submits_and_not_in_messages(
    world: World,
    engines: Engines,
    redis_url: str,
    tmp_path: Path,
    count: int,
    long_one_has_more_segments: bool,
) -> None:
    three_segments = await mainland(world.viewer, content=LONG_TEXT)
    both = [three_segments, world.mainland]
    of_long, of_short = both if long_one_has_more_segments else reversed(both)
    short = plain(900 if long_one_has_more_segments else 300, block=5)
    long_id = await world.create(plain(5_000), materials=of_long)
    async with workers(count, engines, redis_url, tmp_path) as centre:
        await eventually(handed_over(world, long_id, 200))
        short_id, before = await started(world, centre, short, of_short)
        await eventually(is_at(world, short_id, TaskStatus.SENT, TaskStatus.COMPLETED), 40)
        assert until_through(submits(centre), short, before) <= 2 * 900 + SOON


async def test_a_tiny_task_among_fifty_needs_the_time_of_its_share(
    world: World, engines: Engines, redis_url: str, tmp_path: Path
) -> None:
    tiny = plain(20, block=90)
    others = [await world.create(plain(2_000, block=other)) for other in range(1, 50)]
    async with workers(1, engines, redis_url, tmp_path) as centre:

        async def all_begun() -> bool:
            return all([(await world.read(task_id)).counts.handed_over for task_id in others])

        await eventually(handed_over(world, others[0], 1))
        tiny_id, before = await started(world, centre, tiny)
        await eventually(is_at(world, tiny_id, TaskStatus.SENT, TaskStatus.COMPLETED), 40)
        assert until_through(submits(centre), tiny, before) <= 50 * len(tiny) + SOON
        await eventually(all_begun, 40)
        assert len(submits(centre)) <= 60 * TURN, "each has had a turn before any has had many"
