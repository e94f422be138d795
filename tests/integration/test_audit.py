"""The audit log: each change has its entry, each entry its change, and nobody alters what is written."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from api.schema import global_ids, schema
from domain import accounts, audit, audit_reads, db, dispatch, tasks
from domain.audit import Actor, ActorKind, AuditAction, Origin
from domain.ports import ReceiptState
from domain.states import Role, TaskStatus
from tests.integration.api_client import Api, Client, data_of, serving
from tests.integration.api_operations import (
    ADD_OPT_OUTS,
    ASSOCIATE,
    CANCEL_TASK,
    CREATE_APPLICATION,
    CREATE_SIGNATURE,
    CREATE_TASK,
    CREATE_TEMPLATE,
    DELETE_TASK,
    PAUSE_TASK,
    PREVIEW_TASK,
    REMOVE_OPT_OUTS,
    RESCHEDULE_TASK,
    RESEND_FAILED,
    RESUME_TASK,
    REVIEW_SIGNATURE,
    REVIEW_TEMPLATE,
    SET_APPLICATION_SUSPENDED,
    SET_TEMPLATE_ACTIVE,
    STOP_TASK,
    in_minutes,
)
from tests.integration.conftest import Travel
from tests.integration.world import World, receipt

SET_SENDING_LIMITS = """mutation ($input: SetSendingLimitsInput!) { setSendingLimits(input: $input) {
  limits { dailyMessages } errors { code message path } } }"""
CREATE_TOKEN = """mutation ($input: CreateTokenInput!) { createToken(input: $input) {
  token { id name } secret errors { code message path } } }"""
REVOKE_TOKEN = """mutation ($input: RevokeTokenInput!) { revokeToken(input: $input) {
  token { id } errors { code message path } } }"""
AUDIT_LOG = """query ($first: Int, $after: String, $filter: AuditLogFilter) {
  auditLog(first: $first, after: $after, filter: $filter) {
    nodes { id at action actor { kind tokenId name role } objectType objectId details { name value }
            clientAddress userAgent requestId }
    totalCount pageInfo { endCursor hasNextPage } } }"""
NODE = "query ($id: ID!) { node(id: $id) { __typename id ... on AuditEntry { action } } }"
CHANGES_NOTHING = {"previewTask"}
"""Mutations that leave nothing behind but a list that is thrown away after an hour."""


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(
        database_url, redis_url, tmp_path, trusted_proxies="127.0.0.1", masked_roles="VIEWER"
    ) as running:
        yield running


@pytest.fixture
async def world(api: Api) -> World:
    return await World.make("Acme")


class Auditor:
    """Does things, and sees to it that each of them has exactly one entry of its own."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.done: dict[str, list[dict[str, Any]]] = {}
        """The entries by the mutation they are of."""

    async def do(self, document: str, **wanted: object) -> dict[str, Any]:
        """Do it; the payload."""
        newest = await db.fetchval("SELECT coalesce(max(id), 0) FROM audit_entry")
        request_id = uuid4().hex
        response = await self._client.http.post(
            f"{self._client.url}/graphql",
            json={"query": document, "variables": {"input": wanted}},
            headers={
                **self._client.headers,
                "User-Agent": "console/7",
                "X-Request-Id": request_id,
                "X-Forwarded-For": "198.51.100.7",
            },
        )
        ((name, payload),) = data_of(response.json()).items()
        assert payload["errors"] == [], payload
        rows = await db.fetch("SELECT * FROM audit_entry WHERE id > $1", newest)
        self.done.setdefault(name, []).extend(dict(row) for row in rows)
        assert len(rows) == (0 if name in CHANGES_NOTHING else 1), name
        for row in rows:
            assert (row["client_address"], row["user_agent"], row["request_id"]) == (
                "198.51.100.7",
                "console/7",
                request_id,
            )
        found: dict[str, Any] = payload
        return found


async def failed_task(world: World) -> str:
    task_id = await world.running(2)
    while (claim := await dispatch.claim(task_id, uuid4())) is not None:
        await world.hand_over(claim)
        await world.receive(
            *(
                receipt(claim, position, ReceiptState.FAILED, error_code="EXPIRED")
                for position in claim.numbers
            )
        )
    await world.advance(task_id)
    return global_ids.encode("Task", task_id)


