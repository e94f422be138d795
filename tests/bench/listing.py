"""Lists and details: how many a second, and whether they stay as fast in a database that is full."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg

from api.schema import global_ids
from domain import paging
from tests.bench import postgraphile
from tests.bench.figures import Figure
from tests.bench.filling import fill
from tests.bench.http_load import Asked, ask
from tests.bench.stage import LIFTED, stage
from tests.e2e.line import Line, create, free_port, make_international

SEVEN_FIELDS = "id name status createdAt sendAt segmentsPerMessage revision"
LIST = f"query ($first: Int!) {{ tasks(first: $first) {{ nodes {{ {SEVEN_FIELDS} }} }} }}"
LIST_WITH_COUNTS = f"""query ($after: String) {{ tasks(first: 50, after: $after) {{ nodes {{ {SEVEN_FIELDS}
  counts {{ total waiting unknown delivered failed notSent inDoubt }} }} pageInfo {{ endCursor }} }} }}"""
TASK = f"""query ($id: ID!) {{ task(id: $id) {{ {SEVEN_FIELDS} text
  recipients {{ imported invalid duplicates }} counts {{ total waiting unknown delivered failed notSent }}
  progress {{ percent }} }} }}"""
MESSAGES = """query ($id: ID!, $after: String) { task(id: $id) { messages(first: 100, after: $after) {
  nodes { id smsId number result receivedAt failure { code } } pageInfo { endCursor hasNextPage } } } }"""
FAILURES = "query ($id: ID!) { task(id: $id) { failureReasons { code cause count advice } } }"

CLIENTS = 16
SECONDS = 3.0
ROUNDS = 3
LITTLE = (60, 12_000)
"""Tasks and messages of an almost empty database."""
FULL = (2_000, int(os.environ.get("BENCH_MESSAGES", "20_000_000")))
SMALLER_BY = 1.5


async def bench() -> AsyncIterator[Figure]:
    """Requests a second beside those of peers; then seconds beside those in an almost empty database."""
    async with stage() as line:
        _, client = await line.api(None, **LIFTED)
        order = await make_international(client, "Our new store opens on Saturday.")
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        pattern = await create(client, order, ["+447400000001"], sendAt=tomorrow.isoformat())
        key = global_ids.key_of("Task", pattern)
        longest = await fill(line.database_url, key, tasks=LITTLE[0], messages=LITTLE[1])
        url = f"{client.base_url}/graphql"
        async for figure in _beside_peers(line, url):
            yield figure
        little = await _look(line, url, longest)
        longest = await fill(line.database_url, key, tasks=FULL[0] - LITTLE[0], messages=FULL[1] - LITTLE[1])
        full = await _look(line, url, longest)
        for what, seconds in full.items():
            yield Figure(
                f"{what}: half of the answers within", seconds * 1000, "ms", little[what] * 1000,
                f"the same with {LITTLE[0]} tasks; here {FULL[0]:,} and {FULL[1]:,} messages",
                at_most=SMALLER_BY,
            )  # fmt: skip


async def _beside_peers(line: Line, url: str) -> AsyncIterator[Figure]:
    operation: dict[str, object] = {"query": LIST, "variables": {"first": 50}}
    same = await _best(url, [operation], line.token)
    each_anew = max(
        [
            await ask(url, _anew(operation), token=line.token, clients=CLIENTS, seconds=SECONDS)
            for _ in range(ROUNDS)
        ],
        key=lambda asked: asked.per_second,
    )
    bare = await _bare(line, operation)
    cached = await _bare(line, operation, "cached")
    what = "tasks(first: 50), 7 fields, of one process"
    peer = "Strawberry alone with its caches, without a database"
    yield Figure(what, same.per_second, "/s", bare.per_second, "Strawberry alone, without a database")
    yield Figure(what, same.per_second, "/s", cached.per_second, peer, at_least=1)
    yield Figure("… each executed anew", each_anew.per_second, "/s", cached.per_second, peer)
    async with postgraphile.serving(line) as peer_url:
        if peer_url is not None:
            asked = await _best(peer_url, [{"query": postgraphile.LIST, "variables": {"first": 50}}])
            peer = "PostGraphile 4 on the same table"
            yield Figure(what, same.per_second, "/s", asked.per_second, peer)
            yield Figure("… each executed anew", each_anew.per_second, "/s", asked.per_second, peer)


async def _bare(line: Line, operation: dict[str, object], *options: str) -> Asked:
    port = free_port()
    child, _ = await line.start("tests.bench.bare_strawberry", str(port), *options)
    url = f"http://127.0.0.1:{port}/graphql"
    await _until_served(url, operation)
    try:
        return await _best(url, [operation])
    finally:
        await child.stop()


async def _until_served(url: str, operation: dict[str, object]) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await ask(url, [operation], clients=1, seconds=0)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                return


async def _best(url: str, operations: list[dict[str, object]], token: str = "") -> Asked:
    """Of several rounds, after a short one to warm up."""
    await ask(url, operations, token=token, clients=CLIENTS, seconds=SECONDS / 5)
    rounds = [
        await ask(url, operations, token=token, clients=CLIENTS, seconds=SECONDS) for _ in range(ROUNDS)
    ]
    return max(rounds, key=lambda asked: asked.per_second)


async def _look(line: Line, url: str, longest: int) -> dict[str, float]:
    """The seconds in which half of the answers to each query come; one client asks, each is executed anew."""
    found = {}
    for what, query, variables in await _queries(line, longest):
        operation: dict[str, object] = {"query": query, "variables": variables}
        rounds = [
            await ask(url, _anew(operation), token=line.token, clients=1, seconds=SECONDS / 3)
            for _ in range(ROUNDS)
        ]
        found[what] = min(asked.median for asked in rounds)
    return found


async def _queries(line: Line, longest: int) -> list[tuple[str, str, dict[str, object]]]:
    connection = await asyncpg.connect(line.database_url)
    try:
        messages = await connection.fetchval("SELECT imported FROM task WHERE id = $1", longest)
        early = await connection.fetchrow("SELECT created_at, id FROM task ORDER BY created_at, id OFFSET 50")
    finally:
        await connection.close()
    assert early is not None
    last_page = paging.encode_cursor("tasks:CREATED_AT:desc", [early["created_at"].isoformat(), early["id"]])
    task = global_ids.encode("Task", longest)
    found: list[tuple[str, str, dict[str, object]]] = [
        ("tasks(first: 50) with counts", LIST_WITH_COUNTS, {}),
        ("… the last page", LIST_WITH_COUNTS, {"after": last_page}),
        ("task", TASK, {"id": task}),
        ("failureReasons", FAILURES, {"id": task}),
    ]
    for where, position in (("", 0), (" in the middle", messages // 2), (" at the end", messages - 100)):
        variables: dict[str, object] = {"id": task, "after": paging.encode_cursor("messages", [position])}
        found.append((f"messages(first: 100){where}", MESSAGES, variables))
    return found


_numbers = itertools.count()


def _anew(operation: dict[str, object]) -> list[dict[str, object]]:
    """The operation again and again, never with the same body, so that no answer is given twice."""
    return [{**operation, "extensions": {"number": next(_numbers)}} for _ in range(10_000)]
