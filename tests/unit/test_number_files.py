"""The files people download: Excel must leave the numbers alone, and they can be uploaded again."""

import csv
import io
from pathlib import Path
from typing import Any, Self

import openpyxl
import pytest

from domain.number_files import (
    SAMPLE_NUMBERS,
    FileFormat,
    sample_recipient_file,
    write_failed_numbers,
    write_rejected_rows,
)
from domain.recipient_file import ReadLimits, RejectedRow, read_recipients
from domain.states import Region, RowRejection

ROWS = [
    ("+8613800138000", "MILIMIT: the number's daily limit is reached"),
    ("+8613800138001", "=HYPERLINK(1)"),
    ("+8613800138002", '空号 \x00, "quoted"; and\ntwo lines'),
    ("+8613800138003", "@SUM(1)"),
]


def cells(content: bytes | Path) -> list[list[Any]]:
    file = content if isinstance(content, Path) else io.BytesIO(content)
    sheet: Any = openpyxl.load_workbook(file).active
    return [list(row) for row in sheet.iter_rows()]


async def test_the_sample_is_text_and_imports(tmp_path: Path) -> None:
    content = sample_recipient_file()
    (heading,), *rows = cells(content)
    assert heading.value == "Phone number"
    assert [cell.value for (cell,) in rows] == list(SAMPLE_NUMBERS)
    assert {(cell.data_type, cell.number_format) for (cell,) in rows} == {("s", "@")}
    sheet: Any = openpyxl.load_workbook(io.BytesIO(content)).active
    assert sheet.column_dimensions["A"].number_format == "@"  # for what people type below
    (tmp_path / "sample.xlsx").write_bytes(content)
    recipients = await read_recipients(
        tmp_path / "sample.xlsx", region=Region.CHINESE_MAINLAND, limits=ReadLimits()
    )
    assert (recipients.imported, recipients.rejected) == (len(SAMPLE_NUMBERS), [])
    assert sample_recipient_file() is content


def test_a_workbook_of_failed_numbers_holds_text_only(tmp_path: Path) -> None:
    write_failed_numbers(iter(ROWS), tmp_path / "failed.xlsx", FileFormat.XLSX)
    heading, *rows = cells(tmp_path / "failed.xlsx")
    assert [cell.value for cell in heading] == ["Phone number", "Reason"]
    assert [(number.value, reason.value) for number, reason in rows] == [
        (number, reason.replace("\x00", "")) for number, reason in ROWS
    ]
    assert {(cell.data_type, cell.number_format) for row in rows for cell in row} == {("s", "@")}


def test_csv_of_failed_numbers_holds_no_formula() -> None:
    target = io.BytesIO()
    write_failed_numbers(iter(ROWS), target, FileFormat.CSV)
    assert target.getvalue().decode() == (
        "\ufeffPhone number,Reason\r\n"
        "+8613800138000,MILIMIT: the number's daily limit is reached\r\n"
        "+8613800138001,'=HYPERLINK(1)\r\n"
        '+8613800138002,"空号 , ""quoted""; and\ntwo lines"\r\n'
        "+8613800138003,'@SUM(1)\r\n"
    )


@pytest.mark.parametrize("file_format", FileFormat)
async def test_failed_numbers_can_be_uploaded_again(file_format: FileFormat, tmp_path: Path) -> None:
    write_failed_numbers(iter(ROWS), tmp_path / "failed", file_format)
    recipients = await read_recipients(
        tmp_path / "failed", region=Region.CHINESE_MAINLAND, limits=ReadLimits()
    )
    assert list(recipients.numbers) == [int(number) for number, _ in ROWS]
    assert recipients.rejected == []


@pytest.mark.parametrize("file_format", FileFormat)
def test_rows_are_taken_one_at_a_time(file_format: FileFormat) -> None:
    """A million rows must not be in memory together: each is gone when the next is asked for."""
    alive = 0

    class Row(tuple[str, str]):
        __slots__ = ()

        def __new__(cls) -> Self:
            nonlocal alive
            alive += 1
            return super().__new__(cls, ("+8613800138000", "why"))

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    most = 0

    def rows() -> Any:
        nonlocal most
        for _ in range(100):
            yield Row()
            most = max(most, alive)

    write_failed_numbers(rows(), io.BytesIO(), file_format)
    assert most <= 2


@pytest.mark.parametrize("reason", RowRejection)
def test_every_rejection_is_told_in_words(reason: RowRejection) -> None:
    target = io.BytesIO()
    write_rejected_rows([RejectedRow(7, "x", reason)], Region.INTERNATIONAL, target, FileFormat.XLSX)
    _, (number, _, told, row, found) = cells(target.getvalue())
    assert (number.value or "x", row.value, found.value) == ("x", "7", "x")
    assert told.value.endswith(".")
    assert " " in told.value
    assert reason.value not in told.value


@pytest.mark.parametrize(
    "text", ["=1+1", " =1+1", "\t=1", "\n=1", "+1+1", "-1", "@SUM(1)", "＝1", "+44 7400 123456", "+"]
)
def test_what_people_wrote_is_no_formula_in_csv(text: str) -> None:
    target = io.BytesIO()
    rejected = RejectedRow(1, text, RowRejection.NOT_A_NUMBER)
    write_rejected_rows([rejected], Region.INTERNATIONAL, target, FileFormat.CSV)
    _, row = csv.reader(io.StringIO(target.getvalue().decode("utf-8-sig"), newline=""))
    assert row[0] == row[4] == f"'{text}"
