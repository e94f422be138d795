"""A gateway over several binds: what goes where, what is lost with one, and who holds which."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
import structlog

from domain.binds import Share
from domain.ports import Gateway, Handover, Inbound, Outcome, Receipt, Submission
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
from workers.gateways.smpp import SmppGateway
from workers.smpp import pdu
from workers.smpp.binds import MARGIN, AllBinds
from workers.smpp.clock import SystemClock
from workers.smpp.keeper import Endpoint
from workers.smpp.pdu import Address, Bind, Command, Frame, ShortMessage, Status
from workers.smpp.session import SessionOptions

SHORT = segment("Your parcel is here.", Region.INTERNATIONAL)
LONG = segment("x" * 400, Region.INTERNATIONAL)
RECEIPT = ShortMessage(
    Address(1, 1, "8613800131234"),
    Address(3, 0, "10690"),
    b"id:7 sub:001 dlvrd:001 submit date:2611221200 done date:2611221200 stat:DELIVRD err:000 text:",
    esm_class=pdu.DELIVERY_RECEIPT,
).encode()


class Inbox:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []

    async def __call__(self, inbound: Sequence[Inbound]) -> None:
        self.receipts.extend(said for said in inbound if isinstance(said, Receipt))


def accept(visitor: Visitor, frame: Frame) -> None:
    """Do what a good message centre does."""
    answer_bind(visitor, frame)
    if is_submit(frame):
        visitor.write(submit_resp(frame, f"id{frame.sequence_number}"))
    elif frame.command_id == Command.UNBIND:
        visitor.write(pdu.encode(Command.UNBIND_RESP, 0, frame.sequence_number))


@asynccontextmanager
async def started(gateway: Gateway, inbox: Inbox | None = None) -> AsyncIterator[Gateway]:
    await gateway.start(inbox or Inbox())
    try:
        yield gateway
    finally:
        await gateway.close(within=2)


def opened(centre: ScriptedCentre, query: str, *, shared: bool = False) -> Gateway:
    url = f"smpp://u:p@127.0.0.1:{centre.port}?{query}"
    return open_gateway("carrier", url, uuid4() if shared else None)


def message(at: int, content: object = SHORT) -> Submission:
    assert content in (SHORT, LONG)
    return Submission(LONG if content is LONG else SHORT, f"+861380013{at:04d}", "10690")


async def ready(gateway: Gateway) -> None:
    async with asyncio.timeout(10):
        await gateway.ready()


async def outcomes(futures: Sequence[asyncio.Future[Handover]]) -> Counter[Outcome]:
    async with asyncio.timeout(10):
        return Counter([(await future).outcome for future in futures])


def bound(centre: ScriptedCentre) -> list[Visitor]:
    """The connections that are up and have bound."""
    return [
        visitor
        for visitor in centre.visitors
        if not visitor.gone.is_set() and any(frame.command_id in pdu.BINDS for frame in visitor.received)
    ]


def bound_as(visitor: Visitor) -> int:
    return visitor.received[0].command_id


# --- several of them -----------------------------------------------------------------------------


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


async def test_workers_share_the_binds_and_take_over_when_one_leaves(connected: str) -> None:
    async with (
        scripted_centre(accept) as centre,
        started(opened(centre, "binds=4", shared=True)) as first,
    ):
        await until(lambda: len(bound(centre)) == 4)
        futures = [first.submit(message(at)) for at in range(100)]
        second = opened(centre, "binds=4", shared=True)
        await second.start(Inbox())
        await ready(second)
        await until(lambda: first.window == second.window == 20 and len(bound(centre)) == 4)
        assert await outcomes(futures) == {Outcome.ACCEPTED: 100}
        await second.close()
        await until(lambda: first.window == 40 and len(bound(centre)) == 4)

    politely = [visitor for visitor in centre.visitors if visitor.of(Command.UNBIND)]
    assert len(politely) == len(centre.visitors)


async def test_a_bind_is_given_up_after_what_is_in_flight_on_it_is_answered(connected: str) -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        if is_submit(frame):
            asyncio.get_running_loop().call_later(0.5, visitor.write, submit_resp(frame, "late"))
        else:
            accept(visitor, frame)

    async with (
        scripted_centre(script) as centre,
        started(opened(centre, "binds=2&window=10", shared=True)) as first,
    ):
        await until(lambda: len(bound(centre)) == 2)
        sent: list[asyncio.Future[Handover]] = []
        async with started(opened(centre, "binds=2", shared=True)) as second:
            while not second.submit(message(0)).done() or first.window == 20:
                sent += [first.submit(message(len(sent))) for _ in range(2)]
                await asyncio.sleep(0.1)
            assert len(bound(centre)) <= 2
        assert await outcomes(sent) == {Outcome.ACCEPTED: len(sent)}


async def test_a_worker_without_a_bind_is_not_ready_and_says_so_once(connected: str) -> None:
    with structlog.testing.capture_logs() as logs:
        async with scripted_centre(accept) as centre, started(opened(centre, "", shared=True)) as first:
            await ready(first)
            async with started(opened(centre, "", shared=True)) as second:
                await until(lambda: any(each["event"] == "smpp_waiting_for_a_bind" for each in logs))
                waiting = asyncio.ensure_future(second.ready())
                refused = await second.submit(message(1))
                await asyncio.wait([waiting], timeout=1.5)
                assert not waiting.done()
                assert refused.outcome is Outcome.NOT_HANDED_OVER
                await first.close()
                async with asyncio.timeout(5):
                    await waiting
                assert await outcomes([second.submit(message(1))]) == {Outcome.ACCEPTED: 1}

    said = [each["reason"] for each in logs if each["event"] == "smpp_waiting_for_a_bind"]
    assert said == ["all 1 are held by other workers"]


class FailingSlots:
    """All binds, for a few seconds; then the database is away, until it is back."""

    lease = 3.0 + MARGIN

    def __init__(self, binds: int) -> None:
        self._share = Share(frozenset(range(1, binds + 1)), binds, 1)
        self.away = False
        self.released: set[int] = set()

    async def renew(self, released: Collection[int], *, able: bool = True) -> Share:  # noqa: ARG002
        if self.away:
            raise ConnectionRefusedError("the database is away")
        self.released.update(released)
        return self._share

    async def leave(self) -> None:
        if self.away:
            raise ConnectionRefusedError("the database is away")


def over(centre: ScriptedCentre, slots: FailingSlots, window: int = 10) -> SmppGateway:
    endpoint = Endpoint("127.0.0.1", centre.port, Bind("u", "p"))
    return SmppGateway("carrier", endpoint, SessionOptions(window, response_timeout=20), binds=2, slots=slots)


async def test_binds_that_cannot_be_renewed_are_given_up_before_others_may_have_them() -> None:
    slots = FailingSlots(2)
    async with scripted_centre(accept) as centre, started(over(centre, slots)) as gateway:
        await until(lambda: len(bound(centre)) == 2)
        slots.away = True
        began = asyncio.get_running_loop().time()
        await until(lambda: not bound(centre))
        assert asyncio.get_running_loop().time() - began < slots.lease - MARGIN
        assert all(visitor.of(Command.UNBIND) for visitor in centre.visitors)
        assert await outcomes([gateway.submit(message(1))]) == {Outcome.NOT_HANDED_OVER: 1}
        slots.away = False
        await ready(gateway)
        assert slots.released == {1, 2}
        assert await outcomes([gateway.submit(message(1))]) == {Outcome.ACCEPTED: 1}


async def test_what_is_unanswered_when_a_lease_ends_is_in_doubt() -> None:
    slots = FailingSlots(2)
    async with scripted_centre() as centre, started(over(centre, slots)) as gateway:
        await until(lambda: len(bound(centre)) == 2)
        futures = [gateway.submit(message(at)) for at in range(4)]
        await until(lambda: sum(len(each.of(Command.SUBMIT_SM)) for each in centre.visitors) == 4)
        slots.away = True
        began = asyncio.get_running_loop().time()
        assert await outcomes(futures) == {Outcome.IN_DOUBT: 4}
        assert asyncio.get_running_loop().time() - began < slots.lease
        slots.away = False


class FastClock:
    """A clock on which a minute passes within a second."""

    SPEED = 60

    def monotonic(self) -> float:
        return SystemClock().monotonic() * self.SPEED

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.SPEED)


class WatchedSlots(AllBinds):
    """All binds; notes whether the worker says that it can use them."""

    lease = 10.0

    def __init__(self) -> None:
        super().__init__(1)
        self.able: list[bool] = []

    async def renew(self, released: Collection[int], *, able: bool = True) -> Share:
        self.able.append(able)
        return await super().renew(released, able=able)


async def test_a_worker_that_cannot_bind_for_long_lets_another_try_and_tries_again_later() -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        if not letting_in.is_set():
            visitor.close()
        else:
            accept(visitor, frame)

    letting_in = asyncio.Event()
    slots = WatchedSlots()
    async with scripted_centre(script) as centre:
        endpoint = Endpoint("127.0.0.1", centre.port, Bind("u", "p"))
        gateway = SmppGateway("carrier", endpoint, SessionOptions(), slots=slots, clock=FastClock())
        async with started(gateway):
            await until(lambda: False in slots.able)
            gave_up = slots.able.index(False)
            assert gave_up > 8, "half a minute, at a look every ten thirds of a second"
            letting_in.set()
            await until(lambda: True in slots.able[gave_up:])
            await ready(gateway)
            assert slots.able[-1]


async def test_whatever_an_attempt_fails_by_is_said_and_tried_again() -> None:
    endpoint = Endpoint("no..host", 2775, Bind("u", "p"))
    with structlog.testing.capture_logs() as logs:
        async with started(SmppGateway("carrier", endpoint, SessionOptions(), clock=FastClock())) as gateway:
            await until(lambda: gateway.submit(message(1)).result().retry_after > 20)

    (said,) = [entry for entry in logs if entry["event"] == "smpp_attempt_failed"]
    assert "UnicodeError" in said["reason"]
