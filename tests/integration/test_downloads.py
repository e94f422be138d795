"""Files behind signed links, and what a page of another origin may do."""

from __future__ import annotations

import asyncio
import csv
import io
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from openpyxl import load_workbook
from structlog.testing import capture_logs

from api import downloads
from api.downloads import SAMPLE_PATH, failed_numbers_path
from api.schema import global_ids
from api.signed_links import Grant, LinkExpiredError, LinkSigner
from domain import access, accounts, audit_reads, db, dispatch, purging
from domain.audit import Actor, ActorKind, AuditAction, AuditObject
from domain.number_files import FileFormat
from domain.ports import ReceiptState
from domain.recipient_file import read_recipients
from domain.states import Region, Role
from tests.integration.api_client import WITHIN, Api, Client, serving
from tests.integration.query_counting import counted_queries
from tests.integration.world import World, eventually, receipt

ORIGIN = "https://app.example.com"
URLS = "{ tasks { nodes { xlsx: failedNumbersUrl csv: failedNumbersUrl(format: CSV) } } }"
PURGED = """{
    tasks { nodes {
        messagesPurgedAt failedNumbersUrl rejectedRowsUrl
        counts { total delivered failed } failureReasons { count }
        messages { nodes { number } totalCount } rejectedRows { nodes { value } totalCount }
    } }
}"""
LIFETIME = timedelta(minutes=15)


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(database_url, redis_url, tmp_path, cors_origins=(ORIGIN,)) as running:
        yield running


@pytest.fixture
async def world(api: Api) -> World:
    return await World.make("Acme")


@pytest.fixture
async def client(api: Api, world: World) -> Client:
    return await api.client(Role.VIEWER)


async def with_failures(world: World, count: int = 3) -> int:
    """A task whose first message was delivered and the others failed."""
    task_id = await world.running(count)
    while (claim := await dispatch.claim(task_id, uuid4())) is not None:
        await world.hand_over(claim)
        await world.receive(
            *(
                receipt(claim, position, ReceiptState.FAILED, error_code="BLACK")
                if position > 1
                else receipt(claim, position)
                for position in claim.numbers
            )
        )
    return task_id


MANY = 60_000
"""Failed numbers that make a CSV file larger than the sockets between a server and a client take in."""


async def link_to_many(api: Api, world: World) -> str:
    """A link to the failed numbers, as CSV, of a task that has so many."""
    task_id = await world.running(1)
    await db.fetch(
        """
        INSERT INTO message (task_id, position, number, result, handover, error_code)
        SELECT $1, at, 8613900000000 + at, 3, 1, 'BLACK' FROM generate_series(2, $2::int) AS at
        """,
        task_id,
        MANY + 1,
    )
    path = failed_numbers_path(task_id, FileFormat.CSV)
    signer = LinkSigner(api.settings.signing_key())
    signed = signer.sign(path, granted(world.viewer.account_id), now=datetime.now(UTC), lifetime=LIFETIME)
    return f"{api.url}{signed}"


def granted(account_id: int) -> Grant:
    """A link that nobody's token has to stand for."""
    return Grant(account_id, Actor(ActorKind.SYSTEM))


def reads_of(asked: list[str]) -> int:
    """How many of these queries read failed numbers."""
    return sum("AND result = 3" in query for query in asked)


READS = MANY / downloads._ROWS_AT_ONCE


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[httpx.Response]:
    """A download of which nothing is read but the head until it is asked for."""
    narrow = httpx.AsyncHTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)])
    async with (
        httpx.AsyncClient(transport=narrow, timeout=WITHIN) as http,
        http.stream("GET", url) as response,
    ):
        yield response


async def urls(client: Client) -> dict[str, str]:
    (found,) = (await client.run(URLS))["tasks"]["nodes"]
    links: dict[str, str] = found
    return links


async def test_there_is_no_link_while_nothing_failed(client: Client, world: World) -> None:
    await world.create(1)
    assert await urls(client) == {"xlsx": None, "csv": None}


