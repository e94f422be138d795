"""Whose turn it is: running tasks share a gateway by what they put on the wire, whatever their sizes."""

from __future__ import annotations

from collections.abc import Mapping


class Turns:
    """Weighted fair queueing with equal weights (Demers, Keshav and Shenker, 1989), a turn being a packet.

    Next is the task that would first have had its turn if all were served at once, each at the same rate. A
    task that comes starts where the others are served to by then: having waited elsewhere earns it nothing.
    One that is gone for a moment, between two of its chunks, keeps what it was given too little or too much
    before; it has no part in what is sent meanwhile.
    """

    def __init__(self) -> None:
        self._given: dict[int, float] = {}
        """Submits by task, counted from the same start for all."""
        self._served = 0.0
        """What each task would have been given by now, were all served at once."""
        self._running = 1
        self._largest = 0
        """The most submits of any turn."""

    def next(self, turns: Mapping[int, int]) -> int:
        """Return the task whose turn it is; `turns` says how many submits the turn of each would be."""
        self._running = len(turns)
        for task_id in turns:
            self._given.setdefault(task_id, self._served)
        forgotten = self._served - 2 * self._largest
        self._given = {
            task_id: given for task_id, given in self._given.items() if task_id in turns or given > forgotten
        }
        return min(turns, key=lambda task_id: self._given[task_id] + turns[task_id])

    def gave(self, task_id: int, submits: int) -> None:
        """Note that so many submits of the task whose turn it was were given to the gateway."""
        self._given[task_id] += submits
        self._served += submits / self._running
        self._largest = max(self._largest, submits)
