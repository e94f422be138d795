"""Hints over Redis: that a task changed, that one is due, and that a token was revoked.

Nothing depends on a hint's arrival. Publishing happens in the background and skips what Redis does not take.
A process listens on one connection for all its subscribers; while that is dead, all of them are hinted every
second, so that they look for themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any
from uuid import uuid4

import structlog
from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import RedisError

from domain.cancellation import end
from domain.metrics import REDIS_CONNECTED, REDIS_CONNECTIONS

log = structlog.get_logger()

CHANNEL = "groupsms:changes"
REVOCATIONS = "groupsms:revocations"
START_JOB = "start_task"
ANSWER_WITHIN = 2.0
"""Seconds after which a command to Redis is given up."""
HEARTBEAT = 1.0
"""Seconds between the signs of life a listener sends itself through Redis."""


class Listener:
    """Notices hints; several that come before it waits are one."""

    def __init__(self) -> None:
        self._hinted = asyncio.Event()

    def hint(self) -> None:
        """Say that something may have changed."""
        self._hinted.set()

    async def wait(self, timeout: float) -> None:
        """Return at the next hint, or after `timeout` seconds without one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._hinted.wait()
        self._hinted.clear()


class Bus:
    """A process's connection to Redis; a `domain.ports.Doorbell`. Made by `open_bus`."""

    def __init__(self, redis_url: str) -> None:
        self._publisher = job_queue(redis_url)
        # Signs of life arrive more often than this: a connection that is silent for longer is made anew.
        self._subscriber = Redis.from_url(
            redis_url,
            socket_connect_timeout=ANSWER_WITHIN,
            socket_timeout=ANSWER_WITHIN,
            decode_responses=True,
        )
        self._heartbeat_channel = f"groupsms:heartbeat:{uuid4().hex}"
        self._changed: set[tuple[int, int]] = set()
        self._due: dict[int, datetime] = {}
        self._revoked = False
        self._outgoing = asyncio.Event()
        self._listeners: dict[tuple[int | None, int | None] | str, set[Listener]] = {}
        self._heard_at = float("-inf")
        self._alive = True
        self._failure = "no answer"

    async def task_changed(self, account_id: int, task_id: int) -> None:
        """Hint to everyone who listens that a task has changed."""
        self._changed.add((account_id, task_id))
        self._outgoing.set()

    async def task_due(self, task_id: int, send_at: datetime) -> None:
        """Ask for the job that starts the task at `send_at`."""
        self._due[task_id] = send_at
        self._outgoing.set()

    async def ping(self) -> None:
        """Return when Redis has answered. Raises `RedisError` or `OSError` where it does not, soon."""
        await self._publisher.ping()

    async def token_revoked(self) -> None:
        """Hint to every process with open connections that a token has been revoked."""
        self._revoked = True
        self._outgoing.set()

    @contextmanager
    def listen(self, account_id: int | None = None, task_id: int | None = None) -> Iterator[Listener]:
        """Listen for changes of one task, of all tasks of an account, or of all tasks."""
        with self._listening((account_id, task_id)) as listener:
            yield listener

    @contextmanager
    def listen_for_revocations(self) -> Iterator[Listener]:
        """Listen for revocations of tokens, whosever they are."""
        with self._listening(REVOCATIONS) as listener:
            yield listener

    @contextmanager
    def _listening(self, key: tuple[int | None, int | None] | str) -> Iterator[Listener]:
        listener = Listener()
        among = self._listeners.setdefault(key, set())
        among.add(listener)
        try:
            yield listener
        finally:
            among.discard(listener)
            if not among:
                self._listeners.pop(key, None)

    def _deliver(self, *keys: tuple[int | None, int | None] | str) -> None:
        for key in keys:
            for listener in self._listeners.get(key, ()):
                listener.hint()

    def _hint_all(self) -> None:
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.hint()

    async def publish_for_ever(self) -> None:
        """Send what was put out, and a sign of life to ourselves every second."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT):
                    await self._outgoing.wait()
            self._outgoing.clear()
            changed, self._changed = self._changed, set()
            due, self._due = self._due, {}
            revoked, self._revoked = self._revoked, False
            try:
                await self._send(changed, due, revoked)
            except (RedisError, OSError) as error:
                log.debug("hints_skipped", count=len(changed) + len(due), error=str(error))
                await asyncio.sleep(HEARTBEAT / 10)

    async def _send(self, changed: set[tuple[int, int]], due: dict[int, datetime], revoked: bool) -> None:
        pipe = self._publisher.pipeline(transaction=False)
        pipe.publish(self._heartbeat_channel, "")
        for account_id, task_id in changed:
            pipe.publish(CHANNEL, json.dumps([account_id, task_id]))
        if revoked:
            pipe.publish(REVOCATIONS, "")
        await pipe.execute()
        for task_id, send_at in due.items():
            job_id = f"{START_JOB}:{task_id}:{send_at.timestamp():.0f}"
            await self._publisher.enqueue_job(START_JOB, task_id, _job_id=job_id, _defer_until=send_at)

    async def listen_for_ever(self) -> None:
        """Receive hints, reconnecting for ever."""
        while True:
            try:
                async with self._subscriber.pubsub() as pubsub:
                    await pubsub.subscribe(CHANNEL, REVOCATIONS, self._heartbeat_channel)
                    REDIS_CONNECTIONS.inc()
                    self._hint_all()
                    async for message in pubsub.listen():
                        self._receive(message)
            except (RedisError, OSError) as error:
                self._failure = str(error)
                log.debug("hints_not_received", error=str(error))
            self._heard_at = float("-inf")
            self._hint_all()
            await asyncio.sleep(HEARTBEAT / 2)

    def _receive(self, message: dict[str, Any]) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        if message["type"] != "message":
            return
        if message["channel"] == REVOCATIONS:
            self._deliver(REVOCATIONS)
        elif message["channel"] == CHANNEL:
            try:
                account_id, task_id = json.loads(message["data"])
                self._deliver((account_id, task_id), (account_id, None), (None, None))
            except (ValueError, TypeError) as error:
                log.warning("hint_not_understood", error=str(error))

    async def watch_for_ever(self) -> None:
        """While no sign of life arrives, hint everyone every second."""
        while True:
            await asyncio.sleep(HEARTBEAT)
            alive = asyncio.get_running_loop().time() - self._heard_at < 3 * HEARTBEAT
            REDIS_CONNECTED.set(alive)
            if alive != self._alive:
                self._alive = alive
                log.info("redis_back") if alive else log.warning("redis_away", reason=self._failure)
                self._hint_all()
            if not alive:
                self._hint_all()

    async def close(self) -> None:
        """Close the connections."""
        await self._publisher.aclose(close_connection_pool=True)
        await self._subscriber.aclose(close_connection_pool=True)


@asynccontextmanager
async def open_bus(redis_url: str) -> AsyncIterator[Bus]:
    """Keep a process's bus open; it works as well as it can while Redis is away."""
    bus = Bus(redis_url)
    tasks = [
        asyncio.create_task(work)
        for work in (bus.publish_for_ever(), bus.listen_for_ever(), bus.watch_for_ever())
    ]
    try:
        yield bus
    finally:
        await end(*tasks)
        await bus.close()


async def announce_revocation(redis_url: str) -> None:
    """Say, from a process without a bus, that a token has been revoked. Without Redis others notice later."""
    redis = Redis.from_url(redis_url, socket_connect_timeout=ANSWER_WITHIN, socket_timeout=ANSWER_WITHIN)
    try:
        await redis.publish(REVOCATIONS, "")
    except (RedisError, OSError) as error:
        log.debug("hints_skipped", count=1, error=str(error))
    finally:
        await redis.aclose(close_connection_pool=True)


def job_queue(redis_url: str) -> ArqRedis:
    """A connection to the queue of arq jobs; what Redis does not answer soon raises `RedisError`."""
    pool = ConnectionPool.from_url(
        redis_url, socket_connect_timeout=ANSWER_WITHIN, socket_timeout=ANSWER_WITHIN
    )
    return ArqRedis(pool, job_serializer=to_json, job_deserializer=from_json)


def to_json(job: dict[str, Any]) -> bytes:
    """Serialise an arq job."""
    return json.dumps(job).encode()


def from_json(job: bytes) -> dict[str, Any]:
    """Read an arq job."""
    found: dict[str, Any] = json.loads(job)
    return found
