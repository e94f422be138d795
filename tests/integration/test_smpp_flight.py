"""Messages whose segments fare differently: what is sent again, and what the whole came to."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from domain.ports import Handover, Inbound, Outcome, SegmentHandover, Submission
from domain.segments import segment
from domain.states import Region
from tests.integration.message_centre import (
    ScriptedCentre,
    Visitor,
    answer_bind,
    is_submit,
    scripted_centre,
    submit_resp,
    until,
)
from workers.gateways import open_gateway
from workers.gateways.flight import Flight, Stage
from workers.smpp.pdu import Command, Frame, ShortMessage, Status

MESSAGE = Submission(segment("x" * 400, Region.INTERNATIONAL), "+8613800131234", "10690")
THROTTLED = SegmentHandover(None, "0x00000058")
REFUSED = SegmentHandover(None, "0x0000000B")
UNKNOWN = SegmentHandover(None)


def accepted(message_id: str) -> SegmentHandover:
    return SegmentHandover(message_id)


def part(frame: Frame) -> tuple[int, int]:
    """The reference and the number of a segment."""
    octets = ShortMessage.decode(frame.body).short_message
    return octets[3], octets[5]


def parts(visitor: Visitor) -> list[int]:
    return [part(frame)[1] for frame in visitor.of(Command.SUBMIT_SM)]


async def sent_to(centre: ScriptedCentre, query: str = "", begin_by: float = float("inf")) -> Handover:
    """Hand the message over and return what came of it."""

    async def sink(inbound: Sequence[Inbound]) -> None:
        raise AssertionError(inbound)

    gateway = open_gateway("default", f"smpp://u:p@127.0.0.1:{centre.port}?{query}")
    async with asyncio.timeout(15):
        await gateway.start(sink)
        await gateway.ready()
        try:
            return await gateway.submit(replace(MESSAGE, begin_by=begin_by))
        finally:
            for visitor in centre.visitors:
                visitor.close()
            await gateway.close()


async def test_a_segment_throttled_before_the_bind_is_lost_goes_out_over_the_next() -> None:
    """Nothing of the message is in doubt then: the rest of it may and must follow, with its reference."""

    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if not is_submit(frame):
            return
        reference, number = part(frame)
        if number == 2 and len(centre.visitors) == 1:
            visitor.write(submit_resp(frame, status=Status.ESME_RMSGQFUL))
            asyncio.get_running_loop().call_soon(visitor.close)
        else:
            visitor.write(submit_resp(frame, f"{reference}-{number}"))

    async with scripted_centre(script) as centre:
        handover = await sent_to(centre, "window=1")
        first, second = centre.visitors

    assert parts(first) == [1, 2]
    assert parts(second) == [2, 3]
    reference = part(first.of(Command.SUBMIT_SM)[0])[0]
    assert handover == Handover(
        Outcome.ACCEPTED, tuple(accepted(f"{reference}-{number}") for number in (1, 2, 3))
    )


async def test_after_a_refused_segment_the_rest_is_not_sent() -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            visitor.write(
                submit_resp(frame, "first")
                if part(frame)[1] == 1
                else submit_resp(frame, status=Status.ESME_RINVDSTADR)
            )

    async with scripted_centre(script) as centre:
        handover = await sent_to(centre, "window=1")

        assert parts(centre.visitors[0]) == [1, 2]
    assert handover == Handover(Outcome.REFUSED, (accepted("first"), REFUSED, UNKNOWN))


async def test_a_centre_that_only_throttles_gets_the_message_back_to_the_sender() -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            visitor.write(submit_resp(frame, status=Status.ESME_RTHROTTLED))

    async with scripted_centre(script) as centre:
        handover = await sent_to(centre, "hold=0.5")

        assert len(parts(centre.visitors[0])) < 12, "it backs off"
    assert (handover.outcome, handover.segments) == (Outcome.NOT_HANDED_OVER, (THROTTLED,) * 3)


async def test_a_message_that_waits_too_long_to_be_begun_is_given_back() -> None:
    """So that a throttled gateway does not send much of a task that was paused meanwhile."""

    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            visitor.write(submit_resp(frame, status=Status.ESME_RTHROTTLED))

    async with scripted_centre(script) as centre:
        began = time.monotonic()
        handover = await sent_to(centre, begin_by=began + 0.3)

    assert 0.3 <= time.monotonic() - began < 5
    assert (handover.outcome, handover.segments) == (Outcome.NOT_HANDED_OVER, (THROTTLED,) * 3)


async def test_a_message_begun_in_time_is_sent_to_its_end() -> None:
    """A part of it is there and cannot be taken back."""

    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            first_try = parts(visitor).count(2) == 1
            throttled = part(frame)[1] == 2 and first_try
            status = Status.ESME_RTHROTTLED if throttled else Status.ESME_ROK
            visitor.write(submit_resp(frame, str(part(frame)[1]), status=status))

    async with scripted_centre(script) as centre:
        handover = await sent_to(centre, "rate=2", begin_by=time.monotonic() + 0.3)

        assert parts(centre.visitor) == [1, 2, 2, 3]
    assert handover == Handover(Outcome.ACCEPTED, tuple(map(accepted, "123")))


async def test_a_connection_lost_with_a_segment_unanswered_leaves_the_message_in_doubt() -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            if part(frame)[1] == 1:
                visitor.write(submit_resp(frame, "first"))
            else:
                visitor.close()

    async with scripted_centre(script) as centre:
        handover = await sent_to(centre, "window=1")

        assert [parts(visitor) for visitor in centre.visitors] == [[1, 2]]
    assert handover == Handover(Outcome.IN_DOUBT, (accepted("first"), UNKNOWN, UNKNOWN))


async def test_an_answer_without_an_id_is_an_acceptance() -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            visitor.write(submit_resp(frame))

    async with scripted_centre(script) as centre:
        assert await sent_to(centre) == Handover(Outcome.ACCEPTED, (UNKNOWN,) * 3)


@pytest.mark.parametrize(
    ("stages", "handovers", "outcome"),
    [
        ([Stage.ACCEPTED, Stage.REFUSED, Stage.IN_DOUBT], [None, REFUSED, None], Outcome.REFUSED),
        ([Stage.ACCEPTED, Stage.IN_DOUBT, Stage.DROPPED], [None, None, None], Outcome.IN_DOUBT),
        ([Stage.ACCEPTED, Stage.ACCEPTED, Stage.DROPPED], [None, None, THROTTLED], Outcome.REFUSED),
        ([Stage.ACCEPTED, Stage.ACCEPTED, Stage.DROPPED], [None, None, None], Outcome.IN_DOUBT),
        ([Stage.DROPPED, Stage.DROPPED, Stage.DROPPED], [None, THROTTLED, None], Outcome.NOT_HANDED_OVER),
        ([Stage.ACCEPTED, Stage.ACCEPTED, Stage.ACCEPTED], [None, None, None], Outcome.ACCEPTED),
    ],
)
async def test_the_whole_is_judged_by_its_parts(
    stages: list[Stage], handovers: list[SegmentHandover | None], outcome: Outcome
) -> None:
    flight = Flight([b""] * 3, asyncio.get_running_loop().create_future(), deadline=0.0)
    for index, (stage, handover) in enumerate(zip(stages, handovers, strict=True)):
        flight.settle(index, stage, handover)

    assert flight.unsettled == 0
    assert flight.handover(retry_after=1.5).outcome is outcome


async def test_reconnecting_goes_on_while_the_centre_is_away() -> None:
    async def sink(inbound: Sequence[Inbound]) -> None:
        raise AssertionError(inbound)

    def script(visitor: Visitor, frame: Frame) -> None:
        if len(centre.visitors) < 3:
            visitor.close()
        else:
            answer_bind(visitor, frame)

    async with scripted_centre(script) as centre:
        gateway = open_gateway("default", f"smpp://u:p@127.0.0.1:{centre.port}")
        await gateway.start(sink)
        await until(lambda: len(centre.visitors) == 3)
        async with asyncio.timeout(5):
            await gateway.ready()
        centre.visitor.close()
        await gateway.close()
