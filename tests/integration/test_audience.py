"""Many who follow one task alike: one execution for all, and everybody gets what is theirs."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import websockets

from api.schema import following, global_ids
from domain import db, tasks
from domain.engines import Engines
from domain.states import Role
from tests.integration.api_client import SUBPROTOCOL, WITHIN, Api, Client, Events, Socket, serving
from tests.integration.conftest import Travel
from tests.integration.query_counting import counted_queries
from tests.integration.world import World

HOURS = timedelta(hours=3)
MANY = 30
TASK_UPDATED = """subscription ($id: ID!) { taskUpdated(id: $id) {
  id status revision canCancel application { name } template { content } } }"""
OTHERWISE = "subscription ($id: ID!) { taskUpdated(id: $id) { revision } }"


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    # Room for the long documents that make large events.
    async with serving(
        database_url, redis_url, tmp_path, query_aliases=10_000, query_tokens=50_000
    ) as running:
        yield running


@pytest.fixture
async def world(api: Api) -> World:
    """The account of the clients here; what it does nobody is told of."""
    return await World.make("Acme")


@pytest.fixture
async def client(api: Api, world: World) -> Client:
    return await api.client()


@pytest.fixture
async def key(world: World) -> str:
    """A task to follow."""
    return global_ids.encode("Task", await world.create(1, after=HOURS))


@pytest.fixture(autouse=True)
def reread_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The world here rings no bell of the API's: what it changes is found by looking again."""
    monkeypatch.setattr(following, "REREAD_AFTER", 0.05)
    monkeypatch.setattr(following, "BETWEEN_READS", 0.02)


async def updated(events: Events) -> dict[str, Any]:
    found: dict[str, Any] = (await events.next())["taskUpdated"]
    return found


async def touch(key: str) -> int:
    """Change a task; its revision."""
    revision: int = await db.fetchval(
        "UPDATE task SET revision = revision + 1 WHERE id = $1 RETURNING task_revision(task)",
        global_ids.key_of("Task", key),
    )
    return revision


async def until(events: Events, revision: int) -> list[int]:
    """The revisions told up to this one."""
    told = [(await updated(events))["revision"]]
    while told[-1] < revision:
        told.append((await updated(events))["revision"])
    return told


async def test_a_change_is_executed_once_for_all(
    client: Client, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(client.subscribe(TASK_UPDATED, id=key)) for _ in range(MANY)]
        snapshots = [await updated(events) for events in crowd]
        assert all(snapshot == snapshots[0] for snapshot in snapshots)
        monkeypatch.setattr(following, "REREAD_AFTER", 0.5)
        async with counted_queries() as queries:
            revision = await touch(key)
            for events in crowd:
                assert (await updated(events))["revision"] == revision
        assert len([query for query in queries if 'FROM "template"' in query]) == 1
        assert len(queries) < MANY


async def test_everyone_is_told_of_rising_revisions_up_to_the_newest(client: Client, key: str) -> None:
    async def follow(from_here: int) -> list[int]:
        async with client.subscribe(TASK_UPDATED, id=key) as events:
            told = await until(events, last)
        assert told[0] >= from_here
        return told

    async with asyncio.TaskGroup() as group:
        newest = await touch(key)
        last = newest + 20
        crowd = []
        while newest < last:
            crowd.append(group.create_task(follow(newest)))
            newest = await touch(key)
    assert len(crowd) > 1
    for member in crowd:
        assert member.result() == sorted(set(member.result()))


async def test_whoever_joins_is_shown_the_present(
    api: Api, engines: Engines, client: Client, key: str
) -> None:
    travel = Travel(engines.database_url)
    async with client.subscribe(TASK_UPDATED, id=key) as early:
        first = await updated(early)
        assert first["canCancel"]
        try:
            await travel(HOURS)  # only time passes: nothing to tell those who are there
            async with client.subscribe(TASK_UPDATED, id=key) as late:
                assert await updated(late) == {**first, "canCancel": False}
        finally:
            await travel.back()
        assert await until(early, await touch(key)) == [first["revision"] + 1]


async def test_nobody_is_told_more_often_because_others_join(
    client: Client, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "BETWEEN_READS", 0.25)
    async with client.subscribe(TASK_UPDATED, id=key) as patient:
        told = [(await updated(patient))["revision"]]
        began = asyncio.get_running_loop().time()
        for _ in range(15):
            revision = await touch(key)
            async with client.subscribe(TASK_UPDATED, id=key) as passer_by:
                assert (await updated(passer_by))["revision"] == revision
        told += await until(patient, revision)
        took = asyncio.get_running_loop().time() - began
    assert len(told) <= 2 + took / 0.25


async def test_a_revision_is_told_once_also_to_those_who_came_in_between(
    client: Client, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "BETWEEN_READS", 0.25)
    async with client.subscribe(TASK_UPDATED, id=key) as first:
        await updated(first)
        revision = await touch(key)
        async with client.subscribe(TASK_UPDATED, id=key) as second:
            assert (await updated(second))["revision"] == revision  # before the first is told of it
            assert await until(first, revision) == [revision]
            assert await until(second, await touch(key)) == [revision + 1]


