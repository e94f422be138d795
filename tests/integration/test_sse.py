"""Operations over server-sent events, as the graphql-sse protocol has them."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from api import sse
from api.schema import following as followed
from api.schema import global_ids
from domain import access, db, tasks
from tests.integration.api_client import WITHIN, Api, Client, serving
from tests.integration.event_stream import following
from tests.integration.query_counting import counted_queries
from tests.integration.world import World

HOURS = timedelta(hours=3)
TASK_UPDATED = "subscription ($id: ID!) { taskUpdated(id: $id) { revision status application { name } } }"
MANY = 20


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    # Room for the long documents that make large events.
    async with serving(
        database_url, redis_url, tmp_path, query_aliases=10_000, query_tokens=50_000
    ) as running:
        yield running


@pytest.fixture
async def world(api: Api) -> World:
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
    monkeypatch.setattr(followed, "REREAD_AFTER", 0.05)
    monkeypatch.setattr(followed, "BETWEEN_READS", 0.02)


async def touch(key: str) -> int:
    """Change a task; its revision."""
    revision: int = await db.fetchval(
        "UPDATE task SET revision = revision + 1 WHERE id = $1 RETURNING task_revision(task)",
        global_ids.key_of("Task", key),
    )
    return revision


async def test_a_task_is_followed_to_its_end(client: Client, world: World, key: str) -> None:
    async with following(client, TASK_UPDATED, id=key) as events:
        headers = events.response.headers
        assert headers["cache-control"] == "no-store, no-transform"
        assert headers["x-accel-buffering"] == "no"
        assert "content-length" not in headers
        first = await events.next()
        assert first["data"]["taskUpdated"]["status"] == "SCHEDULED"
        assert first["extensions"]["cost"]["requested"] == 5
        await tasks.cancel_task(world.viewer, global_ids.key_of("Task", key), world.bell)
        assert (await events.data())["taskUpdated"]["status"] == "CANCELED"
        assert await events.rest() == ["complete"]


async def test_changes_are_replayed(client: Client, world: World) -> None:
    cursor = (await client.run("{ tasks { changeCursor } }"))["tasks"]["changeCursor"]
    task_id = await world.create(1, after=HOURS)
    document = "subscription ($since: String) { tasksChanged(since: $since) { kind taskId } }"
    async with following(client, document, since=cursor) as events:
        assert (await events.data())["tasksChanged"] == {
            "kind": "CREATED", "taskId": global_ids.encode("Task", task_id),
        }  # fmt: skip


async def test_queries_and_mutations_have_one_event(client: Client) -> None:
    for document in ("{ viewer { role } }", "mutation { removeOptOuts(input: {numbers: []}) { removed } }"):
        async with following(client, document) as events:
            assert (await events.next())["data"]
            assert await events.rest() == ["complete"]


WRONG = [
    ("{", "BAD_USER_INPUT"),
    ("", "BAD_USER_INPUT"),
    ("{ nope }", "BAD_USER_INPUT"),
    ("query a { viewer { role } } query a { viewer { role } }", "BAD_USER_INPUT"),
    ("subscription { taskUpdated(id: 1) { nope } }", "BAD_USER_INPUT"),
    ("subscription { taskUpdated(id: 1) { id } }", "BAD_USER_INPUT"),
    (
        "{ tasks(first: 99) { nodes { messages { nodes { segments { index smsId total } } } } } }",
        "TOO_COMPLEX",
    ),
]


async def test_what_is_wrong_is_an_event_too(client: Client) -> None:
    for document, code in WRONG:
        async with following(client, document) as events:
            assert events.response.status_code == 200
            refused = await events.next()
            assert refused["data"] is None, document
            assert refused["errors"][0]["extensions"]["code"] == code, document
            assert await events.rest() == ["complete"]


async def test_without_a_token_it_is_unauthenticated(api: Api, key: str) -> None:
    async with following(api.holding("gsms_unknown"), TASK_UPDATED, id=key) as events:
        assert (await events.next())["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        assert await events.rest() == ["complete"]


NO_OPERATION = [
    (b"[]", {}, 400),
    (b"{", {}, 400),
    (b"{}", {"Content-Type": "text/plain"}, 415),
    (b"query=%7B", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    (b"--a--", {"Content-Type": "multipart/form-data; boundary=a"}, 400),
]


async def test_what_is_no_operation_begins_no_stream(client: Client) -> None:
    usual = {"Accept": "text/event-stream", "Content-Type": "application/json", **client.headers}
    for content, headers, status in NO_OPERATION:
        response = await client.http.post(
            f"{client.url}/graphql", content=content, headers={**usual, **headers}
        )
        assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
        assert response.json()["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT"}


async def test_subscriptions_are_not_asked_for_by_get(client: Client) -> None:
    response = await client.http.get(
        f"{client.url}/graphql",
        params={"query": "{ __typename }"},
        headers={"Accept": "text/event-stream"},
    )
    assert response.status_code == 405


async def test_one_execution_serves_streams_and_sockets(
    client: Client, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        crowd = [await enter(following(client, TASK_UPDATED, id=key)) for _ in range(MANY)]
        other = await enter(client.subscribe(TASK_UPDATED, id=key))
        for events in crowd:
            await events.data()
        await other.next()
        monkeypatch.setattr(followed, "REREAD_AFTER", 0.5)
        async with counted_queries() as queries:
            revision = await touch(key)
            for events in crowd:
                assert (await events.data())["taskUpdated"]["revision"] == revision
            assert (await other.next())["taskUpdated"]["revision"] == revision
        assert len(queries) < MANY


async def test_silence_is_filled_with_comments(
    client: Client, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE", 0.05)
    async with following(client, TASK_UPDATED, id=key) as events:
        await events.data()
        assert await events.block() == {"": ""}
        assert await events.block() == {"": ""}


async def test_nothing_goes_on_when_the_reader_has_left(client: Client, key: str) -> None:
    async with following(client, TASK_UPDATED, id=key) as events:
        await events.data()
    async with asyncio.timeout(WITHIN):
        while True:
            async with counted_queries() as queries:
                await asyncio.sleep(10 * followed.REREAD_AFTER)
            if not queries:
                break


@asynccontextmanager
async def closing_writer(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Close the connection in the end."""
    try:
        yield
    finally:
        writer.close()
        await writer.wait_closed()


