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


def test_one_burst_of_throttling_is_one_pause() -> None:
    throttle = Throttle(100)
    for _ in range(100):
        throttle.throttled(written_at=1.0, now=1.2)

    assert throttle.wait(1.2) == pytest.approx(FIRST_PAUSE)
    assert throttle.allowed == 50


def test_throttling_that_goes_on_pauses_longer_and_ends_at_one_in_flight() -> None:
    throttle, now, pauses = Throttle(100), 1.0, []
    for _ in range(12):
        throttle.throttled(written_at=now, now=now)
        pauses.append(throttle.wait(now))
        now += pauses[-1]

    assert pauses[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert max(pauses) == pytest.approx(LONGEST_PAUSE)
    assert throttle.allowed == 1


def test_accepted_messages_open_the_window_again() -> None:
    throttle = Throttle(10)
    throttle.throttled(written_at=1.0, now=1.0)
    throttle.throttled(written_at=2.0, now=2.0)
    accepted = 0
    while throttle.allowed < 10:
        throttle.accepted()
        accepted += 1

    assert 10 < accepted < 100
    throttle.throttled(written_at=9.0, now=9.0)
    assert throttle.wait(9.0) == pytest.approx(FIRST_PAUSE)


def test_references_count_for_each_pair_and_stay_bounded() -> None:
    references = References(kept=3)
    first = [references.next("10690", "+1") for _ in range(300)]
    assert first == [(first[0] + at) % 256 for at in range(300)]

    for at in range(10):
        references.next("10690", f"+2{at}")
    assert len(references._last) == 3

    last = references.next("10690", "+29")
    assert references.next("10690", "+29") == (last + 1) % 256
