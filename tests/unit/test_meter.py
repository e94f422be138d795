"""So many a second for each key, and places for each key."""

from __future__ import annotations

import pytest

from api.rates.meter import MOST_OWED, Meter, whole_seconds
from api.rates.places import LEASE, Full, Places


class Clock:
    """Time as a test sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def granted(meter: Meter, key: str, tries: int) -> int:
    return sum(not meter.take(key).wait for _ in range(tries))


def test_a_burst_then_the_rate_and_nothing_more() -> None:
    clock = Clock()
    meter = Meter(5, 20, clock)
    assert granted(meter, "a", 100) == 20
    assert granted(meter, "b", 1) == 1
    total = 20
    for _ in range(1000):
        clock.now += 0.013
        total += granted(meter, "a", 3)
    assert total == 20 + 5 * 13


def test_a_refusal_says_just_how_long_to_wait() -> None:
    clock = Clock()
    meter = Meter(0.7, 3, clock)
    assert granted(meter, "a", 3) == 3
    wait = meter.take("a").wait
    clock.now += wait - 0.001
    assert meter.take("a").wait == pytest.approx(0.001)
    clock.now += 0.001
    assert meter.take("a").wait == 0
    assert (whole_seconds(0.01), whole_seconds(1.2), whole_seconds(3)) == (1, 2, 3)


def test_what_is_left_counts_down_and_fills_again() -> None:
    clock = Clock()
    meter = Meter(10, 4, clock)
    assert [meter.take("a").left for _ in range(5)] == [3, 2, 1, 0, 0]
    assert meter.take("a").full_in == pytest.approx(0.4)
    clock.now += 0.2
    assert meter.take("a").left == 1
    clock.now += 60
    assert meter.take("a").left == 3


def test_what_is_given_back_was_never_used() -> None:
    meter = Meter(1, 2, Clock())
    for _ in range(10):
        assert meter.take("a").wait == 0
        meter.give_back("a")
    assert meter.used() == {}
    assert granted(meter, "a", 5) == 2


def test_what_is_used_elsewhere_counts_here_but_not_for_ever() -> None:
    clock = Clock()
    here, there = Meter(10, 100, clock), Meter(10, 100, clock)
    assert granted(there, "a", 100) == 100
    here.charge(there.used())
    assert there.used() == {}
    assert granted(here, "a", 1) == 0
    clock.now += 1
    assert granted(here, "a", 100) == 10
    # Both had granted a whole burst before they heard of each other: it is made good, not forgotten.
    here.charge({"b": 100})
    assert granted(here, "b", 1) == 0
    here.charge({"b": 100})
    clock.now += 10
    assert granted(here, "b", 1) == 0
    clock.now += 10
    assert granted(here, "b", 200) == 100
    here.charge({"c": 10**9})
    assert here.take("c").wait == pytest.approx(MOST_OWED + 0.1)


def test_nothing_is_kept_of_keys_that_are_even() -> None:
    clock = Clock()
    meter = Meter(10, 10, clock)
    for number in range(1000):
        meter.take(str(number))
    clock.now += 1
    assert len(meter.used()) == 1000
    assert meter.used() == {}
    assert not meter._even_at


def test_places_are_as_many_as_there_are() -> None:
    places = Places(2)
    with places.hold("a"), places.hold("a"):
        with pytest.raises(Full), places.hold("a"):
            pytest.fail("there was a third place")
        with places.hold("b"):
            assert places.held() == {"a": 2, "b": 1}
    assert places.held() == {}
    with places.hold("a"):
        assert places.taken("a") == 1


def test_places_of_other_processes_count_until_they_fall_silent() -> None:
    clock = Clock()
    places = Places(3, clock)
    places.note("one", {"a": 1})
    places.note("other", {"a": 1, "b": 3})
    places.enter("a")
    with pytest.raises(Full):
        places.enter("a")
    places.note("one", {})
    places.enter("a")
    places.leave("a")
    clock.now += LEASE
    places.note("one", {"a": 1})
    assert places.taken("a") == 2
    places.forget_silent()
    with places.hold("b"):
        assert places.taken("b") == 1


def test_no_limit_is_no_limit() -> None:
    places = Places(0)
    for _ in range(100):
        places.enter("a")