async def do_everything(auditor: Auditor, world: World) -> None:
    """Every mutation once at least, with success."""
    application = (await auditor.do(CREATE_APPLICATION, name="Shop", region="CHINESE_MAINLAND"))[
        "application"
    ]
    other = (await auditor.do(CREATE_APPLICATION, name="Shop 2", region="CHINESE_MAINLAND"))["application"]
    signature = (
        await auditor.do(
            CREATE_SIGNATURE,
            applicationId=application["id"],
            name="测试公司",
            type="NOTIFICATION",
            channelNumber="10690001",
        )
    )["signature"]
    template = (
        await auditor.do(
            CREATE_TEMPLATE,
            applicationId=application["id"],
            name="Notice",
            type="NOTIFICATION",
            content="您的预约已确认。",
            signatureId=signature["id"],
        )
    )["template"]
    await auditor.do(REVIEW_SIGNATURE, id=signature["id"], approve=True)
    await auditor.do(REVIEW_TEMPLATE, id=template["id"], approve=True, note="fine")
    await auditor.do(SET_TEMPLATE_ACTIVE, id=template["id"], active=True)
    await auditor.do(ASSOCIATE, applicationId=other["id"], templateId=template["id"])
    await auditor.do(SET_APPLICATION_SUSPENDED, id=other["id"], suspended=True)
    await auditor.do(SET_APPLICATION_SUSPENDED, id=other["id"], suspended=False)
    made_from = {
        "applicationId": application["id"],
        "signatureId": signature["id"],
        "templateId": template["id"],
        "recipients": {"numbers": ["13800138000", "13800138001"]},
    }
    await auditor.do(PREVIEW_TASK, name="Look", **made_from)
    task = (await auditor.do(CREATE_TASK, name="News", sendAt=in_minutes(60), **made_from))["task"]
    await auditor.do(RESCHEDULE_TASK, id=task["id"], sendAt=in_minutes(90))
    await auditor.do(CANCEL_TASK, id=task["id"])
    await auditor.do(DELETE_TASK, id=task["id"])
    running = global_ids.encode("Task", await world.running(2))
    await auditor.do(PAUSE_TASK, id=running)
    await auditor.do(RESUME_TASK, id=running)
    await auditor.do(STOP_TASK, id=running)
    await auditor.do(RESEND_FAILED, taskId=await failed_task(world), name="Again")
    await auditor.do(ADD_OPT_OUTS, numbers=["13900139000", "13900139001"])
    await auditor.do(REMOVE_OPT_OUTS, numbers=["13900139000"])
    account = global_ids.encode("Account", world.viewer.account_id)
    token = (await auditor.do(CREATE_TOKEN, name="Console", role="SENDER"))["token"]
    await auditor.do(REVOKE_TOKEN, id=token["id"])
    await auditor.do(SET_SENDING_LIMITS, accountId=account, dailyMessages=1_000_000)


ACTIONS = {
    "createApplication": {AuditAction.APPLICATION_CREATED},
    "createSignature": {AuditAction.SIGNATURE_CREATED},
    "createTemplate": {AuditAction.TEMPLATE_CREATED},
    "reviewSignature": {AuditAction.SIGNATURE_REVIEWED},
    "reviewTemplate": {AuditAction.TEMPLATE_REVIEWED},
    "setTemplateActive": {AuditAction.TEMPLATE_SWITCHED},
    "associate": {AuditAction.ASSOCIATED},
    "setApplicationSuspended": {AuditAction.APPLICATION_SUSPENDED, AuditAction.APPLICATION_RESUMED},
    "createTask": {AuditAction.TASK_CREATED},
    "rescheduleTask": {AuditAction.TASK_RESCHEDULED},
    "cancelTask": {AuditAction.TASK_CANCELED},
    "deleteTask": {AuditAction.TASK_DELETED},
    "pauseTask": {AuditAction.TASK_PAUSED},
    "resumeTask": {AuditAction.TASK_RESUMED},
    "stopTask": {AuditAction.TASK_STOPPED},
    "resendFailed": {AuditAction.FAILED_RESENT},
    "addOptOuts": {AuditAction.OPT_OUTS_ADDED},
    "removeOptOuts": {AuditAction.OPT_OUTS_REMOVED},
    "createToken": {AuditAction.TOKEN_CREATED},
    "revokeToken": {AuditAction.TOKEN_REVOKED},
    "setSendingLimits": {AuditAction.SENDING_LIMITS_SET},
}


