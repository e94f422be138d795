"""The shell round the schema, over real connections: operations, errors, origins and sockets."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from api.app import create_app
from api.transport import UploadPolicy
from domain.masking import masked
from tests.integration.tiny_process import ROOT, TinyService, tiny_service
from tests.integration.tiny_schema import LEAKED_NUMBER, context, tiny_schema

FRIEND = "https://app.example.com"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyService]:
    with tiny_service(tmp_path_factory.mktemp("app"), FRIEND) as running:
        yield running


@pytest.fixture
async def http(service: TinyService) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=service.url) as client:
        yield client


async def answer(http: httpx.AsyncClient, **request: object) -> dict[str, Any]:
    response = await http.post("/graphql", json=request)
    body: dict[str, Any] = response.json()
    return body


@asynccontextmanager
async def socket(
    service: TinyService, *, token: str | None = "sender", origin: str | None = None
) -> AsyncIterator[ClientConnection]:
    protocols = [Subprotocol("graphql-transport-ws")]
    async with connect(
        service.socket, subprotocols=protocols, origin=Origin(origin) if origin else None
    ) as connection:
        if token is not None:
            init = {"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}}
            await connection.send(json.dumps(init))
            assert await received(connection) == {"type": "connection_ack", "payload": {}}
        yield connection


async def received(connection: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(await connection.recv())
    return message


async def subscribe(connection: ClientConnection, query: str, identity: str = "1") -> None:
    message = {"type": "subscribe", "id": identity, "payload": {"query": query}}
    await connection.send(json.dumps(message))


async def logged_until(service: TinyService, request_id: str, event: str) -> list[dict[str, Any]]:
    """What was logged of a request, up to that event: its last line comes after the answer."""
    async with asyncio.timeout(5):
        while True:
            lines = [line for line in service.log() if line.get("request_id") == request_id]
            if lines and lines[-1]["event"] == event:
                return lines
            await asyncio.sleep(0.01)


async def test_a_query_is_answered_with_a_request_id(http: httpx.AsyncClient) -> None:
    response = await http.post("/graphql", json={"query": '{ echo(text: "hello") }'})
    assert response.json() == {
        "data": {"echo": "hello"}, "extensions": {"cost": {"requested": 1, "maximum": 50_000}},
    }  # fmt: skip
    assert len(response.headers["x-request-id"]) == 32
    assert response.headers["cache-control"] == "no-store"
    given = await http.post(
        "/graphql", json={"query": "{ __typename }"}, headers={"X-Request-Id": "client-0001"}
    )
    assert given.headers["x-request-id"] == "client-0001"


async def test_healthz(http: httpx.AsyncClient) -> None:
    response = await http.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


DEEP = "{ echo " * 900

WRONG_OPERATIONS = [
    ({"query": "{"}, "Syntax Error"),
    ({"query": "{ nope }"}, "Cannot query field 'nope'"),
    ({"query": "query ($t: String!) { echo(text: $t) }"}, "Variable '$t'"),
    ({"query": 'query ($t: String = "") { echo(text: $t) }', "variables": {"t": None}}, "Argument 'text'"),
    ({"query": "query a { boom }", "operationName": "b"}, 'Unknown operation named "b"'),
    ({"query": "mutation { measure(file: 1) { size } }"}, "multipart request"),
    (
        {"query": "mutation ($f: Upload!) { measure(file: $f) { size } }", "variables": {"f": "a.xlsx"}},
        "multipart request",
    ),
    ({"query": "subscription { count }"}, "WebSocket"),
    ({}, "no query"),
    ({"query": 5}, "must be a string"),
    ({"query": "{ __typename }", "variables": []}, "must be an object"),
]


@pytest.mark.parametrize(("request_body", "message"), WRONG_OPERATIONS)
async def test_a_wrong_operation_is_bad_user_input(
    http: httpx.AsyncClient, request_body: dict[str, object], message: str
) -> None:
    # Twice: the second answer may come out of a cache.
    for _ in range(2):
        body = await answer(http, **request_body)
        assert body["data"] is None
        assert body["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT"}
        assert message in body["errors"][0]["message"]


async def test_what_is_nested_too_deeply_to_be_read_is_too_complex(http: httpx.AsyncClient) -> None:
    body = await answer(http, query=DEEP)
    assert body["errors"][0]["extensions"] == {"code": "TOO_COMPLEX", "limit": "nesting"}


@pytest.mark.parametrize(
    "content", [b"", b"zz", b"[1]", b"3", b'"\xff"', b"[" * 100_000, b'[{"query": "{ a }"}]']
)
async def test_a_wrong_body_is_bad_user_input(http: httpx.AsyncClient, content: bytes) -> None:
    response = await http.post("/graphql", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert response.json()["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT"}


async def test_a_request_without_a_token_is_unauthenticated(http: httpx.AsyncClient) -> None:
    body = await answer(http, query="{ viewer { role } }")
    assert body["errors"][0]["message"] == "Send a token."
    assert body["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}


@pytest.mark.parametrize("field", ["boom", "unserializable"])
async def test_our_failure_shows_a_request_id_and_nothing_more(
    service: TinyService, http: httpx.AsyncClient, field: str
) -> None:
    response = await http.post("/graphql", json={"query": f"{{ {field} }}"})
    request_id = response.headers["x-request-id"]
    assert response.json()["errors"] == [
        {
            "message": "Internal error.",
            "locations": [{"line": 1, "column": 3}],
            "path": [field],
            "extensions": {"code": "INTERNAL", "requestId": request_id},
        }
    ]
    logged = await logged_until(service, request_id, "request")
    assert [line["event"] for line in logged] == ["operation failed", "request"]
    assert "Traceback" in logged[0]["traceback"]


async def test_the_log_has_neither_tokens_nor_numbers(service: TinyService, http: httpx.AsyncClient) -> None:
    leaked = f"/downloads/{LEAKED_NUMBER}?signature=hidden"
    response = await http.get(leaked, headers={"Authorization": "Bearer hidden"})
    await logged_until(service, response.headers["x-request-id"], "request")
    async with socket(service, token="hidden") as connection:
        await subscribe(connection, "{ boom }")
        await received(connection)
    log = service.log_file.read_text()
    assert "/downloads/+861****00" in log
    assert "RuntimeError: no connection for +861****00" in log
    assert LEAKED_NUMBER.removeprefix("+") not in log
    assert "hidden" not in log


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("to +8613800138000.", "to +861****00."),
        ("to 13800138000,+447700900123", "to 138****00,+447****23"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer ***"),
        ("2026-05-04T03:02:01.123456Z took 0.12345678 s, 65535 rows of task-7", None),
        ("id 4f8a1234567890123456", None),
    ],
)
def test_masked(text: str, shown: str | None) -> None:
    assert masked(text) == (text if shown is None else shown)


async def test_get_is_the_page_for_browsers_only(http: httpx.AsyncClient) -> None:
    page = await http.get("/graphql", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "default-src 'none';" in policy
    assert "<script>" not in page.text
    for request in [("GET", "*/*", ""), ("GET", "text/html", "?query={a}"), ("PUT", "text/html", "")]:
        method, accepted, query = request
        refused = await http.request(method, f"/graphql{query}", headers={"Accept": accepted})
        assert refused.status_code == 405
        assert refused.headers["allow"] == "GET, HEAD, POST"
        assert "POST" in refused.json()["errors"][0]["message"]


async def test_graphiql_can_be_off(tmp_path: Path) -> None:
    app = create_app(tiny_schema(), context, uploads=UploadPolicy(1024, tmp_path), graphiql=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        page = await client.get("/graphql", headers={"Accept": "text/html"})
        assert (page.status_code, page.headers["allow"]) == (405, "POST")
        assert (await client.get("/graphql/assets/page.js")).status_code == 404
        assert (await client.post("/graphql", json={"query": "{ __typename }"})).status_code == 200


async def test_assets_are_served_and_revalidated(http: httpx.AsyncClient) -> None:
    for name in ("graphiql.min.js", "page.js", "examples/LookAround.graphql"):
        first = await http.get(f"/graphql/assets/{name}")
        assert first.status_code == 200
        again = await http.get(f"/graphql/assets/{name}", headers={"If-None-Match": first.headers["etag"]})
        assert again.status_code == 304
    assert (await http.get("/graphql/assets/../../pyproject.toml")).status_code == 404
    assert (await http.get("/graphql/assets/%2e%2e/page.html")).status_code == 404


async def test_a_page_of_an_allowed_origin_may_upload(http: httpx.AsyncClient) -> None:
    asked = {
        "Origin": FRIEND,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "apollo-require-preflight,authorization,content-type",
    }
    preflight = await http.options("/graphql", headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == FRIEND
    allowed = preflight.headers["access-control-allow-headers"].lower()
    assert all(name in allowed for name in ("apollo-require-preflight", "authorization", "content-type"))
    stranger = await http.options("/graphql", headers=asked | {"Origin": "https://evil.example"})
    assert stranger.status_code == 400


async def test_a_page_of_an_allowed_origin_reads_answers_and_refusals(http: httpx.AsyncClient) -> None:
    for body, status in ((b'{"query": "{ __typename }"}', 200), (b"x" * (3 * 1024 * 1024), 413)):
        response = await http.post(
            "/graphql", content=body, headers={"Content-Type": "application/json", "Origin": FRIEND}
        )
        assert response.status_code == status
        assert response.headers["access-control-allow-origin"] == FRIEND
        assert "Content-Disposition" in response.headers["access-control-expose-headers"]
    stranger = await http.post(
        "/graphql", json={"query": "{ __typename }"}, headers={"Origin": "https://evil.example"}
    )
    assert "access-control-allow-origin" not in stranger.headers


async def test_any_origin_when_set_so(tmp_path: Path) -> None:
    with tiny_service(tmp_path, "*") as open_service:
        async with httpx.AsyncClient(base_url=open_service.url) as client:
            response = await client.get("/healthz", headers={"Origin": "https://anyone.example"})
            assert response.headers["access-control-allow-origin"] == "*"
        async with socket(open_service, origin="https://anyone.example") as connection:
            await subscribe(connection, "{ __typename }")
            assert (await received(connection))["type"] == "next"


async def test_sockets_are_opened_for_known_origins_only(service: TinyService) -> None:
    for origin in (None, FRIEND, service.url):
        async with socket(service, origin=origin):
            pass
    for origin in ("https://evil.example", "null", "http://app.example.com"):
        with pytest.raises(InvalidStatus) as refused:
            async with socket(service, origin=origin):
                pass
        assert refused.value.response.status_code == 403


async def test_a_subscription_runs_with_the_token_of_connection_init(service: TinyService) -> None:
    async with socket(service) as connection:
        await subscribe(connection, "subscription { count(to: 2) }")
        events = [await received(connection) for _ in range(3)]
    assert [event["type"] for event in events] == ["next", "next", "complete"]
    assert [event["payload"]["data"]["count"] for event in events[:2]] == ["sender 1", "sender 2"]


async def test_queries_and_errors_go_over_a_socket_too(service: TinyService) -> None:
    async with socket(service) as connection:
        for query, kind, code in (
            ("{ nope }", "error", "BAD_USER_INPUT"),
            ("{", "error", "BAD_USER_INPUT"),
            (DEEP, "error", "TOO_COMPLEX"),
            ("{ boom }", "next", "INTERNAL"),
        ):
            await subscribe(connection, query, identity=query[:20])
            event = await received(connection)
            assert event["type"] == kind
            errors = event["payload"] if kind == "error" else event["payload"]["errors"]
            assert errors[0]["extensions"]["code"] == code
        assert (await received(connection))["type"] == "complete"
        await subscribe(connection, "subscription { broken }", identity="broken")
        assert (await received(connection))["payload"]["data"] == {"broken": 1}
        failed = (await received(connection))["payload"]
        assert failed["data"] is None
        assert failed["errors"][0]["message"] == "Internal error."
        assert set(failed["errors"][0]["extensions"]) == {"code", "requestId"}
    log = "".join(line.get("traceback", "") for line in service.log())
    assert "RuntimeError: lost +861****00" in log


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([{"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }"}}], 4401),
        ([{"type": "connection_init"}, {"type": "connection_init"}], 4429),
        ([{"type": "connection_init", "payload": {"authorization": "Bearer revoked"}}], 4403),
        ([{"type": "connection_init", "payload": 3}], 4400),
        ([{"type": "nonsense"}], 4400),
        (["text"], 4400),
        ([[]], 4400),
        ([{"type": []}], 4400),
        ([{"type": "connection_init"}, {"type": "subscribe", "id": 1, "payload": {"query": "{ a }"}}], 4400),
        ([{"type": "connection_init"}, {"type": "subscribe", "id": "1", "payload": "{ a }"}], 4400),
        ([{"type": "connection_init"}, {"type": "subscribe", "id": "1", "payload": {"query": 1}}], 4400),
        (
            [
                {"type": "connection_init"},
                {"type": "subscribe", "id": "1", "payload": {"query": "{ a }", "variables": 1}},
            ],
            4400,
        ),
        ([{"type": "connection_init"}, {"type": "complete", "id": {}}], 4400),
    ],
)
async def test_what_breaks_the_protocol_closes_the_socket(
    service: TinyService, messages: list[object], code: int
) -> None:
    async with socket(service, token=None) as connection:
        for message in messages:
            await connection.send(json.dumps(message))
        await connection.wait_closed()
    assert connection.close_code == code


@pytest.mark.parametrize("garbage", ["{", "\ud7ff", "[" * 100_000, b"\x00\xff"])
async def test_garbage_closes_the_socket(service: TinyService, garbage: str | bytes) -> None:
    async with socket(service) as connection:
        await connection.send(garbage)
        with pytest.raises(ConnectionClosed):
            await connection.recv()
    assert connection.close_code == 4400


async def test_the_legacy_protocol_is_refused(service: TinyService) -> None:
    async with connect(service.socket, subprotocols=[Subprotocol("graphql-ws")]) as connection:
        with pytest.raises(ConnectionClosed):
            await connection.recv()
    assert connection.close_code == 4406


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_soon_when_told_to_with_a_subscription_open(tmp_path: Path, number: int) -> None:
    with tiny_service(tmp_path) as ending:
        async with socket(ending) as connection:
            await subscribe(connection, "subscription { forever }")
            await received(connection)
            ending.process.send_signal(number)
            with pytest.raises(ConnectionClosed):
                await connection.recv()
            assert connection.close_code == 1012
        assert ending.process.wait(4) == 0
        assert not [line for line in ending.log() if line["level"] == "error"]


def test_a_port_in_use_is_one_line(service: TinyService, tmp_path: Path) -> None:
    port = service.url.rpartition(":")[2]
    command = [sys.executable, "-m", "tests.integration.serve_tiny", port, str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert ended.stderr == f"Can't listen on 127.0.0.1 port {port}: Address already in use.\n"
