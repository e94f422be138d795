"""Tokens, and that nothing of an account is seen from another; every field and role: see test_access_walk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from domain import accounts, db
from domain.states import Role
from tests.integration.api_client import Api, Client, serving
from tests.integration.api_operations import (
    CANCEL_TASK,
    CREATE_APPLICATION,
    CREATE_SIGNATURE,
    CREATE_TASK,
    CREATE_TEMPLATE,
    REVIEW_SIGNATURE,
    REVIEW_TEMPLATE,
    do,
    in_minutes,
    prepare,
)

VIEWER = "{ viewer { role account { id name timeZone currency } } }"
TASK_UPDATED = "subscription ($id: ID!) { taskUpdated(id: $id) { id } }"
TASKS_CHANGED = "subscription ($since: String) { tasksChanged(since: $since) { cursor kind taskId } }"
NODE = "query ($id: ID!) { node(id: $id) { __typename id } }"


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(database_url, redis_url, tmp_path) as running:
        yield running


async def make_task(client: Client, made_from: dict[str, str], **more: object) -> dict[str, Any]:
    recipients = {"numbers": ["13800138000"]}
    payload = await do(
        client, CREATE_TASK, **{"name": "Secret", "recipients": recipients, **made_from, **more}
    )
    task: dict[str, Any] = payload["task"]
    return task


# --- tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization", [None, "Bearer gsms_nobody", "Basic YTpi", "Bearer", "gsms_x", "Bearer \u00e9"]
)
async def test_without_a_good_token_nothing_is_read(api: Api, authorization: str | None) -> None:
    headers = {} if authorization is None else {b"Authorization": authorization.encode()}
    operations = (
        VIEWER,
        "{ tasks { totalCount } }",
        'mutation { deleteTask(input: {id: ""}) { deletedTaskId } }',
    )
    for document in operations:
        response = await api.http.post(f"{api.url}/graphql", json={"query": document}, headers=headers)
        answer = response.json()
        assert answer["data"] is None
        (error,) = answer["errors"]
        assert error["extensions"] == {"code": "UNAUTHENTICATED"}
        assert "Authorization: Bearer TOKEN" in error["message"]


async def test_the_schema_is_read_without_a_token(api: Api) -> None:
    found = await api.holding(None).run("{ __schema { queryType { name } } }")
    assert found["__schema"]["queryType"]["name"] == "Query"


async def test_expired_and_revoked_tokens(api: Api) -> None:
    expired = await accounts.create_token(
        "Acme", Role.VIEWER, expires_at=datetime.now(UTC) - timedelta(seconds=1)
    )
    revoked = await accounts.create_token("Acme", Role.VIEWER)
    await db.fetch("UPDATE access_token SET revoked_at = now() WHERE expires_at IS NULL")
    for token in (expired, revoked):
        code, message = await api.holding(token).refusal(VIEWER)
        assert code == "UNAUTHENTICATED"
        assert "expired or revoked" in message


async def test_the_viewer_is_who_the_token_speaks_for(api: Api) -> None:
    token = await accounts.create_token("Acme", Role.SENDER, time_zone="Europe/Madrid", currency="EUR")
    found = (await api.holding(token).run(VIEWER))["viewer"]
    assert found["role"] == "SENDER"
    account = found["account"]
    assert (account["name"], account["timeZone"], account["currency"]) == ("Acme", "Europe/Madrid", "EUR")
    node = await api.holding(token).run(NODE, id=account["id"])
    assert node["node"] == {"__typename": "Account", "id": account["id"]}


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"authorization": "Bearer gsms_nobody"},
        {"authorization": "Bearer \ud800"},
        {"authorization": 7},
        {"token": "x"},
    ],
)
async def test_a_socket_without_a_good_token_is_refused(api: Api, payload: dict[str, object]) -> None:
    async with api.holding(None).socket(payload) as socket:
        assert await socket.close_code() == 4403


async def test_a_socket_that_does_not_wait_for_its_acknowledgement_is_refused(api: Api) -> None:
    async with api.holding(None).socket({}) as socket:
        await socket.subscribe("1", TASKS_CHANGED, {})
        assert await socket.close_code() in (4401, 4403)


@pytest.mark.parametrize("name", ["authorization", "Authorization"])
async def test_a_socket_with_a_token(api: Api, name: str) -> None:
    token = (await api.client(Role.VIEWER)).token
    async with api.holding(None).socket({name: f"Bearer {token}"}) as socket:
        assert (await socket.receive())["type"] == "connection_ack"
        await socket.subscribe("1", VIEWER, {})
        message = await socket.receive()
        assert message["payload"]["data"]["viewer"]["role"] == "VIEWER"


# --- roles ----------------------------------------------------------------------------------------


async def test_an_operator_reviews_for_other_accounts(api: Api) -> None:
    manager = await api.client(Role.MANAGER)
    application = (await do(manager, CREATE_APPLICATION, name="A", region="CHINESE_MAINLAND"))["application"]
    signature = (
        await do(manager, CREATE_SIGNATURE, applicationId=application["id"], name="公司", type="PROMOTION")
    )["signature"]
    template = (
        await do(
            manager,
            CREATE_TEMPLATE,
            applicationId=application["id"],
            name="T",
            type="PROMOTION",
            content="Hi",
            signatureId=signature["id"],
        )
    )["template"]
    operator = await api.client(Role.OPERATOR, "Operations")
    reviewed = await do(
        operator, REVIEW_SIGNATURE, id=signature["id"], approve=True, channelNumber="10690001"
    )
    assert reviewed["signature"]["selectable"] is True
    assert (await do(operator, REVIEW_TEMPLATE, id=template["id"], approve=True))["template"][
        "active"
    ] is True


# --- the boundary between accounts ----------------------------------------------------------------


@pytest.fixture
async def theirs(api: Api) -> dict[str, str]:
    """The ids of everything another account has."""
    owner = await api.client(Role.OPERATOR, "Acme")
    made_from = await prepare(owner)
    task = await make_task(owner, made_from)
    later = await make_task(owner, made_from, sendAt=in_minutes(600))
    account = (await owner.run(VIEWER))["viewer"]["account"]
    connection = await owner.run("{ tasks { changeCursor pageInfo { endCursor } } }")
    return {
        **made_from,
        "accountId": account["id"],
        "taskId": task["id"],
        "scheduledId": later["id"],
        "messageId": task["messages"]["nodes"][0]["id"],
        "changeCursor": connection["tasks"]["changeCursor"],
    }


@pytest.fixture
async def outsider(api: Api) -> Client:
    """Somebody with every right in another account."""
    return await api.client(Role.OPERATOR, "Rival")


async def test_queries_do_not_see_another_account(outsider: Client, theirs: dict[str, str]) -> None:
    for name in ("accountId", "applicationId", "signatureId", "templateId", "taskId", "messageId"):
        assert (await outsider.run(NODE, id=theirs[name]))["node"] is None, name
    found = await outsider.run(
        """query ($task: ID!, $application: ID!) {
          task(id: $task) { id } application(id: $application) { id }
          applications { totalCount nodes { id } } tasks { totalCount nodes { id } }
          filtered: tasks(filter: {applicationId: $application}) { totalCount nodes { id } } }""",
        task=theirs["taskId"],
        application=theirs["applicationId"],
    )
    nothing = {"totalCount": 0, "nodes": []}
    assert found == {
        "task": None, "application": None, "applications": nothing, "tasks": nothing, "filtered": nothing,
    }  # fmt: skip
    own = (await do(outsider, CREATE_APPLICATION, name="Own", region="CHINESE_MAINLAND"))["application"]
    lists = "query ($id: ID!) { application(id: $id) { signatures { totalCount } templates { totalCount } } }"
    assert (await outsider.run(lists, id=own["id"]))["application"] == {
        "signatures": {"totalCount": 0}, "templates": {"totalCount": 0},
    }  # fmt: skip
    judged = "query ($id: ID!, $s: ID) { application(id: $id) { templates(signatureId: $s) { totalCount } } }"
    assert (await outsider.refusal(judged, id=own["id"], s=theirs["signatureId"]))[0] == "BAD_USER_INPUT"


async def test_subscriptions_do_not_show_another_account(
    api: Api, outsider: Client, theirs: dict[str, str]
) -> None:
    for task_id in (theirs["taskId"], "bm90aGluZw"):
        async with outsider.subscribe(TASK_UPDATED, id=task_id) as events:
            assert await events.refusal() == ("BAD_USER_INPUT", "There is no such task.")
    async with outsider.subscribe(TASKS_CHANGED, since=theirs["changeCursor"]) as events:
        assert (await events.refusal())[0] == "BAD_USER_INPUT"
    cursor = (await outsider.run("{ tasks { changeCursor } }"))["tasks"]["changeCursor"]
    async with outsider.subscribe(TASKS_CHANGED, since=cursor) as events:
        owner = await api.client(Role.SENDER, "Acme")
        await do(owner, CANCEL_TASK, id=theirs["scheduledId"])
        mine = await make_task(outsider, await prepare(outsider))
        change = (await events.next())["tasksChanged"]
        assert (change["kind"], change["taskId"]) == ("CREATED", mine["id"])
