"""What whoever runs the service sees of it: metrics, readiness, traces and logs of real processes at work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import redis
from prometheus_client.parser import text_string_to_metric_families

from api.demo.service_client import ServiceClient
from tests.e2e.line import CREATE, FOLLOW, Child, Line, create, free_port, make_international, running_line
from tests.e2e.trace_collector import Collected, collecting_traces
from tests.watched_metrics import MOVED_ELSEWHERE, registered
from workers.metrics import BIND_FAILURES

ENDINGS = ("0100", "0101", "0102", "0103", "0001", "0009", "0011", "0012", "0014", "0021", "9902")
"""See the README's table: delivered, failed, refused, throttled, queue full, not final, a reply, in doubt."""
LIST = "query Polled { tasks(first: 5) { nodes { id status } } }"

Sample = tuple[str, tuple[tuple[str, str], ...]]


@dataclass
class Watched:
    """A process with a port for metrics, and what it showed."""

    child: Child
    address: str
    seen: dict[Sample, set[float]] = field(default_factory=dict)
    """All values of each sample, scrape after scrape."""

    async def scrape(self) -> dict[Sample, float]:
        """What it shows now, as Prometheus reads it."""
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"{self.address}/metrics")
        assert answer.status_code == 200
        shown = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }
        for key, value in shown.items():
            self.seen.setdefault(key, set()).add(value)
        return shown

    async def value(self, name: str, **labels: str) -> float:
        """A sample's value now; 0 for one that is not shown."""
        return (await self.scrape()).get((name, tuple(sorted(labels.items()))), 0.0)

    async def readiness(self) -> tuple[int, dict[str, Any]]:
        """How /readyz answers."""
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"{self.address}/readyz")
        return answer.status_code, answer.json()

    def moved(self) -> set[str]:
        """The samples that were not always 0: of what begins at 0, what has moved."""
        return {name for (name, _), values in self.seen.items() if values != {0.0}}


