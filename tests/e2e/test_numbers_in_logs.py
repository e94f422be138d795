"""No process writes a phone number, a token or a link's signature into its log, not even in debug."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from api.demo.service_client import ServiceClient
from domain import db
from tests.conftest import wait_until
from tests.e2e.line import CREATE, Line, create, followed, make_international, running_line

ENDINGS = ("0001", "0005", "0009", "0010", "0011", "0013", "0015", "0020", "0021", "0022", "0026", "4321")
"""Failed in several ways, refused, throttled, receipts early and late, replies, an opt-out, and delivered."""
NUMBERS = [f"+3461234{ending}" for ending in ENDINGS]
POISON = "+34612340021"
"""A number that the database refuses as an opt-out, so that errors tell of it; its phone answers STOP."""
DEBUG = {"GROUPSMS_LOG_LEVEL": "debug"}
LINKS = "query ($id: ID!) { task(id: $id) { failedNumbersUrl(format: CSV) rejectedRowsUrl(format: CSV) } }"
OPT_OUTS = (
    """mutation ($input: AddOptOutsInput!) { addOptOuts(input: $input) { added errors { message } } }"""
)


@pytest.fixture
async def line(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Line]:
    async with running_line(database_url, redis_url, tmp_path) as running:
        yield running


async def fail_over_a_number(client: ServiceClient, token: str, made_from: dict[str, str]) -> None:
    """Have the API meet the number that the database refuses, and others in strange places."""
    request = {"query": OPT_OUTS, "variables": {"input": {"numbers": [POISON]}}}
    async with httpx.AsyncClient() as http:
        answer = await http.post(
            f"{client.base_url}/graphql", json=request, headers={"Authorization": f"Bearer {token}"}
        )
        await http.get(f"{client.base_url}/nowhere/{NUMBERS[0]}?number={NUMBERS[0]}")
    assert answer.json()["errors"][0]["extensions"]["code"] == "INTERNAL"
    order = {"name": "x", **made_from, "recipients": {"numbers": ["1"]}}
    refused = await client.execute(CREATE, input=order)
    assert refused["createTask"]["errors"]


async def test_a_tasks_numbers_are_in_no_log(line: Line) -> None:
    centre, address = await line.start(
        "workers.smsc", "--port", "0", "--journal", str(line.journal_file), "--receipt-delay", "0.05",
        until="listening on ", **DEBUG,
    )  # fmt: skip
    line.gateway = f"smpp://line:secret@{address}?window=5"
    api, client = await line.api(None, **DEBUG)
    worker, _ = await line.start("workers", **DEBUG)
    made_from = await make_international(client, "Hello")
    await db.fetch(f"ALTER TABLE opt_out ADD CONSTRAINT poison CHECK (number <> {POISON[1:]})")
    task_id = await create(client, made_from, [*NUMBERS, f"{NUMBERS[0]}0000000", NUMBERS[0]])
    await fail_over_a_number(client, line.token, made_from)
    wait_until(lambda: all("poison" in child.log.read_text() for child in (api, worker)))
    await db.fetch("ALTER TABLE opt_out DROP CONSTRAINT poison")
    updates = await followed(client, task_id)
    assert updates[-1]["counts"]["failed"] >= 3
    wait_until(lambda: len(line.events("reply")) == 2)
    links = (await client.execute(LINKS, id=task_id))["task"]
    async with httpx.AsyncClient() as http:
        for url in links.values():
            assert NUMBERS[0][1:] in (await http.get(url)).text.replace("+", "")
    for child in (worker, api, centre):
        await child.stop()

    logs = "\n".join(child.log.read_text() for child in line.children)
    assert "/downloads/tasks/" in logs
    assert "DEBUG" in logs.upper()
    for number in NUMBERS:
        assert number[1:] not in logs
        assert number[3:] not in logs
    for url in links.values():
        assert urlsplit(url).query.removeprefix("signature=")[:20] not in logs
    assert line.token not in logs
    assert "line:secret" not in logs
