"""What every answer tells browsers, and what pages of other sites cannot do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.app import create_app
from api.security_headers import HEADERS
from api.transport import UploadPolicy
from tests.integration.tiny_schema import context, tiny_schema

FRIEND = "https://app.example.com"
PREFLIGHT = {"Origin": FRIEND, "Access-Control-Request-Method": "POST"}
OPERATION = b'{"query": "{ __typename }"}'
JSON = {"Content-Type": "application/json"}
ANSWERS = [
    ("POST", "/graphql", JSON, OPERATION, 200),
    ("POST", "/graphql", {**JSON, "Accept": "text/event-stream"}, OPERATION, 200),
    ("POST", "/graphql", JSON, b"{", 400),
    ("POST", "/graphql", {"Content-Type": "text/plain"}, OPERATION, 415),
    ("POST", "/graphql", {}, OPERATION, 415),
    ("POST", "/graphql", JSON, b"x" * (3 * 2**20), 413),
    ("GET", "/graphql", {"Accept": "text/html"}, b"", 200),
    ("GET", "/graphql", {}, b"", 405),
    ("GET", "/graphql/assets/page.js", {}, b"", 200),
    ("GET", "/nothing", {}, b"", 404),
    ("GET", "/broken", {}, b"", 500),
    ("GET", "/healthz", {}, b"", 200),
    ("OPTIONS", "/graphql", PREFLIGHT, b"", 200),
    ("OPTIONS", "/graphql", {**PREFLIGHT, "Origin": "https://evil.example"}, b"", 400),
]


async def broken(_: Request) -> Response:
    raise RuntimeError("it broke")


def served(tmp_path: Path, *, https: bool) -> httpx.AsyncClient:
    app = create_app(
        tiny_schema(),
        context,
        uploads=UploadPolicy(1024, tmp_path),
        routes=[Route("/broken", broken)],
        cors_origins=[FRIEND],
        https=https,
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with served(tmp_path, https=False) as client:
        yield client


@pytest.mark.parametrize(("method", "url", "headers", "content", "status"), ANSWERS)
async def test_every_answer_has_them(
    http: httpx.AsyncClient, method: str, url: str, headers: dict[str, str], content: bytes, status: int
) -> None:
    response = await http.request(method, url, headers=headers, content=content)
    assert response.status_code == status
    for name in HEADERS:
        assert len(response.headers.get_list(name)) == 1, name
    assert response.headers["x-content-type-options"] == "nosniff"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "strict-transport-security" not in response.headers


async def test_nothing_but_the_page_and_its_files_may_be_kept(http: httpx.AsyncClient) -> None:
    for method, url, headers, content, _ in ANSWERS:
        response = await http.request(method, url, headers=headers, content=content)
        kept = url.startswith("/graphql/assets") or "text/html" in response.headers.get("content-type", "")
        assert response.headers["cache-control"].startswith("no-cache" if kept else "no-store")


async def test_only_the_page_may_run_scripts_and_only_our_own(http: httpx.AsyncClient) -> None:
    page = await http.get("/graphql", headers={"Accept": "text/html"})
    directives = dict(
        directive.strip().split(" ", 1) for directive in page.headers["content-security-policy"].split(";")
    )
    assert directives["script-src"] == "'self'"
    assert "<script>" not in page.text
    assert " on" not in page.text.lower().replace(" only", "")
    answer = await http.post("/graphql", headers=JSON, content=OPERATION)
    assert "script-src" not in answer.headers["content-security-policy"]


async def test_browsers_keep_to_https_where_the_service_is_reached_by_it(tmp_path: Path) -> None:
    async with served(tmp_path, https=True) as client:
        response = await client.get("/healthz")
    assert response.headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain", "application/x-www-form-urlencoded", "text/plain; application/json",
        "text/plain;charset=application/json", "", "application/json-seq",
    ],
)  # fmt: skip
async def test_what_a_page_may_send_unasked_is_no_operation(
    http: httpx.AsyncClient, content_type: str
) -> None:
    response = await http.post("/graphql", headers={"Content-Type": content_type}, content=OPERATION)
    assert response.status_code == 415
    assert "application/json" in response.json()["errors"][0]["message"]


async def test_json_is_json_in_any_spelling(http: httpx.AsyncClient) -> None:
    for content_type in ("application/json", "Application/JSON; charset=utf-8"):
        response = await http.post("/graphql", headers={"Content-Type": content_type}, content=OPERATION)
        assert response.json()["data"] == {"__typename": "Query"}