async def test_failed_numbers_as_a_workbook_that_can_be_sent_again(
    api: Api, client: Client, world: World, tmp_path: Path
) -> None:
    task_id = await with_failures(world)
    url = (await urls(client))["xlsx"]
    assert url.startswith(api.settings.public_url)
    response = await api.http.get(url)
    assert response.status_code == 200
    assert response.headers["content-disposition"] == f'attachment; filename="failed-numbers-{task_id}.xlsx"'
    assert response.headers["cache-control"] == "no-store"
    assert int(response.headers["content-length"]) == len(response.content)
    rows = list(load_workbook(io.BytesIO(response.content)).active.iter_rows(values_only=True))  # type: ignore[union-attr]
    assert [row[0] for row in rows[1:]] == ["+8613800000001", "+8613800000002"]
    assert all("(BLACK)" in str(row[1]) for row in rows[1:])
    path = tmp_path / "again.xlsx"
    path.write_bytes(response.content)
    again = await read_recipients(path, region=Region.CHINESE_MAINLAND)
    assert list(again.numbers) == [8613800000001, 8613800000002]
    assert again.rejected == []


async def test_failed_numbers_as_csv(
    api: Api, client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_ROWS_AT_ONCE", 7)
    await with_failures(world, 101)
    response = await api.http.get((await urls(client))["csv"])
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.reader(io.StringIO(response.content.decode("utf-8-sig"))))
    assert [row[0] for row in rows[1:]] == [f"+86138{number:08}" for number in range(1, 101)]


@pytest.mark.parametrize("file_format", ["xlsx", "csv"])
async def test_a_long_file_is_sent_while_it_is_made(
    api: Api, client: Client, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_format: str
) -> None:
    monkeypatch.setattr(downloads, "_SENT_WHOLE", 0)
    monkeypatch.setattr(downloads, "_ROWS_AT_ONCE", 7)
    await with_failures(world, 101)
    response = await api.http.get((await urls(client))[file_format])
    assert response.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in response.headers
    path = tmp_path / "again"
    path.write_bytes(response.content)
    again = await read_recipients(path, region=Region.CHINESE_MAINLAND)
    assert (list(again.numbers), again.rejected) == ([8613800000000 + index for index in range(1, 101)], [])


async def test_slow_clients_hold_neither_connections_nor_turns(api: Api, world: World) -> None:
    url = await link_to_many(api, world)
    async with AsyncExitStack() as stack, counted_queries() as asked:
        slow = [await stack.enter_async_context(opened(url)) for _ in range(db.POOL_SIZE + 1)]
        whole = await api.http.get(url)
        assert len(whole.text.splitlines()) == MANY + 1
        # Each had as many turns as the one that has all.
        assert READS < reads_of(asked) < READS * len(slow)
        async with asyncio.timeout(WITHIN), counted_queries():
            """It takes every connection of the pool."""


async def test_a_file_that_fails_in_the_middle_is_seen_to_be_cut(api: Api, world: World) -> None:
    url = await link_to_many(api, world)
    async with opened(url) as response:
        assert response.status_code == 200
        await db.fetch("ALTER TABLE message RENAME TO lost")
        try:
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
                await response.aread()
        finally:
            await db.fetch("ALTER TABLE lost RENAME TO message")


@pytest.mark.parametrize("gone", ["DELETE FROM task", "UPDATE task SET messages_purged_at = groupsms_now()"])
async def test_a_file_of_a_task_that_goes_meanwhile_is_seen_to_be_cut(
    api: Api, world: World, gone: str
) -> None:
    url = await link_to_many(api, world)
    async with opened(url) as response:
        await db.fetch(gone)
        await db.fetch("DELETE FROM message")
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            await response.aread()


async def test_a_file_that_fails_at_once_is_an_error(api: Api, world: World) -> None:
    url = await link_to_many(api, world)
    await db.fetch("ALTER TABLE message RENAME TO lost")
    try:
        assert (await api.http.get(url)).status_code == 500
    finally:
        await db.fetch("ALTER TABLE lost RENAME TO message")


async def test_nothing_more_is_read_for_a_client_that_has_gone(api: Api, world: World) -> None:
    url = await link_to_many(api, world)
    with capture_logs() as logged:

        async def ended() -> bool:
            return any(entry["event"] == "request" for entry in logged)

        async with counted_queries() as asked:
            async with opened(url):
                assert not await ended()
            await eventually(ended)
        assert 0 < reads_of(asked) < READS
    assert not [entry for entry in logged if entry["log_level"] == "error"]