async def watched_pair(line: Line, traces: Collected) -> tuple[Watched, Watched, ServiceClient]:
    """An API and a worker, with metrics and traces on."""
    ports = free_port(), free_port()
    common = {"OTEL_EXPORTER_OTLP_ENDPOINT": traces.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    api, client = await line.api(None, GROUPSMS_METRICS_PORT=str(ports[0]), **common)
    worker, _ = await line.start(
        "workers",
        GROUPSMS_METRICS_PORT=str(ports[1]),
        GROUPSMS_GATEWAYS__GONE=f"smpp://any:secret@127.0.0.1:{free_port()}",
        **common,
    )
    return (
        Watched(api, f"http://127.0.0.1:{ports[0]}"),
        Watched(worker, f"http://127.0.0.1:{ports[1]}"),
        client,
    )


async def eventually(condition: Callable[[], Awaitable[object]], seconds: float = 20) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                if await condition():
                    return
            except httpx.TransportError:
                pass  # not listening yet
            await asyncio.sleep(0.05)


async def test_whoever_watches_sees_what_happens(database_url: str, redis_url: str, tmp_path: Path) -> None:
    with collecting_traces() as traces:
        async with running_line(database_url, redis_url, tmp_path) as line:
            await line.message_centre("--receipt-delay", "0.05", "--response-delay", "0.03", query="window=5")
            api, worker, client = await watched_pair(line, traces)
            await readiness_tells_which_gateway_is_away(api, worker)
            async with scraping(api), scraping(worker):
                task_id = await everything_happens(line, api, worker, client)
            await connections_are_cut(worker, database_url, redis_url)
            for process in (api, worker):
                await process.scrape()
                assert await process.child.stop() == 0
        every_metric_moved(api, worker)
        no_label_is_a_clients(api, worker)
        traces_lead_from_request_to_statement(traces)
        traces_lead_from_task_to_window(traces, task_id)
        every_line_is_of_one_shape_and_says_what_it_is_about(api.child, worker.child)


async def readiness_tells_which_gateway_is_away(api: Watched, worker: Watched) -> None:
    async def known() -> bool:
        _, found = await worker.readiness()
        return bool(found["checks"]["gateways"]["gateways"] == {"default": "up", "gone": "down"})

    await eventually(known)
    status, found = await worker.readiness()
    assert (status, found["status"], found["checks"]["gateways"]["state"]) == (503, "unready", "away")
    status, found = await api.readiness()
    assert (status, found["status"]) == (200, "ready")
    assert {name: check["state"] for name, check in found["checks"].items()} == {
        "database": "ok",
        "migrations": "ok",
        "redis": "ok",
    }


@asynccontextmanager
async def scraping(process: Watched) -> AsyncIterator[None]:
    """Scrape again and again while the context is open, so that what lasts a moment is seen."""

    async def for_ever() -> None:
        while True:
            await process.scrape()
            await asyncio.sleep(0.02)

    task = asyncio.create_task(for_ever())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def held_imports(line: Line, api: Watched) -> AsyncIterator[None]:
    """Hold up what the API stores until it shows that it is at it."""
    holder = await asyncpg.connect(line.database_url)
    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE chunk IN SHARE MODE")
            yield
            async with asyncio.timeout(10):
                while await api.value("groupsms_imports_running") != 1:
                    pass
    finally:
        await holder.close()


async def everything_happens(line: Line, api: Watched, worker: Watched, client: ServiceClient) -> str:
    """Tasks with every ending, followed by a socket; lists polled, mistakes made. The task's id."""
    made_from = await make_international(client, "Hello")
    later = datetime.now(UTC) + timedelta(days=1)
    many = [f"+4474001{n:05d}" for n in range(10_000)]
    async with held_imports(line, api):
        creating = asyncio.create_task(create(client, made_from, many, sendAt=later.isoformat()))
    await creating
    refused = {"name": "None", **made_from, "recipients": {"numbers": ["nobody"]}}
    assert (await client.execute(CREATE, input=refused))["createTask"]["errors"]
    for _ in range(3):
        await client.execute(LIST)
    headers = {"Authorization": f"Bearer {line.token}"}
    async with httpx.AsyncClient(base_url=client.base_url, headers=headers) as http:
        await http.post("/graphql", json={"query": "query Secret_441234567 { nonsense }"})
        await http.request("PUT", "/made/up/441234567")
    numbers = [f"+44740012{ending}" for ending in ENDINGS] + [
        f"+4474001{n:05d}" for n in range(30_100, 30_200)
    ]
    task_id = await create(client, made_from, numbers)
    async with asyncio.timeout(30), aclosing(client.subscribe(FOLLOW, id=task_id)) as events:
        async for event in events:
            counts = event["taskUpdated"]["counts"]
            if counts["waiting"] == 0 and counts["delivered"] >= 104:
                break

    async def replied() -> bool:
        return bool(await worker.value("groupsms_replies_total", gateway="default"))

    await eventually(replied)
    return task_id


async def connections_are_cut(worker: Watched, database_url: str, redis_url: str) -> None:
    """The database's in the middle of a statement of the worker's, and Redis' until it has come back."""
    admin, holder = await asyncpg.connect(database_url), await asyncpg.connect(database_url)

    async def cut_off() -> int:
        cut: int = await admin.fetchval(
            r"""
            SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'
              AND query ~ '^\s*SELECT id FROM task WHERE status = .SCHEDULED.'
            """
        )
        return cut

    async def a_loop_failed() -> bool:
        return await worker.value("groupsms_worker_loop_failures_total", loop="start") > 0

    async def redis_came_back() -> bool:
        return await worker.value("groupsms_redis_connections_total") >= 2

    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE task IN ACCESS EXCLUSIVE MODE")
            await eventually(cut_off)
    finally:
        await holder.close()
        await admin.close()
    await eventually(a_loop_failed)
    with redis.Redis.from_url(redis_url) as client:
        client.client_kill_filter(_type="pubsub")
    await eventually(redis_came_back)


def every_metric_moved(api: Watched, worker: Watched) -> None:
    moved = api.moved() | worker.moved()
    still = {name for name, samples in registered().items() if not samples & moved}
    assert still == MOVED_ELSEWHERE


def no_label_is_a_clients(api: Watched, worker: Watched) -> None:
    """Neither the name of an operation, nor a path, a method, a number, or an id."""
    values = {value for (_, labels) in (*api.seen, *worker.seen) for _, value in labels}
    assert {"tasks", "createTask", "taskUpdated", "/graphql", "other", *BIND_FAILURES} <= values
    assert not {value for value in values if "441234567" in value or "Polled" in value or value == "PUT"}


def traces_lead_from_request_to_statement(traces: Collected) -> None:
    [mutation, *_] = traces.named("mutation createTask")
    together = {span.span_id: span for span in traces.spans if span.trace_id == mutation.trace_id}
    assert mutation.service == "groupsms-api"
    request = together[mutation.parent_id]
    assert (request.name, request.parent_id) == ("POST /graphql", "")
    assert request.attributes["http.route"] == "/graphql"
    assert request.attributes["http.response.status_code"] == 200
    assert any(span.name == "import recipients" for span in together.values())
    assert any(
        "db.statement" in span.attributes or "db.query.text" in span.attributes for span in together.values()
    )


def traces_lead_from_task_to_window(traces: Collected, task_id: str) -> None:
    [imported] = [
        s for s in traces.named("import recipients") if s.attributes.get("groupsms.messages") == 111
    ]
    task = imported.attributes["groupsms.task_id"]
    for name in ("start task", "send window", "settle window"):
        assert any(span.attributes["groupsms.task_id"] == task for span in traces.named(name)), name
    assert {span.service for span in traces.named("send window")} == {"groupsms-worker"}
    assert traces.named("store receipts")
    assert traces.named("apply receipts")
    numbers = json.dumps([span.attributes for span in traces.spans])
    assert "44740012" not in numbers


def every_line_is_of_one_shape_and_says_what_it_is_about(api: Child, worker: Child) -> None:
    for process in (api, worker):
        lines = process.log.read_text().splitlines()
        for line in lines:
            assert {"event", "level", "timestamp"} <= json.loads(line).keys()
    made = [entry for entry in api.entries() if entry["event"] == "task_created"]
    requests = {entry["request_id"] for entry in api.entries() if entry["event"] == "request"}
    assert {entry["request_id"] for entry in made} <= requests
    assert all(entry["trace_id"] for entry in made)
    started = {entry["task_id"] for entry in worker.entries() if entry["event"] == "task_started"}
    assert started <= {entry["task_id"] for entry in made}
    assert started
