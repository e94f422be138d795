"""Every list of the schema: as Relay has them, up to 100 at once, counted when asked, stable as it grows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLInterfaceType, GraphQLObjectType, get_named_type

from api.schema import global_ids, schema
from domain import paging, replies
from domain.ports import Reply
from tests.integration.api_client import Api, Client, serving
from tests.integration.api_operations import (
    ADD_OPT_OUTS,
    CREATE_APPLICATION,
    CREATE_SIGNATURE,
    CREATE_TEMPLATE,
    do,
)
from tests.integration.query_counting import counted_queries
from tests.integration.world import World

CORE = schema._schema
_CONNECTIONS = {
    f"{type_.name}.{name}": get_named_type(field.type)
    for type_ in CORE.type_map.values()
    if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
    for name, field in type_.fields.items()
    if get_named_type(field.type).name.endswith("Connection")
}
_WAYS = {
    "Query": "{{ {list} }}",
    "Task": "{{ task(id: {task}) {{ {list} }} }}",
    "Application": "{{ application(id: {application}) {{ {list} }} }}",
}
"""How to come to a list from its type."""
numbers = count(1)


class Story:
    """An account in which every list has something, and can get more."""

    def __init__(self, client: Client, world: World, ids: dict[str, str]) -> None:
        self.client = client
        self.world = world
        self.ids = ids

    def document(self, field: str, asked: str, **arguments: object) -> str:
        """A query of a page of the list, under the name `page`."""
        root, name = field.split(".")
        given = ", ".join(f"{key}: {json.dumps(value)}" for key, value in arguments.items())
        return _WAYS[root].format(list=f"page: {name}({given}) {{ {asked} }}", **self.ids)

    async def page(self, field: str, asked: str, **arguments: object) -> dict[str, Any]:
        """What is asked of a page of the list."""
        data = await self.client.run(self.document(field, asked, **arguments))
        found: dict[str, Any] = data["page"] if "page" in data else next(iter(data.values()))["page"]
        return found

    async def add(self, field: str) -> None:
        """Let the list grow by one; those of a task's numbers never do."""
        add = self._additions().get(field)
        if add is not None:
            await add()

    def _additions(self) -> dict[str, Callable[[], Awaitable[object]]]:
        client, number = self.client, next(numbers)
        of = {"applicationId": self.ids["application"].strip('"')}
        signature: dict[str, object] = {**of, "name": f"商店{number}", "type": "NOTIFICATION"}
        template = {
            **of,
            "name": f"News {number}",
            "type": "NOTIFICATION",
            "content": "Hello.",
            "universal": True,
        }
        reply = Reply(f"+8613800{number:06}", "10690001", "Yes", datetime.now(UTC))
        return {
            "Query.applications": lambda: do(
                client, CREATE_APPLICATION, name=f"Shop {number}", region="INTERNATIONAL"
            ),
            "Application.signatures": lambda: do(client, CREATE_SIGNATURE, **signature),
            "Application.templates": lambda: do(client, CREATE_TEMPLATE, **template),
            "Query.pendingReviews": lambda: do(client, CREATE_TEMPLATE, **template),
            "Query.tasks": lambda: self.world.create(1, name=f"Task {number}", after=timedelta(hours=3)),
            "Query.optOuts": lambda: do(client, ADD_OPT_OUTS, numbers=[f"+8613900{number * 79 % 10**6:06}"]),
            "Query.auditLog": lambda: do(client, ADD_OPT_OUTS, numbers=[f"+8613700{number:06}"]),
            "Query.replies": lambda: replies.store("default", [reply], ()),
            "Query.tokens": lambda: do(
                client,
                "mutation ($input: CreateTokenInput!) { createToken(input: $input) { errors { message } } }",
                name=f"Token {number}",
                role="VIEWER",
            ),
        }


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(database_url, redis_url, tmp_path, requests_per_second=0) as running:
        yield running


@pytest.fixture
async def story(api: Api) -> Story:
    world = await World.make("Acme")
    rows = ["13800138001", "nobody", "13800138002", "no one", "13800138003", "13800138003"]
    task_id = await world.create(rows, after=timedelta(hours=3))
    ids = {
        "task": f'"{global_ids.encode("Task", task_id)}"',
        "application": f'"{global_ids.encode("Application", world.mainland.application_id)}"',
    }
    made = Story(await api.client(), world, ids)
    for field in _CONNECTIONS:
        for _ in range(3):
            await made.add(field)
    return made


