"""Binds that workers share: taken over, given up with their leases, tried by another."""

import asyncio
from collections.abc import Collection

import structlog

from domain.binds import Share
from domain.ports import Handover, Outcome
from tests.integration.message_centre import (
    ScriptedCentre,
    Visitor,
    is_submit,
    scripted_centre,
    submit_resp,
    until,
)
from tests.integration.smpp_binding import (
    Inbox,
    accept,
    bound,
    message,
    opened,
    outcomes,
    ready,
    started,
)
from workers.gateways.smpp import SmppGateway
from workers.smpp.binds import MARGIN, AllBinds
from workers.smpp.clock import SystemClock
from workers.smpp.keeper import Endpoint
from workers.smpp.pdu import Bind, Command, Frame
from workers.smpp.session import SessionOptions


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
