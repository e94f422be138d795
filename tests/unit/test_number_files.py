"""The files people download: Excel must leave the numbers alone, and they can be uploaded again."""

import csv
import gc
import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self, TypeVar

import openpyxl
import pytest

from domain.number_files import (
    SAMPLE_NUMBERS,
    FileFormat,
    NumberFile,
    failed_numbers,
    rejected_rows,
    sample_recipient_file,
)
from domain.recipient_file import ReadLimits, RejectedRow, read_recipients
from domain.states import Region, RowRejection

ROWS = [
    ("+8613800138000", "MILIMIT: the number's daily limit is reached"),
    ("+8613800138001", "=HYPERLINK(1)"),
    ("+8613800138002", '空号 \x00, "quoted"; and\ntwo lines'),
    ("+8613800138003", "@SUM(1)"),
]


R = TypeVar("R")


def whole(file: NumberFile[R], rows: Iterable[R]) -> bytes:
    return b"".join((file.begin(), file.add(rows), file.end()))


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


def test_a_workbook_of_failed_numbers_holds_text_only() -> None:
    heading, *rows = cells(whole(failed_numbers(FileFormat.XLSX), iter(ROWS)))
    assert [cell.value for cell in heading] == ["Phone number", "Reason"]
    assert [(number.value, reason.value) for number, reason in rows] == [
        (number, reason.replace("\x00", "")) for number, reason in ROWS
    ]
    assert {(cell.data_type, cell.number_format) for row in rows for cell in row} == {("s", "@")}


def test_csv_of_failed_numbers_holds_no_formula() -> None:
    assert whole(failed_numbers(FileFormat.CSV), iter(ROWS)).decode() == (
        "\ufeffPhone number,Reason\r\n"
        "+8613800138000,MILIMIT: the number's daily limit is reached\r\n"
        "+8613800138001,'=HYPERLINK(1)\r\n"
        '+8613800138002,"空号 , ""quoted""; and\ntwo lines"\r\n'
        "+8613800138003,'@SUM(1)\r\n"
    )


@pytest.mark.parametrize("file_format", FileFormat)
async def test_failed_numbers_can_be_uploaded_again(file_format: FileFormat, tmp_path: Path) -> None:
    (tmp_path / "failed").write_bytes(whole(failed_numbers(file_format), iter(ROWS)))
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

    whole(failed_numbers(file_format), rows())
    assert most <= 2


@pytest.mark.parametrize("reason", RowRejection)
def test_every_rejection_is_told_in_words(reason: RowRejection) -> None:
    file = rejected_rows(Region.INTERNATIONAL, FileFormat.XLSX)
    _, (number, _, told, row, found) = cells(whole(file, [RejectedRow(7, "x", reason)]))
    assert (number.value or "x", row.value, found.value) == ("x", "7", "x")
    assert told.value.endswith(".")
    assert " " in told.value
    assert reason.value not in told.value


@pytest.mark.parametrize(
    "text", ["=1+1", " =1+1", "\t=1", "\n=1", "+1+1", "-1", "@SUM(1)", "＝1", "+44 7400 123456", "+"]
)
def test_what_people_wrote_is_no_formula_in_csv(text: str) -> None:
    rejected = RejectedRow(1, text, RowRejection.NOT_A_NUMBER)
    file = rejected_rows(Region.INTERNATIONAL, FileFormat.CSV)
    _, row = csv.reader(io.StringIO(whole(file, [rejected]).decode("utf-8-sig"), newline=""))
    assert row[0] == row[4] == f"'{text}"


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("a;=1+1", "a;'=1+1"),
        (";@SUM(1)", ";'@SUM(1)"),
        ("a\t=1", "a\t'=1"),
        ("a;b; -1;=2", "a;b; '-1;'=2"),
        ("a\n=1", "a\n'=1"),
        ("13;+8613800138000", "13;'+8613800138000"),
        ("a-b", "a-b"),
    ],
)
def test_nor_where_semicolons_separate_cells(text: str, harmless: str) -> None:
    rejected = RejectedRow(1, text, RowRejection.NOT_A_NUMBER)
    file = rejected_rows(Region.INTERNATIONAL, FileFormat.CSV)
    _, row = csv.reader(io.StringIO(whole(file, [rejected]).decode("utf-8-sig"), newline=""))
    assert row[0] == row[4] == harmless


@pytest.mark.parametrize("file_format", FileFormat)
async def test_a_file_made_in_pieces_is_one(file_format: FileFormat, tmp_path: Path) -> None:
    file = failed_numbers(file_format)
    with (tmp_path / "failed").open("wb") as target:
        target.write(file.begin())
        assert target.tell()  # there is something to send before any row is known
        for row in ROWS:
            target.write(file.add([row]))
        target.write(file.add([]))
        target.write(file.end())
    recipients = await read_recipients(tmp_path / "failed", region=Region.CHINESE_MAINLAND)
    assert [f"+{number}" for number in recipients.numbers] == [number for number, _ in ROWS]


@pytest.mark.parametrize("file_format", FileFormat)
def test_a_file_is_given_out_as_it_grows(file_format: FileFormat) -> None:
    """What is kept for later must not grow with the rows."""
    file = failed_numbers(file_format)
    file.begin()
    given = [
        len(file.add([(f"+86138{page:04}{row:04}", "why") for row in range(500)])) for page in range(100)
    ]
    assert len(file.end()) < 40_000 < 200_000 < sum(given)


@pytest.mark.parametrize("pieces", [0, 1, 2])
def test_a_workbook_may_be_abandoned(pieces: int) -> None:
    file = failed_numbers(FileFormat.XLSX)
    if pieces:
        file.begin()
    if pieces > 1:
        file.add(ROWS)
    circle: list[Any] = [file]
    circle.append(circle)  # so that Python alone decides what of it goes first
    del file, circle
    gc.collect()  # a complaint would fail the test


def test_an_unfinished_workbook_is_none() -> None:
    file = failed_numbers(FileFormat.XLSX)
    with pytest.raises(zipfile.BadZipFile):
        cells(file.begin() + file.add(ROWS))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<b>&amp;</b> ]]>", "<b>&amp;</b> ]]>"),
        (" two\r\nlines\t ", " two\r\nlines\t "),
        ("\x01\x0b\x1f\ufffe\uffffx\ud800", "x"),
        ("号🙂", "号🙂"),
        ("x" * 40_000, "x" * 32_767),
    ],
)
def test_any_text_fits_into_a_workbook(text: str, found: str) -> None:
    _, (number, reason) = cells(whole(failed_numbers(FileFormat.XLSX), [("+8613800138000", text)]))
    assert (number.value, reason.value) == ("+8613800138000", found)


def test_what_no_file_can_hold_is_left_out_of_csv() -> None:
    content = whole(failed_numbers(FileFormat.CSV), [("+8613800138000", "a\x01\ud800b")])
    assert content.decode().splitlines()[-1] == "+8613800138000,ab"