async def test_every_mutation_that_succeeds_has_its_entry(api: Api, world: World) -> None:
    client = await api.client(Role.OPERATOR)
    auditor = Auditor(client)
    await do_everything(auditor, world)
    mutations = schema._schema.mutation_type
    assert mutations is not None
    assert set(auditor.done) == set(mutations.fields), "a mutation is missing from this story"
    found = {name: {entry["action"] for entry in entries} for name, entries in auditor.done.items()}
    assert found == {**ACTIONS, **{name: set() for name in CHANGES_NOTHING}}
    token_id = await db.fetchval("SELECT id FROM access_token WHERE role = 'OPERATOR'")
    for entries in auditor.done.values():
        for entry in entries:
            assert (entry["actor_kind"], entry["actor_id"], entry["role"]) == ("TOKEN", token_id, "OPERATOR")
            assert entry["account_id"] == world.viewer.account_id
    texts = json.dumps([dict(row) for row in await db.fetch("SELECT details FROM audit_entry")])
    assert "139" not in texts
    assert "1380013" not in texts
    assert "预约" not in texts
    assert "gsms_" not in texts


async def test_a_named_token_is_told_by_its_name(api: Api, world: World) -> None:
    manager = await api.client(Role.MANAGER)
    made = await manager.run(CREATE_TOKEN, input={"name": "Console", "role": "MANAGER"})
    console = api.holding(made["createToken"]["secret"])
    await console.run(ADD_OPT_OUTS, input={"numbers": ["13900139000"]})
    (entry,) = (await console.run(AUDIT_LOG, filter={"actorName": "Console"}))["auditLog"]["nodes"]
    assert entry["actor"] == {
        "kind": "TOKEN",
        "tokenId": made["createToken"]["token"]["id"],
        "name": "Console",
        "role": "MANAGER",
    }


async def test_what_matters_is_told(api: Api, world: World) -> None:
    client = await api.client(Role.MANAGER)
    auditor = Auditor(client)
    task_id = global_ids.encode("Task", await world.create(2, after=timedelta(hours=1), name="Opening"))
    later = in_minutes(90)
    before = (await client.run("query ($id: ID!) { task(id: $id) { sendAt } }", id=task_id))["task"]["sendAt"]
    await auditor.do(RESCHEDULE_TASK, id=task_id, sendAt=later)
    await auditor.do(ADD_OPT_OUTS, numbers=["13900139000", "13900139001"])
    answer = (await client.run(AUDIT_LOG, first=2))["auditLog"]
    added, moved = answer["nodes"]
    assert added["details"] == [{"name": "added", "value": "2"}]
    assert (added["objectType"], added["objectId"]) == (None, None)
    assert (moved["objectType"], moved["objectId"]) == ("Task", task_id)
    times = {detail["name"]: detail["value"] for detail in moved["details"]}
    assert times.keys() == {"oldSendAt", "newSendAt"}
    assert times["oldSendAt"][:19] == before[:19]
    assert answer["totalCount"] == await audit_reads.count_entries(world.viewer.account_id)
    found = await client.run(NODE, id=moved["id"])
    assert found["node"] == {"__typename": "AuditEntry", "id": moved["id"], "action": "TASK_RESCHEDULED"}