async def test_who_reads_slowly_skips_and_holds_back_nobody(client: Client, key: str) -> None:
    large = " ".join(f"a{number}: text" for number in range(3000))
    document = f"subscription ($id: ID!) {{ taskUpdated(id: $id) {{ revision {large} }} }}"
    host, port = client.url.removeprefix("http://").split(":")
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect((host, int(port)))
    reader, writer = await asyncio.open_connection(sock=narrow, limit=2**12)
    body = json.dumps({"query": document, "variables": {"id": key}})
    writer.write(
        f"POST /graphql HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nAuthorization: Bearer {client.token}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    changes = 30
    async with closing_writer(writer), client.subscribe(document, id=key) as fast:
        newest = (await fast.next())["taskUpdated"]["revision"]
        for _ in range(changes):
            newest, seen = await touch(key), 0
            while seen < newest:
                seen = (await fast.next())["taskUpdated"]["revision"]
        told = b""
        async with asyncio.timeout(WITHIN):
            while f'"revision":{newest},'.encode() not in told:
                told += await reader.read(2**16)
    revisions = [int(found) for found in re.findall(rb'"taskUpdated":\{"revision":(\d+),', told)]
    assert revisions == sorted(set(revisions))
    assert len(revisions) < changes / 2


async def test_a_failure_is_told_without_its_cause(client: Client, key: str) -> None:
    async with following(client, TASK_UPDATED, id=key) as events:
        await events.data()
        await db.fetch("ALTER TABLE task_counter RENAME TO lost")
        failed: dict[str, Any] = await events.next()
        assert failed["errors"][0]["extensions"].keys() == {"code", "requestId"}
        assert await events.rest() == ["complete"]


async def test_a_revoked_token_ends_its_streams_for_good(client: Client, api: Api, key: str) -> None:
    other = await api.client()
    mine = await access.viewer_of(client.token or "")
    assert mine is not None
    assert mine.token_id is not None
    revoke = "mutation ($id: ID!) { revokeToken(input: {id: $id}) { errors { message } } }"
    async with (
        following(client, TASK_UPDATED, id=key) as events,
        following(other, TASK_UPDATED, id=key) as own,
    ):
        await events.data()
        await own.data()
        await other.run(revoke, id=global_ids.encode("AccessToken", mine.token_id))
        assert (await events.next())["errors"][0] == {
            "message": "Forbidden: the token was revoked", "extensions": {"code": "UNAUTHENTICATED"},
        }  # fmt: skip
        assert await events.rest() == ["complete"]
        revision = await touch(key)
        assert (await own.data())["taskUpdated"]["revision"] == revision


async def test_a_restart_interrupts_streams_without_completing_them(
    api: Api, client: Client, key: str
) -> None:
    async with AsyncExitStack() as process, AsyncExitStack() as streams:
        elsewhere = await process.enter_async_context(api.another(client.token))
        events = await streams.enter_async_context(following(elsewhere, TASK_UPDATED, id=key))
        await events.data()
        await process.aclose()
        assert await events.rest() == []
