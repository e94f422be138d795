"""What the sweep finds, and that whatever happens in whatever order, tasks stay sound and end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain import db, dispatch, feed, imports, message_stores, receipts, sweep, tasks
from domain.dispatch import Claim, Settlement
from domain.errors import TooLate, WrongStatus
from domain.ports import Outcome, Receipt, ReceiptState
from domain.states import TaskStatus
from tests.integration.world import GATEWAY, World, gateway_id, phones, receipt, settlements

HOUR = timedelta(hours=1)


async def test_due_tasks_are_started_without_any_bell(world: World) -> None:
    due, later = await world.create(1), await world.create(1, after=HOUR)
    await sweep.start_due(world.bell)
    assert (await world.check(due)).status is TaskStatus.SENDING
    assert (await world.check(later)).status is TaskStatus.SCHEDULED


async def test_a_task_left_by_a_worker_that_died_is_moved_on(world: World) -> None:
    claim = await world.claim(await world.running(2))
    await world.hand_over(claim)
    await receipts.store(GATEWAY, [receipt(claim, 1), receipt(claim, 2)])
    # Here its worker dies: nothing is applied, moved on or announced.
    await sweep.recover(world.bell, 0)
    task = await world.check(claim.task_id)
    assert (task.status, task.counts.delivered) == (TaskStatus.COMPLETED, 2)
    assert (world.viewer.account_id, claim.task_id) in world.bell.changed


async def test_a_lapsed_chunk_is_taken_back_and_announced(world: World) -> None:
    claim = await world.claim(await world.running(2))
    assert await dispatch.mark(claim, 2, [])
    await db.fetch("UPDATE chunk SET lease_until = groupsms_now()")
    place = await feed.newest_place(world.viewer.account_id)
    await sweep.recover(world.bell, 0)
    task = await world.check(claim.task_id)
    assert (task.status, task.counts.in_doubt) == (TaskStatus.SENT, 2)
    changes = await feed.changes_after(world.viewer.account_id, place)
    assert [change.task_id for change in changes] == [claim.task_id]


async def test_tidying_removes_large_tasks_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_stores, "ROWS_AT_ONCE", 7)
    task_id = await world.create(50, after=HOUR)
    await tasks.cancel_task(world.viewer, task_id, world.bell)
    await tasks.delete_task(world.viewer, task_id, world.bell)
    await sweep.tidy()
    assert await db.fetchval("SELECT count(*) FROM message") == 0


# --- anything in any order ----------------------------------------------------------------------

SIZE = 7
CHUNK = 3

ALWAYS = ("cancel", "delete", "start", "overdue", "pause", "resume", "advance", "late", "recover", "receipt")
IN_FLOW = {
    TaskStatus.SCHEDULED: ("start",) * 20,
    TaskStatus.PAUSED: ("resume",) * 10,
    TaskStatus.SENDING: ("claim",) * 5,
}
OF_WORKERS = (
    ("mark",) * 10
    + ("settle",) * 8
    + ("settle_again",) * 3
    + ("receipt",) * 8
    + ("recover",) * 2
    + ("release",)
)


@dataclass(frozen=True)
class Chance:
    """What decides about one step; it takes of this what it needs."""

    action: int
    worker: int
    position: int
    count: int
    outcome: Outcome
    state: ReceiptState


STEPS = 60


def chance_of(random: Random) -> Chance:
    return Chance(
        action=random.randrange(10_000),
        worker=random.randrange(4),
        position=random.randint(1, SIZE),
        count=random.randint(1, CHUNK),
        outcome=random.choice([Outcome.ACCEPTED, *Outcome]),
        state=random.choice(list(ReceiptState)),
    )


@dataclass
class Held:
    """A claim as its worker sees it; it may have lost the lease without knowing."""

    claim: Claim
    waiting: list[int]
    marked: int
    under_way: list[int] = field(default_factory=list)
    settled: list[Settlement] = field(default_factory=list)


@dataclass
class Play:
    """A task, workers and a message centre; the centre counts what reaches it."""

    world: World
    task_id: int
    workers: list[Held] = field(default_factory=list)
    reached: Counter[int] = field(default_factory=Counter)
    deleted: bool = False

    async def step(self, chance: Chance) -> None:
        """Do one thing of those that can happen now; what normally happens is likelier."""
        status = (await self.world.read(self.task_id)).status
        possible = ALWAYS + IN_FLOW.get(status, ()) + (OF_WORKERS if self.workers else ())
        await getattr(self, possible[chance.action % len(possible)])(chance)
        if not self.deleted:
            await self.verify()

    async def verify(self) -> None:
        """What holds at every moment."""
        await self.world.check(self.task_id)
        assert all(count == 1 for count in self.reached.values())
        rows = await db.fetch(
            "SELECT position, result, handover FROM message WHERE task_id = $1 AND result <> 0", self.task_id
        )
        assert {row["position"] for row in rows} <= set(self.reached), "a result for what was never sent"
        assert not await db.fetch(
            """
            SELECT FROM message m JOIN segment s USING (task_id, position)
            WHERE task_id = $1 AND m.result <> s.result
            """,
            self.task_id,
        )

    async def cancel(self, _: Chance) -> None:
        """A user cancels, an hour before its time or too late."""
        try:
            await tasks.cancel_task(self.world.viewer, self.task_id, self.world.bell)
        except (WrongStatus, TooLate):
            return

    async def delete(self, _: Chance) -> None:
        """A user deletes it; only a canceled task goes."""
        status = (await self.world.read(self.task_id)).status
        if status is TaskStatus.CANCELED:
            await tasks.delete_task(self.world.viewer, self.task_id, self.world.bell)
            self.deleted = True
        else:
            with pytest.raises(WrongStatus):
                await tasks.delete_task(self.world.viewer, self.task_id, self.world.bell)

    async def start(self, _: Chance) -> None:
        """Its time comes."""
        await db.fetch("UPDATE task SET send_at = groupsms_now() WHERE id = $1", self.task_id)
        await tasks.start_task(self.task_id, self.world.bell)

    async def overdue(self, _: Chance) -> None:
        """Its time came a day ago, and nobody noticed."""
        await db.fetch(
            """
            UPDATE task
            SET send_at = send_at - interval '2 days', deadline_at = deadline_at - interval '2 days'
            WHERE id = $1 AND status = 'SCHEDULED'
            """,
            self.task_id,
        )
        await tasks.start_task(self.task_id, self.world.bell)

    async def pause(self, _: Chance) -> None:
        """It is halted."""
        await db.fetch(
            "UPDATE task SET status = 'PAUSED', revision = revision + 1 WHERE id = $1 AND status = 'SENDING'",
            self.task_id,
        )

    async def resume(self, _: Chance) -> None:
        """It goes on."""
        await db.fetch(
            "UPDATE task SET status = 'SENDING', revision = revision + 1 WHERE id = $1 AND status = 'PAUSED'",
            self.task_id,
        )

    async def late(self, chance: Chance) -> None:
        """More than 72 hours pass after the hand-over."""
        await db.fetch("UPDATE task SET sent_at = sent_at - interval '4 days' WHERE id = $1", self.task_id)
        await self.advance(chance)

    async def advance(self, _: Chance) -> None:
        """A worker looks whether it can move on."""
        await tasks.advance_task(self.task_id, self.world.bell)

    async def claim(self, _: Chance) -> None:
        """Another worker takes a chunk."""
        if self.task_id not in await dispatch.waiting_tasks(GATEWAY):
            return
        claim = await self.world.claim(self.task_id)
        if not claim.numbers:
            assert await dispatch.finish(claim)
            return
        self.workers.append(Held(claim, list(claim.numbers), claim.marked))

    def _worker(self, chance: Chance) -> Held:
        return self.workers[chance.worker % len(self.workers)]

    async def mark(self, chance: Chance) -> None:
        """A worker marks some messages and puts them on the wire, if it may."""
        worker = self._worker(chance)
        if not worker.waiting:
            return
        sending, rest = worker.waiting[: chance.count], worker.waiting[chance.count :]
        marked = max(sending[-1], worker.marked)
        if await dispatch.mark(worker.claim, marked, [p for p in rest if p <= marked]):
            worker.marked, worker.waiting = marked, rest
            worker.under_way += sending
            self.reached.update(sending)

    async def settle(self, chance: Chance) -> None:
        """The centre answers all that a worker has under way."""
        worker = self._worker(chance)
        answered, worker.under_way = worker.under_way, []
        if chance.outcome is Outcome.NOT_HANDED_OVER:
            await self._give_back(worker, answered)
            return
        worker.settled = settlements(worker.claim, answered, chance.outcome)
        kept = await dispatch.settle(worker.claim, worker.settled, chance.worker)
        await receipts.apply_waiting(
            [gateway_id(self.task_id, position) for position in answered] if kept else [], chance.worker
        )
        if not kept or not worker.waiting:
            assert await dispatch.finish(worker.claim) == kept
            self.workers.remove(worker)

    async def _give_back(self, worker: Held, answered: list[int]) -> None:
        """The gateway gives some back; that they never left counts if the worker can still store it."""
        worker.waiting = sorted([*worker.waiting, *answered])
        returned = [position for position in worker.waiting if position <= worker.marked]
        stored = bool(await dispatch.mark(worker.claim, worker.marked, returned))
        if not stored:
            stored = await dispatch.release(worker.claim, worker.marked, returned)
            self.workers.remove(worker)
        if stored:
            self.reached.subtract(answered)
            self.reached += Counter()

    async def settle_again(self, chance: Chance) -> None:
        """A worker that did not learn that its settlement was committed tries once more."""
        worker = self._worker(chance)
        await dispatch.settle(worker.claim, worker.settled, chance.worker)

    async def release(self, chance: Chance) -> None:
        """A worker that is idle gives its chunk back."""
        worker = self._worker(chance)
        if worker.under_way:
            return
        await dispatch.release(worker.claim, worker.marked, [p for p in worker.waiting if p <= worker.marked])
        self.workers.remove(worker)

    async def recover(self, chance: Chance) -> None:
        """A worker's lease runs out without its noticing, and another takes the chunk back."""
        if self.workers:
            owner = self._worker(chance).claim.owner
            await db.fetch("UPDATE chunk SET lease_until = groupsms_now() WHERE owner = $1", owner)
        await sweep.recover(self.world.bell, chance.worker)

    async def receipt(self, chance: Chance) -> None:
        """The centre reports on a message it may or may not have got."""
        number = phones(SIZE)[chance.position - 1]
        gone = Receipt(
            gateway_id(self.task_id, chance.position),
            number,
            chance.state,
            chance.state.value,
            None,
            datetime.now(UTC),
        )
        await self.world.receive(gone, shard=chance.position)

    async def finish(self) -> None:
        """Nobody does anything odd any more: the task must come to its end."""
        await tasks.start_task(self.task_id, self.world.bell)
        await db.fetch("UPDATE task SET status = 'SENDING' WHERE id = $1 AND status = 'PAUSED'", self.task_id)
        for worker in list(self.workers):
            await db.fetch(
                "UPDATE chunk SET lease_until = groupsms_now() WHERE owner = $1", worker.claim.owner
            )
        await sweep.recover(self.world.bell, 0)
        while self.task_id in await dispatch.waiting_tasks(GATEWAY):
            claim = await self.world.claim(self.task_id)
            if claim.numbers:
                self.reached.update(list(claim.numbers))
                await self.world.hand_over(claim)
            else:
                assert await dispatch.finish(claim)
        await sweep.recover(self.world.bell, 0)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(random=st.randoms(use_true_random=True))
async def test_in_whatever_order_things_happen_tasks_stay_sound_and_end(
    world: World, small_chunks: None, random: Random
) -> None:
    play = Play(world, await world.create(SIZE, after=HOUR))
    for _ in range(STEPS):
        if not play.deleted:
            await play.step(chance_of(random))
    if play.deleted:
        await sweep.tidy()
        assert await db.fetchval("SELECT count(*) FROM message WHERE task_id = $1", play.task_id) == 0
        return
    await play.finish()
    await play.verify()
    task = await world.check(play.task_id)
    assert task.status in (TaskStatus.CANCELED, TaskStatus.SENT, TaskStatus.COMPLETED)
    assert task.counts.waiting == 0
    if task.status is not TaskStatus.CANCELED:
        assert set(play.reached) == set(range(1, SIZE + 1))
    assert play.task_id not in await feed.unannounced()


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small task has several chunks."""
    monkeypatch.setattr(imports, "CHUNK_SIZE", CHUNK)
