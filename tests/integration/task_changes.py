"""What users do to tasks, alone and many at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from domain import db, task_control, tasks
from domain.errors import TooLate, WrongStatus
from domain.states import TaskStatus
from tests.integration.world import World, receipt

HOUR = timedelta(hours=1)
AT_ONCE = 200
"""How many try the same thing at the same moment."""


async def pause(world: World, task_id: int) -> None:
    await task_control.pause_task(world.viewer, task_id, world.bell)


async def resume(world: World, task_id: int) -> None:
    await task_control.resume_task(world.viewer, task_id, world.bell)


async def stop(world: World, task_id: int) -> None:
    await task_control.stop_task(world.viewer, task_id, world.bell)


async def cancel(world: World, task_id: int) -> None:
    await tasks.cancel_task(world.viewer, task_id, world.bell)


async def put_off(world: World, task_id: int) -> None:
    now: datetime = await db.fetchval("SELECT groupsms_now()")
    await task_control.reschedule_task(world.viewer, task_id, now + 2 * HOUR, world.bell)


Change = Callable[[World, int], Awaitable[None]]


async def succeeded(change: Change, world: World, task_id: int, gate: asyncio.Event) -> bool:
    await gate.wait()
    try:
        await change(world, task_id)
    except (WrongStatus, TooLate):
        return False
    return True


async def all_at_once(world: World, task_id: int, *changes: Change) -> list[int]:
    """Let each change be tried by many at the same moment; returns how many of each succeeded."""
    gate = asyncio.Event()
    tried = [
        asyncio.gather(*(succeeded(change, world, task_id, gate) for _ in range(AT_ONCE // len(changes))))
        for change in changes
    ]
    gate.set()
    return [sum(await each) for each in tried]


async def task_at(world: World, status: TaskStatus) -> int:
    """A task that has got to this status."""
    task_id = await world.create(
        3, after=HOUR if status in (TaskStatus.SCHEDULED, TaskStatus.CANCELED) else None
    )
    if status is TaskStatus.CANCELED:
        await cancel(world, task_id)
    if status in (TaskStatus.SCHEDULED, TaskStatus.CANCELED):
        return task_id
    await tasks.start_task(task_id, world.bell)
    if status is TaskStatus.PAUSED:
        await pause(world, task_id)
    elif status is TaskStatus.STOPPED:
        await stop(world, task_id)
    elif status is not TaskStatus.SENDING:
        claim = await world.claim(task_id)
        await world.hand_over(claim)
        if status is TaskStatus.COMPLETED:
            await world.receive(*(receipt(claim, position) for position in claim.numbers))
        await world.advance(task_id)
    return task_id
