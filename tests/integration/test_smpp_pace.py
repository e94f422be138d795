"""What slows the sender down: the contracted rate, and a centre that says "too fast". Time is passed in."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.pace import Pace
from workers.smpp.submits import References
from workers.smpp.throttle import FIRST_PAUSE, LONGEST_PAUSE, Throttle


def send_for(pace: Pace, seconds: float, late: list[float]) -> list[float]:
    """When a sender with enough to do would send; each of its waits is late by the next of `late`."""
    now, sent, waits = 0.0, [], 0
    while now < seconds:
        if delay := pace.take(now):
            now += delay + late[waits % len(late)]
            waits += 1
        else:
            sent.append(now)
    return sent


@given(
    st.sampled_from([1, 2, 7, 50, 100, 999, 1000, 5000]),
    st.lists(st.floats(0, 0.3), min_size=1, max_size=10),
)
def test_no_second_ever_has_more_than_the_rate(rate: int, late: list[float]) -> None:
    sent = send_for(Pace(rate), 3.0, late)

    assert all(later - first >= 1.0 for first, later in zip(sent, sent[rate:], strict=False))


@pytest.mark.parametrize("rate", [1, 10, 100, 1000, 5000])
def test_at_least_95_percent_of_the_rate_are_used(rate: int) -> None:
    sent = send_for(Pace(rate), 60.0, [0.002])

    assert len(sent) >= 60 * rate * 0.95


def test_sends_are_spread_evenly() -> None:
    sent = send_for(Pace(10), 5.0, [0.0])
    gaps = [later - first for first, later in pairwise(sent)]

    assert min(gaps) > 0.09
    assert max(gaps) < 0.12


def test_without_a_rate_nothing_waits() -> None:
    pace = Pace(None)

    assert [pace.take(1.0) for _ in range(1000)] == [0.0] * 1000


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="above zero"):
        Pace(rate)


class Limit:
    """A centre that takes so many submits in any second, and an endless sender to it; time is simulated."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.throttle = Throttle()
        self.now = 100.0
        self.taken: list[float] = []
        self.refused: list[float] = []

    def send_for(self, seconds: float) -> None:
        """Send as the throttle lets it; an answer takes half a millisecond."""
        end = self.now + seconds
        while self.now < end:
            if wait := self.throttle.wait(self.now):
                self.now += wait + 0.001
                continue
            written_at, self.now = self.now, self.now + 0.0005
            self.throttle.wrote(written_at)
            if len(self.taken) >= self.rate and written_at - self.taken[-self.rate] < 1.0:
                self.refused.append(written_at)
                self.throttle.throttled(written_at, self.now)
            else:
                self.taken.append(written_at)
                self.throttle.accepted(written_at, self.now)

    def shares(self, start: float) -> tuple[float, float]:
        """Since then: what of the limit was used, and how much of what was sent was refused."""
        taken = sum(at >= start for at in self.taken)
        refused = sum(at >= start for at in self.refused)
        return taken / (self.now - start) / self.rate, refused / (taken + refused)


def test_one_burst_of_throttling_is_one_pause_and_no_limit_yet() -> None:
    throttle = Throttle()
    for _ in range(100):
        throttle.throttled(written_at=1.0, now=1.2)

    assert throttle.wait(1.2) == pytest.approx(FIRST_PAUSE)
    assert throttle.rate == float("inf")


def test_throttling_that_goes_on_pauses_longer_but_never_long() -> None:
    throttle, now, pauses = Throttle(), 1.0, []
    for _ in range(12):
        throttle.throttled(written_at=now, now=now)
        pauses.append(throttle.wait(now))
        now += pauses[-1]

    assert pauses[:4] == pytest.approx([0.05, 0.1, 0.2, 0.4])
    assert max(pauses) == pytest.approx(LONGEST_PAUSE) == pauses[-1]


@pytest.mark.parametrize("rate", [2, 20, 200, 1000])
def test_what_the_centre_allows_is_used_without_hammering(rate: int) -> None:
    limit = Limit(rate)
    limit.send_for(40)

    used, refused = limit.shares(105.0)
    assert used > 0.9
    assert refused < 0.03
    assert len([at for at in limit.refused if at < 105.0]) < 30


def test_a_limit_that_falls_and_rises_is_followed() -> None:
    limit = Limit(200)
    limit.send_for(20)
    for rate in (40, 200):
        changed_at = limit.now
        limit.rate = rate
        limit.send_for(60)

        used, refused = limit.shares(changed_at + 40)
        assert used > 0.9
        assert refused < 0.03


@pytest.mark.parametrize("settled_for", [0, 30])
def test_two_refusals_when_a_task_begins_hold_it_up_for_seconds_only(settled_for: int) -> None:
    """The centre refuses two numbers for a reason of their own; a rate may be known from the task before."""
    limit = Limit(500)
    limit.send_for(settled_for)
    limit.now += 10
    for seconds in (0.02, 0.051):
        limit.send_for(seconds)
        limit.throttle.throttled(limit.now, limit.now)
    began = limit.now
    limit.send_for(30)

    used, refused = limit.shares(began + 8)
    assert used > 0.9
    assert refused < 0.03


def test_a_refusal_is_no_limit_where_far_less_was_sent_than_the_rate_allows() -> None:
    limit = Limit(500)
    limit.send_for(30)
    known = limit.throttle.rate
    for _ in range(20):
        limit.now += 10
        limit.send_for(0.02)
        limit.throttle.throttled(limit.now, limit.now)

    assert limit.throttle.rate >= known


def test_a_limit_that_is_lifted_is_left_behind_soon() -> None:
    limit = Limit(20)
    limit.send_for(30)
    changed_at, limit.rate = limit.now, 1000
    limit.send_for(60)

    used, refused = limit.shares(changed_at + 40)
    assert used > 0.9
    assert refused < 0.05


def test_now_and_then_a_refusal_is_no_limit() -> None:
    """The centre refuses single submits, for reasons of their numbers."""
    throttle, now = Throttle(), 1.0
    for at in range(1, 3000):
        now += throttle.wait(now) + 0.001
        throttle.wrote(now)
        if at % 50 == 0:
            throttle.throttled(now, now)
        else:
            throttle.accepted(now, now)

    assert throttle.rate == float("inf")


def test_references_count_for_each_pair_and_stay_bounded() -> None:
    references = References(kept=3)
    first = [references.next("10690", "+1") for _ in range(300)]
    assert first == [(first[0] + at) % 256 for at in range(300)]

    for at in range(10):
        references.next("10690", f"+2{at}")
    assert len(references._last) == 3

    last = references.next("10690", "+29")
    assert references.next("10690", "+29") == (last + 1) % 256
