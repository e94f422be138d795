"""A worker process: one dispatch loop a gateway, the arq jobs, and the sweep, beside each other.

Each loop is run again when it fails: the database or Redis may be away for a while, and the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID, uuid4

import structlog
from redis.exceptions import RedisError

from domain import audit, db, gateway_needs, monitoring_port, sweep
from domain.bus import Bus, open_bus
from domain.callback_urls import callback_url
from domain.cancellation import end
from domain.metrics import expect_from
from domain.monitoring_port import monitored
from domain.ports import Clock, Gateway, Link
from domain.readiness import Checks, Finding, State
from domain.settings import PREFIX, Settings, SettingsError
from domain.startup import CUT_SHORT, StopSignal, service, stoppable
from domain.tracing import tracing
from workers import metrics
from workers.announcer import Announcer
from workers.dispatcher import Dispatcher
from workers.gateways import open_gateway
from workers.jobs import run_jobs
from workers.receipt_sink import StoredReceipts
from workers.smpp.clock import SystemClock

log = structlog.get_logger()

START_EVERY = 1.0
"""Seconds between two looks for due tasks."""
RECOVER_EVERY = 5.0
TIDY_EVERY = 60.0
AUDIT_MONTHS_EVERY = 3600.0
NOTE_EVERY = 60.0
"""Seconds between two notes of what the gateways need: one with other settings may have noted meanwhile."""
RESTART_AFTER = 1.0
"""Seconds after which a failed loop is run again."""
ANY_CHANGE = 60.0
KEPT_TO_SETTLE = 5.0
"""Seconds of the time to stop in that are not spent on waiting for answers, but for what comes then."""
CLOSE_WITHIN = 1.0
"""Seconds a gateway gets for its last receipts; it is unbound after that."""


_LINKS = {Link.UP: State.OK, Link.STANDING_BY: State.STANDING_BY, Link.DOWN: State.AWAY}
"""What readiness calls the links; the worst comes last."""


class WorkerProcess:
    """Everything that runs in a worker, from `run` until `stop`."""

    def __init__(self, settings: Settings, bus: Bus, redis_url: str) -> None:
        """Raises `SettingsError` if a gateway's URL is wrong."""
        self._settings = settings
        self._bus = bus
        self._redis_url = redis_url
        self._clock: Clock = SystemClock()
        self._announcer = Announcer(bus, self._clock)
        self._identity = uuid4()
        self._stopping = asyncio.Event()
        self._gateways = [_gateway(name, settings, self._identity) for name in settings.gateways]
        self._sinks = {
            gateway.name: StoredReceipts(
                gateway.name,
                shard=self._shard + 1,
                announcer=self._announcer,
                opt_out_words=settings.opt_out_words,
            )
            for gateway in self._gateways
        }
        self._dispatchers = [self._dispatcher(gateway) for gateway in self._gateways]
        for gateway, dispatcher in zip(self._gateways, self._dispatchers, strict=True):
            metrics.watch(gateway, dispatcher)

    @property
    def _shard(self) -> int:
        """For what is handed over; receipts go to the next one, so that neither waits for the other."""
        return self._identity.int % 1024

    def _dispatcher(self, gateway: Gateway) -> Dispatcher:
        return Dispatcher(
            gateway,
            shard=self._shard,
            clock=self._clock,
            announcer=self._announcer,
            on_settled=self._sinks[gateway.name].settled,
        )

    def stop(self) -> None:
        """Finish what is under way and return from `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`."""
        works: dict[str, Callable[[], Awaitable[None]]] = {
            "announcer": self._announcer.run,
            "jobs": lambda: run_jobs(self._redis_url, self._bus),
            "start": lambda: self._every(START_EVERY, lambda: sweep.start_due(self._bus)),
            "recover": lambda: self._every(RECOVER_EVERY, lambda: sweep.recover(self._bus, self._shard)),
            "tidy": lambda: self._every(TIDY_EVERY, sweep.tidy),
            "tables": lambda: self._every(
                TIDY_EVERY, lambda: sweep.tend_tables(self._settings.retention_days)
            ),
            "audit": lambda: self._every(
                AUDIT_MONTHS_EVERY, lambda: audit.keep_months(self._settings.audit_days)
            ),
            "bell": self._answer_bell,
            "needs": lambda: self._every(NOTE_EVERY, self._note_needs),
            **{f"receipts {name}": sink.run for name, sink in self._sinks.items()},
        }
        metrics.begin(self._settings.gateways, works)
        expect_from(self._settings.gateways)
        loops = [asyncio.create_task(self._kept_running(name, work)) for name, work in works.items()]
        try:
            await self._dispatch_until_stopped()
            for sink in self._sinks.values():
                await sink.apply()
            await self._announcer.announce()
        finally:
            self._stopping.set()
            await end(*loops)

    async def _dispatch_until_stopped(self) -> None:
        """Send until `stop`, then settle everything.

        What a gateway has not answered in time is in doubt once that is closed, and is settled as such, here
        and now rather than by whoever finds the lapsed lease.
        """
        async with asyncio.TaskGroup() as group:
            try:
                for gateway in self._gateways:
                    await gateway.start(self._sinks[gateway.name].take)
                log.info("worker_ready", gateways=[gateway.name for gateway in self._gateways])
                sending = [group.create_task(dispatcher.run()) for dispatcher in self._dispatchers]
                await self._stopping.wait()
                for dispatcher in self._dispatchers:
                    dispatcher.stop()
                limit = self._settings.shutdown_seconds
                _, waiting = await asyncio.wait(sending, timeout=max(limit - KEPT_TO_SETTLE, limit / 2))
                if waiting:
                    log.warning("answers_not_awaited", gateways=len(waiting))
            finally:
                await asyncio.gather(*(gateway.close(CLOSE_WITHIN) for gateway in self._gateways))

    async def link(self) -> Finding:
        """How the gateways stand: without one of them, some tasks are not sent from here."""
        links = {gateway.name: gateway.link for gateway in self._gateways}
        worst = max(links.values(), key=list(_LINKS).index)
        return Finding(
            _LINKS[worst], details={"gateways": {name: link.value for name, link in links.items()}}
        )

    async def _kept_running(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        said = ""
        while not self._stopping.is_set():
            try:
                await work()
            except (*db.UNAVAILABLE, RedisError) as error:
                reason = str(error) or type(error).__name__
                metrics.LOOP_FAILURES.labels(name).inc()
                if reason != said:
                    log.warning("loop_interrupted", loop=name, error=reason)
                said = reason
            except Exception:
                metrics.LOOP_FAILURES.labels(name).inc()
                log.exception("loop_failed", loop=name)
            await self._clock.sleep(RESTART_AFTER)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await work()
            await self._clock.sleep(seconds)

    async def _note_needs(self) -> None:
        await gateway_needs.note(self._settings.gateways, self._settings.external_id_gateways())

    async def _answer_bell(self) -> None:
        with self._bus.listen() as listener:
            while True:
                await listener.wait(ANY_CHANGE)
                for dispatcher in self._dispatchers:
                    dispatcher.look()


def _gateway(name: str, settings: Settings, worker: UUID) -> Gateway:
    try:
        own_address = partial(callback_url, settings, name)
        return open_gateway(name, settings.gateways[name], worker, own_address)
    except ValueError as error:
        raise SettingsError(f"{PREFIX}GATEWAYS__{name.upper()}: {error}") from error


async def work(settings: Settings) -> int:
    """Run a worker until SIGTERM or SIGINT; returns the process's exit code: 0 if nothing was left behind."""

    async def main(stop: StopSignal) -> int:
        # Before the engines: a port in use is found out at once.
        with monitoring_port.listen(settings) as bound:
            async with (
                service(settings) as urls,
                db.connected(urls.database_url),
                open_bus(urls.redis_url) as bus,
            ):
                process = WorkerProcess(settings, bus, urls.redis_url)
                async with monitored(bound, Checks(lambda: bus, {"gateways": process.link})):
                    stop.ready()
                    return await _work_until_asked(process, settings, stop)

    with tracing("groupsms-worker"):
        return await stoppable(main)


async def _work_until_asked(process: WorkerProcess, settings: Settings, stop: StopSignal) -> int:
    running = asyncio.create_task(process.run())
    asked = asyncio.create_task(stop.asked.wait())
    await asyncio.wait([running, asked], return_when=asyncio.FIRST_COMPLETED)
    process.stop()
    try:
        async with asyncio.timeout(settings.shutdown_seconds):
            await running
    except TimeoutError:
        log.warning("stopped_in_the_middle", seconds=settings.shutdown_seconds)
        return CUT_SHORT
    return 0
