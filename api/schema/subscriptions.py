"""What can be followed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import strawberry

from api.audience import Audience
from api.context import Info
from api.schema import global_ids
from api.schema.connections import refusing_bad_input
from api.schema.enums import ChangeKind
from api.schema.fields import subscription
from api.schema.following import follow_changes, follow_task, starting_place
from api.schema.loaders import Loaders
from api.schema.task_lists import TaskFilterInput, change_cursor
from api.schema.tasks import Task
from api.top_level_errors import TopLevelCode, TopLevelError
from domain import db, paging, task_reads
from domain.errors import InvalidInput


@strawberry.type(description="Something happened to a task.")
class TaskChange:
    cursor: str = strawberry.field(
        description="Where this change lies: to be given to tasksChanged as `since`, to go on from here."
    )
    kind: ChangeKind = strawberry.field(description="What happened.")
    task_id: strawberry.ID = strawberry.field(description="The task's id.")
    task: Task | None = strawberry.field(description="The task as it is now; null when it was deleted.")


@strawberry.type(
    description=(
        "What can be followed: over a WebSocket (graphql-transport-ws) or server-sent events (graphql-sse)."
    )
)
class Subscription:
    @subscription(
        "The task as it is now, then again at each change, a few times a second at most. Ends after "
        "COMPLETED, CANCELED or STOPPED with nothing pending; later receipts show in tasksChanged."
    )
    async def task_updated(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The task's id.")],  # noqa: A002
    ) -> AsyncGenerator[Task, None]:
        account_id = info.context.require().account_id
        task_id = global_ids.key_of("Task", id)
        if await db.patiently(lambda: task_reads.find_task(account_id, task_id)) is None:
            raise TopLevelError("There is no such task.", TopLevelCode.BAD_USER_INPUT)
        context = info.context
        following = follow_task(context.services.bus, account_id, task_id, context.audience or Audience())
        async with aclosing(following) as views:
            async for view in views:
                yield Task.of(view, Loaders(account_id))

    @subscription(
        "Every change to any task of the account. With `since` it first replays what was missed, each "
        "task once."
    )
    async def tasks_changed(
        self,
        info: Info,
        since: Annotated[
            str | None,
            strawberry.argument(
                description=(
                    "The cursor of an earlier change, or `changeCursor` of `tasks`. Left out: from now on."
                )
            ),
        ] = strawberry.UNSET,
        filter: Annotated[  # noqa: A002
            TaskFilterInput | None,
            strawberry.argument(
                description=(
                    "Only changes of tasks that match, or that were told of before; deletions always."
                )
            ),
        ] = strawberry.UNSET,
    ) -> AsyncGenerator[TaskChange, None]:
        account_id = info.context.require().account_id
        with refusing_bad_input():
            start = await starting_place(
                account_id, _place(None if since is strawberry.UNSET else since, account_id)
            )
            chosen = filter.chosen() if filter else None
            bus = info.context.services.bus
            async with aclosing(follow_changes(bus, account_id, start, chosen)) as changes:
                async for change in changes:
                    yield TaskChange(
                        cursor=change_cursor(account_id, change.place),
                        kind=change.kind,
                        task_id=global_ids.encode("Task", change.task_id),
                        task=Task.of(change.view, Loaders(account_id)) if change.view else None,
                    )


def _place(since: str | None, account_id: int) -> int | None:
    refusal = InvalidInput(
        "`since` is not a cursor of this account's changes; take one from an earlier change, or "
        "changeCursor of `tasks`.",
        "since",
    )
    key = paging.decode_cursor("changes", since, (int, int), refusal=refusal)
    if key is None:
        return None
    owner, place = key
    if owner != account_id or not isinstance(place, int):
        raise refusal
    return place
