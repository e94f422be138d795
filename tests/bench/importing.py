"""createTask with a million rows, from the first octet uploaded to the answer."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
from python_calamine import CalamineWorkbook

from api.demo.service_client import ServiceClient
from tests.bench.figures import Figure
from tests.bench.recipient_files import write_international, write_mainland
from tests.bench.stage import Memory, stage, stopwatch, watched_memory
from tests.e2e.line import Line, create, make_international, make_mainland

CREATE = """mutation ($input: CreateTaskInput!) { createTask(input: $input) {
  task { id recipients { imported invalid duplicates } } errors { code message } } }"""
TASK = "query ($id: ID!) { task(id: $id) { id name status counts { total waiting delivered } } }"
IDLE_SECONDS = 5.0
ASKED_EVERY = 0.02
MEMORY_ALLOWED = 900
"""MiB over idle."""


async def bench() -> AsyncIterator[Figure]:
    """Upload, read, normalise, store; and what others feel of it."""
    async with stage() as line:
        mainland, international = line.folder / "mainland.xlsx", line.folder / "international.xlsx"
        await asyncio.to_thread(write_mainland, mainland)
        await asyncio.to_thread(write_international, international)
        _, client = await line.api()
        at_home = await make_mainland(client, "Our new store opens on Saturday.")
        abroad = await make_international(client, "Our new store opens on Saturday.")
        limit = await _bare(line.database_url, mainland)
        for what, file, made_from, at_most in (
            ("createTask, 1,000,000 rows, mainland", mainland, at_home, 1.6),
            ("createTask, 1,000,000 rows, 60 countries", international, abroad, 2.5),
        ):
            took, memory = await _import(line, client, file, made_from)
            yield Figure(what, took, "s", limit, "calamine + a bare loop + a bare COPY", at_most=at_most)
            yield Figure(
                "… memory of all processes over idle", memory, "MiB", MEMORY_ALLOWED, "allowed", at_most=1
            )
        yield await _felt_by_others(line, client, mainland, at_home, abroad)


async def _import(
    line: Line, client: ServiceClient, file: Path, made_from: dict[str, str]
) -> tuple[float, float]:
    """Seconds, and MiB in use over idle at the peak."""
    idle = await asyncio.to_thread(Memory(line).look)
    async with watched_memory(line) as memory:
        with stopwatch() as took:
            await _create(client, file, made_from)
    return took[0], (memory.peak - idle) / 2**20


async def _create(client: ServiceClient, file: Path, made_from: dict[str, str]) -> dict[str, Any]:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    order = {"name": "Opening", **made_from, "recipients": {"file": None}, "sendAt": tomorrow}
    payload = (await client.upload(CREATE, file, "input.recipients.file", input=order))["createTask"]
    assert payload["errors"] == [], payload
    assert payload["task"]["recipients"]["imported"] > 950_000, payload
    task: dict[str, Any] = payload["task"]
    return task


async def _felt_by_others(
    line: Line, client: ServiceClient, file: Path, at_home: dict[str, str], abroad: dict[str, str]
) -> Figure:
    """The slowest hundredth of `task` queries during an import, beside the same without one."""
    small = await create(
        client, abroad, ["+447400000001"], sendAt=(datetime.now(UTC) + timedelta(days=1)).isoformat()
    )
    async with ServiceClient(client.base_url, line.token) as other:
        idle = await waits_for_task(other, small, asyncio.create_task(asyncio.sleep(IDLE_SECONDS)))
        busy = await waits_for_task(other, small, asyncio.create_task(_create(client, file, at_home)))
    return Figure(
        "slowest 1 % of `task` queries during that import",
        p99(busy) * 1000, "ms", p99(idle) * 1000, "on an idle server", at_most=3,
    )  # fmt: skip


async def waits_for_task(
    client: ServiceClient, task_id: str, while_running: asyncio.Task[Any]
) -> list[float]:
    """Seconds that `task` queries take, one every 20 ms, until something else is done."""
    waits = []
    while not while_running.done():
        with stopwatch() as took:
            await client.execute(TASK, id=task_id)
        waits.append(took[0])
        await asyncio.sleep(ASKED_EVERY)
    await while_running
    return waits


def p99(waits: list[float]) -> float:
    """What 99 of 100 took at most."""
    return sorted(waits)[int(len(waits) * 0.99)]


async def _bare(database_url: str, file: Path) -> float:
    """Seconds for what no importer can do without: reading, the rules without a care, storing."""
    with stopwatch() as reading:
        numbers = await asyncio.to_thread(_bare_numbers, file)
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            "CREATE TABLE bare (task_id bigint, position int, number bigint, PRIMARY KEY (task_id, position))"
        )
        with stopwatch() as storing:
            await connection.copy_records_to_table(
                "bare", records=_records(numbers), columns=("task_id", "position", "number")
            )
        await connection.execute("DROP TABLE bare")
    finally:
        await connection.close()
    return reading[0] + storing[0]


def _bare_numbers(file: Path) -> array[int]:
    sheet = CalamineWorkbook.from_path(file).get_sheet_by_index(0)
    numbers = array("q")
    seen = set()
    for row in sheet.iter_rows():
        text = str(row[0])
        if len(text) == 11 and text[0] == "1":
            number = int("86" + text)
        elif len(text) == 13 and text[:2] == "86":
            number = int(text)
        elif text[0] == "+" and len(text) == 14 and text[:4] == "+861":
            number = int(text[1:])
        else:
            continue
        if number not in seen:
            seen.add(number)
            numbers.append(number)
    return numbers


def _records(numbers: array[int]) -> Iterator[tuple[int, int, int]]:
    return ((1, position, number) for position, number in enumerate(numbers, start=1))
