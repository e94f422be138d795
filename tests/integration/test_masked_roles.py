"""The setting MASKED_ROLES: whom numbers are shown without their middle, wherever the API shows one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from domain import dispatch, opt_outs, replies
from domain.ports import ReceiptState, Reply
from domain.states import Role
from tests.integration.api_client import Api, Client, serving
from tests.integration.api_operations import ADD_OPT_OUTS, REMOVE_OPT_OUTS
from tests.integration.world import GATEWAY, World, receipt

NUMBERS = ("13800138000", "13800138001")
OPTED_OUT = "13900139000"
BROKEN = "1380013800X7"
EVERYTHING = """{
  tasks { nodes { id failedNumbersUrl rejectedRowsUrl
    messages { edges { cursor node { id smsId number segments { smsId gatewayMessageId } } } }
    rejectedRows { edges { cursor node { row value suggestion } } } } }
  optOuts { edges { cursor node { number } } pageInfo { startCursor endCursor } }
  replies { edges { cursor node { id number } } } }"""
TASK_UPDATED = """subscription ($id: ID!) { taskUpdated(id: $id) {
  failedNumbersUrl messages { nodes { number } } } }"""
TASKS_CHANGED = """subscription ($since: String) { tasksChanged(since: $since) {
  task { messages { nodes { number } } } } }"""
PREVIEW = """mutation ($input: CreateTaskInput!) { previewTask(input: $input) {
  preview { rejectedSample { value suggestion } } warnings { message } errors { message } } }"""


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    roles = "viewer, SENDER,OPERATOR"
    async with serving(database_url, redis_url, tmp_path, masked_roles=roles) as running:
        yield running


@pytest.fixture
async def world(api: Api) -> World:
    world = await World.make("Acme")
    task_id = await world.running([*NUMBERS, BROKEN, f"{NUMBERS[0]} "])
    while (claim := await dispatch.claim(task_id, uuid4())) is not None:
        await world.hand_over(claim)
        await world.receive(*(receipt(claim, position, ReceiptState.FAILED) for position in claim.numbers))
    await world.advance(task_id)
    await opt_outs.add_opt_outs(world.viewer, [OPTED_OUT], None, world.intake.limits)
    await replies.store(GATEWAY, [Reply("+8613800138000", "10690001", "Yes", datetime.now(UTC))], set())
    return world


def shows_a_number(text: str) -> bool:
    digits = "".join(character for character in text if character.isdigit() or character in "*\"' ")
    return any(number in digits for number in ("13800138", "13900139000"))


async def test_a_masked_role_never_sees_a_whole_number(api: Api, world: World) -> None:
    seen = await (await api.client(Role.MANAGER)).run(EVERYTHING)
    assert shows_a_number(json.dumps(seen))
    (node, *_) = seen["tasks"]["nodes"]
    assert node["failedNumbersUrl"]
    assert node["rejectedRowsUrl"]
    for role in (Role.VIEWER, Role.SENDER, Role.OPERATOR):
        shown = await (await api.client(role)).run(EVERYTHING)
        assert not shows_a_number(json.dumps(shown)), role
        (task,) = shown["tasks"]["nodes"]
        assert [edge["node"]["number"] for edge in task["messages"]["edges"]] == [
            "+86138****8000",
            "+86138****8001",
        ]
        assert (task["failedNumbersUrl"], task["rejectedRowsUrl"]) == (None, None)
        assert shown["optOuts"]["edges"][0]["node"]["number"] == "+86139****9000"
        assert shown["replies"]["edges"][0]["node"]["number"] == "+86138****8000"


async def test_pages_go_on_where_cursors_are_sealed(api: Api, world: World) -> None:
    await opt_outs.add_opt_outs(world.viewer, ["13900139001"], None, world.intake.limits)
    document = """query ($after: String) { optOuts(first: 1, after: $after) {
      nodes { number } pageInfo { endCursor hasNextPage } } }"""
    client = await api.client(Role.MANAGER)
    first = (await client.run(document))["optOuts"]
    second = (await client.run(document, after=first["pageInfo"]["endCursor"]))["optOuts"]
    assert [page["nodes"][0]["number"] for page in (first, second)] == ["+8613900139000", "+8613900139001"]
    assert not second["pageInfo"]["hasNextPage"]
    assert (await client.refusal(document, after="x"))[0] == "BAD_USER_INPUT"


@pytest.mark.parametrize(
    "document",
    [
        "query ($end: String) { optOuts(numberEndsWith: $end) { totalCount } }",
        "query ($end: String) { replies(filter: {numberEndsWith: $end}) { totalCount } }",
        """query ($end: String) {
          tasks { nodes { messages(filter: {numberEndsWith: $end}) { totalCount } } } }""",
    ],
)
async def test_numbers_are_found_by_what_is_shown_of_them(api: Api, world: World, document: str) -> None:
    viewer, manager = await api.client(Role.VIEWER), await api.client(Role.MANAGER)
    assert await viewer.run(document, end="8000") == await manager.run(document, end="8000")
    answer = await viewer.answer(document, end="38000")
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert "errors" not in await manager.answer(document, end="38000")


async def test_events_are_masked_by_role(api: Api, world: World) -> None:
    task_id = (await (await api.client(Role.MANAGER)).run("{ tasks { nodes { id } } }"))["tasks"]["nodes"][0]
    for role, number in ((Role.VIEWER, "+86138****8000"), (Role.MANAGER, "+8613800138000")):
        client: Client = await api.client(role)
        async with client.subscribe(TASK_UPDATED, **task_id) as events:
            task = (await events.next())["taskUpdated"]
        assert task["messages"]["nodes"][0] == {"number": number}
        assert (task["failedNumbersUrl"] is None) == (role is Role.VIEWER)
        cursor = (await client.run("{ tasks { changeCursor } }"))["tasks"]["changeCursor"]
        await world.create([NUMBERS[0]])
        async with client.subscribe(TASKS_CHANGED, since=cursor) as events:
            change = await events.next()
        assert change["tasksChanged"]["task"]["messages"]["nodes"] == [{"number": number}]


async def test_what_mutations_say_is_masked_too(api: Api, world: World) -> None:
    operator = await api.client(Role.OPERATOR)
    made_from = (
        await operator.run(
            "{ applications { nodes { id region signatures { nodes { id } } templates { nodes { id } } } } }"
        )
    )["applications"]["nodes"][0]
    preview = await operator.run(
        PREVIEW,
        input={
            "name": "Look",
            "applicationId": made_from["id"],
            "signatureId": made_from["signatures"]["nodes"][0]["id"],
            "templateId": made_from["templates"]["nodes"][0]["id"],
            "recipients": {"numbers": [BROKEN, NUMBERS[0], "138001380000000"]},
        },
    )
    assert preview["previewTask"]["preview"]["rejectedSample"]
    added = await operator.run(ADD_OPT_OUTS, input={"numbers": [BROKEN, "13900139002"]})
    assert added["addOptOuts"]["rejectedRows"]
    removed = await operator.run(REMOVE_OPT_OUTS, input={"numbers": [BROKEN]})
    assert removed["removeOptOuts"]["errors"]
    assert not shows_a_number(json.dumps([preview, added, removed]))
