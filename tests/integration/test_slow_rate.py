"""A rate of a few submits a second, with whole workers: one that is busy and one that has nothing to do."""

from pathlib import Path

import pytest

from domain.engines import Engines
from domain.states import TaskStatus
from tests.integration.dispatching import is_at, worker
from tests.integration.message_centre import simulated_centre
from tests.integration.world import World, eventually, phones

pytestmark = pytest.mark.alone

RATE = 4
MESSAGES = 20


async def test_a_worker_with_nothing_to_do_takes_nothing_of_a_slow_rate(
    world: World, engines: Engines, redis_url: str, tmp_path: Path
) -> None:
    task_id = await world.create(phones(MESSAGES, first=3_000))
    async with simulated_centre(tmp_path) as centre:
        url = centre.url(f"binds=2&rate={RATE}")
        async with worker(engines, redis_url, url), worker(engines, redis_url, url):
            await eventually(is_at(world, task_id, TaskStatus.COMPLETED))
        times = [submit["time"] for submit in centre.events("submit_sm")]

    assert len(times) == MESSAGES
    assert all(later - first > 1.0 for first, later in zip(times, times[RATE:], strict=False))
    assert (MESSAGES - 1) / (times[-1] - times[0]) >= 0.95 * RATE
    assert (await world.check(task_id)).counts.in_doubt == 0
