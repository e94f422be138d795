"""A worker's loops, in process, on a real database and a real Valkey."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta

import asyncpg
import pytest

from domain import db, sweep
from domain.engines import Engines
from domain.ports import (
    Handover,
    Outcome,
    Submission,
)
from domain.states import TaskStatus
from tests.integration.conftest import Travel
from tests.integration.dispatching import (
    RecordingGateway,
    accepted,
    dispatching,
    each_once,
    handed_over,
    is_at,
    of,
    worker,
)
from tests.integration.world import World, eventually, phones
from workers.announcer import Announcer
from workers.dispatcher import Dispatcher
from workers.smpp.clock import SystemClock

# --- a whole worker -----------------------------------------------------------------------------


FAST = "simulator://?window=500&delay=0.01&receipt_delay=0.02"
SLOW = "simulator://?window=100&delay=0.05&receipt_delay=0.02"


async def test_a_task_is_sent_and_completed(world: World, engines: Engines, redis_url: str) -> None:
    task_id = await world.create(phones(3_000, first=3_000))
    async with worker(engines, redis_url, FAST):
        await eventually(is_at(world, task_id, TaskStatus.COMPLETED))
    assert (await world.check(task_id)).counts.delivered == 3_000


async def test_every_kind_of_result_is_counted(world: World, engines: Engines, redis_url: str) -> None:
    """The simulator decides by the numbers' last digits."""
    task_id = await world.create(phones(16) + phones(984, first=1_000))

    async def known() -> bool:
        task = await world.read(task_id)
        return task.counts.delivered == 989 and task.status is TaskStatus.SENT

    async with worker(engines, redis_url, FAST):
        await eventually(known)
    task = await world.check(task_id)
    assert (task.counts.failed, task.counts.unknown) == (9, 2)


async def test_stopped_in_the_middle_another_worker_sends_the_rest(
    world: World, engines: Engines, redis_url: str
) -> None:
    task_id = await world.create(phones(3_000, first=3_000))
    async with worker(engines, redis_url, SLOW):
        await eventually(handed_over(world, task_id, 200))
    stopped = await world.check(task_id)
    assert stopped.status is TaskStatus.SENDING
    assert stopped.counts.in_doubt == 0
    assert await db.fetchval("SELECT count(*) FROM chunk WHERE state = 1") == 0
    async with worker(engines, redis_url, FAST):
        await eventually(is_at(world, task_id, TaskStatus.SENT, TaskStatus.COMPLETED))
    task = await world.check(task_id)
    assert task.counts.in_doubt == 0
    # A segment row is written by every hand-over that is settled.
    assert await db.fetchval("SELECT count(*) FROM segment") == 3_000


async def test_with_the_database_cut_off_in_the_middle_it_goes_on(
    world: World, engines: Engines, redis_url: str, connected: str
) -> None:
    task_id = await world.create(phones(3_000, first=3_000))
    async with worker(engines, redis_url, SLOW):
        for part in (300, 900, 1_500):
            await eventually(in_spite_of_cuts(handed_over(world, task_id, part)))
            await cut_connections(connected)
        await eventually(in_spite_of_cuts(is_at(world, task_id, TaskStatus.COMPLETED)), 60)
    task = await world.check(task_id)
    assert (task.counts.in_doubt, task.counts.waiting) == (0, 0)


