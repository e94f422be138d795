"""The contracted rate, shared by several gateways by way of PostgreSQL, as the message centre sees it."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from uuid import uuid4

import pytest

from domain import db
from domain.contracted_rate import Horizon, reserve
from domain.ports import Gateway, Handover, Inbound, Outcome, Submission
from domain.segments import segment
from domain.states import Region
from tests.integration.conftest import Travel
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
from workers.smpp.pdu import Command, Frame

pytestmark = pytest.mark.alone

SHORT = segment("Your parcel is here.", Region.INTERNATIONAL)
RATE = 200
HORIZON = Horizon(ahead=1.0, longest=0.2)


# --- the row -------------------------------------------------------------------------------------


async def test_what_is_reserved_never_overlaps(connected: str) -> None:
    await db.fetch("INSERT INTO gateway_pace VALUES ('carrier', groupsms_now())")
    reserved = await asyncio.gather(*(reserve("carrier", 0.05, HORIZON) for _ in range(10)))

    firsts = sorted(each.first for each in reserved if each is not None)
    assert [later - first for first, later in pairwise(firsts)] == pytest.approx([0.05] * 9, abs=1e-6)


async def test_the_first_waits_until_all_that_may_be_given_away_is_over(connected: str) -> None:
    """There is no row: it may have been lost in a crash of PostgreSQL, with moments given away already."""
    for _ in range(2):
        first = await reserve("carrier", 0.1, HORIZON)
        assert first is not None
        assert first.first - first.now == pytest.approx(HORIZON.over, abs=1e-3)
        await db.fetch("DELETE FROM gateway_pace")


async def test_nothing_is_given_away_beyond_the_horizon(connected: str) -> None:
    begun = await reserve("carrier", 0.2, HORIZON)
    assert begun is not None
    assert await reserve("carrier", 0.2, HORIZON) is None
    other = await reserve("another", 0.2, HORIZON)
    assert other is not None, "each gateway has a rate of its own"


async def test_time_that_was_not_used_is_lost(connected: str, travel: Travel) -> None:
    await reserve("carrier", 0.1, HORIZON)
    await travel(timedelta(minutes=1))
    later = await reserve("carrier", 0.1, HORIZON, lead=0.005)

    assert later is not None
    assert later.first - later.now == pytest.approx(0.005, abs=1e-3)


async def test_a_moment_far_ahead_after_the_clock_was_set_back_is_no_obstacle(
    connected: str, travel: Travel
) -> None:
    await travel(timedelta(hours=1))
    await reserve("carrier", 0.1, HORIZON)
    await travel(timedelta(0))
    again = await reserve("carrier", 0.1, HORIZON)

    assert again is not None
    assert again.first - again.now == pytest.approx(HORIZON.over, abs=1e-3)


# --- several gateways at it ----------------------------------------------------------------------


class Arrivals:
    """A message centre's script that takes everything and notes when it came, in seconds."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def __call__(self, visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            self.at.append(time.monotonic())
            visitor.write(submit_resp(frame, f"id{len(self.at)}"))
        elif frame.command_id == Command.UNBIND:
            visitor.close()

    def busiest(self) -> int:
        """The most that came in any second."""
        first = most = 0
        for last, at in enumerate(self.at):
            while self.at[first] <= at - 1.0:
                first += 1
            most = max(most, last - first + 1)
        return most

    def share(self, start: float, end: float) -> float:
        """Which share of the rate was used in that time."""
        return sum(start <= at < end for at in self.at) / (end - start) / RATE


async def refuse_inbound(inbound: Sequence[Inbound]) -> None:
    raise AssertionError(inbound)


@asynccontextmanager
async def sending(
    centre: ScriptedCentre, query: str = "", wanted: float = float("inf")
) -> AsyncIterator[Gateway]:
    """A gateway of a worker of its own that always has something to send, at most `wanted` in a second."""
    url = f"smpp://u:p@127.0.0.1:{centre.port}?binds=3&window=50&rate={RATE}{query}"
    gateway = open_gateway("carrier", url, uuid4())
    await gateway.start(refuse_inbound)
    task = asyncio.create_task(feed(gateway, wanted))
    try:
        yield gateway
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await gateway.close()


