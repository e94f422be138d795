"""Lists: pages, orders, filters, nodes."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLObjectType

from api.schema import global_ids, schema
from domain import receipts, replies
from domain.paging import encode_cursor
from domain.ports import ReceiptState, Reply
from tests.integration.api_client import Api, Client, serving
from tests.integration.api_operations import CREATE_APPLICATION, do
from tests.integration.query_counting import counted_queries
from tests.integration.world import LONG_TEXT, World, mainland, phones, receipt

TASKS = """query ($first: Int, $after: String, $filter: TaskFilter, $orderBy: TaskOrder) {
  tasks(first: $first, after: $after, filter: $filter, orderBy: $orderBy) {
    edges { cursor node { id } } nodes { id name }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount } }"""


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(database_url, redis_url, tmp_path) as running:
        yield running


@pytest.fixture
async def world(api: Api) -> World:
    """The account of the clients here."""
    return await World.make("Acme")


@pytest.fixture
async def client(api: Api, world: World) -> Client:
    return await api.client()


async def names(client: Client, **variables: object) -> list[str]:
    return [node["name"] for node in (await client.run(TASKS, **variables))["tasks"]["nodes"]]


async def test_pages_stay_put_while_tasks_are_added(client: Client, world: World) -> None:
    for number in range(5):
        await world.create(1, name=f"Task {number}")
    first = (await client.run(TASKS, first=2))["tasks"]
    assert [node["name"] for node in first["nodes"]] == ["Task 4", "Task 3"]
    assert first["totalCount"] == 5
    assert [edge["node"]["id"] for edge in first["edges"]] == [node["id"] for node in first["nodes"]]
    assert first["pageInfo"] == {
        "hasNextPage": True, "hasPreviousPage": False,
        "startCursor": first["edges"][0]["cursor"], "endCursor": first["edges"][1]["cursor"],
    }  # fmt: skip
    await world.create(1, name="Newer")
    second = (await client.run(TASKS, first=2, after=first["pageInfo"]["endCursor"]))["tasks"]
    assert [node["name"] for node in second["nodes"]] == ["Task 2", "Task 1"]
    assert second["pageInfo"]["hasPreviousPage"] is True
    last = (await client.run(TASKS, first=2, after=second["pageInfo"]["endCursor"]))["tasks"]
    assert [node["name"] for node in last["nodes"]] == ["Task 0"]
    assert last["pageInfo"]["hasNextPage"] is False
    assert last["totalCount"] == 6


async def test_orders_and_filters(client: Client, world: World) -> None:
    for name, materials in (
        ("beta", world.mainland),
        ("Alpha", world.international),
        ("gamma", world.mainland),
    ):
        numbers = phones(1) if materials is world.mainland else ["+34600000001"]
        await world.create(numbers, name=name, materials=materials)
    assert await names(client) == ["gamma", "Alpha", "beta"]
    assert await names(client, orderBy={"field": "CREATED_AT", "direction": "ASC"}) == [
        "beta",
        "Alpha",
        "gamma",
    ]
    assert set(await names(client, orderBy={"field": "NAME", "direction": "ASC"})) == {
        "Alpha",
        "beta",
        "gamma",
    }
    assert await names(client, orderBy={"field": "SEND_AT", "direction": "DESC"}) == [
        "gamma",
        "Alpha",
        "beta",
    ]
    assert await names(client, filter={"nameContains": "ALPH"}) == ["Alpha"]
    assert await names(client, filter={"nameContains": None}) == ["gamma", "Alpha", "beta"]
    assert await names(client, filter={"statusIn": ["SCHEDULED"]}) == ["gamma", "Alpha", "beta"]
    assert await names(client, filter={"statusIn": ["SENT", "COMPLETED"]}) == []
    assert await names(client, filter={"statusIn": []}) == []
    assert await names(client, filter={"createdTo": "2020-01-01T00:00:00Z"}) == []
    assert await names(client, filter={"createdFrom": "2020-01-01T00:00:00Z"}) == ["gamma", "Alpha", "beta"]
    applications = (await client.run("{ applications { nodes { id name } } }"))["applications"]["nodes"]
    abroad = next(found["id"] for found in applications if found["name"] == "International")
    assert await names(client, filter={"applicationId": abroad}) == ["Alpha"]
    assert await names(client, filter={"applicationId": "nothing"}) == []


@pytest.mark.parametrize(
    ("variables", "part"),
    [
        ({"first": 0}, "first must be 1 to 100"),
        ({"first": 101}, "first must be 1 to 100"),
        ({"after": "garbage"}, "after is not a cursor"),
        ({"after": encode_cursor("tasks:CREATED_AT:desc", ["yesterday", 1])}, "after is not a cursor"),
        (
            {"after": encode_cursor("tasks:CREATED_AT:desc", ["2020-01-01T00:00:00Z", 2**63])},
            "after is not a",
        ),
        ({"filter": {"nameContains": "\0"}}, "No name has such characters"),
        ({"filter": {"applicationId": global_ids.encode("Application", 2**62)}}, None),
        ({"after": base64.urlsafe_b64encode(b"[" * 100_000).decode()}, "after is not a cursor"),
        ({"after": ""}, None),
        ({"first": None}, None),
    ],
)
async def test_pages_that_cannot_be_had(
    client: Client, variables: dict[str, object], part: str | None
) -> None:
    if part is None:
        assert await names(client, **variables) == []
        return
    code, message = await client.refusal(TASKS, **variables)
    assert code == "BAD_USER_INPUT"
    assert part in message


async def test_a_cursor_belongs_to_its_order(client: Client, world: World) -> None:
    await world.create(1)
    cursor = (await client.run(TASKS))["tasks"]["pageInfo"]["endCursor"]
    code, message = await client.refusal(TASKS, after=cursor, orderBy={"field": "NAME", "direction": "ASC"})
    assert (code, "in this order" in message) == ("BAD_USER_INPUT", True)


async def test_applications_come_in_pages(client: Client) -> None:
    await do(client, CREATE_APPLICATION, name="Third", region="INTERNATIONAL")
    pages = """query ($after: String) { applications(first: 2, after: $after) {
      nodes { name signatures { nodes { name } } } pageInfo { endCursor hasNextPage } totalCount } }"""
    first = (await client.run(pages))["applications"]
    assert [node["name"] for node in first["nodes"]] == ["Mainland", "International"]
    assert first["totalCount"] == 3
    second = (await client.run(pages, after=first["pageInfo"]["endCursor"]))["applications"]
    assert [node["name"] for node in second["nodes"]] == ["Third"]


async def test_resources_of_the_application_come_first(client: Client, world: World) -> None:
    other = await mainland(world.viewer)
    pages = """query ($id: ID!, $after: String) { application(id: $id) {
      signatures(first: 1, after: $after) { nodes { selectable } pageInfo { endCursor hasNextPage } } } }"""
    applications = (await client.run("{ applications { nodes { id } } }"))["applications"]["nodes"]
    first = (await client.run(pages, id=applications[-1]["id"]))["application"]["signatures"]
    assert first["nodes"][0]["selectable"] is True
    after = first["pageInfo"]["endCursor"]
    second = (await client.run(pages, id=applications[-1]["id"], after=after))["application"]["signatures"]
    assert second["nodes"][0]["selectable"] is False
    assert second["pageInfo"]["hasNextPage"] is False
    assert other.signature_id is not None
    code, _ = await client.refusal(pages, id=applications[0]["id"], after=after)
    assert code == "BAD_USER_INPUT"


MESSAGES = """query ($id: ID!, $first: Int, $after: String, $filter: MessageFilter) { task(id: $id) {
  messages(first: $first, after: $after, filter: $filter) {
    nodes { id smsId number result handover receivedAt
            failure { code cause advice billed mayPass }
            segments { smsId index total result gatewayMessageId errorCode receivedAt } }
    pageInfo { endCursor hasNextPage } totalCount } } }"""


async def test_messages_with_their_segments(client: Client, world: World) -> None:
    long = await mainland(world.viewer, content=LONG_TEXT)
    task_id = await world.running(3, materials=long)
    claim = await world.claim(task_id)
    await world.hand_over(claim)
    failed = receipt(claim, 2, ReceiptState.FAILED, error_code="BLACK")
    await world.receive(*(receipt(claim, 1, segment=index) for index in (1, 2, 3)), failed)
    id_ = (await client.run("{ tasks { nodes { id } } }"))["tasks"]["nodes"][0]["id"]
    found = (await client.run(MESSAGES, id=id_))["task"]["messages"]
    delivered, failed_message, unknown = found["nodes"]
    assert [message["result"] for message in found["nodes"]] == ["DELIVERED", "FAILED", "UNKNOWN"]
    assert delivered["receivedAt"] is not None
    assert delivered["failure"] is None
    assert failed_message["failure"]["code"] == "BLACK"
    assert failed_message["failure"]["cause"] == "BLOCKED"
    assert failed_message["failure"]["advice"]
    assert unknown["receivedAt"] is None
    for message in found["nodes"]:
        assert [segment["index"] for segment in message["segments"]] == [1, 2, 3]
        assert {(segment["smsId"], segment["total"]) for segment in message["segments"]} == {
            (message["smsId"], 3)
        }
    assert [segment["result"] for segment in failed_message["segments"]] == ["FAILED", "UNKNOWN", "UNKNOWN"]
    assert len({message["smsId"] for message in found["nodes"]}) == 3
    by_id = "query ($id: ID!) { node(id: $id) { id ... on Message { smsId number result } } }"
    node = await client.run(by_id, id=failed_message["id"])
    assert node["node"] == {
        "id": failed_message["id"], "smsId": failed_message["smsId"], "number": failed_message["number"],
        "result": "FAILED",
    }  # fmt: skip


async def test_messages_are_paged_and_filtered(client: Client, world: World) -> None:
    task_id = await world.create(3)
    id_ = (await client.run("{ tasks { nodes { id } } }"))["tasks"]["nodes"][0]["id"]

    async def page(**variables: object) -> dict[str, Any]:
        found: dict[str, Any] = (await client.run(MESSAGES, id=id_, **variables))["task"]["messages"]
        return found

    first = await page(first=2)
    assert (len(first["nodes"]), first["totalCount"], first["pageInfo"]["hasNextPage"]) == (2, 3, True)
    (third,) = (await page(after=first["pageInfo"]["endCursor"]))["nodes"]
    assert third["segments"] == []
    (found,) = (await page(filter={"numberEndsWith": "00000002"}))["nodes"]
    assert found["number"] == third["number"]
    assert (await page(filter={"resultIn": ["DELIVERED"]}))["totalCount"] == 0
    assert (await page(filter={"resultIn": ["WAITING"]}))["totalCount"] == 3
    code, message = await client.refusal(MESSAGES, id=id_, filter={"numberEndsWith": "002"})
    assert (code, "4 to 15 digits" in message) == ("BAD_USER_INPUT", True)
    assert await receipts.apply_left_over(0) == set()
    assert (await world.read(task_id)).counts.waiting == 3


async def test_rejected_rows_are_paged_and_filtered(client: Client, world: World) -> None:
    await world.create(["13800138000", "nobody", "13800138000", "no one"])
    document = """query ($reason: RowRejection, $after: String) { tasks { nodes {
      rejectedRows(first: 1, reason: $reason, after: $after) {
        nodes { row } totalCount pageInfo { endCursor } } } } }"""

    async def page(**variables: object) -> dict[str, Any]:
        (task,) = (await client.run(document, **variables))["tasks"]["nodes"]
        found: dict[str, Any] = task["rejectedRows"]
        return found

    first = await page(reason="NOT_A_NUMBER")
    assert (first["nodes"], first["totalCount"]) == ([{"row": 2}], 2)
    assert (await page(reason="NOT_A_NUMBER", after=first["pageInfo"]["endCursor"]))["nodes"] == [{"row": 4}]
    assert (await page())["totalCount"] == 3


async def test_a_list_of_tasks_is_a_handful_of_queries(client: Client, world: World) -> None:
    for number in range(12):
        await world.create(2, name=f"Task {number}")
    document = """{ tasks { nodes { application { name } signature { name selectable }
      template { content selectable signature { name } } } } }"""
    async with counted_queries() as queries:
        found = (await client.run(document))["tasks"]["nodes"]
    assert len(found) == 12
    assert {node["signature"]["selectable"] for node in found} == {True}
    assert "FROM task" in " ".join(queries)
    assert len(queries) < 15, queries


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "nothing",
        "VGFzazox",
        "VGFzazoxLjE",
        "TWVzc2FnZTox",
        "TWVzc2FnZToxLjE",
        "QWNjb3VudDo5OTk",
        "UXVlcnk6MQ",
    ],
)
async def test_a_node_that_is_not_there(client: Client, wrong: str) -> None:
    assert (await client.run("query ($id: ID!) { node(id: $id) { id } }", id=wrong))["node"] is None


async def test_every_kind_of_node_is_found_by_its_id(client: Client, world: World) -> None:
    await world.create(1)
    await replies.store("default", [Reply("+8613800138000", "10690001", "Yes", datetime.now(UTC))], ())
    found = await client.run(
        """{ viewer { account { id } } applications { nodes { id signatures { nodes { id } }
             templates { nodes { id } } } } tasks { nodes { id messages { nodes { id } } } }
             replies { nodes { id } } tokens { nodes { id } } auditLog { nodes { id } } }"""
    )
    application = found["applications"]["nodes"][0]
    task = found["tasks"]["nodes"][0]
    ids = {
        "Account": found["viewer"]["account"]["id"],
        "Application": application["id"],
        "Signature": application["signatures"]["nodes"][0]["id"],
        "Template": application["templates"]["nodes"][0]["id"],
        "Task": task["id"],
        "Message": task["messages"]["nodes"][0]["id"],
        "Reply": found["replies"]["nodes"][0]["id"],
        "AccessToken": found["tokens"]["nodes"][0]["id"],
        "AuditEntry": found["auditLog"]["nodes"][0]["id"],
    }
    assert ids.keys() == {
        name
        for name, type_ in schema._schema.type_map.items()
        if isinstance(type_, GraphQLObjectType) and "Node" in {face.name for face in type_.interfaces}
    }
    for name, id_ in ids.items():
        node = (await client.run("query ($id: ID!) { node(id: $id) { __typename id } }", id=id_))["node"]
        assert node == {"__typename": name, "id": id_}
    selectable = """query ($id: ID!) { node(id: $id) {
      ... on Signature { selectable } ... on Template { selectable } } }"""
    assert (await client.run(selectable, id=ids["Signature"]))["node"] == {"selectable": True}
    assert (await client.run(selectable, id=ids["Template"]))["node"] == {"selectable": True}
