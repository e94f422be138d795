"""Following a task, or all tasks of an account, as they change.

Everything is read from the database. Hints only say when to look; without any, we look every so often. While
the database is away followers wait: to be told of an error would end what they follow.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from api.audience import Audience
from api.schema.enums import ChangeKind
from domain import db, feed, task_reads
from domain.bus import Bus
from domain.errors import InvalidInput
from domain.feed import Change
from domain.schedule import RECEIPTS_WITHIN
from domain.states import TaskStatus
from domain.task_reads import TaskFilter, TaskView

REREAD_AFTER = 15.0
"""Seconds after which we look again though nothing was announced."""
BETWEEN_READS = 0.25
"""Seconds: nobody is told of the same task more often."""
_BATCH = 100
_START_AGAIN = "Fetch `tasks` again and go on from its changeCursor."


async def follow_task(
    bus: Bus, account_id: int, task_id: int, audience: Audience
) -> AsyncGenerator[TaskView, None]:
    """The task as it is, then again after each change, until nothing more is expected or it is gone.

    Who joins the audience is told of it as it is then, at once; the others of each change, but not too often.
    """
    loop = asyncio.get_running_loop()
    revision, told_at = 0, -BETWEEN_READS
    with bus.listen(account_id, task_id) as listener:
        audience.on_arrival = listener.hint
        while True:
            newcomers = audience.admit()
            view = await db.patiently(lambda: task_reads.find_task(account_id, task_id))
            if view is None:
                return
            ended = has_ended(view)
            rest = told_at + BETWEEN_READS - loop.time()
            if view.revision > revision and (rest <= 0 or ended):
                revision, told_at, rest = view.revision, loop.time(), BETWEEN_READS
                audience.address(revision, everybody=True)
                yield view
            elif newcomers:
                audience.address(view.revision, everybody=False)
                yield view
            if ended:
                return
            await audience.arrival(max(rest, 0))
            if view.revision == revision:
                await listener.wait(REREAD_AFTER)


def has_ended(view: TaskView) -> bool:
    """Whether a task's results are settled; later receipts may still correct those of a completed one."""
    if view.status is TaskStatus.STOPPED and view.finished_at is not None:
        pending = view.counts.waiting + view.counts.unknown
        return pending == 0 or view.read_at > view.finished_at + RECEIPTS_WITHIN
    return view.status in (TaskStatus.COMPLETED, TaskStatus.CANCELED)


@dataclass(frozen=True, slots=True)
class Followed:
    """A change to be told of; the task is None if it was deleted."""

    place: int
    kind: ChangeKind
    task_id: int
    view: TaskView | None


async def starting_place(account_id: int, since: int | None) -> int:
    """Where in the account's changes to begin: after `since`, or now.

    Raises `InvalidInput` for a place that has not been reached, or from which deletions have been forgotten.
    """
    extent = await db.patiently(lambda: feed.extent(account_id))
    if since is None:
        return extent.newest
    if since > extent.newest:
        raise InvalidInput(
            f"`since` lies ahead of every change there is. {_START_AGAIN}",
            "since",
        )
    _refuse_forgotten(since, extent.oldest)
    return since


def _refuse_forgotten(place: int, oldest: int) -> None:
    if place < oldest:
        raise InvalidInput(
            f"`since` is too old: deletions after it are no longer kept. {_START_AGAIN}",
            "since",
        )


async def follow_changes(
    bus: Bus, account_id: int, start: int, chosen: TaskFilter | None
) -> AsyncGenerator[Followed, None]:
    """The account's changes after a place, each task's newest only; first what was missed, then as they come.

    A filter lets through changes of tasks that match, or that were told of before; deletions always.
    """
    place = start
    told: set[int] = set()
    with bus.listen(account_id) as listener:
        while True:
            changes, found = await db.patiently(partial(_changes_with_tasks, account_id, place))
            if changes:
                for change in changes:
                    place = change.place
                    followed = _judge(change, found.get(change.task_id), start, chosen, told)
                    if followed is not None:
                        told.add(change.task_id)
                        yield followed
            if len(changes) < _BATCH:
                await asyncio.sleep(BETWEEN_READS)
                await listener.wait(REREAD_AFTER)


async def _changes_with_tasks(account_id: int, place: int) -> tuple[Sequence[Change], Mapping[int, TaskView]]:
    changes = await feed.changes_after(account_id, place, _BATCH)
    if not changes:
        return [], {}
    # After the read: what was forgotten in between shows in the floor.
    _refuse_forgotten(place, (await feed.extent(account_id)).oldest)
    return changes, await task_reads.find_tasks(account_id, [c.task_id for c in changes if not c.deleted])


def _judge(
    change: Change, view: TaskView | None, start: int, chosen: TaskFilter | None, told: set[int]
) -> Followed | None:
    if change.deleted:
        return Followed(change.place, ChangeKind.DELETED, change.task_id, None)
    if view is None:
        return None  # deleted meanwhile: its deletion comes later in the feed
    if chosen is not None and change.task_id not in told and not chosen.matches(view):
        return None
    new = change.created_place > start and change.task_id not in told
    return Followed(change.place, ChangeKind.CREATED if new else ChangeKind.UPDATED, change.task_id, view)
