"""Lists of tasks: which, in what order, in pages."""

from __future__ import annotations

from datetime import datetime

import strawberry

from api.context import Context
from api.schema import global_ids
from api.schema.connections import Connection, page_info, refusing_bad_input
from api.schema.enums import OrderDirection, TaskOrderField, TaskStatus
from api.schema.loaders import Loaders
from api.schema.tasks import Task
from domain import feed, paging, task_reads
from domain.task_reads import TaskFilter


@strawberry.input(name="TaskFilter", description="Which tasks to list. What is left out lets all through.")
class TaskFilterInput:
    name_contains: str | None = strawberry.field(
        default=strawberry.UNSET, description="Those with this in their names, whatever the letters' case."
    )
    status_in: list[TaskStatus] | None = strawberry.field(
        default=strawberry.UNSET, description="Those with one of these statuses."
    )
    application_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="Those of this application."
    )
    created_from: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="Those made at this time or later."
    )
    created_to: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="Those made before this time."
    )

    def chosen(self) -> TaskFilter:
        """The filter as the domain takes it."""
        application_id = self.application_id
        return TaskFilter(
            name_contains=self.name_contains or None,
            status_in=self.status_in if self.status_in is not strawberry.UNSET else None,
            application_id=(
                global_ids.key_of("Application", application_id)
                if application_id is not strawberry.UNSET and application_id is not None
                else None
            ),
            created_from=self.created_from or None,
            created_to=self.created_to or None,
        )


@strawberry.input(description="The order of a list of tasks.")
class TaskOrder:
    field: TaskOrderField = strawberry.field(description="What to order by.")
    direction: OrderDirection = strawberry.field(description="Which end comes first.")


@strawberry.type(description="A page of a list of tasks. Pages stay put while tasks are added before them.")
class TaskConnection(Connection[Task]):
    change_cursor: str = strawberry.field(
        description=(
            "Where the account's changes stood when this was read: to be given to tasksChanged as "
            "`since`, which then misses nothing."
        )
    )


def change_cursor(account_id: int, place: int) -> str:
    """The cursor of a place in an account's changes."""
    return paging.encode_cursor("changes", [account_id, place])


async def list_tasks(
    context: Context, chosen: TaskFilter, order: TaskOrder | None, first: int, after: str | None
) -> TaskConnection:
    """A page of the viewer's tasks, newest first unless told otherwise."""
    account_id = context.require().account_id
    # Read before the page: a change in between is then replayed rather than missed.
    standing = context.ledger.standing if context.ledger else None
    place = standing.place if standing else await feed.newest_place(account_id)
    with refusing_bad_input():
        page = await task_reads.list_tasks(
            account_id,
            chosen,
            order_by=order.field if order else TaskOrderField.CREATED_AT,
            descending=order.direction is OrderDirection.DESC if order else True,
            first=first,
            after=after,
        )
    for view in page.items:
        context.show(view)
    loaders = Loaders(account_id)
    nodes = [Task.of(view, loaders) for view in page.items]
    return TaskConnection(
        nodes=nodes,
        page_info=page_info(page),
        cursors=page.cursors,
        count=lambda: task_reads.count_tasks(account_id, chosen),
        change_cursor=change_cursor(account_id, place),
    )
