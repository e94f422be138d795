"""What one operation may ask for and how long it may take, whichever way it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from api.schema import following as followed
from api.schema import global_ids
from domain import db
from tests.integration.api_client import Api, Client, serving
from tests.integration.event_stream import following
from tests.integration.world import World, eventually

HOURS = timedelta(hours=3)
SHORT = 0.8
"""Seconds that an operation may take here."""
Serving = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def served(database_url: str, redis_url: str, tmp_path: Path) -> Serving:
    """Serve with certain settings; what comes out is a client."""

    @asynccontextmanager
    async def serve(**settings: object) -> AsyncIterator[Client]:
        async with serving(database_url, redis_url, tmp_path, **settings) as api:
            yield await _client(api)

    return serve


async def _client(api: Api) -> Client:
    await World.make("Acme")
    return await api.client()


@asynccontextmanager
async def locked(url: str, table: str) -> AsyncIterator[None]:
    """Let whoever reads a table wait."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def nobody_waits() -> bool:
    """Whether no statement waits for a lock."""
    waiting: int = await db.fetchval(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    return waiting == 0


async def over_each_way(client: Client, document: str, **variables: object) -> list[dict[str, Any]]:
    """The first error of an operation over HTTP, as server-sent events, and over a socket."""
    found = [(await client.answer(document, **variables))["errors"][0]]
    async with following(client, document, **variables) as events:
        found.append((await events.next())["errors"][0])
    async with client.socket() as socket:
        await socket.receive()
        await socket.subscribe("1", document, variables)
        message = await socket.receive()
        # Faults of variables are found when the execution has begun.
        errors = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
        found.append(errors[0])
    return found


async def test_too_much_is_refused_whichever_way_it_comes(served: Serving) -> None:
    many = "query ($first: Int) { tasks(first: $first) { nodes { messages { nodes { id number } } } } }"
    follow = (
        "subscription ($id: ID!) { taskUpdated(id: $id) { messages(first: 100) { nodes { id number } } } }"
    )
    async with served(query_cost=200) as client:
        for document, variables in ((many, {"first": 100}), (follow, {"id": "none"})):
            for error in await over_each_way(client, document, **variables):
                assert error["extensions"]["code"] == "TOO_COMPLEX"
                assert error["extensions"]["limit"] == "cost"
                assert error["extensions"]["requested"] > error["extensions"]["maximum"] == 200
                assert "smaller pages" in error["message"]


async def test_every_answer_says_what_it_cost_also_one_given_again(served: Serving) -> None:
    document = "query ($first: Int) { tasks(first: $first) { nodes { id name } } }"
    async with served() as client:
        for _ in range(2):
            assert (await client.answer(document, first=3))["extensions"] == {
                "cost": {"requested": 18, "maximum": 50_000}
            }
        assert (await client.answer(document, first=4))["extensions"]["cost"]["requested"] == 20
        async with client.socket() as socket:
            await socket.receive()
            await socket.subscribe("1", document, {"first": 3})
            assert (await socket.receive())["payload"]["extensions"]["cost"]["requested"] == 18


async def test_the_schema_can_be_kept_to_oneself(served: Serving) -> None:
    async with served(introspection=False) as client:
        for document in ("{ __schema { queryType { name } } }", '{ __type(name: "Task") { name } }'):
            for error in await over_each_way(client, document):
                assert error["extensions"]["code"] == "BAD_USER_INPUT"
                assert "introspection" in error["message"]
        assert await client.run("{ __typename }") == {"__typename": "Query"}
        hinted = "query ($in: [TaskStatus!]) { tasks(filter: {statusIn: $in}) { nodes { id } } }"
        for document, variables in (
            ("{ task { nam } }", {}),
            ("{ tasks(filtre: {}) { totalCount } }", {}),
            ("{ tasks(filter: {statusIn: [SEND]}) { totalCount } }", {}),
            ('subscription { taskUpdated(id: "1") { statu } }', {}),
            (hinted, {"in": ["SEND"]}),
        ):
            for error in await over_each_way(client, document, **variables):
                assert "Did you mean" not in error["message"]
                assert error["extensions"]["code"] == "BAD_USER_INPUT"


async def test_hints_are_given_where_the_schema_is_no_secret(served: Serving) -> None:
    async with served() as client:
        for error in await over_each_way(client, "{ tasks { nodez { id } } }"):
            assert "Did you mean" in error["message"]


@pytest.mark.parametrize(
    "document", ["{ tasks { nodes { id } } }", "{ tasks { nodes { template { name } } } }"]
)
async def test_what_takes_too_long_is_stopped_with_its_statements(
    served: Serving, database_url: str, document: str
) -> None:
    async with served(query_seconds=SHORT) as client:
        await (await World.make("Acme")).create(1, after=HOURS)
        async with locked(database_url, "template" if "template" in document else "task"):
            code, message = await client.refusal(document)
            assert (code, f"longer than {SHORT} seconds" in message) == ("TIMEOUT", True)
            await eventually(nobody_waits)
        assert await client.run(document)


async def test_an_event_that_takes_too_long_is_followed_by_others(
    served: Serving, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed, "REREAD_AFTER", 0.05)
    document = "subscription ($id: ID!) { taskUpdated(id: $id) { revision template { name } } }"
    touch = "UPDATE task SET revision = revision + 1"
    async with served(query_seconds=SHORT) as client:
        task_id = await (await World.make("Acme")).create(1, after=HOURS)
        async with client.subscribe(document, id=global_ids.encode("Task", task_id)) as events:
            await events.next()
            async with locked(database_url, "template"):
                await db.fetch(touch)
                assert (await events.refusal())[0] == "TIMEOUT"
            await db.fetch(touch)
            assert (await events.next())["taskUpdated"]["template"]


CREATE = (
    "mutation ($input: CreateTaskInput!) { createTask(input: $input) { task { id } errors { message } } }"
)


async def order() -> dict[str, object]:
    world = await World.make("Acme")
    return {
        "name": "A task",
        "applicationId": global_ids.encode("Application", world.international.application_id),
        "templateId": global_ids.encode("Template", world.international.template_id),
        "recipients": {"numbers": ["+447400123456"]},
    }


async def test_an_import_may_take_longer(served: Serving, database_url: str) -> None:
    async with served(query_seconds=0.05, import_seconds=30) as client:
        chosen = await order()
        async with locked(database_url, "opt_out"):
            creating = asyncio.create_task(client.run(CREATE, input=chosen))

            async def it_waits() -> bool:
                return not await nobody_waits()

            await eventually(it_waits)
            await asyncio.wait([creating], timeout=0.2)  # four times what other operations may take
            assert not creating.done()
        assert (await creating)["createTask"]["task"]


async def test_an_import_that_takes_too_long_leaves_nothing_behind(
    served: Serving, database_url: str
) -> None:
    async with served(import_seconds=SHORT) as client:
        chosen = await order()
        async with locked(database_url, "opt_out"):
            assert (await client.refusal(CREATE, input={**chosen, "idempotencyKey": "again"}))[0] == "TIMEOUT"
            await eventually(nobody_waits)
        assert await db.fetchval("SELECT count(*) FROM task") == 0
        created = await client.run(CREATE, input={**chosen, "idempotencyKey": "again"})
        assert created["createTask"]["task"]
        assert await db.fetchval("SELECT count(*) FROM task") == 1