async def test_refused_and_repeated_requests_leave_no_entry(api: Api, world: World) -> None:
    client = await api.client(Role.SENDER)
    before = await db.fetchval("SELECT count(*) FROM audit_entry")
    running = global_ids.encode("Task", await world.running(1))
    after = await db.fetchval("SELECT count(*) FROM audit_entry")
    assert after == before + 1
    for document in (CANCEL_TASK, DELETE_TASK, RESUME_TASK):
        ((_, payload),) = (await client.run(document, input={"id": running})).items()
        assert payload["errors"]
    with capture_logs() as logged:
        code, _ = await client.refusal(ADD_OPT_OUTS, input={"numbers": ["13900139000"]})
    assert code == "FORBIDDEN"
    (refusal,) = [line for line in logged if line["event"] == "refused_by_role"]
    assert (refusal["needed"], refusal["role"], refusal["account_id"]) == (
        "MANAGER",
        "SENDER",
        world.viewer.account_id,
    )
    assert await db.fetchval("SELECT count(*) FROM audit_entry") == after


async def test_what_changes_nothing_leaves_no_entry(api: Api, world: World) -> None:
    client = await api.client(Role.OPERATOR)
    numbers = {"numbers": ["13900139000"]}
    account = global_ids.encode("Account", world.viewer.account_id)
    assert (await client.run(ADD_OPT_OUTS, input=numbers))["addOptOuts"]["added"] == 1
    assert await accounts.create_account("Quiet", time_zone="Europe/Madrid", currency="EUR")
    before = await db.fetchval("SELECT count(*) FROM audit_entry")

    assert (await client.run(ADD_OPT_OUTS, input=numbers))["addOptOuts"]["added"] == 0
    assert (await client.run(REMOVE_OPT_OUTS, input={"numbers": ["13900139009"]}))["removeOptOuts"]
    assert (await client.run(SET_SENDING_LIMITS, input={"accountId": account}))["setSendingLimits"]["limits"]
    await accounts.create_account("Quiet", time_zone="Europe/Madrid", currency="EUR")
    assert await db.fetchval("SELECT count(*) FROM audit_entry") == before

    await accounts.create_account("Quiet", time_zone="Europe/Lisbon")
    newest = await db.fetchval("SELECT action FROM audit_entry ORDER BY id DESC LIMIT 1")
    assert newest == AuditAction.ACCOUNT_CHANGED
    assert await db.fetchval("SELECT count(*) FROM audit_entry") == before + 1


async def test_an_entry_goes_back_with_its_change(world: World) -> None:
    before = await db.fetchval("SELECT count(*) FROM audit_entry")
    task_id = await world.create(1, after=timedelta(hours=1))

    async def cancel_and_die() -> None:
        async with db.transaction():
            await tasks.cancel_task(world.viewer, task_id, world.bell)
            assert await db.fetchval("SELECT count(*) FROM audit_entry") == before + 2
            raise RuntimeError("died before the commit")

    with pytest.raises(RuntimeError, match="died"):
        await cancel_and_die()
    assert await db.fetchval("SELECT count(*) FROM audit_entry") == before + 1
    assert (await world.read(task_id)).status is TaskStatus.SCHEDULED


async def test_the_service_is_the_actor_of_what_its_rules_demand(world: World, travel: Travel) -> None:
    task_id = await world.create(1, after=timedelta(hours=1))
    await travel(timedelta(hours=26))
    assert await tasks.start_task(task_id, world.bell) is TaskStatus.CANCELED
    (entry, *_) = (await audit_reads.list_entries(world.viewer.account_id)).items
    assert (entry.action, entry.actor_kind, entry.role) == (
        AuditAction.TASK_CANCELED,
        ActorKind.SYSTEM,
        None,
    )
    assert entry.details == {"reason": "OVERDUE"}
    assert entry.client_address == ""


async def test_only_managers_of_the_account_read_it(api: Api, world: World) -> None:
    manager = await api.client(Role.MANAGER)
    entries = (await manager.run(AUDIT_LOG))["auditLog"]["nodes"]
    assert entries
    for role in (Role.VIEWER, Role.SENDER):
        client = await api.client(role)
        assert (await client.refusal(AUDIT_LOG))[0] == "FORBIDDEN"
        assert (await client.run(NODE, id=entries[0]["id"]))["node"] is None
    stranger = await api.client(Role.MANAGER, "Other")
    own = (await stranger.run(AUDIT_LOG))["auditLog"]["nodes"]
    assert {entry["action"] for entry in own} == {"ACCOUNT_CREATED", "TOKEN_CREATED"}
    assert (await stranger.run(NODE, id=entries[0]["id"]))["node"] is None


