"""How one worker keeps to its part of a shared rate. Time is passed in."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.contracted_rate import Horizon, Reservation
from workers.pace import CATCH_UP
from workers.shared_pace import DOUBT_ALLOWED, MOST_LEAD, Block, DatabaseTime, SharedPace

AHEAD = 1_700_000_000.0
"""How far the database's clock is ahead of this process's, in seconds."""


# --- the database's time -------------------------------------------------------------------------


def test_a_moment_has_come_for_certain_when_it_is_said_to_have() -> None:
    clock = DatabaseTime()
    clock.observe(10.000, 10.004, AHEAD + 10.001)

    assert clock.local(AHEAD + 20) == pytest.approx(20.003)


def test_the_tightest_samples_count() -> None:
    clock = DatabaseTime()
    clock.observe(10.000, 10.004, AHEAD + 10.001)
    clock.observe(10.100, 10.101, AHEAD + 10.1005)
    clock.observe(10.200, 13.000, AHEAD + 12.000)

    assert 20.0 <= clock.local(AHEAD + 20) < 20.0005 + 3 * 0.0005 + 1e-4


def test_samples_are_trusted_less_the_older_they_are() -> None:
    clock = DatabaseTime()
    clock.observe(10.000, 10.001, AHEAD + 10.0005)

    assert not clock.observe(110.000, 110.010, AHEAD + 110.030), "100 s may bring 50 ms of drift"


def test_where_the_way_is_long_there_and_back_are_taken_to_be_alike() -> None:
    clock = DatabaseTime()
    clock.observe(10.000, 10.200, AHEAD + 10.100)

    assert clock.local(AHEAD + 20) == pytest.approx(20 + DOUBT_ALLOWED / 2)


@pytest.mark.parametrize("step", [-3600.0, -0.1, 0.1, 3600.0])
def test_a_clock_that_was_set_is_noticed_once(step: float) -> None:
    clock = DatabaseTime()
    assert not clock.observe(10.000, 10.002, AHEAD + 10.001)
    assert clock.observe(11.000, 11.002, AHEAD + step + 11.001)
    assert not clock.observe(12.000, 12.002, AHEAD + step + 12.001)
    assert clock.local(AHEAD + step + 20) == pytest.approx(20.001, abs=0.001)


@pytest.mark.parametrize("step", [-0.005, 0.005])
def test_a_clock_that_was_adjusted_a_little_is_followed(step: float) -> None:
    clock = DatabaseTime()
    clock.observe(10.000, 10.001, AHEAD + 10.0005)

    assert not clock.observe(11.000, 11.001, AHEAD + step + 11.0005)
    assert clock.local(AHEAD + step + 20) == pytest.approx(20.0005, abs=1e-6)


# --- a block -------------------------------------------------------------------------------------


def test_moments_that_are_too_late_are_lost() -> None:
    block = Block(first=5.0, interval=0.01, count=10)
    block.forfeit(5.0 + CATCH_UP)
    assert block.left == 10
    block.forfeit(5.035 + CATCH_UP)

    assert block.left == 6
    assert block.next_at == pytest.approx(5.04)
    block.forfeit(9.0)
    assert block.left == 0


# --- several workers, one row --------------------------------------------------------------------


class Row:
    """The row, and the clock of its database, which may be set."""

    def __init__(self) -> None:
        self.now = 100.0
        self.offset = AHEAD
        self.next_at = float("-inf")
        self.asked = 0

    async def reserve(self, length: float, horizon: Horizon, lead: float) -> Reservation | None:
        """As `domain.contracted_rate.reserve` does."""
        self.asked += 1
        now = self.now + self.offset
        if horizon.ahead < self.next_at - now <= horizon.impossible:
            return None
        far = self.next_at - now > horizon.impossible
        first = now + horizon.over if far else max(self.next_at, now + lead)
        self.next_at = first + length
        return Reservation(first, now)

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Wait for time to pass, as it does in `send`."""
        until = self.now + seconds
        while self.now < until:  # noqa: ASYNC110 - this is the clock
            await asyncio.sleep(0)


class Sender:
    """A worker; `busy` says whether it has something to send."""

    def __init__(self, row: Row, rate: float) -> None:
        self.pace = SharedPace(rate, row.reserve, row)
        self.busy = True
        self.task = asyncio.create_task(self.pace.run(lambda: None))


