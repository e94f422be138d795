"""What the API shows of replies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api.schema import global_ids
from domain import db, replies
from domain.ports import Reply
from domain.states import Role
from tests.integration.api_client import Api, Client, serving
from tests.integration.api_operations import prepare
from tests.integration.query_counting import counted_queries
from tests.integration.world import GATEWAY, phones

PHONE = "+8613800138000"
CHANNEL = "10690001"
"""The sender of the signature that `prepare` makes."""


def reply(text: str = "Yes", number: str = PHONE, destination: str = CHANNEL) -> Reply:
    return Reply(number, destination, text, datetime.now(UTC))


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(database_url, redis_url, tmp_path) as running:
        yield running


REPLIES = """query ($first: Int, $after: String, $filter: ReplyFilter) {
  replies(first: $first, after: $after, filter: $filter) {
    nodes { __typename id number sender text receivedAt optedOut application { id name } }
    totalCount pageInfo { endCursor hasNextPage } } }"""


async def listed(client: Client, **variables: object) -> dict[str, Any]:
    found: dict[str, Any] = (await client.run(REPLIES, **variables))["replies"]
    return found


async def test_replies_in_the_api(api: Api) -> None:
    made_from = await prepare(await api.client(Role.OPERATOR))
    came = [reply("Yes"), reply("退订", "+8613800138001")]
    await replies.store(GATEWAY, came, {"退订"})
    client = await api.client(Role.VIEWER)
    page = await listed(client)
    assert [(each["number"], each["text"], each["optedOut"]) for each in page["nodes"]] == [
        ("+8613800138001", "退订", True),
        (PHONE, "Yes", False),
    ]
    (_, found) = page["nodes"]
    assert found["sender"] == CHANNEL
    assert found["receivedAt"] == came[0].received_at.isoformat()
    assert found["application"] == {"id": made_from["applicationId"], "name": "Shop"}
    assert page["totalCount"] == 2
    first = await listed(client, first=1)
    assert first["pageInfo"]["hasNextPage"] is True
    assert (await listed(client, after=first["pageInfo"]["endCursor"]))["nodes"] == [found]
    for filter_, count in (
        ({"optedOut": True}, 1),
        ({"optedOut": None, "numberEndsWith": None}, 2),
        ({"numberEndsWith": "8000"}, 1),
    ):
        assert (await listed(client, filter=filter_))["totalCount"] == count
    assert (await client.refusal(REPLIES, filter={"numberEndsWith": "x"}))[0] == "BAD_USER_INPUT"
    assert (await client.refusal(REPLIES, after="x"))[0] == "BAD_USER_INPUT"
    assert (await client.refusal(REPLIES, first=101))[0] == "BAD_USER_INPUT"
    (opted,) = (await client.run("{ optOuts { nodes { number source } } }"))["optOuts"]["nodes"]
    assert opted == {"number": "+8613800138001", "source": "REPLY"}


NODE = "query ($id: ID!) { node(id: $id) { __typename id ... on Reply { text } } }"


async def test_a_reply_is_a_node_of_its_account_alone(api: Api) -> None:
    await prepare(await api.client(Role.OPERATOR))
    await replies.store(GATEWAY, [reply("Yes"), reply("lost", destination="1")], {"退订"})
    client = await api.client(Role.VIEWER)
    (found,) = (await listed(client))["nodes"]
    node = (await client.run(NODE, id=found["id"]))["node"]
    assert node == {"__typename": "Reply", "id": found["id"], "text": "Yes"}
    lost: int = await db.fetchval("SELECT id FROM reply WHERE text = 'lost'")
    assert (await client.run(NODE, id=global_ids.encode("Reply", lost)))["node"] is None
    outsider = await api.client(Role.OPERATOR, "Rival")
    assert (await outsider.run(NODE, id=found["id"]))["node"] is None
    assert (await listed(outsider))["totalCount"] == 0
    assert (await api.holding(None).refusal(REPLIES))[0] == "UNAUTHENTICATED"


async def test_a_page_of_replies_is_a_handful_of_queries(api: Api) -> None:
    await prepare(await api.client(Role.OPERATOR))
    await replies.store(GATEWAY, [reply(number=number) for number in phones(60)], {"退订"})
    client = await api.client(Role.VIEWER)
    async with counted_queries() as queries:
        page = await listed(client, first=60)
    assert {each["application"]["name"] for each in page["nodes"]} == {"Shop"}
    assert len(queries) < 8, queries