async def test_what_operators_do_is_in_the_log_of_the_account_concerned(api: Api, world: World) -> None:
    operator = await api.client(Role.OPERATOR, "Platform")
    template = global_ids.encode("Template", world.mainland.template_id)
    await Auditor(operator).do(REVIEW_TEMPLATE, id=template, approve=False, note="no longer")
    manager = await api.client(Role.MANAGER)
    (entry, *_) = (await manager.run(AUDIT_LOG, filter={"objectId": template}))["auditLog"]["nodes"]
    assert (entry["action"], entry["actor"]["role"]) == ("TEMPLATE_REVIEWED", "OPERATOR")
    assert entry["details"] == [{"name": "decision", "value": "REJECTED"}]
    own = (await operator.run(AUDIT_LOG, filter={"objectId": template}))["auditLog"]["nodes"]
    assert own == []


async def test_pages_stay_put_while_entries_are_added(api: Api, world: World) -> None:
    client = await api.client(Role.MANAGER)
    for _ in range(3):
        await world.create(1, after=timedelta(hours=1))
    whole = [entry["id"] for entry in (await client.run(AUDIT_LOG))["auditLog"]["nodes"]]
    seen: list[str] = []
    after = None
    while True:
        page = (await client.run(AUDIT_LOG, first=2, after=after))["auditLog"]
        seen += [entry["id"] for entry in page["nodes"]]
        await world.create(1, after=timedelta(hours=1))
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert seen == whole


async def test_filters(api: Api, world: World) -> None:
    client = await api.client(Role.MANAGER)
    task_id = await world.create(1, after=timedelta(hours=1))
    wanted = global_ids.encode("Task", task_id)
    await Auditor(client).do(CANCEL_TASK, id=wanted)

    async def actions(**chosen: object) -> list[str]:
        found = (await client.run(AUDIT_LOG, filter=chosen))["auditLog"]
        assert found["totalCount"] == len(found["nodes"])
        return [entry["action"] for entry in found["nodes"]]

    assert await actions(objectId=wanted) == ["TASK_CANCELED", "TASK_CREATED"]
    assert await actions(objectId=wanted, actionIn=["TASK_CREATED"]) == ["TASK_CREATED"]
    assert await actions(objectId=wanted, actorKindIn=["TOKEN"]) == ["TASK_CANCELED"]
    token_id = await db.fetchval("SELECT max(id) FROM access_token")
    assert await actions(tokenId=global_ids.encode("AccessToken", token_id)) == ["TASK_CANCELED"]
    assert await actions(objectId="nonsense") == []
    assert await actions(actorName="nobody") == []
    refusal = await client.refusal(AUDIT_LOG, filter={"actorName": "no\0body"})
    assert refusal == ("BAD_USER_INPUT", "No name has such characters.")
    assert await actions(actionIn=[]) == []
    moment = in_minutes(1)
    assert await actions(**{"from": moment}) == []
    assert len(await actions(to=moment)) > 2


async def test_what_is_done_over_a_socket_has_its_entry(api: Api, world: World) -> None:
    client = await api.client(Role.MANAGER)
    async with client.socket() as socket:
        assert (await socket.receive())["type"] == "connection_ack"
        await socket.subscribe("1", ADD_OPT_OUTS, {"input": {"numbers": ["13900139000"]}})
        assert (await socket.receive())["payload"]["data"]["addOptOuts"]["added"] == 1
    (entry, *_) = (await audit_reads.list_entries(world.viewer.account_id)).items
    assert (entry.action, entry.role) == (AuditAction.OPT_OUTS_ADDED, Role.MANAGER)
    assert entry.client_address == "127.0.0.1"
    assert entry.request_id


async def test_the_command_line_names_its_user(world: World) -> None:
    audit.acting(Actor(ActorKind.COMMAND_LINE, name="root"))
    with audit.coming_from(Origin()):
        await world.create(1)
    (entry, *_) = (await audit_reads.list_entries(world.viewer.account_id)).items
    assert (entry.actor_kind, entry.actor_name) == (ActorKind.COMMAND_LINE, "root")
