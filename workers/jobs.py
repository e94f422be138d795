"""The arq jobs: thin, because a job only says "look now"; the database decides."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from arq.worker import Worker, func
from redis.exceptions import RedisError

from domain import tasks
from domain.bus import START_JOB, from_json, job_queue, to_json
from domain.cancellation import end
from domain.ports import Doorbell
from domain.tracing import working_on

TIMEOUT = 60
"""Seconds; a hard-killed job comes back only some time after."""
CANCEL_AGAIN = 0.1
"""Seconds: sooner than whoever ends this here cancels it once more."""


async def start_task(ctx: dict[str, Any], task_id: int) -> None:
    """Start a task whose time has come."""
    doorbell: Doorbell = ctx["doorbell"]
    with working_on(task_id, "start task"):
        await tasks.start_task(task_id, doorbell)


async def run_jobs(redis_url: str, doorbell: Doorbell) -> None:
    """Run the jobs until cancelled. Raises `RedisError` or `OSError` when Redis is away."""
    queue = job_queue(redis_url)
    worker = Worker(
        functions=[func(start_task, name=START_JOB, timeout=TIMEOUT)],
        redis_pool=queue,
        ctx={"doorbell": doorbell},
        handle_signals=False,
        keep_result=0,
        max_jobs=100,
        poll_delay=0.1,
        job_serializer=to_json,
        job_deserializer=from_json,
        log_results=False,
    )
    working = asyncio.create_task(worker.async_run())
    try:
        await asyncio.wait([working])
        working.result()
    finally:
        await end(working, again=CANCEL_AGAIN)
        # Not by arq's own close, which needs an answer from Redis.
        await asyncio.gather(*worker.tasks.values(), return_exceptions=True)
        with contextlib.suppress(RedisError, OSError):
            await queue.aclose(close_connection_pool=True)
