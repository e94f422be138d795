"""The files that say what became of a task's numbers and of the rows of its list."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook

from api import downloads
from domain import opt_outs
from domain.number_files import FileFormat
from domain.ports import ReceiptState
from domain.recipient_file import read_recipients
from domain.states import Region, Role, RowRejection
from tests.integration.api_client import Api, Client, serving
from tests.integration.world import World, receipt

LINKS = """{ tasks { nodes {
  xlsx: rejectedRowsUrl csv: rejectedRowsUrl(format: CSV) failed: failedNumbersUrl(format: CSV) } } }"""
ROWS = [
    "13800138000",
    "13800138001",
    "0086 138 0013 8002",
    "8.6138E+12",
    "13800138000",
    "=HYPERLINK(1)",
    "+44 7400 123456",
    "13800138003",
]
"""Of a mainland task; the last but for one is abroad, the second opted out."""
MENDED = "+8613800138002"


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(database_url, redis_url, tmp_path) as running:
        yield running


@pytest.fixture
async def world(api: Api) -> World:
    return await World.make("Acme")


@pytest.fixture
async def client(api: Api, world: World) -> Client:
    return await api.client(Role.VIEWER)


async def links(client: Client) -> dict[str, str]:
    (found,) = (await client.run(LINKS))["tasks"]["nodes"]
    urls: dict[str, str] = found
    return urls


async def with_rejections(world: World) -> int:
    await opt_outs.add_opt_outs(world.viewer, ["13800138001"], None, world.intake.limits)
    return await world.create(ROWS)


async def test_there_is_no_file_when_no_row_was_rejected(client: Client, world: World) -> None:
    await world.create(2)
    assert await links(client) == {"xlsx": None, "csv": None, "failed": None}


async def test_rejected_rows_as_a_workbook_to_mend_and_upload_again(
    api: Api, client: Client, world: World, tmp_path: Path
) -> None:
    """The recipient file: every deleted row is kept with its row, its text as found, and the reason."""
    task_id = await with_rejections(world)
    response = await api.http.get((await links(client))["xlsx"])
    assert response.headers["content-disposition"] == f'attachment; filename="rejected-rows-{task_id}.xlsx"'
    workbook = load_workbook(io.BytesIO(response.content))
    sheet: Any = workbook.active
    heading, *rows = sheet.iter_rows()
    assert [cell.value for cell in heading] == [
        "Phone number", "Suggestion", "Reason", "Row", "Text as found",
    ]  # fmt: skip
    assert {(cell.data_type, cell.number_format) for row in rows for cell in row if cell.value} == {
        ("s", "@")
    }
    values = [[cell.value for cell in row] for row in rows]
    assert [(row[0], row[1], row[3], row[4]) for row in values] == [
        (None, None, "2", "13800138001"),
        ("0086 138 0013 8002", MENDED, "3", "0086 138 0013 8002"),
        ("8.6138E+12", None, "4", "8.6138E+12"),
        (None, None, "5", "13800138000"),
        ("=HYPERLINK(1)", None, "6", "=HYPERLINK(1)"),
        ("+44 7400 123456", None, "7", "+44 7400 123456"),
    ]
    assert "wants no messages" in values[0][2]
    assert "lost digits" in values[2][2]
    assert "on the list before" in values[3][2]
    assert all("." in row[2] and " " in row[2] for row in values)

    path = tmp_path / "again.xlsx"
    path.write_bytes(response.content)
    unmended = await read_recipients(path, region=Region.CHINESE_MAINLAND)
    assert unmended.imported == 0  # nobody is texted by a guess, nor twice
    assert [(row.row, row.value) for row in unmended.rejected] == [
        (3, "0086 138 0013 8002"),
        (4, "8.6138E+12"),
        (6, "=HYPERLINK(1)"),
        (7, "+44 7400 123456"),
    ]
    sheet["A3"] = sheet["B3"].value
    sheet["A4"] = "13800138004"
    workbook.save(path)
    mended = await read_recipients(path, region=Region.CHINESE_MAINLAND)
    assert list(mended.numbers) == [8613800138002, 8613800138004]


async def test_rejected_rows_as_csv_hold_no_formula(
    api: Api, client: Client, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_ROWS_AT_ONCE", 2)
    await with_rejections(world)
    response = await api.http.get((await links(client))["csv"])
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    _, *rows = csv.reader(io.StringIO(response.content.decode("utf-8-sig")))
    assert [(row[0], row[1], row[3], row[4]) for row in rows] == [
        ("", "", "2", "13800138001"),
        ("0086 138 0013 8002", MENDED, "3", "0086 138 0013 8002"),
        ("8.6138E+12", "", "4", "8.6138E+12"),
        ("", "", "5", "13800138000"),
        ("'=HYPERLINK(1)", "", "6", "'=HYPERLINK(1)"),
        ("'+44 7400 123456", "", "7", "'+44 7400 123456"),
    ]
    path = tmp_path / "again.csv"
    path.write_bytes(response.content)
    again = await read_recipients(path, region=Region.CHINESE_MAINLAND)
    assert (again.imported, [row.row for row in again.rejected]) == (0, [3, 4, 6, 7])
    assert again.rejected[-1].reason is RowRejection.REGION_NOT_ALLOWED


async def test_a_link_to_rejected_rows_opens_nothing_of_another_account(api: Api, world: World) -> None:
    task_id = await with_rejections(world)
    rival = await api.client(Role.OPERATOR, "Rival")
    assert (await rival.run(LINKS))["tasks"]["nodes"] == []
    path = downloads.rejected_rows_path(task_id, FileFormat.CSV)
    assert (await api.http.get(f"{api.url}{path}", headers=rival.headers)).status_code == 403


async def test_failed_numbers_say_cause_and_code(api: Api, client: Client, world: World) -> None:
    """Life of a task: failed numbers download with the reason beside each."""
    claim = await world.claim(await world.running(3))
    await world.hand_over(claim)
    await world.receive(
        receipt(claim, 1, ReceiptState.FAILED, error_code="MILIMIT"),
        receipt(claim, 2, ReceiptState.FAILED, error_code="000"),
    )
    response = await api.http.get((await links(client))["failed"])
    _, first, second = csv.reader(io.StringIO(response.content.decode("utf-8-sig")))
    assert first[0] == "+8613800000000"
    assert first[1].startswith("Too many messages were sent to this number")
    assert first[1].endswith("(MILIMIT)")
    assert second[1].endswith("(UNDELIV)")
