"""Long texts on their way through a gateway, in each of the ways carriers take them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import structlog

from domain.ports import Gateway, Handover, Inbound, Outcome, SegmentHandover, Submission
from domain.segments import Content, segment
from domain.states import Region
from tests.integration.message_centre import (
    ScriptedCentre,
    Visitor,
    answer_bind,
    is_submit,
    scripted_centre,
    submit_resp,
)
from tests.phone import decoded, part_of, text_of, tlv
from workers.gateways import open_gateway
from workers.smpp.pdu import Command, Frame, Status, Tag

NUMBER = "+8613800131234"
GSM7 = segment("Ein langer Text mit Umlauten äöü und € dazu. " * 9, Region.INTERNATIONAL)
CHINESE = segment("您的包裹已到达😀。" * 20, Region.CHINESE_MAINLAND)
EURO = segment("x" * 150 + "€", Region.INTERNATIONAL)


def submission(content: Content) -> Submission:
    references = tuple(range(700, 700 + len(content.segments)))
    return Submission(content, NUMBER, "10690", references=references)


def accept(visitor: Visitor, frame: Frame) -> None:
    """Accept everything, under ids that count."""
    answer_bind(visitor, frame)
    if is_submit(frame):
        visitor.write(submit_resp(frame, f"id-{len(visitor.of(Command.SUBMIT_SM))}"))


@asynccontextmanager
async def bound_to(centre: ScriptedCentre, query: str) -> AsyncIterator[Gateway]:
    async def sink(inbound: Sequence[Inbound]) -> None:
        raise AssertionError(inbound)

    gateway = open_gateway("default", f"smpp://u:p@127.0.0.1:{centre.port}?{query}")
    async with asyncio.timeout(15):
        await gateway.start(sink)
        await gateway.ready()
        try:
            yield gateway
        finally:
            for visitor in centre.visitors:
                visitor.close()
            await gateway.close()


@pytest.mark.parametrize("alphabet", ["gsm7", "gsm7-packed"])
@pytest.mark.parametrize("long_text", ["udh", "sar", "payload"])
async def test_a_long_text_arrives_whole_and_is_told_of_by_the_segment(long_text: str, alphabet: str) -> None:
    async with (
        scripted_centre(accept) as centre,
        bound_to(centre, f"long_text={long_text}&alphabet={alphabet}") as gateway,
    ):
        handovers = [await gateway.submit(submission(content)) for content in (GSM7, CHINESE)]
        submits = [decoded(frame.body) for frame in centre.visitor.of(Command.SUBMIT_SM)]

    whole = long_text == "payload"
    first, second = (submits[:1], submits[1:]) if whole else (submits[:3], submits[3:])
    assert text_of(first, packed=alphabet == "gsm7-packed") == GSM7.text
    assert text_of(second) == CHINESE.text
    assert len(submits) == (2 if whole else len(GSM7.segments) + len(CHINESE.segments))
    ids = [["id-1"] * 3, ["id-2"] * 3] if whole else [["id-1", "id-2", "id-3"], ["id-4", "id-5", "id-6"]]
    for handover, each in zip(handovers, ids, strict=True):
        assert handover == Handover(Outcome.ACCEPTED, tuple(map(SegmentHandover, each)))
    for message in (first, second):
        told = [tlv(submit, Tag.USER_MESSAGE_REFERENCE) for submit in message]
        assert told == [(700 + at).to_bytes(2) for at in range(len(message))]


async def test_a_whole_text_refused_is_every_segment_refused() -> None:
    def refuse(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            visitor.write(submit_resp(frame, status=Status.ESME_RINVDSTADR))

    async with scripted_centre(refuse) as centre, bound_to(centre, "long_text=payload") as gateway:
        handover = await gateway.submit(submission(GSM7))

    assert handover == Handover(Outcome.REFUSED, (SegmentHandover(None, "0x0000000B"),) * 3)


async def test_a_whole_text_throttled_goes_out_again_as_it_was() -> None:
    def throttle_once(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            first = len(visitor.of(Command.SUBMIT_SM)) == 1
            visitor.write(submit_resp(frame, "one", Status.ESME_RTHROTTLED if first else 0))

    async with scripted_centre(throttle_once) as centre, bound_to(centre, "long_text=payload") as gateway:
        handover = await gateway.submit(submission(GSM7))
        first, second = centre.visitor.of(Command.SUBMIT_SM)

    assert handover == Handover(Outcome.ACCEPTED, (SegmentHandover("one"),) * 3)
    assert first.body == second.body


async def test_a_whole_text_unanswered_is_in_doubt_as_a_whole() -> None:
    def hang_up(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            visitor.close()

    async with scripted_centre(hang_up) as centre, bound_to(centre, "long_text=payload") as gateway:
        handover = await gateway.submit(submission(GSM7))

    assert handover == Handover(Outcome.IN_DOUBT, (SegmentHandover(None),) * 3)


async def test_a_segment_throttled_keeps_its_sar_reference() -> None:
    def throttle_second(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            seen = len(visitor.of(Command.SUBMIT_SM))
            visitor.write(submit_resp(frame, f"id-{seen}", Status.ESME_RTHROTTLED if seen == 2 else 0))

    async with scripted_centre(throttle_second) as centre, bound_to(centre, "long_text=sar") as gateway:
        handover = await gateway.submit(submission(GSM7))
        submits = [decoded(frame.body) for frame in centre.visitor.of(Command.SUBMIT_SM)]

    assert handover.outcome is Outcome.ACCEPTED
    assert sorted(part_of(submit).number for submit in submits) == [1, 2, 2, 3]
    assert len({part_of(submit).reference for submit in submits}) == 1


async def test_what_the_alphabet_lacks_is_refused_with_a_code_and_never_sent() -> None:
    async with scripted_centre(accept) as centre, bound_to(centre, "alphabet=latin1") as gateway:
        with structlog.testing.capture_logs() as logged:
            refused, again = [await gateway.submit(submission(EURO)) for _ in range(2)]
        accepted = await gateway.submit(submission(segment("Grüße", Region.INTERNATIONAL)))
        (submit,) = [decoded(frame.body) for frame in centre.visitor.of(Command.SUBMIT_SM)]

    assert refused == again == Handover(Outcome.REFUSED, (SegmentHandover(None, "0x00000104"),))
    (said,) = logged
    assert (said["event"], said["number"]) == ("message_cannot_be_encoded", "+8613*********")
    assert accepted == Handover(Outcome.ACCEPTED, (SegmentHandover("id-1"),))
    assert (submit.data_coding, submit.short_message) == (3, "Grüße".encode("latin-1"))
