"""Tokens over the API: made, listed, revoked, noted when used; and what their end does to open sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from api import sessions
from api.token_uses import TokenUses
from domain import access, accounts, db
from domain.states import Role
from tests.integration.api_client import Api, Client, serving
from tests.integration.api_operations import (
    CREATE_APPLICATION,
    CREATE_SIGNATURE,
    CREATE_TEMPLATE,
    REVIEW_SIGNATURE,
    SET_APPLICATION_SUSPENDED,
    do,
    refused,
)
from tests.integration.conftest import Travel
from tests.integration.test_cli import groupsms
from tests.integration.world import eventually

CREATE_TOKEN = """mutation ($input: CreateTokenInput!) { createToken(input: $input) {
  secret token { id name role createdBy createdAt expiresAt revokedAt lastUsedAt }
  errors { code message path } } }"""
REVOKE_TOKEN = """mutation ($input: RevokeTokenInput!) { revokeToken(input: $input) {
  token { id revokedAt } errors { code message path } } }"""
TOKENS = """query ($first: Int, $after: String) { tokens(first: $first, after: $after) {
  totalCount nodes { id name role } pageInfo { hasNextPage endCursor } } }"""
NODE = "query ($id: ID!) { node(id: $id) { id ... on AccessToken { name } } }"
TASKS_CHANGED = "subscription { tasksChanged { kind } }"
PENDING = """query ($first: Int, $after: String) { pendingReviews(first: $first, after: $after) {
  totalCount pageInfo { hasNextPage endCursor }
  nodes { since account { name } subject {
    ... on Signature { __typename id name } ... on Template { __typename id name } } } } }"""


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(database_url, redis_url, tmp_path) as running:
        yield running


async def make(
    api: Api, client: Client, role: str = "SENDER", **wanted: object
) -> tuple[dict[str, Any], Client]:
    """A token made over the API, and whoever holds it."""
    made = await do(client, CREATE_TOKEN, **{"name": "Deploy", "role": role, **wanted})
    return made["token"], api.holding(made["secret"])


# --- making, listing, revoking --------------------------------------------------------------------


async def test_a_manager_makes_tokens_for_others(api: Api) -> None:
    boss = api.holding(await accounts.create_token("Acme", Role.MANAGER, name="Boss"))
    token, holder = await make(api, boss, "SENDER")
    assert (token["name"], token["role"], token["createdBy"]) == ("Deploy", "SENDER", "Boss")
    assert (token["expiresAt"], token["revokedAt"], token["lastUsedAt"]) == (None, None, None)
    assert (await holder.run("{ viewer { role account { name } } }"))["viewer"] == {
        "role": "SENDER", "account": {"name": "Acme"},
    }  # fmt: skip
    first = (await boss.run(TOKENS, first=1))["tokens"]
    assert (first["totalCount"], first["nodes"][0]["id"]) == (2, token["id"])
    second = (await boss.run(TOKENS, first=1, after=first["pageInfo"]["endCursor"]))["tokens"]
    assert (second["nodes"][0]["name"], second["pageInfo"]["hasNextPage"]) == ("Boss", False)
    assert (await boss.run(NODE, id=token["id"]))["node"] == {"id": token["id"], "name": "Deploy"}
    assert (await holder.run(NODE, id=token["id"]))["node"] is None
    secrets = await db.fetch("SELECT details::text FROM audit_entry WHERE action = 'TOKEN_CREATED'")
    assert len(secrets) == 2
    assert holder.token is not None
    assert all(holder.token not in row["details"] for row in secrets)


async def test_what_a_token_may_not_be(api: Api) -> None:
    boss = await api.client(Role.MANAGER)
    wrong: tuple[tuple[dict[str, object], str], ...] = (
        ({"name": "Root", "role": "OPERATOR"}, "role"),
        ({"name": " ", "role": "VIEWER"}, "name"),
        ({"name": "a\tb", "role": "VIEWER"}, "name"),
        ({"name": "Late", "role": "VIEWER", "expiresAt": "2019-11-25T08:00:00Z"}, "expiresAt"),
    )
    for wanted, field in wrong:
        (error,) = await refused(boss, CREATE_TOKEN, **wanted)
        assert (error["code"], error["path"]) == ("INVALID", ["input", field])
    assert await db.fetchval("SELECT count(*) FROM access_token") == 1


async def test_a_token_expires_by_the_databases_clock(api: Api, travel: Travel) -> None:
    boss = await api.client(Role.MANAGER)
    in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    token, holder = await make(api, boss, expiresAt=in_an_hour)
    assert (await holder.run("{ viewer { expiresAt } }"))["viewer"]["expiresAt"] == token["expiresAt"]
    await travel(timedelta(hours=1))
    assert (await holder.refusal("{ viewer { role } }"))[0] == "UNAUTHENTICATED"


async def test_a_revoked_token_opens_nothing_and_stays_listed(api: Api) -> None:
    boss = await api.client(Role.MANAGER)
    token, holder = await make(api, boss)
    revoked = (await do(boss, REVOKE_TOKEN, id=token["id"]))["token"]
    assert (await holder.refusal("{ viewer { role } }"))[0] == "UNAUTHENTICATED"
    assert (await do(boss, REVOKE_TOKEN, id=token["id"]))["token"] == revoked
    assert (await boss.run(TOKENS))["tokens"]["totalCount"] == 2
    assert await db.fetchval("SELECT count(*) FROM audit_entry WHERE action = 'TOKEN_REVOKED'") == 1


async def test_nobody_revokes_more_than_they_may_do_or_in_another_account(api: Api) -> None:
    boss, operator = await api.client(Role.MANAGER), await api.client(Role.OPERATOR)
    ids = {node["role"]: node["id"] for node in (await boss.run(TOKENS))["tokens"]["nodes"]}
    (error,) = await refused(boss, REVOKE_TOKEN, id=ids["OPERATOR"])
    assert (error["code"], error["path"]) == ("INVALID", ["input", "id"])
    rival = await api.client(Role.OPERATOR, "Rival")
    assert await refused(rival, REVOKE_TOKEN, id=ids["MANAGER"]) == await refused(
        rival, REVOKE_TOKEN, id="bm90aGluZw"
    )
    assert (await rival.run(NODE, id=ids["MANAGER"]))["node"] is None
    await do(operator, REVOKE_TOKEN, id=ids["MANAGER"])
    assert (await boss.refusal(TOKENS))[0] == "UNAUTHENTICATED"


async def test_the_last_use_is_noted_once_a_minute(api: Api, travel: Travel) -> None:
    client = await api.client(Role.VIEWER)
    assert client.token is not None
    viewer = await access.viewer_of(client.token)
    assert viewer is not None
    uses = TokenUses()

    async def used() -> datetime | None:
        uses.note(viewer)
        await uses.write()
        return await db.fetchval("SELECT last_used_at FROM access_token")  # type: ignore[no-any-return]

    first = await used()
    assert first is not None
    assert await used() == first
    await travel(timedelta(minutes=2))
    second = await used()
    assert second is not None
    assert second > first


async def test_requests_are_noted_as_uses(database_url: str, redis_url: str, tmp_path: Path) -> None:
    async with serving(database_url, redis_url, tmp_path) as api:
        await (await api.client(Role.VIEWER)).run("{ viewer { role } }")
        await api.client(Role.SENDER)
    async with db.connected(database_url):
        rows = await db.fetch("SELECT role, last_used_at IS NOT NULL AS used FROM access_token ORDER BY id")
    assert [tuple(row) for row in rows] == [("VIEWER", True), ("SENDER", False)]


# --- open sockets ---------------------------------------------------------------------------------


async def test_revoking_closes_the_sockets_of_just_that_token(api: Api) -> None:
    boss = await api.client(Role.MANAGER)
    token, holder = await make(api, boss)
    async with holder.socket() as theirs, boss.socket() as ours:
        for socket in (theirs, ours):
            assert (await socket.receive())["type"] == "connection_ack"
        await theirs.subscribe("1", TASKS_CHANGED, {})
        await do(boss, REVOKE_TOKEN, id=token["id"])
        # Told over the bus: long before the database is asked in any case. No "complete" comes before.
        async with asyncio.timeout(sessions.LOOK_AFTER / 2):
            assert await theirs.close_code() == 4403
        assert theirs.connection.close_reason == "Forbidden: the token was revoked"
        await ours.subscribe("1", "{ viewer { role } }", {})
        assert (await ours.receive())["type"] == "next"


async def test_the_command_line_lists_and_revokes_too(api: Api) -> None:
    holder = await api.client(Role.OPERATOR, "Acme")
    stores = {"database_url": api.database_url, "redis_url": api.redis_url}
    async with holder.socket() as socket:
        assert (await socket.receive())["type"] == "connection_ack"
        listed = await asyncio.to_thread(groupsms, "token", "list", "--account", "Acme", **stores)
        number, role, name, made, *_ = listed.stdout.rstrip("\n").split("\t")
        assert (role, name, made[:5]) == ("OPERATOR", "(no name)", "made ")
        done = await asyncio.to_thread(groupsms, "token", "revoke", "--account", "Acme", number, **stores)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert await socket.close_code() == 4403


async def test_without_the_bus_a_revocation_is_only_noticed_later(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LOOK_AFTER", 0.1)
    first = await api.client(Role.VIEWER)
    token, holder = await make(api, await api.client(Role.MANAGER))
    await do(await api.client(Role.MANAGER), REVOKE_TOKEN, id=token["id"])  # wakes the watch: now it is quick
    assert holder.token
    async with first.socket() as socket:
        assert (await socket.receive())["type"] == "connection_ack"
        await db.fetch("UPDATE access_token SET revoked_at = now() WHERE role = 'VIEWER'")
        assert await socket.close_code() == 4403


async def test_a_token_that_expires_closes_its_socket_and_a_fresh_one_goes_on(api: Api) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    holder = api.holding(await accounts.create_token("Acme", Role.SENDER, expires_at=soon))
    async with holder.socket() as socket:
        assert (await socket.receive())["type"] == "connection_ack"
        await socket.subscribe("1", TASKS_CHANGED, {})
        assert await socket.close_code() == 4403
        assert socket.connection.close_reason == "Forbidden: the token has expired"
    async with holder.socket() as socket:
        assert await socket.close_code() == 4403
    fresh = api.holding(await accounts.create_token("Acme", Role.SENDER))
    async with fresh.subscribe(TASKS_CHANGED):
        pass


async def test_an_old_socket_is_asked_to_come_again(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with serving(database_url, redis_url, tmp_path, session_seconds=1) as api:
        client = await api.client(Role.VIEWER)
        async with client.socket() as socket:
            assert (await socket.receive())["type"] == "connection_ack"
            await socket.subscribe("1", TASKS_CHANGED, {})
            assert await socket.close_code() == 1012


async def test_a_mutation_under_way_is_answered_before_the_socket_is_closed(api: Api) -> None:
    boss = await api.client(Role.MANAGER)
    application = (await do(boss, CREATE_APPLICATION, name="A", region="INTERNATIONAL"))["application"]
    wanted = {"id": application["id"], "suspended": True}
    token, holder = await make(api, boss, "MANAGER")
    async with holder.socket() as socket:
        assert (await socket.receive())["type"] == "connection_ack"
        await socket.subscribe("watch", TASKS_CHANGED, {})
        blocker = await asyncpg.connect(api.database_url)
        async with blocker.transaction():
            await blocker.execute("SELECT FROM application FOR UPDATE")
            await socket.subscribe("change", SET_APPLICATION_SUSPENDED, {"input": wanted})
            await eventually(somebody_waits)
            await do(boss, REVOKE_TOKEN, id=token["id"])
        await blocker.close()
        answer = await socket.receive()
        assert (answer["id"], answer["type"]) == ("change", "next")
        assert answer["payload"]["data"]["setApplicationSuspended"]["errors"] == []
        assert await socket.receive() == {"id": "change", "type": "complete"}
        assert await socket.close_code() == 4403


async def somebody_waits() -> bool:
    """Whether a connection to this database waits for a lock."""
    waiting: int = await db.fetchval(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return waiting > 0


# --- what waits for review ------------------------------------------------------------------------


async def test_an_operator_finds_what_waits_in_all_accounts(api: Api) -> None:
    ids = []
    for account, name in (("Acme", "公司"), ("Rival", "对手"), ("Acme", "商店")):
        manager = await api.client(Role.MANAGER, account)
        application = (await do(manager, CREATE_APPLICATION, name="A", region="CHINESE_MAINLAND"))[
            "application"
        ]
        made = {"applicationId": application["id"], "type": "PROMOTION"}
        ids.append((await do(manager, CREATE_SIGNATURE, name=name, **made))["signature"]["id"])
        template = await do(manager, CREATE_TEMPLATE, name=name, content="Hi", universal=True, **made)
        ids.append(template["template"]["id"])
    operator = await api.client(Role.OPERATOR, "Operations")
    found: list[dict[str, Any]] = []
    after = None
    while True:
        page = (await operator.run(PENDING, first=2, after=after))["pendingReviews"]
        assert page["totalCount"] == 6
        found += page["nodes"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert [each["subject"]["id"] for each in found] == ids
    assert [each["account"]["name"] for each in found] == ["Acme"] * 2 + ["Rival"] * 2 + ["Acme"] * 2
    await do(operator, REVIEW_SIGNATURE, id=ids[2], approve=True)
    left = (await operator.run(PENDING))["pendingReviews"]
    assert [each["subject"]["id"] for each in left["nodes"]] == ids[:2] + ids[3:]
    assert (await operator.run("{ applications { totalCount } }"))["applications"]["totalCount"] == 0
    code, _ = await operator.refusal(PENDING, after="bm90aGluZw")
    assert code == "BAD_USER_INPUT"