async def test_all_are_told_of_a_failure(client: Client, key: str) -> None:
    async with (
        client.subscribe(TASK_UPDATED, id=key) as one,
        client.subscribe(TASK_UPDATED, id=key) as other,
    ):
        await updated(one)
        await updated(other)
        await db.fetch("ALTER TABLE task_counter RENAME TO lost")
        for events in (one, other):
            assert (await events.refusal())[0] == "INTERNAL"
            assert await events.rest() == []


async def test_others_have_audiences_of_their_own(api: Api, client: Client, world: World, key: str) -> None:
    viewer = await api.client(Role.VIEWER)
    rival = await api.client(account="Rival")
    async with (
        client.subscribe(TASK_UPDATED, id=key) as whole,
        client.subscribe(OTHERWISE, id=key) as little,
        viewer.subscribe(TASK_UPDATED, id=key) as reader,
    ):
        assert await updated(whole) == await updated(reader)
        assert set(await updated(little)) == {"revision"}
        async with rival.subscribe(TASK_UPDATED, id=key) as stranger:
            assert await stranger.refusal() == ("BAD_USER_INPUT", "There is no such task.")
        revision = await touch(key)
        for events in (whole, little, reader):
            assert await until(events, revision)


async def test_several_operations_of_one_socket(client: Client, key: str) -> None:
    async with client.socket() as one:
        await one.receive()
        for identity in ("a", "b"):
            await one.subscribe(identity, TASK_UPDATED, {"id": key})
        assert {(await one.receive())["id"] for _ in range(2)} == {"a", "b"}
        await one.send({"id": "a", "type": "complete"})
        revision = await touch(key)
        told = await one.receive()
        assert (told["id"], told["payload"]["data"]["taskUpdated"]["revision"]) == ("b", revision)


async def test_all_are_told_of_the_end_also_those_who_come_late(client: Client, world: World) -> None:
    task_id = await world.create(1, after=HOURS)
    key = global_ids.encode("Task", task_id)

    async def follow() -> list[dict[str, Any]]:
        async with client.subscribe(TASK_UPDATED, id=key) as events:
            return [found["taskUpdated"] for found in await events.rest()]

    async with asyncio.TaskGroup() as group:
        crowd = [group.create_task(follow()) for _ in range(MANY)]
        await tasks.cancel_task(world.viewer, task_id, world.bell)
        crowd += [group.create_task(follow()) for _ in range(MANY)]
    for member in crowd:
        assert member.result()[-1]["status"] == "CANCELED"
        assert len(member.result()) <= 2


async def test_whoever_comes_when_it_is_deleted_is_told_so(client: Client, world: World, key: str) -> None:
    async def follow() -> str:
        async with client.socket() as one:
            await one.receive()
            await one.subscribe("1", TASK_UPDATED, {"id": key})
            while (message := await one.receive())["type"] == "next":
                if message["payload"].get("errors"):
                    return str(message["payload"]["errors"][0]["message"])
            return str(message["type"] if message["type"] == "complete" else message["payload"][0]["message"])

    async with client.subscribe(TASK_UPDATED, id=key) as events:
        await updated(events)
        async with asyncio.TaskGroup() as group:
            crowd = [group.create_task(follow()) for _ in range(MANY)]
            await db.fetch("DELETE FROM task WHERE id = $1", global_ids.key_of("Task", key))
            crowd += [group.create_task(follow()) for _ in range(MANY)]
        assert await events.rest() == []
    ends = [member.result() for member in crowd]
    assert set(ends) <= {"complete", "There is no such task."}
    assert ends[-1] == "There is no such task."


async def test_a_faulty_operation_is_refused_to_each(client: Client, key: str) -> None:
    for _ in range(2):
        async with client.subscribe("subscription { taskUpdated(id: 1) { nonsense } }") as events:
            assert (await events.refusal())[0] == "BAD_USER_INPUT"


async def test_nothing_goes_on_when_everybody_has_left(client: Client, key: str) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await updated(await stack.enter_async_context(client.subscribe(TASK_UPDATED, id=key)))
    async with asyncio.timeout(WITHIN):
        while True:
            async with counted_queries() as queries:
                await asyncio.sleep(10 * following.REREAD_AFTER)
            if not queries:
                break


async def test_who_reads_slowly_skips_and_holds_back_nobody(client: Client, key: str) -> None:
    large = " ".join(f"a{number}: text" for number in range(4000))
    document = f"subscription ($id: ID!) {{ taskUpdated(id: $id) {{ revision {large} }} }}"
    host, port = client.url.removeprefix("http://").split(":")
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect((host, int(port)))
    narrow.setblocking(False)
    async with (
        websockets.connect(
            f"ws://{host}:{port}/graphql",
            sock=narrow,
            subprotocols=[SUBPROTOCOL],
            max_queue=1,
            compression=None,
        ) as connection,
        client.subscribe(document, id=key) as fast,
    ):
        slow = Socket(connection)
        await slow.send({"type": "connection_init", "payload": {"authorization": f"Bearer {client.token}"}})
        await slow.receive()
        await slow.subscribe("1", document, {"id": key})
        assert (await slow.receive())["type"] == "next"
        await updated(fast)
        changes = 80
        for _ in range(changes):
            newest = await touch(key)
            await until(fast, newest)
        told: list[int] = []
        while not told or told[-1] < newest:
            message = json.loads(await connection.recv())
            told.append(message["payload"]["data"]["taskUpdated"]["revision"])
    assert told == sorted(set(told))
    assert len(told) < changes / 2
