"""Downloading the failed numbers of a task, as people do: by the link that the task gives."""

from __future__ import annotations

import asyncio
import csv
import multiprocessing
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import asyncpg
import xlsxwriter
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell

from api.demo.service_client import ServiceClient
from api.schema.global_ids import key_of
from tests.bench.figures import Figure
from tests.bench.importing import IDLE_SECONDS, p99, waits_for_task
from tests.bench.stage import Memory, family, processor_seconds, stage, stopwatch, watched_memory
from tests.e2e.line import Child, Line, create, make_international

FAILED = 300_000
MEMORY_ALLOWED = 16
"""MiB over idle, of the API process: flat, whatever the number of rows."""
FIRST_OCTET_WITHIN = 1.0
"""Seconds."""
_LINKS = "query ($id: ID!) { task(id: $id) { xlsx: failedNumbersUrl csv: failedNumbersUrl(format: CSV) } }"
_CODES = ("UNDELIV", "EXPIRED", "BLACK", "MILIMIT", "ERRNUM", "0x0000000B")
_WIDTHS = (22, 60)

_Rows = list[list[str]]
_Write = Callable[[_Rows, BinaryIO], None]


@dataclass(frozen=True, slots=True)
class _Cost:
    seconds: float
    processor_seconds: float


@dataclass(frozen=True, slots=True)
class _Download:
    first: float
    """Seconds to the first octets of the file."""
    cost: _Cost
    memory: float
    """MiB over idle at the peak."""


async def bench() -> AsyncIterator[Figure]:
    """Both formats beside libraries that write the same cells; and what others feel of it."""
    async with stage() as line:
        api, client = await line.api()
        task_id = await _task(line, client)
        links = (await client.execute(_LINKS, id=task_id))["task"]
        file = line.folder / "failed.csv"
        text = await _download(line, api, links["csv"], file)
        workbook = await _download(line, api, links["xlsx"], line.folder / "failed.xlsx")
        for what, download in (("CSV", text), ("XLSX", workbook)):
            yield Figure(
                f"{what} of 300,000 failed numbers, first octet", download.first, "s", FIRST_OCTET_WITHIN,
                "allowed", at_most=1,
            )  # fmt: skip
            yield Figure(
                "… memory of the API process over idle", download.memory, "MiB", MEMORY_ALLOWED, "allowed",
                at_most=1,
            )  # fmt: skip
        bare = await _bare(file, _with_openpyxl)
        other = await _bare(file, _with_xlsxwriter)
        for what, limit, at_most in (
            ("openpyxl, write-only, rows at hand", bare, 1.2),
            ("XlsxWriter, constant_memory, rows at hand", other, None),
        ):
            yield Figure(
                "XLSX, from the request to the last octet", workbook.cost.seconds, "s", limit.seconds, what,
                at_most=at_most,
            )  # fmt: skip
            yield Figure(
                "… processor time of all processes", workbook.cost.processor_seconds, "s",
                limit.processor_seconds, what,
            )  # fmt: skip
        yield Figure(
            "CSV, from the request to the last octet", text.cost.seconds, "s", bare.seconds,
            "openpyxl as above",
        )  # fmt: skip
        yield await _felt_by_others(line, client, task_id, links["xlsx"])


async def _task(line: Line, client: ServiceClient) -> str:
    """A task with so many failed messages, and the counts to go with them."""
    order = await make_international(client, "Our new store opens on Saturday.")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    task_id = await create(client, order, ["+34600000000"], sendAt=tomorrow.isoformat())
    connection = await asyncpg.connect(line.database_url)
    try:
        key = key_of("Task", task_id)
        await connection.execute(
            """
            INSERT INTO message (task_id, position, number, result, handover, received_at, error_code)
            SELECT $1, at, 34600000000 + at, 3, 1, now(), ($3::text[])[1 + at % cardinality($3)]
            FROM generate_series(2, $2::int) AS at
            """,
            key,
            FAILED + 1,
            _CODES,
        )
        await connection.execute("UPDATE task SET imported = $2 WHERE id = $1", key, FAILED + 1)
        await connection.execute(
            """
            INSERT INTO task_counter (task_id, shard, revision, failed) VALUES ($1, 0, 1, $2)
            ON CONFLICT (task_id, shard) DO UPDATE SET failed = $2
            """,
            key,
            FAILED,
        )
        await connection.execute("VACUUM (ANALYZE) message")
    finally:
        await connection.close()
    return task_id


