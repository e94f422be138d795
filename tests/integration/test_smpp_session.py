"""One bind against a scripted message centre over real TCP: what may come, in whatever pieces and order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tests.integration.message_centre import (
    ScriptedCentre,
    Visitor,
    answer_bind,
    is_submit,
    scripted_centre,
    submit_resp,
    until,
)
from workers.smpp import pdu
from workers.smpp.clock import SystemClock
from workers.smpp.pdu import Address, Bind, Command, Frame, ShortMessage, Status
from workers.smpp.session import (
    BindRefused,
    BindUnanswered,
    Session,
    SessionOptions,
    Unanswered,
    open_session,
)

BODY = ShortMessage(Address(3, 0, "10690"), Address(1, 1, "8613800138000"), b"Hello").encode()
DELIVERY = ShortMessage(Address(1, 1, "8613800138000"), Address(3, 0, "10690"), b"STOP").encode()
BIND = Bind("groupsms", "secret")


@dataclass
class Opened:
    session: Session
    deliveries: list[Frame] = field(default_factory=list)


@asynccontextmanager
async def bound(
    centre: ScriptedCentre,
    *,
    window: int = 10,
    response_timeout: float = 5.0,
    enquire_link: float = 30.0,
    inactivity: float = 0.0,
) -> AsyncIterator[Opened]:
    deliveries: list[Frame] = []

    def on_deliver_sm(session: Session, frame: Frame) -> None:
        deliveries.append(frame)
        session.acknowledge(frame.sequence_number)

    session = await open_session(
        "127.0.0.1",
        centre.port,
        BIND,
        SessionOptions(window, response_timeout, enquire_link, inactivity),
        SystemClock(),
        on_deliver_sm,
        lambda _: None,
    )
    try:
        yield Opened(session, deliveries)
    finally:
        session.disconnect()
        await session.closed


async def answered(future: asyncio.Future[Frame | Unanswered]) -> Frame:
    async with asyncio.timeout(5):
        answer = await future
    assert isinstance(answer, Frame)
    return answer


async def test_a_receipt_may_come_right_behind_the_bind_response() -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        if frame.command_id == Command.BIND_TRANSCEIVER:
            visitor.write(
                pdu.encode(Command.BIND_TRANSCEIVER_RESP, 0, frame.sequence_number, b"centre\0"),
                pdu.encode(Command.DELIVER_SM, 0, 77, DELIVERY),
            )

    async with scripted_centre(script) as centre, bound(centre) as opened:
        await until(lambda: centre.visitor.of(Command.DELIVER_SM_RESP))

        assert [frame.sequence_number for frame in opened.deliveries] == [77]
        assert centre.visitor.of(Command.DELIVER_SM_RESP)[0].command_status == Status.ESME_ROK
        assert Bind.decode(centre.visitor.received[0].body) == BIND


async def test_answers_find_their_requests_in_any_order_in_one_read() -> None:
    waiting: list[Frame] = []

    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            waiting.append(frame)
            if len(waiting) == 5:
                visitor.write(*(submit_resp(late, f"id{late.sequence_number}") for late in reversed(waiting)))

    async with scripted_centre(script) as centre, bound(centre) as opened:
        futures = [opened.session.submit(BODY) for _ in range(5)]
        answers = [await answered(future) for future in futures]

    assert [pdu.c_string(answer.body) for answer in answers] == [
        f"id{answer.sequence_number}" for answer in answers
    ]
    assert len({answer.sequence_number for answer in answers}) == 5


async def test_an_answer_may_arrive_octet_by_octet() -> None:
    writers: list[asyncio.Task[None]] = []

    async def dribble(visitor: Visitor, octets: bytes) -> None:
        for octet in octets:
            visitor.write(bytes((octet,)))
            await asyncio.sleep(0.001)

    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            writers.append(asyncio.create_task(dribble(visitor, submit_resp(frame, "drop-by-drop"))))

    async with scripted_centre(script) as centre, bound(centre) as opened:
        answer = await answered(opened.session.submit(BODY))

    assert pdu.c_string(answer.body) == "drop-by-drop"


async def test_a_submit_without_answer_times_out_and_a_late_answer_hurts_nobody() -> None:
    async with scripted_centre() as centre, bound(centre, response_timeout=0.2) as opened:
        assert await opened.session.submit(BODY) is Unanswered.TIMED_OUT
        first = centre.visitor.of(Command.SUBMIT_SM)[0]
        second = opened.session.submit(BODY)
        await until(lambda: len(centre.visitor.of(Command.SUBMIT_SM)) == 2)
        centre.visitor.write(submit_resp(first, "late"))
        centre.visitor.write(submit_resp(centre.visitor.of(Command.SUBMIT_SM)[1], "in-time"))

        assert pdu.c_string((await answered(second)).body) == "in-time"


async def test_everything_in_flight_is_in_doubt_when_the_connection_goes() -> None:
    async with scripted_centre() as centre, bound(centre) as opened:
        futures = [opened.session.submit(BODY) for _ in range(7)]
        await until(lambda: len(centre.visitor.of(Command.SUBMIT_SM)) == 7)
        centre.visitor.close()

        assert await asyncio.gather(*futures) == [Unanswered.DISCONNECTED] * 7
        await opened.session.closed
        assert opened.session.room == 0
        assert await opened.session.submit(BODY) is Unanswered.DISCONNECTED


async def test_the_window_says_how_much_room_is_left() -> None:
    async with scripted_centre() as centre, bound(centre, window=3) as opened:
        rooms = [opened.session.room]
        futures = []
        for _ in range(3):
            futures.append(opened.session.submit(BODY))
            rooms.append(opened.session.room)
        await until(lambda: len(centre.visitor.of(Command.SUBMIT_SM)) == 3)
        centre.visitor.write(submit_resp(centre.visitor.of(Command.SUBMIT_SM)[1], "x"))
        await answered(futures[1])

        assert rooms == [3, 2, 1, 0]
        assert opened.session.room == 1


async def test_a_silent_bind_is_asked_and_a_dead_one_dropped() -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if frame.command_id == Command.ENQUIRE_LINK and len(visitor.of(Command.ENQUIRE_LINK)) <= 2:
            visitor.write(pdu.encode(Command.ENQUIRE_LINK_RESP, 0, frame.sequence_number))

    async with (
        scripted_centre(script) as centre,
        bound(centre, enquire_link=0.1, response_timeout=0.2) as opened,
    ):
        in_flight = opened.session.submit(BODY)
        async with asyncio.timeout(5):
            await opened.session.closed

        assert len(centre.visitor.of(Command.ENQUIRE_LINK)) >= 3
        assert isinstance(await in_flight, Unanswered)


async def test_the_centres_own_requests_are_answered() -> None:
    async with scripted_centre() as centre, bound(centre) as opened:
        centre.visitor.write(
            pdu.encode(Command.ENQUIRE_LINK, 0, 5),
            pdu.encode(Command.ALERT_NOTIFICATION, 0, 6, b"\1\1" + b"86\0" + b"\1\1" + b"10\0"),
            pdu.encode(0x00010203, 0, 7, b"who knows"),
            pdu.encode(0x80010203, 0, 8, b"an answer to nothing"),
            pdu.encode(Command.UNBIND, 0, 9),
        )
        async with asyncio.timeout(5):
            await opened.session.closed
        await centre.visitor.gone.wait()

        assert centre.visitor.received[1:] == [
            Frame(Command.ENQUIRE_LINK_RESP, 0, 5, b""),
            Frame(Command.GENERIC_NACK, Status.ESME_RINVCMDID, 7, b""),
            Frame(Command.UNBIND_RESP, 0, 9, b""),
        ]


async def test_a_lost_framing_ends_the_connection_after_what_was_whole() -> None:
    async with scripted_centre() as centre, bound(centre) as opened:
        first, second = opened.session.submit(BODY), opened.session.submit(BODY)
        await until(lambda: len(centre.visitor.of(Command.SUBMIT_SM)) == 2)
        centre.visitor.write(submit_resp(centre.visitor.of(Command.SUBMIT_SM)[0], "whole"), b"HTTP/1.1 400")

        assert pdu.c_string((await answered(first)).body) == "whole"
        assert await second is Unanswered.DISCONNECTED
        await centre.visitor.gone.wait()
        assert centre.visitor.received[-1] == Frame(Command.GENERIC_NACK, Status.ESME_RINVCMDLEN, 0, b"")


async def test_generic_nack_is_an_answer_and_a_wrong_response_is_none() -> None:
    async with scripted_centre() as centre, bound(centre) as opened:
        future = opened.session.submit(BODY)
        await until(lambda: centre.visitor.of(Command.SUBMIT_SM))
        sequence = centre.visitor.of(Command.SUBMIT_SM)[0].sequence_number
        centre.visitor.write(
            pdu.encode(Command.ENQUIRE_LINK_RESP, 0, sequence),
            pdu.encode(Command.GENERIC_NACK, Status.ESME_RINVCMDID, sequence),
        )

        assert await answered(future) == Frame(Command.GENERIC_NACK, Status.ESME_RINVCMDID, sequence, b"")


@pytest.mark.parametrize(
    ("status", "credentials"),
    [
        (Status.ESME_RINVPASWD, True),
        (Status.ESME_RINVSYSID, True),
        (Status.ESME_RALYBND, False),
        (0x410, False),
    ],
)
async def test_a_refused_bind_says_why(status: int, credentials: bool) -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        visitor.write(pdu.encode(Command.BIND_TRANSCEIVER_RESP, status, frame.sequence_number))

    async with scripted_centre(script) as centre:
        with pytest.raises(BindRefused) as refused:
            async with bound(centre):
                pass

    assert (refused.value.status, refused.value.credentials) == (status, credentials)


async def test_a_bind_that_is_never_answered_ends() -> None:
    def hang_up(visitor: Visitor, frame: Frame) -> None:
        visitor.close()

    def say_nothing(visitor: Visitor, frame: Frame) -> None:
        pass

    for script in (hang_up, say_nothing):
        async with scripted_centre(script) as centre:
            with pytest.raises(BindUnanswered):
                async with bound(centre, response_timeout=0.2):
                    pass


async def test_what_a_centre_delivers_behind_its_unbind_is_taken() -> None:
    async with scripted_centre() as centre, bound(centre) as opened:
        answer = opened.session.submit(BODY)
        await until(lambda: centre.visitor.of(Command.SUBMIT_SM))
        centre.visitor.write(
            pdu.encode(Command.UNBIND, 0, 9),
            submit_resp(centre.visitor.of(Command.SUBMIT_SM)[0], "x"),
            pdu.encode(Command.DELIVER_SM, 0, 77, DELIVERY),
        )
        assert (await answered(answer)).command_status == Status.ESME_ROK
        await until(lambda: centre.visitor.of(Command.UNBIND_RESP))

        assert [frame.sequence_number for frame in opened.deliveries] == [77]
        assert [
            (each.sequence_number, each.command_status) for each in centre.visitor.of(Command.DELIVER_SM_RESP)
        ] == [(77, Status.ESME_ROK)]


async def test_unbind_is_said_and_waited_for() -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if frame.command_id == Command.UNBIND:
            visitor.write(
                pdu.encode(Command.DELIVER_SM, 0, 77, DELIVERY),
                pdu.encode(Command.UNBIND_RESP, 0, frame.sequence_number),
            )

    async with scripted_centre(script) as centre, bound(centre) as opened:
        await opened.session.unbind()
        await centre.visitor.gone.wait()

        unbind, refused = centre.visitor.received[-2:]
        assert unbind.command_id == Command.UNBIND
        assert (refused.command_id, refused.command_status) == (
            Command.DELIVER_SM_RESP,
            Status.ESME_RX_T_APPN,  # what crosses it is to come again
        )
        assert not opened.deliveries
        assert opened.session.closed.done()
