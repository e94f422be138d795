"""One message on its way through an SMPP gateway: what is known of each of its segments."""

from __future__ import annotations

import asyncio
from enum import Enum, auto

from domain.ports import Handover, Outcome, SegmentHandover


class Stage(Enum):
    """Where one segment stands."""

    WAITING = auto()
    """Not written, or refused for the moment: it is certainly not at the message centre."""
    ON_WIRE = auto()
    ACCEPTED = auto()
    REFUSED = auto()
    IN_DOUBT = auto()
    DROPPED = auto()
    """Given up while waiting."""


UNKNOWN_SEGMENT = SegmentHandover(None)


class Flight:
    """A message's segments, and the future that ends when each of them has come to something.

    One body a segment, or a single body for all of them: they share one fate and one id then.
    """

    __slots__ = ("begin_by", "bodies", "deadline", "future", "handovers", "segments", "stages", "unsettled")

    def __init__(
        self,
        bodies: list[bytes],
        future: asyncio.Future[Handover],
        deadline: float,
        begin_by: float = float("inf"),
        segments: int | None = None,
    ) -> None:
        """`segments` is how many there are, where a single body carries several."""
        self.bodies = bodies
        self.segments = segments or len(bodies)
        self.future = future
        self.begin_by = begin_by
        """The moment after which nothing of it may be written if nothing was before."""
        self.deadline = deadline
        """The moment after which nothing more of it may be written."""
        self.stages = [Stage.WAITING] * len(bodies)
        self.handovers = [UNKNOWN_SEGMENT] * len(bodies)
        self.unsettled = len(bodies)

    @property
    def untouched(self) -> bool:
        """Whether nothing of it can have reached the message centre."""
        return all(stage in (Stage.WAITING, Stage.DROPPED) for stage in self.stages)

    def is_over(self, now: float) -> bool:
        """Whether what waits of it is to be given up."""
        return now >= self.deadline or (now >= self.begin_by and self.untouched)

    @property
    def doubtful(self) -> bool:
        """Whether a segment of it may or may not have reached the message centre."""
        return Stage.IN_DOUBT in self.stages or Stage.ON_WIRE in self.stages

    def settle(self, index: int, stage: Stage, handover: SegmentHandover | None = None) -> None:
        """Note what a segment came to."""
        self.stages[index] = stage
        if stage is Stage.IN_DOUBT:
            # Whatever it was postponed for before says nothing about this try.
            self.handovers[index] = UNKNOWN_SEGMENT
        if handover is not None:
            self.handovers[index] = handover
        self.unsettled -= 1

    def postpone(self, index: int, error_code: str) -> None:
        """Note that a segment was refused for the moment only."""
        self.stages[index] = Stage.WAITING
        self.handovers[index] = SegmentHandover(None, error_code)

    def drop_waiting(self) -> None:
        """Give up what has not been written; it is never written then."""
        for index, stage in enumerate(self.stages):
            if stage is Stage.WAITING:
                self.settle(index, Stage.DROPPED)

    def handover(self, retry_after: float) -> Handover:
        """Sum up, once every segment is settled.

        A refused segment outweighs one in doubt: the message has failed.
        """
        segments = tuple(self.handovers) * (self.segments // len(self.bodies))
        stages = self.stages
        if Stage.REFUSED in stages:
            return Handover(Outcome.REFUSED, segments)
        if Stage.IN_DOUBT in stages:
            return Handover(Outcome.IN_DOUBT, segments)
        if Stage.DROPPED not in stages:
            return Handover(Outcome.ACCEPTED, segments)
        if Stage.ACCEPTED not in stages:
            return Handover(Outcome.NOT_HANDED_OVER, segments, retry_after)
        # A part is there and cannot be taken back. Where the centre said why the rest is not, that is the
        # reason.
        missing = [
            handover for stage, handover in zip(stages, self.handovers, strict=True) if stage is Stage.DROPPED
        ]
        refused = any(handover.error_code for handover in missing)
        return Handover(Outcome.REFUSED if refused else Outcome.IN_DOUBT, segments)