async def _download(line: Line, api: Child, url: str, target: Path) -> _Download:
    idle = await asyncio.to_thread(Memory(line, api).look)
    async with watched_memory(line, api) as memory:
        before = processor_seconds(family(line))
        with target.open("wb") as file, stopwatch() as took:
            first = await _fetch(url, file)
        spent = processor_seconds(family(line)) - before
    return _Download(first, _Cost(took[0], spent), (memory.peak - idle) / 2**20)


async def _fetch(url: str, file: BinaryIO) -> float:
    """Save a download of many chunks; seconds to the first octets of its content."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    began = loop.time()
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        target = f"{parts.path}?{parts.query}"
        writer.write(f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        assert b"transfer-encoding: chunked" in head.lower(), head
        first = 0.0
        while size := int(await reader.readline(), 16):
            file.write((await reader.readexactly(size + 2))[:-2])
            first = first or loop.time() - began
    finally:
        writer.close()
    return first


async def _bare(file: Path, write: _Write) -> _Cost:
    """What a library takes for the same cells, in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, _timed, file, write)


def _timed(file: Path, write: _Write) -> _Cost:
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = list(csv.reader(text))
    assert len(rows) == FAILED + 1
    with tempfile.TemporaryFile() as target:
        began, used = time.perf_counter(), time.process_time()
        write(rows, target)
        return _Cost(time.perf_counter() - began, time.process_time() - used)


def _with_openpyxl(rows: _Rows, target: BinaryIO) -> None:
    workbook = Workbook(write_only=True)
    sheet: Any = workbook.create_sheet("Numbers")
    for letter, width in zip("AB", _WIDTHS, strict=True):
        sheet.column_dimensions[letter].width = width
    cells: list[Any] = [WriteOnlyCell(sheet) for _ in _WIDTHS]
    for cell in cells:
        cell.number_format = "@"
    for row in rows:
        for cell, text in zip(cells, row, strict=True):
            cell.value = text
        sheet.append(cells)
    workbook.save(target)


def _with_xlsxwriter(rows: _Rows, target: BinaryIO) -> None:
    with xlsxwriter.Workbook(target, {"constant_memory": True}) as workbook:
        sheet = workbook.add_worksheet("Numbers")
        text_format = workbook.add_format({"num_format": "@"})
        for position, width in enumerate(_WIDTHS):
            sheet.set_column(position, position, width)
        for index, row in enumerate(rows):
            for position, text in enumerate(row):
                sheet.write_string(index, position, text, text_format)


async def _felt_by_others(line: Line, client: ServiceClient, task_id: str, url: str) -> Figure:
    """The slowest hundredth of `task` queries while workbooks are downloaded, beside the same without."""
    async with ServiceClient(client.base_url, line.token) as other:
        idle = await waits_for_task(other, task_id, asyncio.create_task(asyncio.sleep(IDLE_SECONDS)))
        busy = await waits_for_task(other, task_id, asyncio.create_task(_download_again_and_again(url)))
    return Figure(
        "slowest 1 % of `task` queries while XLSX files are downloaded",
        p99(busy) * 1000, "ms", p99(idle) * 1000, "on an idle server", at_most=3,
    )  # fmt: skip


async def _download_again_and_again(url: str) -> None:
    with tempfile.TemporaryFile() as file:
        until = time.monotonic() + IDLE_SECONDS
        while time.monotonic() < until:
            await _fetch(url, file)
