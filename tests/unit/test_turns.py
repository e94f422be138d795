"""Whose turn it is among tasks that share a gateway."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from workers.turns import Turns

LARGEST = 300


def serve(turns: Turns, costs: dict[int, int], rounds: int) -> Counter[int]:
    """Let these tasks run for so many turns; returns the submits each was given."""
    given_to: Counter[int] = Counter()
    for _ in range(rounds):
        task_id = turns.next(costs)
        turns.gave(task_id, costs[task_id])
        given_to[task_id] += costs[task_id]
    return given_to


@given(st.dictionaries(st.integers(1, 50), st.integers(1, LARGEST), min_size=2, max_size=8))
def test_tasks_get_the_same_whatever_the_size_of_their_turns(costs: dict[int, int]) -> None:
    given_to = serve(Turns(), costs, 3_000)
    assert max(given_to.values()) - min(given_to[task_id] for task_id in costs) <= 2 * LARGEST


def test_one_that_comes_late_earns_nothing_by_having_waited() -> None:
    turns = Turns()
    serve(turns, {1: 100}, 50)
    given_to = serve(turns, {1: 100, 2: 100}, 40)
    assert given_to == {1: 2_000, 2: 2_000}


def test_a_tiny_one_behind_many_does_not_wait_for_a_turn_of_each() -> None:
    turns = Turns()
    many = dict.fromkeys(range(1, 50), 200)
    serve(turns, many, 120)
    before = serve(turns, {**many, 99: 20}, 3)
    assert before[99] >= 20


def test_tiny_ones_that_keep_coming_do_not_keep_the_others_waiting() -> None:
    turns = Turns()
    served: Counter[int] = Counter()
    for newcomer in range(1_000, 2_000):
        served += serve(turns, {1: 200, newcomer: 20}, 2)
    assert served[1] >= sum(served.values()) / 2 - LARGEST


def test_one_that_is_gone_between_two_chunks_keeps_its_share_of_the_rest() -> None:
    """Each of its chunks is one turn; after it, the other has a turn before the next is there."""
    turns = Turns()
    served: Counter[int] = Counter()
    alone = 0
    for _ in range(500):
        both = {1: 200, 2: 125}
        task_id = turns.next(both)
        turns.gave(task_id, both[task_id])
        served[task_id] += both[task_id]
        if task_id == 2:
            alone += serve(turns, {1: 10}, 1).total()
    assert alone
    assert abs(served[1] - served[2]) <= 2 * LARGEST
