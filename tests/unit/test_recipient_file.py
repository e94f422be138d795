"""Recipient files of the formats we take, row by row."""

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import openpyxl
import pytest
import xlsxwriter

from domain.recipient_file import ReadLimits, Recipients, RejectedRow, read_recipients
from domain.states import Region, RowRejection

MAINLAND, INTERNATIONAL = Region.CHINESE_MAINLAND, Region.INTERNATIONAL
FILES = Path(__file__).parent / "files"
FIRST = 8613800138000


async def read(source: Path | Sequence[str], region: Region = MAINLAND) -> Recipients:
    recipients = await read_recipients(source, region=region, limits=ReadLimits())
    assert recipients.rows == recipients.imported + recipients.invalid + recipients.duplicates
    assert recipients.rows == len(recipients.numbers) + len(recipients.rejected)
    return recipients


def rejections(recipients: Recipients) -> list[tuple[int, str, str]]:
    return [(each.row, each.value, each.reason.value) for each in recipients.rejected]


def by_openpyxl(path: Path, column: Sequence[object]) -> None:
    workbook = openpyxl.Workbook()
    sheet: Any = workbook.active
    for row, value in enumerate(column, start=1):
        sheet.cell(row, 1, value)
    workbook.save(path)


def by_xlsxwriter(path: Path, column: Sequence[object]) -> None:
    with xlsxwriter.Workbook(path, {"strings_to_formulas": False}) as workbook:
        sheet = workbook.add_worksheet()
        text = workbook.add_format({"num_format": "@"})
        scientific = workbook.add_format({"num_format": "0.00E+00"})
        for row, value in enumerate(column):
            if isinstance(value, str):
                sheet.write_string(row, 0, value, text)
            elif value is not None:
                sheet.write(row, 0, value, scientific if isinstance(value, float) else None)


COLUMN = [
    ("手机号码", None),
    ("13800138000", FIRST),
    (13800138001, FIRST + 1),
    (8613800138002.0, FIRST + 2),
    ("8.6138E+12", RowRejection.LOST_DIGITS),
    (None, None),
    ("\u00a013800138003\u00a0", FIRST + 3),
    ("１３８００１３８００４", FIRST + 4),
    ("'13800138005", FIRST + 5),
    ("138-0013-8006", FIRST + 6),
    ("(86) 138 0013 8007", FIRST + 7),
    (13800138008.5, RowRejection.LOST_DIGITS),
    ("13800138000", RowRejection.DUPLICATE),
    (13800138001, RowRejection.DUPLICATE),
    (" \u00a0\u200b", None),
    ("abc", RowRejection.NOT_A_NUMBER),
    (True, RowRejection.NOT_A_NUMBER),
    (8613800138000001234, RowRejection.LOST_DIGITS),
    (-13800138000, RowRejection.NOT_A_NUMBER),
    ("13800138000\n13800138001", RowRejection.NOT_A_NUMBER),
    ("+8613800138010", FIRST + 10),
    (23800138000, RowRejection.MISSING_COUNTRY_CODE),
    ("1380013800", RowRejection.WRONG_LENGTH),
    ("+447911123456", RowRejection.REGION_NOT_ALLOWED),
    ("+8612", RowRejection.IMPOSSIBLE_NUMBER),
]


@pytest.mark.parametrize("write", [by_openpyxl, by_xlsxwriter])
async def test_a_workbook_row_by_row(write: Callable[[Path, Sequence[object]], None], tmp_path: Path) -> None:
    write(tmp_path / "list.xlsx", [value for value, _ in COLUMN])
    recipients = await read(tmp_path / "list.xlsx")
    assert list(recipients.numbers) == [number for _, number in COLUMN if isinstance(number, int)]
    assert [(each.row, each.reason) for each in recipients.rejected] == [
        (row, reason) for row, (_, reason) in enumerate(COLUMN, start=1) if isinstance(reason, RowRejection)
    ]
    found = {each.row: each.value for each in recipients.rejected}
    assert found[5] == "8.6138E+12"
    assert found[12] == "13800138008.5"
    assert found[14] == "13800138001"
    assert found[17] == "TRUE"
    assert found[18].startswith("8.613800138")
    assert found[19] == "-13800138000"
    assert found[20] == "13800138000\n13800138001"
    assert (recipients.rows, recipients.imported, recipients.invalid, recipients.duplicates) == (
        22,
        9,
        11,
        2,
    )


