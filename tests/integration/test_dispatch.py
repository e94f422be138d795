"""Claiming, marking, settling and recovering chunks, as several workers do at once."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from domain import db, dispatch, message_reads, recovery, tasks
from domain.dispatch import LEASE, Claim
from domain.message_reads import MessageFilter, MessageView
from domain.ports import Handover, Outcome, SegmentHandover
from domain.states import HandoverState, SendResult, TaskStatus
from tests.integration.conftest import Travel
from tests.integration.world import LONG_TEXT, World, mainland, phones, settlements

AFTER_LEASE = LEASE + timedelta(seconds=1)


async def messages(task_id: int) -> list[MessageView]:
    page = await message_reads.list_messages(task_id, MessageFilter(), first=100)
    return page.items


async def results(task_id: int) -> list[SendResult]:
    return [message.result for message in await messages(task_id)]


async def lapse(claim: Claim) -> None:
    """Let a claim's lease run out."""
    await db.fetch(
        "UPDATE chunk SET lease_until = groupsms_now() - interval '1 second' WHERE owner = $1", claim.owner
    )


# --- claims and leases --------------------------------------------------------------------------


@pytest.mark.usefixtures("long_chunks")
async def test_two_owners_never_hold_the_same_chunk(world: World) -> None:
    task_id = await world.running(5_500)
    claims = await asyncio.gather(*(dispatch.claim(task_id, uuid4()) for _ in range(30)))
    held = [claim for claim in claims if claim is not None]
    assert sorted(claim.index for claim in held) == list(range(6))
    numbers = [number for claim in held for number in claim.numbers.values()]
    assert sorted(numbers) == phones(5_500)


async def test_a_claim_brings_what_is_to_be_sent_in_the_lists_order(world: World) -> None:
    task_id = await world.running(["13800138002", "13800138001"])
    claim = await world.claim(task_id)
    assert list(claim.numbers.items()) == [(1, "+8613800138002"), (2, "+8613800138001")]
    task = await world.read(task_id)
    assert (claim.content.text, claim.sender) == (task.text, "10690001")


@pytest.mark.parametrize("status", ["PAUSED", "STOPPED", "SENT"])
async def test_only_a_running_task_is_claimed_and_marked(world: World, status: str) -> None:
    task_id = await world.running(2_000)
    claim = await world.claim(task_id)
    await db.fetch("UPDATE task SET status = $1", status)
    assert await dispatch.waiting_tasks("default") == []
    assert await dispatch.claim(task_id, uuid4()) is None
    assert not await dispatch.mark(claim, 10, [])
    # What is under way is settled all the same.
    assert await dispatch.settle(claim, settlements(claim, [1]), 0)
    assert (await world.check(task_id)).counts.unknown == 1


async def test_past_its_deadline_nothing_more_is_sent(world: World, travel: Travel) -> None:
    task_id = await world.running(2_000)
    claim = await world.claim(task_id)
    await db.fetch("UPDATE task SET deadline_at = groupsms_now()")
    assert await dispatch.waiting_tasks("default") == []
    assert await dispatch.claim(task_id, uuid4()) is None
    assert not await dispatch.mark(claim, 10, [])


async def test_a_gateway_sees_only_its_own_tasks(world: World) -> None:
    task_id = await world.running(1)
    assert await dispatch.waiting_tasks("default") == [task_id]
    assert await dispatch.waiting_tasks("other") == []


async def test_a_lost_lease_writes_nothing(world: World, travel: Travel) -> None:
    task_id = await world.running(10)
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 5, [])
    before = await db.fetch("SELECT * FROM chunk")
    await travel(AFTER_LEASE)
    assert not await dispatch.mark(claim, 10, [])
    assert not await dispatch.settle(claim, settlements(claim, range(1, 6)), 0)
    assert not await dispatch.finish(claim)
    assert not await dispatch.release(claim, 0, [])
    assert await dispatch.renew([claim.owner]) == set()
    assert await db.fetch("SELECT * FROM chunk") == before
    assert (await world.check(task_id)).counts.waiting == 10
    assert await db.fetchval("SELECT count(*) FROM segment") == 0


async def test_a_lease_that_went_to_another_writes_nothing(world: World) -> None:
    task_id = await world.running(10)
    first = await world.claim(task_id)
    await lapse(first)
    await recovery.recover_lapsed()
    second = await world.claim(task_id)
    assert await dispatch.mark(second, 5, [])
    before = await db.fetch("SELECT * FROM chunk")
    assert not await dispatch.mark(first, 10, [])
    assert not await dispatch.settle(first, settlements(first, range(1, 6)), 0)
    assert not await dispatch.finish(first)
    assert not await dispatch.release(first, 0, [])
    assert await dispatch.renew([first.owner]) == set()
    assert await db.fetch("SELECT * FROM chunk") == before
    assert (await world.check(task_id)).counts.waiting == 10


