"""A dispatcher at work in this process, and a message centre that writes down what reaches it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from domain.bus import open_bus
from domain.cancellation import end
from domain.engines import Engines
from domain.ports import Handover, InboundSink, Link, Outcome, SegmentHandover, Submission
from domain.settings import Settings
from domain.states import TaskStatus
from tests.integration.world import GATEWAY, World
from workers.announcer import Announcer
from workers.dispatcher import Dispatcher
from workers.main import WorkerProcess
from workers.receipt_sink import StoredReceipts
from workers.smpp.clock import SystemClock

Answer = Callable[[Submission], Handover]


def accepted(submission: Submission) -> Handover:
    """The answer of a centre that takes everything."""
    return Handover(Outcome.ACCEPTED, (SegmentHandover(f"id{submission.number}"),))


def of(outcome: Outcome, retry_after: float = 0.0) -> Handover:
    """The answer for one segment that came to something else."""
    error_code = "0x0000000B" if outcome is Outcome.REFUSED else None
    return Handover(outcome, (SegmentHandover(None, error_code),), retry_after)


class RecordingGateway:
    """A `domain.ports.Gateway` to a message centre of this test, which writes down what reaches it."""

    name = GATEWAY
    link = Link.UP

    def __init__(self, answer: Answer = accepted, *, window: int = 100, rate: float = float("inf")) -> None:
        self.window = window
        self.rate = rate
        self.reached: list[str] = []
        """The numbers whose message reached the centre, in order."""
        self.answer = answer
        self.under_way: list[tuple[Submission, asyncio.Future[Handover]]] = []
        self.most_under_way = 0
        self.ready_when_empty = False
        """Whether it is ready only while nothing is under way, as one that keeps messages in a line."""
        self.held = asyncio.Event()
        """While this is set, nothing is answered."""

    async def start(self, inbound: InboundSink) -> None:
        """Nothing to connect to."""

    async def ready(self) -> None:
        """At once, or when what is under way is answered."""
        if self.ready_when_empty and self.under_way:
            await asyncio.wait([future for _, future in self.under_way])

    def submit(self, submission: Submission) -> asyncio.Future[Handover]:
        """Take a message; it is answered in a later turn of the event loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Handover] = loop.create_future()
        self.under_way.append((submission, future))
        self.most_under_way = max(self.most_under_way, len(self.under_way))
        if len(self.under_way) == 1:
            loop.call_soon(self.answer_all)
        return future

    def answer_all(self) -> None:
        """Answer what is under way, unless answers are held back."""
        if self.held.is_set():
            return
        answering, self.under_way = self.under_way, []
        for submission, future in answering:
            handover = self.answer(submission)
            if handover.outcome in (Outcome.ACCEPTED, Outcome.IN_DOUBT):
                self.reached.append(submission.number)
            future.set_result(handover)

    def let_go(self) -> None:
        """Answer again."""
        self.held.clear()
        self.answer_all()

    async def close(self, within: float = 5.0) -> None:
        """Nothing to close."""


@asynccontextmanager
async def dispatching(world: World, gateway: RecordingGateway) -> AsyncIterator[Dispatcher]:
    """One dispatcher at work; it is stopped at the end, and must end then."""
    clock = SystemClock()
    announcer = Announcer(world.bell, clock)
    sink = StoredReceipts(gateway.name, shard=2, announcer=announcer, opt_out_words=())
    dispatcher = Dispatcher(gateway, shard=1, clock=clock, announcer=announcer, on_settled=sink.settled)
    running = asyncio.create_task(dispatcher.run())
    beside = [asyncio.create_task(work()) for work in (announcer.run, sink.run)]
    try:
        yield dispatcher
    finally:
        dispatcher.stop()
        async with asyncio.timeout(10):
            await running
        await end(*beside)
        await sink.apply()
        await announcer.announce()


def is_at(world: World, task_id: int, *statuses: TaskStatus) -> Callable[[], Awaitable[bool]]:
    """A condition: the task has one of these statuses."""

    async def check() -> bool:
        return (await world.read(task_id)).status in statuses

    return check


def handed_over(world: World, task_id: int, count: int) -> Callable[[], Awaitable[bool]]:
    """A condition: at least so many of the task's messages are handed over."""

    async def check() -> bool:
        return (await world.read(task_id)).counts.handed_over >= count

    return check


def each_once(numbers: list[str], reached: list[str]) -> None:
    """Every number was reached exactly once."""
    assert Counter(reached) == Counter(dict.fromkeys(numbers, 1))


@asynccontextmanager
async def worker(engines: Engines, redis_url: str, url: str) -> AsyncIterator[WorkerProcess]:
    """A whole worker with one gateway, at work in this process."""
    settings = Settings(database_url=engines.database_url, redis_url=redis_url, gateways={GATEWAY: url})
    async with open_bus(redis_url) as bus:
        process = WorkerProcess(settings, bus, redis_url)
        running = asyncio.create_task(process.run())
        try:
            yield process
        finally:
            process.stop()
            async with asyncio.timeout(15):
                await running