async def test_a_workbook_of_libreoffice_row_by_row() -> None:
    recipients = await read(FILES / "libreoffice.xlsx")
    assert list(recipients.numbers) == [FIRST + last for last in (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11)]
    assert rejections(recipients) == [
        (5, "8.6138E+12", "LOST_DIGITS"),
        (12, "13800138008.5", "LOST_DIGITS"),
        (13, "13800138000", "DUPLICATE"),
        (14, "TRUE", "NOT_A_NUMBER"),
        (15, "2026-03-01", "NOT_A_NUMBER"),
        (17, "#N/A", "NOT_A_NUMBER"),
        (18, "abc", "NOT_A_NUMBER"),
        (19, "8.613800138001E+17", "LOST_DIGITS"),
        (23, "13800138000 13800138001", "NOT_A_NUMBER"),
        (25, "23800138000", "MISSING_COUNTRY_CODE"),
        (26, "1380013800", "WRONG_LENGTH"),
        (27, "+447911123456", "REGION_NOT_ALLOWED"),
    ]


async def test_formulas_count_by_their_stored_result(tmp_path: Path) -> None:
    with xlsxwriter.Workbook(tmp_path / "list.xlsx") as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_formula("A1", "=B1+1", None, 13800138000)
        sheet.write_formula("A2", '="1"&B2', None, "13800138001")
        sheet.write_formula("A3", "=1/0", None, "#DIV/0!")
        sheet.write_boolean("A4", False)
    recipients = await read(tmp_path / "list.xlsx")
    assert list(recipients.numbers) == [FIRST, FIRST + 1]
    assert rejections(recipients) == [(3, "#DIV/0!", "NOT_A_NUMBER"), (4, "FALSE", "NOT_A_NUMBER")]


async def test_formulas_never_calculated_and_errors_do_not_vanish(tmp_path: Path) -> None:
    column = ["13800138000", '=B2&"<"', "#N/A", dt.date(2026, 3, 1), dt.time(9, 30), None, "=A1"]
    by_openpyxl(tmp_path / "list.xlsx", column)
    assert rejections(await read(tmp_path / "list.xlsx")) == [
        (2, '=B2&"<"', "NOT_A_NUMBER"),
        (3, "#N/A", "NOT_A_NUMBER"),
        (4, "2026-03-01", "NOT_A_NUMBER"),
        (5, "09:30:00", "NOT_A_NUMBER"),
        (7, "=A1", "NOT_A_NUMBER"),
    ]


async def test_a_formula_whose_result_is_no_text_is_blank(tmp_path: Path) -> None:
    by_openpyxl(tmp_path / "made.xlsx", ["13800138000", '=IF(B2="","",B2)'])
    with ZipFile(tmp_path / "made.xlsx") as made, ZipFile(tmp_path / "list.xlsx", "w") as excels:
        for name in made.namelist():
            # What Excel stores for such a result, and openpyxl can't write.
            excels.writestr(name, made.read(name).replace(b'<c r="A2">', b'<c r="A2" t="str">'))
    recipients = await read(tmp_path / "list.xlsx")
    assert (recipients.rows, list(recipients.numbers)) == (1, [FIRST])


async def test_column_a_is_column_a_and_rows_keep_their_numbers(tmp_path: Path) -> None:
    workbook = openpyxl.Workbook()
    sheet: Any = workbook.active
    sheet["B3"], sheet["A5"], sheet["C6"], sheet["A8"] = (
        "13800138009",
        "13800138000",
        "13800138001",
        "x1380013",
    )
    workbook.save(tmp_path / "list.xlsx")
    recipients = await read(tmp_path / "list.xlsx")
    assert list(recipients.numbers) == [FIRST]
    assert rejections(recipients) == [(8, "x1380013", "NOT_A_NUMBER")]


async def test_the_first_visible_sheet_counts(tmp_path: Path) -> None:
    workbook = openpyxl.Workbook()
    first: Any = workbook.active
    first["A1"], first.sheet_state = "13900139000", "hidden"
    second: Any = workbook.create_sheet("a & b")
    second["A1"], second.sheet_state = "13900139001", "veryHidden"
    workbook.create_chartsheet()
    for name, number in (("名单 & <list>", "13800138000"), ("last", "13900139002")):
        workbook.create_sheet(name)["A1"] = number
    workbook["名单 & <list>"]["A2"] = "=A1"
    workbook.active = 3
    workbook.save(tmp_path / "list.xlsx")
    recipients = await read(tmp_path / "list.xlsx")
    assert list(recipients.numbers) == [FIRST]
    assert rejections(recipients) == [(2, "=A1", "NOT_A_NUMBER")]