async def test_renewing_and_working_extend_a_lease(world: World, travel: Travel) -> None:
    task_id = await world.running(10)
    claim = await world.claim(task_id)
    step = LEASE - timedelta(seconds=5)
    await travel(step)
    assert await dispatch.mark(claim, 5, [])
    await travel(2 * step)
    assert await dispatch.settle(claim, settlements(claim, range(1, 6)), 0)
    await travel(3 * step)
    assert await dispatch.renew([claim.owner, uuid4()]) == {claim.owner}
    await travel(4 * step)
    assert await recovery.recover_lapsed() == []
    assert await dispatch.finish(claim)


# --- settling -----------------------------------------------------------------------------------


async def test_every_answer_is_kept_and_counted(world: World) -> None:
    task_id = await world.running(6)
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 6, [])
    assert await dispatch.settle(claim, settlements(claim, [1, 2]), 3)
    task = await world.check(task_id)
    assert (task.counts.unknown, task.counts.waiting) == (2, 4)
    assert await dispatch.settle(claim, settlements(claim, [3], Outcome.REFUSED, "0x00000410"), 5)
    assert await dispatch.settle(claim, settlements(claim, [4, 5], Outcome.IN_DOUBT), 1023)
    task = await world.check(task_id)
    assert (task.counts.unknown, task.counts.failed, task.counts.in_doubt) == (4, 1, 2)
    assert [(m.result, m.handover, m.error_code) for m in await messages(task_id)] == [
        (SendResult.UNKNOWN, HandoverState.CONFIRMED, None),
        (SendResult.UNKNOWN, HandoverState.CONFIRMED, None),
        (SendResult.FAILED, HandoverState.CONFIRMED, "0x00000410"),
        (SendResult.UNKNOWN, HandoverState.IN_DOUBT, None),
        (SendResult.UNKNOWN, HandoverState.IN_DOUBT, None),
        (SendResult.WAITING, HandoverState.NONE, None),
    ]


async def test_settling_twice_is_settling_once(world: World) -> None:
    task_id = await world.running(10)
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 10, [])
    again = settlements(claim, range(1, 11))
    kept = await asyncio.gather(*(dispatch.settle(claim, again, shard) for shard in range(8)))
    assert all(kept)
    # A second answer that says otherwise changes nothing either.
    assert await dispatch.settle(claim, settlements(claim, range(1, 11), Outcome.REFUSED), 0)
    task = await world.check(task_id)
    assert (task.counts.unknown, task.counts.failed) == (10, 0)
    assert await db.fetchval("SELECT count(*) FROM segment WHERE result = 1") == 10


async def test_all_segments_of_a_message_are_kept(world: World) -> None:
    materials = await mainland(world.viewer, content=LONG_TEXT)
    task_id = await world.running(2, materials=materials)
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 2, [])
    refused = Handover(
        Outcome.REFUSED, (SegmentHandover("a"), SegmentHandover(None, "0x00000008"), SegmentHandover(None))
    )
    await dispatch.settle(
        claim, [*settlements(claim, [1]), dispatch.Settlement(2, claim.numbers[2], refused)], 0
    )
    found = await message_reads.segments_of(task_id, [1, 2])
    assert [(s.index, s.gateway_message_id, s.result) for s in found[1]] == [
        (index, f"{task_id}.1.{index}", SendResult.UNKNOWN) for index in (1, 2, 3)
    ]
    assert [(s.index, s.result, s.error_code) for s in found[2]] == [
        (1, SendResult.UNKNOWN, None),
        (2, SendResult.FAILED, "0x00000008"),
        (3, SendResult.UNKNOWN, None),
    ]
    assert [m.error_code for m in await messages(task_id)] == [None, "0x00000008"]
    assert (await world.check(task_id)).counts.failed == 1


@pytest.mark.usefixtures("long_chunks")
async def test_a_task_is_sent_when_its_last_chunk_is_done(world: World) -> None:
    task_id = await world.running(1_001)
    first, second = await world.claim(task_id), await world.claim(task_id)
    await world.hand_over(first)
    assert (await world.advance(task_id)).status is TaskStatus.SENDING
    assert await tasks.ready_to_advance() == []
    await world.hand_over(second)
    assert await tasks.ready_to_advance() == [task_id]
    task = await world.advance(task_id)
    assert (task.status, task.counts.unknown) == (TaskStatus.SENT, 1_001)
    assert await dispatch.claim(task_id, uuid4()) is None


async def test_a_task_of_which_all_was_refused_completes_at_once(world: World) -> None:
    task_id = await world.running(3)
    await world.hand_over(await world.claim(task_id), Outcome.REFUSED)
    task = await world.advance(task_id)
    assert (task.status, task.counts.failed) == (TaskStatus.COMPLETED, 3)


# --- giving back and recovering -----------------------------------------------------------------


async def test_what_is_given_back_is_sent_by_the_next(world: World) -> None:
    task_id = await world.running(10)
    first = await world.claim(task_id)
    assert await dispatch.mark(first, 6, [])
    assert await dispatch.settle(first, settlements(first, [1, 3]), 0)
    assert await dispatch.release(first, 6, [2, 4, 5, 6])
    second = await world.claim(task_id)
    assert list(second.numbers) == [2, 4, 5, 6, 7, 8, 9, 10]
    assert second.marked == 6
    await world.hand_over(second)
    assert await results(task_id) == [SendResult.UNKNOWN] * 10
    assert (await world.check(task_id)).counts.in_doubt == 0