async def send(row: Row, senders: list[Sender], seconds: float, late: list[float]) -> list[float]:
    """Let time pass and return when something was sent; turns of the event loops come late as they may."""
    sent: list[float] = []
    end, turn = row.now + seconds, 0
    while row.now < end:
        for sender in senders:
            while sender.busy and not sender.pace.take(row.now):
                sent.append(row.now)
        for _ in range(4):
            await asyncio.sleep(0)
        row.now += 0.001 + late[turn % len(late)]
        turn += 1
    return sent


def busiest(sent: list[float]) -> int:
    """The most in any second."""
    first = most = 0
    for last, at in enumerate(sent):
        while sent[first] <= at - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.fixture
def row() -> Row:
    return Row()


async def stop(senders: list[Sender]) -> None:
    for sender in senders:
        sender.task.cancel()
    await asyncio.gather(*(sender.task for sender in senders), return_exceptions=True)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("rate", [1, 7, 50, 300])
async def test_no_second_has_more_than_the_rate_and_nearly_all_of_it_is_used(
    row: Row, workers: int, rate: int
) -> None:
    senders = [Sender(row, rate) for _ in range(workers)]
    sent = await send(row, senders, 20.0, [0.0])
    await stop(senders)

    assert busiest(sent) <= rate
    assert len(sent) >= 0.95 * rate * 20
    assert row.asked < 20 * 10 * 4, "one statement a block"


@given(st.lists(st.floats(0, 0.05), min_size=1, max_size=10))
async def test_coming_late_never_makes_a_second_fuller(late: list[float]) -> None:
    row = Row()
    senders = [Sender(row, 100) for _ in range(2)]
    sent = await send(row, senders, 4.0, late)
    await stop(senders)

    assert not sent or busiest(sent) <= 100


async def test_what_one_does_not_use_goes_to_the_other(row: Row) -> None:
    senders = [Sender(row, 200) for _ in range(2)]
    await send(row, senders, 2.0, [0.0])
    senders[0].busy = False
    start = row.now
    sent = await send(row, senders, 5.0, [0.0])
    assert len(sent) >= 0.93 * 200 * 5, "but for what was reserved when it fell silent"
    assert senders[1].pace.rate > 150
    await stop(senders)
    assert busiest([at for at in sent if at > start]) <= 200


async def test_two_that_are_busy_see_about_half_of_the_rate_each(row: Row) -> None:
    senders = [Sender(row, 200) for _ in range(2)]
    await send(row, senders, 5.0, [0.0])
    rates = [sender.pace.rate for sender in senders]
    await stop(senders)

    assert rates == [pytest.approx(100, rel=0.2)] * 2


async def test_one_that_can_send_little_leaves_the_rest_to_the_other(row: Row) -> None:
    """Its window holds it back; it must not reserve what it cannot use."""
    fast, slow = Sender(row, 500), Sender(row, 500)
    slow.busy = False
    sent: list[float] = []
    for _ in range(200):
        sent += await send(row, [fast, slow], 0.05, [0.0])
        if not slow.pace.take(row.now):
            sent.append(row.now)
    await stop([fast, slow])

    assert len([at for at in sent if at > row.now - 5]) >= 0.9 * 500 * 5
    assert busiest(sent) <= 500


@pytest.mark.parametrize("step", [-3600.0, -30.0, -0.5, 0.5, 30.0, 3600.0])
async def test_a_step_of_the_databases_clock_makes_no_second_fuller_and_stops_nothing(
    row: Row, step: float
) -> None:
    senders = [Sender(row, 100) for _ in range(3)]
    before = await send(row, senders, 3.0, [0.0])
    row.offset += step
    stepped_at = row.now
    after = await send(row, senders, 8.0, [0.0])
    await stop(senders)

    assert busiest(before + after) <= 100
    assert len([at for at in after if at >= stepped_at + 3]) >= 0.94 * 100 * 5


async def test_without_anything_to_send_nothing_is_reserved(row: Row) -> None:
    sender = Sender(row, 100)
    sender.busy = False
    for _ in range(100):
        assert sender.pace.wait(row.now) == 0.0
    await send(row, [sender], 2.0, [0.0])
    await stop([sender])

    assert row.asked == 0


async def test_a_slow_rate_is_asked_for_one_moment_ahead(row: Row) -> None:
    sender = Sender(row, 0.5)
    sent = await send(row, [sender], 1.0, [0.0])
    assert len(sent) == 1
    wait = sender.pace.wait(row.now)
    await stop([sender])

    assert 0.9 < wait + MOST_LEAD < 2.1, "so that a message is brought when its moment comes"
