"""The arq jobs: thin, because a job only says "look now"; the database decides."""

from __future__ import annotations

from typing import Any

from arq.connections import RedisSettings
from arq.worker import Worker, func

from domain import tasks
from domain.bus import START_JOB, from_json, to_json
from domain.ports import Doorbell

TIMEOUT = 60
"""Seconds; a hard-killed job comes back only some time after."""


async def start_task(ctx: dict[str, Any], task_id: int) -> None:
    """Start a task whose time has come."""
    doorbell: Doorbell = ctx["doorbell"]
    await tasks.start_task(task_id, doorbell)


def arq_worker(redis_url: str, doorbell: Doorbell) -> Worker:
    """An arq worker for these jobs, to be run in this process's event loop."""
    return Worker(
        functions=[func(start_task, name=START_JOB, timeout=TIMEOUT)],
        redis_settings=RedisSettings.from_dsn(redis_url),
        ctx={"doorbell": doorbell},
        handle_signals=False,
        keep_result=0,
        max_jobs=100,
        poll_delay=0.1,
        job_serializer=to_json,
        job_deserializer=from_json,
        log_results=False,
    )