async def test_a_mark_nobody_learned_of_loses_no_message_on_release(world: World) -> None:
    # The mark was committed and its answer lost; meanwhile the task was paused, so that a second try is
    # refused. The worker knows it has sent nothing beyond its last confirmed mark.
    task_id = await world.running(10)
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 4, [])
    assert await dispatch.settle(claim, settlements(claim, [1, 2, 3, 4]), 0)
    assert await dispatch.mark(claim, 8, [])
    assert await dispatch.release(claim, 4, [])
    again = await world.claim(task_id)
    assert list(again.numbers) == [5, 6, 7, 8, 9, 10]


async def test_a_lapsed_lease_puts_in_doubt_just_what_was_marked_and_not_settled(world: World) -> None:
    task_id = await world.running(10)
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 4, [])
    assert await dispatch.settle(claim, settlements(claim, [1]), 0)
    assert await dispatch.mark(claim, 7, [3])
    assert await dispatch.settle(claim, settlements(claim, [6], Outcome.REFUSED), 0)
    await lapse(claim)
    assert await recovery.recover_lapsed() == [task_id]
    assert await recovery.recover_lapsed() == []
    doubtful = [m.position for m in await messages(task_id) if m.handover is HandoverState.IN_DOUBT]
    assert doubtful == [2, 4, 5, 7]
    task = await world.check(task_id)
    assert (task.counts.unknown, task.counts.in_doubt, task.counts.failed) == (5, 4, 1)
    second = await world.claim(task_id)
    assert list(second.numbers) == [3, 8, 9, 10]
    await world.hand_over(second)
    task = await world.advance(task_id)
    assert (task.status, task.counts.in_doubt, task.counts.waiting) == (TaskStatus.SENT, 4, 0)


async def test_a_chunk_marked_to_its_end_is_done_after_its_lease(world: World) -> None:
    materials = await mainland(world.viewer, content=LONG_TEXT)
    task_id = await world.running(3, materials=materials)
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 3, [])
    await lapse(claim)
    assert await recovery.recover_lapsed() == [task_id]
    task = await world.advance(task_id)
    assert (task.status, task.counts.in_doubt) == (TaskStatus.SENT, 3)
    segments = await message_reads.segments_of(task_id, [1, 2, 3])
    assert {len(found) for found in segments.values()} == {3}


async def test_an_unmarked_chunk_goes_back_whole(world: World) -> None:
    task_id = await world.running(3)
    claim = await world.claim(task_id)
    await lapse(claim)
    assert await recovery.recover_lapsed() == [task_id]
    assert await results(task_id) == [SendResult.WAITING] * 3
    assert list((await world.claim(task_id)).numbers) == [1, 2, 3]


@pytest.mark.usefixtures("long_chunks")
async def test_several_who_recover_do_it_once(world: World) -> None:
    task_id = await world.running(4_000)
    for _ in range(4):
        claim = await world.claim(task_id)
        assert await dispatch.mark(claim, max(claim.numbers), [])
        await lapse(claim)
    recovered = await asyncio.gather(*(recovery.recover_lapsed() for _ in range(6)))
    assert sum(len(found) for found in recovered) == 4
    assert (await world.check(task_id)).counts.in_doubt == 4_000


async def test_a_lease_that_lapses_while_settling_goes_to_one_side(world: World) -> None:
    for _ in range(10):
        task_id = await world.running(40)
        claim = await world.claim(task_id)
        assert await dispatch.mark(claim, 40, [])
        # It runs out while these are under way, at a moment nobody can foresee.
        await db.fetch("UPDATE chunk SET lease_until = groupsms_now() + interval '8 ms' WHERE state = 1")

        async def settle(first: int, claim: Claim = claim) -> bool:
            return await dispatch.settle(claim, settlements(claim, range(first, first + 10)), first)

        async def recover() -> bool:
            tries = [await recovery.recover_lapsed() for _ in range(20)]
            return any(tries)

        *kept, recovered = await asyncio.gather(*(settle(first) for first in (1, 11, 21, 31)), recover())
        task = await world.check(task_id)
        assert task.counts.in_doubt == (40 - 10 * sum(kept) if recovered else 0)
        await lapse(claim)
        await recovery.recover_lapsed()
        assert (await world.advance(task_id)).status is TaskStatus.SENT


async def test_settling_waits_out_a_recovery_and_then_writes_nothing(world: World, connected: str) -> None:
    task_id = await world.running(5)
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 5, [])
    other = await asyncpg.connect(connected)
    try:
        taking = other.transaction()
        await taking.start()
        await other.execute("UPDATE chunk SET state = 0, owner = NULL, lease_until = NULL")
        settling = asyncio.create_task(dispatch.settle(claim, settlements(claim, [1]), 0))
        await asyncio.wait([settling], timeout=0.1)
        await taking.commit()
        assert not await settling
    finally:
        await other.close()
    assert (await world.check(task_id)).counts.waiting == 5
    assert await db.fetchval("SELECT count(*) FROM segment") == 0
