"""A gateway over several binds: what goes where, what is lost with one, and what is said of it."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest
import structlog

from domain.ports import Outcome
from tests.integration.message_centre import (
    Visitor,
    is_submit,
    scripted_centre,
    submit_resp,
    until,
)
from tests.integration.smpp_binding import (
    LONG,
    RECEIPT,
    Inbox,
    accept,
    bound,
    bound_as,
    message,
    opened,
    outcomes,
    ready,
    started,
)
from workers.smpp import pdu
from workers.smpp.pdu import Command, Frame, ShortMessage, Status


async def test_messages_spread_over_all_binds_and_each_has_its_window() -> None:
    async with scripted_centre() as centre, started(opened(centre, "binds=3&window=5")) as gateway:
        await until(lambda: gateway.window == 15 and len(bound(centre)) == 3)
        futures = [gateway.submit(message(at)) for at in range(20)]
        await until(lambda: sum(len(each.of(Command.SUBMIT_SM)) for each in centre.visitors) == 15)

        assert [len(each.of(Command.SUBMIT_SM)) for each in centre.visitors] == [5, 5, 5]
        for visitor in centre.visitors:
            visitor.write(*(submit_resp(frame, "x") for frame in visitor.of(Command.SUBMIT_SM)))
        await until(lambda: sum(len(each.of(Command.SUBMIT_SM)) for each in centre.visitors) == 20)
        for visitor in centre.visitors:
            visitor.write(*(submit_resp(frame, "x") for frame in visitor.of(Command.SUBMIT_SM)[5:]))
        assert await outcomes(futures) == {Outcome.ACCEPTED: 20}


def silent_first(visitors: Callable[[], list[Visitor]]) -> Callable[[Visitor, Frame], None]:
    """The first connection never gets an answer to a submit, the others get all."""

    def script(visitor: Visitor, frame: Frame) -> None:
        if not (is_submit(frame) and visitor is visitors()[0]):
            accept(visitor, frame)

    return script


async def test_with_one_bind_lost_only_what_was_on_it_is_in_doubt() -> None:
    script = silent_first(lambda: centre.visitors)
    async with (
        scripted_centre(script) as centre,
        started(opened(centre, "binds=2&window=4&response_timeout=20")) as gateway,
    ):
        await until(lambda: len(bound(centre)) == 2)
        futures = [gateway.submit(message(at)) for at in range(30)]
        assert await outcomes(futures[8:]) == {Outcome.ACCEPTED: 22}
        assert sum(future.done() for future in futures) == 26
        centre.visitors[0].close()

        assert await outcomes(futures) == {Outcome.ACCEPTED: 26, Outcome.IN_DOUBT: 4}
        assert len(centre.visitors[0].of(Command.SUBMIT_SM)) == 4
        sent = [frame.body for visitor in centre.visitors for frame in visitor.of(Command.SUBMIT_SM)]
        assert len(sent) == len(set(sent)) == 30


async def test_all_segments_of_a_message_go_over_one_bind() -> None:
    async with (
        scripted_centre(accept) as centre,
        started(opened(centre, "binds=3&window=2")) as gateway,
    ):
        await until(lambda: len(bound(centre)) == 3)
        futures = [gateway.submit(message(at, LONG)) for at in range(30)]
        assert await outcomes(futures) == {Outcome.ACCEPTED: 30}

        for visitor in centre.visitors:
            numbers = Counter(
                ShortMessage.decode(frame.body).destination.digits for frame in visitor.of(Command.SUBMIT_SM)
            )
            assert set(numbers.values()) == {3}


async def test_what_waits_for_a_bind_that_is_lost_goes_out_over_another() -> None:
    """Two segments of it were throttled: they are at no centre, and nothing of it is in doubt."""

    def script(visitor: Visitor, frame: Frame) -> None:
        if not is_submit(frame):
            accept(visitor, frame)
        elif visitor is first[0]:
            number = ShortMessage.decode(frame.body).short_message[5]
            status = Status.ESME_ROK if number == 1 else Status.ESME_RTHROTTLED
            visitor.write(submit_resp(frame, "first", status))
            if number == 3:
                asyncio.get_running_loop().call_soon(visitor.close)
        else:
            accept(visitor, frame)

    first: list[Visitor] = []
    async with scripted_centre(script) as centre, started(opened(centre, "binds=2&window=4")) as gateway:
        await until(lambda: len(bound(centre)) == 2)
        first.append(centre.visitors[0])
        assert await outcomes([gateway.submit(message(1, LONG))]) == {Outcome.ACCEPTED: 1}
        numbers = [
            ShortMessage.decode(frame.body).short_message[5]
            for frame in centre.visitors[1].of(Command.SUBMIT_SM)
        ]
        assert numbers == [2, 3]


# --- pairs ---------------------------------------------------------------------------------------


async def test_a_pair_submits_over_one_and_receives_over_the_other() -> None:
    inbox = Inbox()
    async with (
        scripted_centre(accept) as centre,
        started(opened(centre, "mode=pair&binds=2"), inbox) as gateway,
    ):
        await until(lambda: len(bound(centre)) == 4)
        kinds = {visitor: bound_as(visitor) for visitor in centre.visitors}
        assert Counter(kinds.values()) == {Command.BIND_TRANSMITTER: 2, Command.BIND_RECEIVER: 2}
        assert await outcomes([gateway.submit(message(at)) for at in range(10)]) == {Outcome.ACCEPTED: 10}
        submits = Counter(kinds[each] for each in centre.visitors for _ in each.of(Command.SUBMIT_SM))
        assert submits == {Command.BIND_TRANSMITTER: 10}
        receiver = next(each for each, kind in kinds.items() if kind == Command.BIND_RECEIVER)
        receiver.write(pdu.encode(Command.DELIVER_SM, 0, 5, RECEIPT))
        await until(lambda: receiver.of(Command.DELIVER_SM_RESP))

    assert [receipt.gateway_message_id for receipt in inbox.receipts] == ["7"]
    assert all(each.of(Command.UNBIND) for each in centre.visitors)


async def test_a_pair_without_its_receiver_goes_on_sending_without_its_transmitter_it_does_not() -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        if frame.command_id == Command.BIND_RECEIVER or len(centre.visitors) > 2:
            visitor.close()
        else:
            accept(visitor, frame)

    async with scripted_centre(script) as centre, started(opened(centre, "mode=pair")) as gateway:
        await ready(gateway)
        await until(lambda: len(centre.visitors) == 2)
        assert await outcomes([gateway.submit(message(1))]) == {Outcome.ACCEPTED: 1}
        transmitter = next(each for each in centre.visitors if bound_as(each) == Command.BIND_TRANSMITTER)
        transmitter.close()
        await transmitter.gone.wait()
        await until(lambda: gateway.submit(message(2)).done())
        assert await outcomes([gateway.submit(message(3))]) == {Outcome.NOT_HANDED_OVER: 1}


# --- binds that are refused ----------------------------------------------------------------------


async def test_bad_credentials_are_tried_and_said_once_for_all_binds() -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        visitor.write(pdu.encode(Command.BIND_TRANSCEIVER_RESP, Status.ESME_RINVPASWD, frame.sequence_number))

    with structlog.testing.capture_logs() as logs:
        async with scripted_centre(script) as centre, started(opened(centre, "binds=8")) as gateway:
            await until(lambda: any(each["event"] == "smpp_credentials_refused" for each in logs))
            refused = await gateway.submit(message(1))
            assert len(centre.visitors) == 1

    assert refused.retry_after > 30
    assert [each["event"] for each in logs] == ["smpp_credentials_refused"]


@pytest.mark.parametrize("status", [Status.ESME_RALYBND, Status.ESME_RBINDFAIL, 0x0401])
async def test_where_the_centre_allows_fewer_binds_that_is_said_and_the_others_go_on(status: int) -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        if frame.command_id in pdu.BINDS and centre.visitors.index(visitor) >= 2:
            visitor.write(pdu.encode(Command.BIND_TRANSCEIVER_RESP, status, frame.sequence_number))
        else:
            accept(visitor, frame)

    with structlog.testing.capture_logs() as logs:
        async with scripted_centre(script) as centre, started(opened(centre, "binds=4")) as gateway:
            await until(lambda: len(centre.visitors) == 4)
            await until(lambda: sum(each["event"] == "smpp_bind_beyond_limit" for each in logs) == 2)
            futures = [gateway.submit(message(at)) for at in range(50)]
            assert await outcomes(futures) == {Outcome.ACCEPTED: 50}
            assert len(centre.visitors) == 4, "those refused rest"

    said = next(each for each in logs if each["event"] == "smpp_bind_beyond_limit")
    assert "allow fewer than binds= says" in said["reason"]
    assert pdu.describe_status(status) in said["reason"]


async def test_a_centre_that_is_away_is_one_line_and_one_attempt_at_a_time_for_all_binds() -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        visitor.close()

    with structlog.testing.capture_logs() as logs:
        async with scripted_centre(script) as centre, started(opened(centre, "binds=8")):
            await until(lambda: len(centre.visitors) == 3)

    assert [each["event"] for each in logs] == ["smpp_not_connected"]


async def test_binds_that_are_lost_together_come_back_without_a_rush() -> None:
    async with scripted_centre(accept) as centre, started(opened(centre, "binds=4")) as gateway:
        await until(lambda: len(bound(centre)) == 4)
        for visitor in list(centre.visitors):
            visitor.close()
        await until(lambda: len(centre.visitors) == 8 and len(bound(centre)) == 4, timeout=5)
        await ready(gateway)


# --- several workers -----------------------------------------------------------------------------