async def test_the_sample_file(api: Api, client: Client) -> None:
    url = (await client.run("{ sampleRecipientFileUrl }"))["sampleRecipientFileUrl"]
    response = await api.http.get(url)
    sheet = load_workbook(io.BytesIO(response.content)).active
    assert sheet is not None
    cells = [row[0] for row in sheet.iter_rows()]
    assert len(cells) > 1
    assert {cell.number_format for cell in cells} == {"@"}


@pytest.mark.parametrize("path", [SAMPLE_PATH, failed_numbers_path(1, FileFormat.XLSX)])
async def test_links_that_are_not_ours(api: Api, client: Client, world: World, path: str) -> None:
    now = datetime.now(UTC)
    account = world.viewer.account_id
    forged = LinkSigner(b"another key altogether, of 32 octets").sign(
        path, granted(account), now=now, lifetime=LIFETIME
    )
    own = LinkSigner(api.settings.signing_key())
    elsewhere = own.sign("/downloads/other.xlsx", granted(account), now=now, lifetime=LIFETIME)
    for link in (path, f"{path}?signature=x", forged, f"{path}?{urlsplit(elsewhere).query}"):
        response = await api.http.get(f"{api.url}{link}", headers=client.headers)
        assert response.status_code == 403
        assert "not made by this service" in response.text
    expired = own.sign(path, granted(account), now=now - timedelta(hours=1), lifetime=LIFETIME)
    response = await api.http.get(f"{api.url}{expired}", headers=client.headers)
    assert response.status_code == 403
    assert "expired" in response.text


async def test_a_link_is_good_for_a_quarter_of_an_hour(api: Api, client: Client, world: World) -> None:
    await with_failures(world)
    url = urlsplit((await urls(client))["xlsx"])
    signer = LinkSigner(api.settings.signing_key())
    signature = url.query.removeprefix("signature=")
    soon = datetime.now(UTC) + timedelta(minutes=14)
    assert signer.verify(url.path, signature, now=soon).account_id == world.viewer.account_id


async def test_a_link_opens_nothing_of_another_account(api: Api, world: World) -> None:
    task_id = await with_failures(world)
    rival = await access.viewer_of(await accounts.create_token("Rival", Role.OPERATOR))
    assert rival is not None
    signer = LinkSigner(api.settings.signing_key())
    link = signer.sign(
        failed_numbers_path(task_id, FileFormat.CSV),
        granted(rival.account_id),
        now=datetime.now(UTC),
        lifetime=LIFETIME,
    )
    assert (await api.http.get(f"{api.url}{link}")).status_code == 404


async def test_a_download_is_in_the_audit_log(api: Api, client: Client, world: World) -> None:
    task_id = await with_failures(world)
    links = await urls(client)
    for format_ in ("xlsx", "csv"):
        response = await api.http.get(links[format_], headers={"User-Agent": "browser/1"})
        assert response.status_code == 200
        (entry, *_) = (await audit_reads.list_entries(world.viewer.account_id)).items
        assert (entry.action, entry.subject) == (
            AuditAction.NUMBERS_DOWNLOADED,
            (AuditObject.TASK, task_id),
        )
        assert entry.details == {"file": "failed-numbers", "format": format_.upper()}
        assert entry.token_id == await db.fetchval("SELECT id FROM access_token WHERE role = 'VIEWER'")
        assert (entry.role, entry.user_agent, entry.client_address) == (Role.VIEWER, "browser/1", "127.0.0.1")
    entries = await audit_reads.count_entries(world.viewer.account_id)
    assert (await api.http.head(links["csv"])).status_code == 200
    assert await audit_reads.count_entries(world.viewer.account_id) == entries


async def test_a_link_ends_with_the_token_it_was_asked_for_with(
    api: Api, client: Client, world: World
) -> None:
    await with_failures(world)
    link = (await urls(client))["csv"]
    assert (await api.http.get(link)).status_code == 200
    entries = await audit_reads.count_entries(world.viewer.account_id)
    await db.fetch("UPDATE access_token SET revoked_at = groupsms_now() WHERE role = 'VIEWER'")
    response = await api.http.get(link)
    assert (response.status_code, "was revoked" in response.text) == (403, True)
    assert await audit_reads.count_entries(world.viewer.account_id) == entries