@pytest.mark.parametrize("heading", ["手机号码", "Phone number", "Mobile 1", "number (11)", "-", "№"])
async def test_a_heading_is_no_row(heading: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"\n{heading}\n13800138000\n{heading}\n", "utf-8")
    recipients = await read(tmp_path / "list.csv")
    assert list(recipients.numbers) == [FIRST]
    assert rejections(recipients) == [(4, heading, "NOT_A_NUMBER")]


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ("1380013800x", "NOT_A_NUMBER"),
        ("Tel 13800138009", "NOT_A_NUMBER"),
        ("13800138000/13800138001", "NOT_A_NUMBER"),
        ("12", "WRONG_LENGTH"),
        ("8.6138E+12", "LOST_DIGITS"),
    ],
)
async def test_a_broken_number_is_no_heading(first: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{first}\n13800138000\n", "utf-8")
    recipients = await read(tmp_path / "list.txt")
    assert rejections(recipients) == [(1, first, reason)]
    assert recipients.imported == 1


async def test_only_one_row_can_be_the_heading(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("Customers\nPhone\n13800138000\n", "utf-8")
    assert rejections(await read(tmp_path / "list.txt")) == [(2, "Phone", "NOT_A_NUMBER")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
async def test_csv(encoding: str, delimiter: str, ending: str, tmp_path: Path) -> None:
    name = "Zoë," if encoding == "cp1252" else "王"
    lines = [
        delimiter.join(fields)
        for fields in (
            ("Phone", "Name"),
            ("13800138000", f'"{name}"'),
            ('"138 0013 8001"', '"a ""b"", c;\t"'),
            ("", "nobody"),
            ('="13800138002"', ""),
            ('"13800138003\n13800138004"', ""),
            ("13800138000", "again"),
        )
    ]
    (tmp_path / "list").write_bytes(ending.join([*lines, "", "13800138005"]).encode(encoding))
    recipients = await read(tmp_path / "list")
    assert list(recipients.numbers) == [FIRST, FIRST + 1, FIRST + 2, FIRST + 5]
    assert rejections(recipients) == [
        (6, "13800138003\n13800138004", "NOT_A_NUMBER"),
        (7, "13800138000", "DUPLICATE"),
    ]


async def test_excel_names_the_delimiter_itself_at_times(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("sep=|\r\nPhone|Name\r\n13800138000|a,b\r\n13800138001|c,d\r\n1|\r\n")
    recipients = await read(tmp_path / "list.csv")
    assert list(recipients.numbers) == [FIRST, FIRST + 1]
    assert rejections(recipients) == [(4, "1", "WRONG_LENGTH")]


async def test_a_plain_list_keeps_marks_inside_numbers(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("+44 (20) 7946-0958\n +1 202 555 0123 \n\n+44 20 7946 0958", "utf-8")
    recipients = await read(tmp_path / "list.txt", INTERNATIONAL)
    assert list(recipients.numbers) == [442079460958, 12025550123]
    assert rejections(recipients) == [(4, "+44 20 7946 0958", "DUPLICATE")]


async def test_numbers_of_a_request() -> None:
    recipients = await read(["13800138000", "", "Phone", "+8613800138000", "\ud800\0", "9" * 80])
    assert list(recipients.numbers) == [FIRST]
    assert recipients.rejected == [
        RejectedRow(3, "Phone", RowRejection.NOT_A_NUMBER),
        RejectedRow(4, "+8613800138000", RowRejection.DUPLICATE),
        RejectedRow(5, "\ufffd\ufffd\ufffd\ufffd", RowRejection.NOT_A_NUMBER),
        RejectedRow(6, "9" * 63 + "…", RowRejection.LOST_DIGITS),
    ]
    assert (await read([])).rows == 0


async def test_many_rejected_rows_come_back_in_order(tmp_path: Path) -> None:
    values = [f"{n:05}中" for n in range(5000)]
    (tmp_path / "list.txt").write_text("\n".join(values), "utf-8")
    recipients = await read(tmp_path / "list.txt")
    assert recipients.imported == 0
    assert [(each.row, each.value) for each in recipients.rejected] == list(enumerate(values, start=1))


async def test_a_single_row_may_have_other_columns(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("13800138000,2026-03-01,7\n")
    assert list((await read(tmp_path / "list.csv")).numbers) == [FIRST]