async def feed(gateway: Gateway, wanted: float) -> None:
    """Hand messages over for ever, as the dispatcher does: so many ahead, when the gateway is ready."""
    under_way: set[asyncio.Future[Handover]] = set()
    while True:
        await gateway.ready()
        ahead = int(min(gateway.window - len(under_way), gateway.rate / 2))
        for _ in range(max(0, ahead)):
            begin_by = asyncio.get_running_loop().time() + 0.75
            under_way.add(gateway.submit(Submission(SHORT, "+8613800131234", "10690", begin_by=begin_by)))
            if wanted != float("inf"):
                await asyncio.sleep(1 / wanted)
        if under_way:
            done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            assert {each.result().outcome for each in done} <= {Outcome.ACCEPTED, Outcome.NOT_HANDED_OVER}


async def flowing(arrivals: Arrivals) -> float:
    """Wait until messages flow; return the time."""
    await until(lambda: len(arrivals.at) > RATE // 4)
    return time.monotonic()


async def passed(moment: float) -> None:
    await until(lambda: time.monotonic() >= moment, timeout=30)


async def test_one_gateway_uses_the_rate_and_never_more(connected: str) -> None:
    arrivals = Arrivals()
    async with scripted_centre(arrivals) as centre, sending(centre):
        start = await flowing(arrivals)
        await passed(start + 5)

    assert arrivals.busiest() <= RATE
    assert arrivals.share(start, start + 5) >= 0.95


async def test_three_gateways_use_the_rate_together_while_one_comes_and_one_goes(connected: str) -> None:
    arrivals = Arrivals()
    async with scripted_centre(arrivals) as centre, sending(centre), sending(centre):
        start = await flowing(arrivals)
        async with sending(centre):
            await until(lambda: len(sending_now(centre)) == 3)
            await passed(time.monotonic() + 2)
        end = time.monotonic() + 4
        await passed(end)

    assert arrivals.busiest() <= RATE
    assert arrivals.share(start, end) >= 0.95


async def test_with_the_row_lost_in_the_middle_no_second_is_fuller(connected: str) -> None:
    """As after a crash of PostgreSQL, or where a standby has taken over."""
    arrivals = Arrivals()
    async with scripted_centre(arrivals) as centre, sending(centre), sending(centre):
        start = await flowing(arrivals)
        await passed(start + 1)
        await db.fetch("TRUNCATE gateway_pace")
        await passed(start + 5)

    assert arrivals.busiest() <= RATE
    assert arrivals.share(start + 3, start + 5) >= 0.95


async def test_with_the_connections_cut_the_rate_is_used_again_soon(connected: str) -> None:
    arrivals = Arrivals()
    async with scripted_centre(arrivals) as centre, sending(centre):
        start = await flowing(arrivals)
        await db.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND datname = current_database()"
        )
        await passed(start + 4)

    assert arrivals.busiest() <= RATE
    assert arrivals.share(start + 2, start + 4) >= 0.95


async def test_without_a_rate_nothing_is_reserved(connected: str) -> None:
    arrivals = Arrivals()
    async with scripted_centre(arrivals) as centre:
        gateway = open_gateway("carrier", f"smpp://u:p@127.0.0.1:{centre.port}?window=500", uuid4())
        await gateway.start(refuse_inbound)
        await gateway.ready()
        assert gateway.rate == float("inf")
        futures = [gateway.submit(Submission(SHORT, "+8613800131234", "10690")) for _ in range(500)]
        assert {(await future).outcome for future in futures} == {Outcome.ACCEPTED}
        await gateway.close()

    assert await db.fetchval("SELECT count(*) FROM gateway_pace") == 0


def sending_now(centre: ScriptedCentre) -> list[Visitor]:
    return [
        visitor for visitor in centre.visitors if visitor.of(Command.SUBMIT_SM) and not visitor.gone.is_set()
    ]
