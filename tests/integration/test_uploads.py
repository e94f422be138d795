"""Uploads over real connections: whole, too large, broken and cut off; nothing is left behind."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.body_limit import JSON_LIMIT, UPLOAD_ALLOWANCE
from domain import spool
from tests.integration.tiny_process import UPLOAD_LIMIT, TinyService, tiny_service

PREFLIGHT = {"Apollo-Require-Preflight": "true"}
MEASURE = "mutation ($file: Upload!) { measure(file: $file) { filename size tooLarge sha256 path } }"
OPERATIONS = json.dumps({"query": MEASURE, "variables": {"file": None}})
MAP = json.dumps({"0": ["variables.file"]})
HARD_LIMIT = UPLOAD_ALLOWANCE * UPLOAD_LIMIT + JSON_LIMIT


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyService]:
    with tiny_service(tmp_path_factory.mktemp("uploads")) as running:
        yield running


@pytest.fixture
async def http(service: TinyService) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=service.url, headers=PREFLIGHT) as client:
        yield client


@pytest.fixture(autouse=True)
async def nothing_is_left_behind(service: TinyService) -> AsyncIterator[None]:
    yield
    await until_files(service, 0)


async def until_files(service: TinyService, count: int) -> None:
    async with asyncio.timeout(5):
        while True:
            if len(list(service.uploads.iterdir())) == count:
                return
            await asyncio.sleep(0.01)


async def upload(
    http: httpx.AsyncClient, content: bytes, filename: str = "recipients.xlsx"
) -> httpx.Response:
    return await http.post(
        "/graphql", data={"operations": OPERATIONS, "map": MAP}, files={"0": (filename, content)}
    )


async def measured(
    http: httpx.AsyncClient, content: bytes, filename: str = "recipients.xlsx"
) -> dict[str, Any]:
    body = (await upload(http, content, filename)).json()
    assert "errors" not in body, body
    result: dict[str, Any] = body["data"]["measure"]
    return result


@pytest.mark.parametrize("size", [0, 1, 300_000, UPLOAD_LIMIT])
async def test_a_file_arrives_whole(service: TinyService, http: httpx.AsyncClient, size: int) -> None:
    content = os.urandom(size)
    result = await measured(http, content, "收件人 list.xlsx")
    assert result["filename"] == "收件人 list.xlsx"
    assert (result["size"], result["tooLarge"]) == (size, False)
    assert result["sha256"] == hashlib.sha256(content).hexdigest()
    assert Path(result["path"]).parent == service.uploads


@pytest.mark.parametrize("size", [UPLOAD_LIMIT + 1, UPLOAD_ALLOWANCE * UPLOAD_LIMIT])
async def test_a_file_over_the_limit_reaches_the_resolver_marked_and_empty(
    http: httpx.AsyncClient, size: int
) -> None:
    result = await measured(http, b"x" * size)
    assert (result["size"], result["tooLarge"]) == (size, True)
    assert result["sha256"] == hashlib.sha256(b"").hexdigest()


async def test_far_too_large_is_refused_by_its_content_length(http: httpx.AsyncClient) -> None:
    response = await upload(http, b"x" * HARD_LIMIT)
    assert response.status_code == 413
    assert response.json()["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT"}


async def test_far_too_large_is_refused_while_it_streams(
    service: TinyService, http: httpx.AsyncClient
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield part("operations", OPERATIONS) + part("map", MAP) + file_head("0")
        while sent < 3 * HARD_LIMIT:
            yield b"x" * 65536
            sent += 65536

    response = await http.post("/graphql", content=endless(), headers=multipart_type())
    assert response.status_code == 413
    assert "larger" in response.json()["errors"][0]["message"]


async def test_a_large_json_body_is_refused(http: httpx.AsyncClient) -> None:
    response = await http.post(
        "/graphql", json={"query": "{ __typename }", "variables": {"x": "x" * JSON_LIMIT}}
    )
    assert response.status_code == 413
    assert "as a file" in response.json()["errors"][0]["message"]


async def test_the_preflight_header_is_asked_for(service: TinyService) -> None:
    async with httpx.AsyncClient(base_url=service.url) as plain:
        response = await upload(plain, b"content")
    assert response.status_code == 400
    assert "Apollo-Require-Preflight" in response.json()["errors"][0]["message"]


async def test_several_files_go_to_their_places(http: httpx.AsyncClient) -> None:
    operations = {
        "query": "mutation ($files: [Upload!]!) { measureAll(files: $files) }",
        "variables": {"files": [None, None]},
    }
    places = {"a": ["variables.files.1"], "b": ["variables.files.0"]}
    response = await http.post(
        "/graphql",
        data={"operations": json.dumps(operations), "map": json.dumps(places)},
        files={"a": ("a", b"1"), "b": ("b", b"22")},
    )
    assert response.json()["data"] == {"measureAll": [2, 1]}


def multipart_type() -> dict[str, str]:
    return {"Content-Type": "multipart/form-data; boundary=cut"}


def part(name: str, content: str) -> bytes:
    return f'--cut\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{content}\r\n'.encode()


def file_head(name: str) -> bytes:
    return f'--cut\r\nContent-Disposition: form-data; name="{name}"; filename="f"\r\n\r\n'.encode()


END = b"\r\n--cut--\r\n"
FILE = file_head("0") + b"content"
REST = part("operations", OPERATIONS) + part("map", MAP)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (REST + FILE, "too early"),
        (REST + FILE + b"\r\n--cut", "too early"),
        (b"no multipart at all", "can't be read"),
        (b"", "too early"),
        (part("map", MAP) + FILE + END, "operations"),
        (part("operations", OPERATIONS) + FILE + END, "map"),
        (part("operations", "[") + part("map", MAP) + FILE + END, "JSON"),
        (part("operations", "[]") + part("map", MAP) + FILE + END, "one JSON object"),
        (REST + file_head("other") + END, "doesn't fit"),
        *(
            (part("operations", OPERATIONS) + part("map", json.dumps(places)) + FILE + END, "doesn't fit")
            for places in (
                {"0": ["variables.nothing.file"]},
                {"0": ["query.file"]},
                {"0": [5]},
                {"0": 5},
                {"1": ["variables.file"]},
            )
        ),
        (b"--cut\r\nContent-Disposition: form-data\r\n\r\nx" + END, "no name"),
        (REST + b"".join(part(str(number), "") for number in range(9)) + END[2:], "too many parts"),
        (
            REST + b"".join(file_head(str(number)) + b"\r\n" for number in range(5)) + END[2:],
            "too many files",
        ),
        (REST + part("big", "x" * (JSON_LIMIT + 1)), "too large"),
    ],
)
async def test_a_broken_multipart_body_is_bad_user_input(
    http: httpx.AsyncClient, body: bytes, message: str
) -> None:
    response = await http.post("/graphql", content=body, headers=multipart_type())
    assert response.status_code == 400
    error = response.json()["errors"][0]
    assert error["extensions"] == {"code": "BAD_USER_INPUT"}
    assert message in error["message"]


async def test_a_multipart_body_without_boundary_is_bad_user_input(http: httpx.AsyncClient) -> None:
    response = await http.post("/graphql", content=b"x", headers={"Content-Type": "multipart/form-data"})
    assert response.status_code == 400
    assert "boundary" in response.json()["errors"][0]["message"]


async def begin_upload(service: TinyService) -> asyncio.StreamWriter:
    """Open a connection and send the first half of a file."""
    _, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(service.url).port)
    head = (
        "POST /graphql HTTP/1.1\r\nHost: test\r\nApollo-Require-Preflight: true\r\n"
        "Content-Type: multipart/form-data; boundary=cut\r\nContent-Length: 600000\r\n\r\n"
    )
    writer.write(head.encode() + REST + file_head("0") + b"x" * 400_000)
    await writer.drain()
    await until_files(service, 1)
    return writer


async def test_a_client_that_goes_away_leaves_nothing(service: TinyService) -> None:
    writer = await begin_upload(service)
    writer.transport.abort()
    await until_files(service, 0)
    assert not [line for line in service.log() if line["level"] == "error"]


async def test_a_process_told_to_stop_leaves_nothing(tmp_path: Path) -> None:
    with tiny_service(tmp_path) as ending:
        writer = await begin_upload(ending)
        ending.process.terminate()
        await asyncio.to_thread(ending.process.wait, 15)
        await until_files(ending, 0)
        writer.transport.abort()


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    for name in (f"{spool.PREFIX}abandoned", "other"):
        (tmp_path / name).touch()
    with spool.new_file(tmp_path) as in_use:
        in_use.write(b"+34600000000")
        in_use.flush()
        assert spool.remove_abandoned(tmp_path) == 1
        assert {path.name for path in tmp_path.iterdir()} == {"other", Path(in_use.name).name}
        assert Path(in_use.name).read_bytes() == b"+34600000000"
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_file_cleared_away_before_it_is_locked_is_made_anew(tmp_path: Path) -> None:
    made = threading.Event()

    def clear_up() -> None:
        while not made.is_set():
            spool.remove_abandoned(tmp_path)

    clearing = threading.Thread(target=clear_up)
    clearing.start()
    try:
        for _ in range(100):
            with spool.new_file(tmp_path) as file:
                assert Path(file.name).exists()
    finally:
        made.set()
        clearing.join()