def in_spite_of_cuts(condition: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        try:
            return await condition()
        except db.UNAVAILABLE:
            return False

    return check


async def cut_connections(database_url: str) -> None:
    """Terminate every other connection of the test's database."""
    own = await asyncpg.connect(database_url)
    try:
        await own.execute(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
            """
        )
    finally:
        await own.close()


# --- the dispatcher, with a message centre that writes down what it gets --------------------------


async def test_every_number_is_sent_once_and_the_window_is_kept(world: World) -> None:
    task_id = await world.running(3_500)
    gateway = RecordingGateway(window=64)
    async with dispatching(world, gateway):
        await eventually(is_at(world, task_id, TaskStatus.SENT))
    each_once(phones(3_500), gateway.reached)
    assert gateway.most_under_way <= 64
    assert (await world.check(task_id)).counts.unknown == 3_500


async def test_it_takes_the_next_chunk_without_waiting_for_a_hint(world: World) -> None:
    class StoppedClock(SystemClock):
        def monotonic(self) -> float:
            return 0.0

    task_id = await world.running(4_500)
    gateway = RecordingGateway(window=1_000)
    announcer = Announcer(world.bell, SystemClock())
    dispatcher = Dispatcher(
        gateway, shard=0, clock=StoppedClock(), announcer=announcer, on_settled=lambda _: None
    )
    running = asyncio.create_task(dispatcher.run())

    async def all_reached() -> bool:
        return len(gateway.reached) == 4_500

    await eventually(all_reached)
    dispatcher.stop()
    await running
    assert (await world.check(task_id)).counts.unknown == 4_500


async def test_what_was_not_handed_over_is_sent_again(world: World) -> None:
    seen: Counter[str] = Counter()

    def twice_refused(submission: Submission) -> Handover:
        seen[submission.number] += 1
        if seen[submission.number] < 3 and submission.number.endswith(("1", "5")):
            return of(Outcome.NOT_HANDED_OVER, 0.01)
        return accepted(submission)

    task_id = await world.running(1_200)
    gateway = RecordingGateway(twice_refused)
    async with dispatching(world, gateway):
        await eventually(is_at(world, task_id, TaskStatus.SENT))
    each_once(phones(1_200), gateway.reached)
    task = await world.check(task_id)
    assert (task.counts.unknown, task.counts.in_doubt) == (1_200, 0)


async def test_refused_and_doubtful_ones_are_never_sent_again(world: World) -> None:
    def mixed(submission: Submission) -> Handover:
        if submission.number.endswith("1"):
            return of(Outcome.REFUSED)
        return of(Outcome.IN_DOUBT) if submission.number.endswith("2") else accepted(submission)

    task_id = await world.running(1_000)
    gateway = RecordingGateway(mixed)
    async with dispatching(world, gateway):
        await eventually(is_at(world, task_id, TaskStatus.SENT))
    task = await world.check(task_id)
    assert (task.counts.failed, task.counts.in_doubt, task.counts.unknown) == (100, 100, 900)
    each_once([number for number in phones(1_000) if not number.endswith("1")], gateway.reached)


async def test_stopping_waits_for_answers_and_gives_the_rest_back(world: World) -> None:
    task_id = await world.running(2_500)
    first, second = RecordingGateway(window=50), RecordingGateway()
    async with dispatching(world, first) as dispatcher:
        await eventually(handed_over(world, task_id, 100))
        first.held.set()

        async def full() -> bool:
            return len(first.under_way) == 50

        await eventually(full)
        dispatcher.stop()
        await eventually(is_at(world, task_id, TaskStatus.SENDING))
        first.let_go()
    assert first.under_way == []
    task = await world.check(task_id)
    assert task.counts.unknown == len(first.reached) < 2_500
    async with dispatching(world, second):
        await eventually(is_at(world, task_id, TaskStatus.SENT))
    each_once(phones(2_500), first.reached + second.reached)
    assert (await world.check(task_id)).counts.in_doubt == 0


async def test_two_workers_share_a_task(world: World) -> None:
    task_id = await world.running(6_000)
    one, other = RecordingGateway(window=200), RecordingGateway(window=200)
    async with dispatching(world, one), dispatching(world, other):
        await eventually(is_at(world, task_id, TaskStatus.SENT))
    each_once(phones(6_000), one.reached + other.reached)
    assert one.reached
    assert other.reached
    await world.check(task_id)


async def test_two_tasks_take_turns(world: World) -> None:
    large = await world.running(phones(8_000))
    small = await world.running(phones(1_000, first=50_000))
    gateway = RecordingGateway(window=100)
    async with dispatching(world, gateway):
        await eventually(is_at(world, small, TaskStatus.SENT))
        await eventually(is_at(world, large, TaskStatus.SENT), 30)
    ours = set(phones(1_000, first=50_000))
    last = max(at for at, number in enumerate(gateway.reached) if number in ours)
    # With equal turns the small one is through when about as many of the large one are.
    assert last < 4_000
    each_once([*phones(8_000), *ours], gateway.reached)


@pytest.mark.alone
async def test_a_pause_halts_within_a_second_and_resuming_goes_on(world: World) -> None:
    task_id = await world.running(3_000)

    gateway = RecordingGateway(window=20)
    async with dispatching(world, gateway) as dispatcher:
        await eventually(handed_over(world, task_id, 100))
        await db.fetch("UPDATE task SET status = 'PAUSED' WHERE id = $1", task_id)

        async def given_back() -> bool:
            return not await db.fetch("SELECT FROM chunk WHERE state = 1")

        await eventually(given_back, 1.5)
        reached = len(gateway.reached)
        task = await world.check(task_id)
        assert reached == task.counts.unknown < 3_000
        assert len(gateway.reached) == reached
        await db.fetch("UPDATE task SET status = 'SENDING' WHERE id = $1", task_id)
        dispatcher.look()
        await eventually(is_at(world, task_id, TaskStatus.SENT))
    each_once(phones(3_000), gateway.reached)


async def test_a_step_of_the_databases_clock_sends_nothing_twice(world: World, travel: Travel) -> None:
    """Leases run out early by that clock: chunks are taken back and claimed anew, by the same worker too."""
    task_id = await world.running(3_000)
    gateway = RecordingGateway(window=50)
    async with dispatching(world, gateway):
        for step in (1, 2, 3):
            await eventually(handed_over(world, task_id, 300 * step))
            await travel(step * timedelta(minutes=10))
            await sweep.recover(world.bell, 0)

        async def sent() -> bool:
            await sweep.recover(world.bell, 0)
            return (await world.read(task_id)).status is TaskStatus.SENT

        await eventually(sent)
    assert max(Counter(gateway.reached).values()) == 1
    task = await world.check(task_id)
    assert task.counts.in_doubt <= 3 * 50
    assert task.counts.unknown == 3_000


async def test_a_worker_whose_gateway_is_away_keeps_nothing_from_others(world: World) -> None:
    class Unsteady(RecordingGateway):
        """It loses its connection after some messages."""

        async def ready(self) -> None:
            if len(self.reached) >= 300:
                await asyncio.Event().wait()

    task_id = await world.running(2_500)
    away, here = Unsteady(window=50), RecordingGateway()
    async with dispatching(world, away), dispatching(world, here) as other:

        async def lost() -> bool:
            return len(away.reached) >= 300

        await eventually(lost)
        other.look()
        await eventually(is_at(world, task_id, TaskStatus.SENT))
    each_once(phones(2_500), away.reached + here.reached)
    assert (await world.check(task_id)).counts.in_doubt == 0


async def test_an_answer_after_the_lease_is_not_written(world: World) -> None:
    task_id = await world.running(100)
    slow, fast = RecordingGateway(window=30), RecordingGateway()
    slow.held.set()
    async with dispatching(world, slow) as dispatcher:

        async def full() -> bool:
            return len(slow.under_way) == 30

        await eventually(full)
        dispatcher.stop()
        await db.fetch("UPDATE chunk SET lease_until = groupsms_now()")
        await sweep.recover(world.bell, 0)
        assert (await world.check(task_id)).counts.in_doubt == 30
        async with dispatching(world, fast):
            await eventually(is_at(world, task_id, TaskStatus.SENT))
        slow.let_go()
    task = await world.check(task_id)
    assert (task.counts.in_doubt, task.counts.unknown) == (30, 100)
    each_once(phones(100), slow.reached + fast.reached)


async def test_receipts_that_beat_the_answer_are_counted(
    world: World, engines: Engines, redis_url: str
) -> None:
    task_id = await world.create(phones(500, first=4_000))
    async with worker(engines, redis_url, "simulator://?window=100&delay=0.02&receipt_delay=0"):
        await eventually(is_at(world, task_id, TaskStatus.COMPLETED))
    assert (await world.check(task_id)).counts.delivered == 500
