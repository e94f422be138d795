"""Who holds which bind: leases in PostgreSQL, by its clock."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from domain import db
from domain.binds import LEASE, LeasedBinds, Share
from tests.integration.conftest import Travel

pytestmark = pytest.mark.usefixtures("connected")

LATER = LEASE + timedelta(seconds=1)


def workers(count: int, binds: int, gateway: str = "carrier") -> list[LeasedBinds]:
    return [LeasedBinds(gateway, binds, uuid4()) for _ in range(count)]


async def settled(those: list[LeasedBinds]) -> list[Share]:
    """Let each give back what it has too much and take what is due, until nothing moves."""
    shares: list[Share] = [await each.renew(()) for each in those]
    for _ in range(3):
        for at, each in enumerate(those):
            surplus = sorted(shares[at].slots)[shares[at].fair :]
            shares[at] = await each.renew(surplus)
    return shares


def counts(shares: list[Share]) -> list[int]:
    return [len(share.slots) for share in shares]


async def test_one_worker_has_them_all() -> None:
    (alone,) = workers(1, 3)
    assert await alone.renew(()) == Share(frozenset({1, 2, 3}), 3, 1)
    assert await alone.renew(()) == Share(frozenset({1, 2, 3}), 3, 1)


@pytest.mark.parametrize(
    ("binds", "expected"), [(1, [1, 0, 0]), (2, [1, 1, 0]), (3, [1, 1, 1]), (4, [2, 1, 1]), (8, [3, 3, 2])]
)
async def test_each_gets_its_fair_share_and_those_that_came_first_the_remainder(
    binds: int, expected: list[int]
) -> None:
    shares = await settled(workers(3, binds))

    assert counts(shares) == expected
    assert [share.fair for share in shares] == expected
    assert frozenset().union(*(share.slots for share in shares)) == frozenset(range(1, binds + 1))


async def test_a_newcomer_takes_nothing_from_others_and_is_given_what_they_release() -> None:
    first, second = workers(2, 4)
    assert len((await first.renew(())).slots) == 4
    waiting = await second.renew(())
    assert (waiting.slots, waiting.fair) == (frozenset(), 2)
    assert (await first.renew(())).fair == 2, "it keeps four until it says otherwise"
    assert (await first.renew([3, 4])).slots == {1, 2}
    assert (await second.renew(())).slots == {3, 4}


async def test_what_a_dead_worker_held_is_taken_when_its_lease_is_over(travel: Travel) -> None:
    dead, living = workers(2, 4)
    await settled([dead, living])
    await travel(LEASE - timedelta(seconds=1))
    assert counts([await living.renew(())]) == [2]
    await travel(LATER)
    assert await living.renew(()) == Share(frozenset({1, 2, 3, 4}), 4, 1)


async def test_a_worker_that_was_away_too_long_finds_its_binds_taken(travel: Travel) -> None:
    away, living = workers(2, 2)
    await settled([away, living])
    await travel(LATER)
    assert (await living.renew(())).slots == {1, 2}
    assert (await away.renew(())).slots == frozenset()


async def test_whoever_leaves_frees_its_binds_at_once() -> None:
    leaving, staying = workers(2, 3)
    await settled([leaving, staying])
    await leaving.leave()
    assert await staying.renew(()) == Share(frozenset({1, 2, 3}), 3, 1)


async def test_a_worker_that_cannot_bind_lets_another_try() -> None:
    stuck, other = workers(2, 1)
    await settled([stuck, other])
    assert (await stuck.renew((), able=False)).fair == 0
    assert (await stuck.renew([1], able=False)).slots == frozenset()
    assert (await other.renew(())).slots == {1}


async def test_if_none_can_bind_all_go_on_trying() -> None:
    those = workers(2, 2)
    await settled(those)
    for _ in range(2):
        shares = [await each.renew((), able=False) for each in those]
    assert counts(shares) == [1, 1]


async def test_gateways_are_apart() -> None:
    (one,), (another,) = workers(1, 2), workers(1, 2, "another")
    assert counts([await one.renew(()), await another.renew(())]) == [2, 2]
    await one.leave()
    assert counts([await another.renew(())]) == [2]


async def test_a_lost_answer_is_made_good_by_the_next() -> None:
    """The worker died not, but never heard that it got them."""
    (alone,) = workers(1, 2)
    await alone.renew(())
    assert (await alone.renew(())).slots == {1, 2}


async def test_with_fewer_binds_than_before_those_beyond_are_not_given_out_again() -> None:
    before, after = LeasedBinds("carrier", 4, uuid4()), LeasedBinds("carrier", 2, uuid4())
    await before.renew(())
    await before.leave()
    assert (await after.renew(())).slots == {1, 2}


async def test_many_at_once_never_hold_more_than_there_are() -> None:
    those = workers(8, 3)

    async def restless(each: LeasedBinds) -> None:
        for _ in range(5):
            share = await each.renew(())
            await each.renew(sorted(share.slots)[share.fair :])

    await asyncio.gather(*(restless(each) for each in those))
    rows = await db.fetch("SELECT slot, owner FROM bind_slot")
    assert sorted(row["slot"] for row in rows) == [1, 2, 3]
    assert len({row["owner"] for row in rows}) == 3


async def test_a_worker_frozen_while_it_deals_with_binds_does_not_stop_the_others(connected: str) -> None:
    frozen, living = workers(2, 2)
    connection = await asyncpg.connect(connected)
    try:
        await connection.execute("BEGIN")
        await frozen._lock(connection)
        async with asyncio.timeout(5):
            assert (await living.renew(())).slots == {1, 2}
        with pytest.raises(db.UNAVAILABLE):
            await connection.execute("COMMIT")
    finally:
        connection.terminate()