async def test_a_link_is_good_for_no_longer_than_the_token(api: Api, world: World) -> None:
    await with_failures(world)
    ending = datetime.now(UTC) + timedelta(minutes=5)
    client = api.holding(await accounts.create_token("Acme", Role.VIEWER, expires_at=ending))
    url = urlsplit((await urls(client))["csv"])
    signer, signature = LinkSigner(api.settings.signing_key()), url.query.removeprefix("signature=")
    assert signer.verify(url.path, signature, now=ending - timedelta(seconds=1))
    with pytest.raises(LinkExpiredError):
        signer.verify(url.path, signature, now=ending + timedelta(seconds=2))


async def test_subscribers_do_not_share_links(api: Api, world: World) -> None:
    task_id = global_ids.encode("Task", await with_failures(world))
    signer = LinkSigner(api.settings.signing_key())
    document = "subscription ($id: ID!) { taskUpdated(id: $id) { failedNumbersUrl } }"
    askers = []
    async with AsyncExitStack() as stack:
        for _ in range(2):
            client = await api.client(Role.VIEWER)
            events = await stack.enter_async_context(client.subscribe(document, id=task_id))
            url = urlsplit((await events.next())["taskUpdated"]["failedNumbersUrl"])
            grant = signer.verify(url.path, url.query.removeprefix("signature="), now=datetime.now(UTC))
            askers.append(grant.actor.id)
    assert len(set(askers)) == 2


async def test_a_link_to_a_task_that_is_gone(api: Api, client: Client, world: World) -> None:
    task_id = await with_failures(world)
    links = await urls(client)
    await db.fetch("DELETE FROM task WHERE id = $1", task_id)
    for url in links.values():
        response = await api.http.get(url)
        assert (response.status_code, response.text) == (404, "The task has been deleted.\n")


async def test_a_task_whose_numbers_are_no_longer_kept(api: Api, client: Client, world: World) -> None:
    await with_failures(world)
    links = await urls(client)
    assert (await client.run("{ tasks { nodes { messagesPurgedAt } } }"))["tasks"]["nodes"] == [
        {"messagesPurgedAt": None}
    ]
    await db.fetch("UPDATE task SET status = 'COMPLETED', finished_at = groupsms_now() - interval '91 days'")
    assert (await purging.purge(90)).tasks == 1
    for url in links.values():
        response = await api.http.get(url)
        assert (response.status_code, response.text) == (
            404,
            "The numbers of this task are no longer kept.\n",
        )
    [task] = (await client.run(PURGED))["tasks"]["nodes"]
    assert task["messagesPurgedAt"].endswith("Z") or "+00:00" in task["messagesPurgedAt"]
    assert task["counts"] == {"total": 3, "delivered": 1, "failed": 2}
    assert task["failureReasons"] == [{"count": 2}]
    assert (task["failedNumbersUrl"], task["rejectedRowsUrl"]) == (None, None)
    assert task["messages"] == task["rejectedRows"] == {"nodes": [], "totalCount": 0}


async def test_a_page_of_another_origin_downloads(api: Api, client: Client, world: World) -> None:
    await with_failures(world)
    response = await api.http.get((await urls(client))["xlsx"], headers={"Origin": ORIGIN})
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert "Content-Disposition" in response.headers["access-control-expose-headers"]


async def test_a_page_of_another_origin_uploads(api: Api) -> None:
    preflight = await api.http.options(
        f"{api.url}/graphql",
        headers={
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,apollo-require-preflight",
        },
    )
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    stranger = await api.http.options(
        f"{api.url}/graphql",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
    )
    assert "access-control-allow-origin" not in stranger.headers


async def test_uploading_from_another_origin_makes_a_task(api: Api, world: World) -> None:
    client = await api.client(Role.SENDER)
    (mainland, _) = (
        await client.run(
            "{ applications { nodes { id signatures { nodes { id } } templates { nodes { id } } } } }"
        )
    )["applications"]["nodes"]
    wanted = {
        "name": "From a page",
        "applicationId": mainland["id"],
        "signatureId": mainland["signatures"]["nodes"][0]["id"],
        "templateId": mainland["templates"]["nodes"][0]["id"],
        "recipients": {"file": None},
    }
    document = (
        "mutation ($input: CreateTaskInput!) { createTask(input: $input) { message errors { message } } }"
    )
    client.http.headers["Origin"] = ORIGIN
    payload = (await client.upload(document, b"13800138000\n13800138001\n", "numbers.txt", input=wanted))[
        "createTask"
    ]
    assert payload == {"message": "2 phone number(s) imported.", "errors": []}