def test_lists_are_connections_and_connections_are_as_relay_has_them() -> None:
    for field, connection in _CONNECTIONS.items():
        assert field.split(".")[0] in _WAYS, f"say how to come to {field}, and add it to the story"
        parent = CORE.type_map[field.split(".")[0]]
        assert isinstance(parent, GraphQLObjectType)
        arguments = parent.fields[field.split(".")[1]].args
        assert (str(arguments["first"].type), arguments["first"].default_value) == ("Int", 50), field
        assert str(arguments["after"].type) == "String", field
        assert isinstance(connection, GraphQLObjectType)
        types = {name: str(each.type) for name, each in connection.fields.items()}
        item = connection.name.removesuffix("Connection")
        expected = {
            "edges": f"[{item}Edge!]!", "nodes": f"[{item}!]!", "pageInfo": "PageInfo!", "totalCount": "Int!",
        }  # fmt: skip
        assert expected.items() <= types.items(), field
        edge = get_named_type(connection.fields["edges"].type)
        assert isinstance(edge, GraphQLObjectType)
        assert {name: str(each.type) for name, each in edge.fields.items()} == {
            "cursor": "String!", "node": f"{item}!",
        }  # fmt: skip


async def test_pages_have_one_to_a_hundred_items_and_begin_after_a_cursor_of_theirs(story: Story) -> None:
    for field in _CONNECTIONS:
        for first in (0, -1, 101, 2**31 - 1):
            refusal = await story.client.refusal(story.document(field, "nodes { __typename }", first=first))
            assert refusal == ("BAD_USER_INPUT", "first must be 1 to 100."), field
        for after in ("", "nonsense", "W10", cursor_of_another_list()):
            code, message = await story.client.refusal(
                story.document(field, "nodes { __typename }", first=1, after=after or "AAAA")
            )
            assert (code, "not a cursor of this list" in message) == ("BAD_USER_INPUT", True), field
        assert (await story.page(field, "nodes { __typename }", first=100))["nodes"], field
        assert (await story.page(field, "nodes { __typename }", first=None))["nodes"], field


def cursor_of_another_list() -> str:
    return paging.encode_cursor("another", [1])


async def test_a_list_is_counted_only_when_asked(story: Story) -> None:
    for field in _CONNECTIONS:
        shown = "nodes { __typename } pageInfo { hasNextPage endCursor }"
        await story.page(field, f"{shown} totalCount", first=2)  # a connection's first statements take more
        async with counted_queries() as without:
            page = await story.page(field, shown, first=1)
        async with counted_queries() as with_count:
            total = (await story.page(field, f"{shown} totalCount", first=1))["totalCount"]
        assert len(with_count) == len(without) + 1, field
        everything = await story.page(field, "nodes { __typename } pageInfo { hasNextPage }", first=100)
        assert page["pageInfo"]["hasNextPage"] is True
        assert everything["pageInfo"]["hasNextPage"] is False
        assert total == len(everything["nodes"]) >= 3, field


async def test_whoever_pages_on_while_a_list_grows_sees_each_item_once(story: Story) -> None:
    shown = (
        "edges { cursor node { __typename } } pageInfo { startCursor endCursor hasNextPage hasPreviousPage }"
    )
    for field in _CONNECTIONS:
        before = [edge["cursor"] for edge in (await story.page(field, shown, first=100))["edges"]]
        page = await story.page(field, shown, first=2)
        assert page["pageInfo"]["hasPreviousPage"] is False
        seen = [edge["cursor"] for edge in page["edges"]]
        while page["pageInfo"]["hasNextPage"] and len(seen) < 100:
            assert page["pageInfo"]["startCursor"] == page["edges"][0]["cursor"]
            if len(seen) <= 6:
                await story.add(field)
            page = await story.page(field, shown, first=2, after=page["pageInfo"]["endCursor"])
            assert page["pageInfo"]["hasPreviousPage"] is True
            seen += [edge["cursor"] for edge in page["edges"]]
        assert len(seen) == len(set(seen)), field
        assert [cursor for cursor in seen if cursor in before] == before, field
