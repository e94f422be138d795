"""/readyz: what makes a process unready, what only degrades it, and that it always answers."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import pytest

from domain import db, monitoring_port, readiness
from domain.bus import open_bus
from domain.engines import Engines
from domain.readiness import Checks, Finding, State
from domain.settings import Settings
from domain.startup import StartupError
from tests.integration.api_client import serving

NOBODY = "redis://:secret-of-redis@127.0.0.1:1/0"


@pytest.fixture
async def empty_url(engines: Engines) -> AsyncIterator[str]:
    """The URL of a database nobody has migrated."""
    name = f"unready_{uuid4().hex}"
    server = await asyncpg.connect(engines.database_url)
    try:
        await server.execute(f"CREATE DATABASE {name}")
        yield re.sub(r"/[^/?]*(\?|$)", rf"/{name}\1", engines.database_url, count=1)
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await server.close()


async def test_without_redis_the_api_is_degraded_and_serves(connected: str, tmp_path: Path) -> None:
    async with serving(connected, NOBODY, tmp_path) as api:
        answer = await api.http.get(f"{api.url}/readyz")
        served = await api.http.get(f"{api.url}/healthz")
    assert (answer.status_code, answer.json()["status"], served.status_code) == (200, "degraded", 200)
    checks = answer.json()["checks"]
    assert {name: check["state"] for name, check in checks.items()} == {
        "database": "ok",
        "migrations": "ok",
        "redis": "degraded",
    }
    assert all(0 <= check["milliseconds"] < 3000 for check in checks.values())
    assert "secret" not in answer.text


async def test_with_migrations_missing_it_is_not_ready_and_names_them(empty_url: str) -> None:
    async with db.connected(empty_url):
        found = await Checks(lambda: None).readiness()
        missing = await db.pending_migrations()
    assert not found.ready
    assert found.checks["migrations"].state is State.BEHIND
    assert found.checks["migrations"].details == {"pending": missing}
    assert found.as_json()["status"] == "unready"


async def test_what_never_answers_is_away_in_time_and_asked_once(
    connected: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "ANSWER_WITHIN", 0.2)
    monkeypatch.setattr(readiness, "STANDS_FOR", 0.0)
    asked, silence = 0, asyncio.Event()

    async def silent() -> Finding:
        nonlocal asked
        asked += 1
        await silence.wait()
        return Finding(State.OK)

    async with open_bus(redis_url) as bus:
        checks = Checks(lambda: bus, {"gateways": silent})
        began = time.monotonic()
        for _ in range(2):
            found = await checks.readiness()
            assert found.checks["gateways"].state is State.AWAY
            assert found.checks["database"].state is State.OK
        assert time.monotonic() - began < 2
        assert asked == 1
        silence.set()
        await asyncio.sleep(0)
        assert (await checks.readiness()).ready


async def test_many_who_ask_share_a_finding(connected: str, redis_url: str) -> None:
    asked = 0

    async def counted() -> Finding:
        nonlocal asked
        asked += 1
        return Finding(State.STANDING_BY)

    async with open_bus(redis_url) as bus:
        checks = Checks(lambda: bus, {"gateways": counted})
        assert (await checks.readiness()).ready, "who stands by is ready"
        for _ in range(20):
            await checks.readiness()
    assert asked == 1


async def test_the_port_for_watchers_answers_three_paths_and_ends_with_the_process(
    connected: str, redis_url: str, unused_tcp_port: int
) -> None:
    settings = Settings(metrics_port=unused_tcp_port)
    address = f"http://127.0.0.1:{unused_tcp_port}"
    with monitoring_port.listen(settings) as bound:
        with pytest.raises(StartupError, match=f"port {unused_tcp_port} .GROUPSMS_METRICS_PORT.: Address"):
            monitoring_port.listen(settings)
        async with (
            open_bus(redis_url) as bus,
            monitoring_port.monitored(bound, Checks(lambda: bus)),
            httpx.AsyncClient(base_url=address) as http,
        ):
            answers = [await http.get(path) for path in ("/metrics", "/healthz", "/readyz", "/", "/graphql")]
            refused = await http.post("/metrics")
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 404]
    assert answers[0].headers["content-type"].startswith("text/plain; version=")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(address)


def test_without_a_port_nobody_listens() -> None:
    with monitoring_port.listen(Settings()) as bound:
        assert bound is None
