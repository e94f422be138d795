"""Answers given again: at the price of one statement, and never when a fresh one would differ."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from api import answers
from api.schema import global_ids
from domain import access, db, task_control, tasks
from domain.engines import Engines
from domain.ports import ReceiptState
from domain.states import Role
from tests.integration.api_client import Api, Client, serving
from tests.integration.api_operations import CANCEL_TASK, DELETE_TASK, do
from tests.integration.conftest import Travel
from tests.integration.query_counting import counted_queries
from tests.integration.world import World, receipt

HOURS = timedelta(hours=3)
TASKS = """query ($first: Int, $filter: TaskFilter) { tasks(first: $first, filter: $filter) {
  totalCount changeCursor nodes { id name status revision canCancel
    counts { total waiting unknown delivered failed notSent }
    billing { amount billableSegments } failureReasons { code count } progress { percent } } } }"""
RATES = "{ tasks { nodes { id progress { messagesPerSecond } } } }"


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(database_url, redis_url, tmp_path, requests_per_second=0) as running:
        yield running


@pytest.fixture
async def world(api: Api) -> World:
    return await World.make("Acme")


@pytest.fixture
async def client(api: Api, world: World) -> Client:
    return await api.client()


@pytest.fixture
async def travel(api: Api, engines: Engines) -> AsyncIterator[Travel]:
    """Time travel for the database of the API."""
    travel = Travel(engines.database_url)
    try:
        yield travel
    finally:
        await travel.back()


async def nodes(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.run(TASKS))["tasks"]["nodes"]
    return found


async def statements(client: Client, document: str = TASKS, **variables: object) -> int:
    """How many statements an answer takes."""
    async with counted_queries() as queries:
        await client.run(document, **variables)
    return len(queries)


async def test_the_same_question_costs_one_statement(client: Client, api: Api, world: World) -> None:
    task_id = await world.create(2, after=HOURS)
    fresh = await client.run(TASKS)
    assert await statements(client) == 1
    assert await client.run(TASKS) == fresh
    task = "query ($id: ID!) { task(id: $id) { name counts { total } } }"
    key = global_ids.encode("Task", task_id)
    assert await statements(client, task, id=key) == 2
    assert await statements(client, task, id=key) == 1
    assert await statements(await api.client(), TASKS) > 1, "whose token it is was not known"
    assert await statements(client, TASKS, first=10) > 1


async def test_a_hundred_at_once_cost_one_execution(client: Client, world: World) -> None:
    await world.create(2, after=HOURS)
    async with counted_queries() as queries:
        found = await asyncio.gather(*(client.run(TASKS) for _ in range(100)))
    assert all(answer == found[0] for answer in found)
    assert len([query for query in queries if "listed_id" in query]) <= 2
    assert len(queries) < 60


async def test_every_change_shows_in_the_next_answer(client: Client, world: World) -> None:
    task_id = await world.create(3)
    before = await nodes(client)

    async def next_answer() -> dict[str, Any]:
        nonlocal before
        found = await nodes(client)
        assert found != before
        before = found
        (task,) = (task for task in found if task["id"] == global_ids.encode("Task", task_id))
        return task

    await tasks.start_task(task_id, world.bell)
    assert (await next_answer())["status"] == "SENDING"
    # From here on nothing is announced: what the counters say shows all the same.
    claim = await world.claim(task_id)
    await world.hand_over(claim)
    assert (await next_answer())["counts"]["unknown"] == 3
    await world.receive(receipt(claim, 1), shard=1)
    task = await next_answer()
    assert (task["counts"]["delivered"], task["billing"]["billableSegments"]) == (1, 1)
    await world.receive(receipt(claim, 2, ReceiptState.FAILED), shard=2)
    assert [reason["count"] for reason in (await next_answer())["failureReasons"]] == [1]
    await task_control.stop_task(world.viewer, task_id, world.bell)
    assert (await next_answer())["status"] == "STOPPED"
    other = await world.create(1, name="Other", after=HOURS)
    await next_answer()
    assert [task["name"] for task in before] == ["Other", "A task"]
    await tasks.cancel_task(world.viewer, other, world.bell)
    await next_answer()
    assert before[0]["status"] == "CANCELED"
    await tasks.delete_task(world.viewer, other, world.bell)
    await next_answer()
    assert [task["name"] for task in before] == ["A task"]


async def test_changes_made_through_another_process_show(api: Api, client: Client, world: World) -> None:
    key = global_ids.encode("Task", await world.create(1, after=HOURS))
    async with api.another(client.token) as elsewhere:
        assert (await nodes(client))[0]["status"] == (await nodes(elsewhere))[0]["status"] == "SCHEDULED"
        await do(elsewhere, CANCEL_TASK, id=key)
        assert (await nodes(client))[0]["status"] == (await nodes(elsewhere))[0]["status"] == "CANCELED"
        await do(client, DELETE_TASK, id=key)
        assert await nodes(elsewhere) == await nodes(client) == []


async def test_no_answer_is_behind_what_was_committed_before_it_was_asked_for(
    client: Client, world: World
) -> None:
    task_id = await world.running(200)
    claim = await world.claim(task_id)
    await world.hand_over(claim)
    positions = iter(sorted(claim.numbers))
    asking = True

    async def ask_always() -> None:
        while asking:
            await nodes(client)

    async with asyncio.TaskGroup() as crowd:
        for _ in range(8):
            crowd.create_task(ask_always())
        for delivered in range(1, min(len(claim.numbers), 40) + 1):
            await world.receive(receipt(claim, next(positions)), shard=delivered)
            found = await asyncio.gather(*(nodes(client) for _ in range(4)))
            assert {answer[0]["counts"]["delivered"] for answer in found} == {delivered}
        asking = False


async def test_time_alone_can_change_an_answer(client: Client, world: World, travel: Travel) -> None:
    await world.create(1, after=HOURS)
    assert (await nodes(client))[0]["canCancel"]
    assert await statements(client) == 1
    await travel(HOURS - timedelta(minutes=5) + timedelta(seconds=1))
    assert not (await nodes(client))[0]["canCancel"]


async def test_a_rate_is_told_again_for_half_a_second(client: Client, world: World, travel: Travel) -> None:
    await world.hand_over(await world.claim(await world.running(2)))
    first = await client.run(RATES)
    await travel(answers.RATES_STAND)
    assert await client.run(RATES) != first


async def test_whoever_asks_gets_their_own(api: Api, client: Client, world: World) -> None:
    await world.create(1, after=HOURS)
    assert len(await nodes(client)) == 1
    assert len(await nodes(await api.client(Role.VIEWER))) == 1
    rival = await api.client(account="Rival")
    assert await nodes(rival) == []
    assert await nodes(rival) == []
    assert len(await nodes(client)) == 1
    assert (await api.holding(None).refusal(TASKS))[0] == "UNAUTHENTICATED"


async def test_a_revoked_token_is_refused_at_once(client: Client, world: World) -> None:
    await world.create(1, after=HOURS)
    await nodes(client)
    assert await statements(client) == 1
    assert client.token is not None
    await db.fetch(
        "UPDATE access_token SET revoked_at = now() WHERE token_hash = $1", access.hash_of(client.token)
    )
    assert (await client.refusal(TASKS))[0] == "UNAUTHENTICATED"


async def test_mutations_are_executed_each_time(client: Client, world: World) -> None:
    key = global_ids.encode("Task", await world.create(1, after=HOURS))
    assert (await do(client, CANCEL_TASK, id=key))["errors"] == []
    again = (await client.run(CANCEL_TASK, input={"id": key}))["cancelTask"]
    assert again["errors"][0]["code"] == "WRONG_STATUS"


async def test_what_shows_more_than_tasks_is_executed_each_time(client: Client, world: World) -> None:
    await world.create(1, after=HOURS)
    for document in (
        "{ tasks { nodes { application { suspended } } } }",
        "{ tasks { nodes { rejectedRowsUrl } } viewer { role } }",
    ):
        await client.run(document)
        assert await statements(client, document) > 1


async def test_errors_are_not_kept(client: Client, world: World) -> None:
    await world.create(1, after=HOURS)
    for _ in range(2):
        assert (await client.refusal(TASKS, first=0))[0] == "BAD_USER_INPUT"
    async with counted_queries() as queries:
        await client.refusal("{ tasks { nodes { nonsense } } }")
    assert len(queries) == 1


async def test_old_answers_make_room_for_new_ones(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.create(1, after=HOURS)
    monkeypatch.setattr(answers, "ROOM", 3 * (answers.ACCOUNTED + 1500))
    for first in range(1, 11):
        await client.run(TASKS, first=first)
    assert await statements(client, TASKS, first=10) == 1
    assert await statements(client, TASKS, first=1) > 1
