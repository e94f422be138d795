"""Lists in pages, as Relay has them, with `nodes` beside `edges`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Generic, TypeVar

import strawberry

from api.schema.fields import field
from api.top_level_errors import TopLevelCode, TopLevelError
from domain import errors
from domain.paging import MAX_PAGE, Page

PAGE = 50
"""How many a page has unless `first` says otherwise."""

T = TypeVar("T")
R = TypeVar("R")

First = Annotated[int | None, strawberry.argument(description=f"How many to give at most: 1 to {MAX_PAGE}.")]
After = Annotated[
    str | None,
    strawberry.argument(description="Give those after this cursor: the endCursor of the page before."),
]


@strawberry.type(description="Where a page lies in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether there are more after this page.")
    has_previous_page: bool = strawberry.field(description="Whether there are some before this page.")
    start_cursor: str | None = strawberry.field(
        description="The cursor of the first item; null on an empty page."
    )
    end_cursor: str | None = strawberry.field(
        description=(
            "The cursor of the last item, to be given as `after` for the next page; null on an empty page."
        )
    )


@strawberry.type(description="One item of a list, with its cursor.")
class Edge(Generic[T]):
    cursor: str = strawberry.field(description="Where the item lies in the list, to be given as `after`.")
    node: T = strawberry.field(description="The item itself.")


def _edges(root: Connection[T]) -> list[Edge[T]]:
    return [Edge(cursor=cursor, node=node) for cursor, node in zip(root.cursors, root.nodes, strict=True)]


@strawberry.type(description="A page of a list. Pages stay put while items are added before them.")
class Connection(Generic[T]):
    edges: list[Edge[T]] = strawberry.field(
        resolver=_edges, description="The items of this page with their cursors."
    )
    nodes: list[T] = strawberry.field(description="The items of this page.")
    page_info: PageInfo = strawberry.field(description="Where this page lies in the list.")
    cursors: strawberry.Private[Sequence[str]]
    count: strawberry.Private[Callable[[], Awaitable[int]]]

    @field("How many items the whole list has. Counted only when asked for.")
    async def total_count(self) -> int:
        return await self.count()


def size(first: int | None) -> int:
    """How many a page is to have; a client may also send null for the default."""
    return PAGE if first is None else first


def connect(page: Page[R], item: Callable[[R], T], count: Callable[[], Awaitable[int]]) -> Connection[T]:
    """The connection that shows a page; `count` counts the whole list."""
    nodes = [item(row) for row in page.items]
    return Connection(nodes=nodes, page_info=page_info(page), cursors=page.cursors, count=count)


def page_info(page: Page[R]) -> PageInfo:
    """Where a page lies in its list."""
    return PageInfo(
        has_next_page=page.has_next,
        has_previous_page=page.has_previous,
        start_cursor=page.cursors[0] if page.cursors else None,
        end_cursor=page.cursors[-1] if page.cursors else None,
    )


@contextmanager
def refusing_bad_input() -> Iterator[None]:
    """Make what the domain refuses a top-level error: a query has no `errors` of its own."""
    try:
        yield
    except errors.UserError as error:
        raise TopLevelError(error.message, TopLevelCode.BAD_USER_INPUT) from error
