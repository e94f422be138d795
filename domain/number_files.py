"""Files of numbers to download: the sample, the failed numbers of a task, and the rows that were rejected.

All have the layout of a recipient file, column A under a heading and of format Text, so that Excel leaves the
digits alone and the file can be uploaded again. CSV can't say "text": it is for programs, and Excel, which
takes its numbers for quantities, shows them without their plus sign.

Rejected rows have in column A what is to be mended: the text as found, never the suggestion, which stands
beside it for a person to confirm. Uploaded unmended they are rejected again, so nobody is texted by a guess.
A duplicate and an opted-out number need no mending, so column A is left blank there: a duplicate uploaded
again would be texted twice. All rows have the text as found in the last column too.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.utils import get_column_letter

from domain import numbers
from domain.recipient_file import RejectedRow
from domain.states import Region, RowRejection

NUMBER_HEADING = "Phone number"
REASON_HEADING = "Reason"
_FAILED_HEADINGS = (NUMBER_HEADING, REASON_HEADING)
_REJECTED_HEADINGS = (NUMBER_HEADING, "Suggestion", REASON_HEADING, "Row", "Text as found")
SAMPLE_NUMBERS = ("13800138000", "8613800138001", "+8613800138002")
"""The three ways to write a mainland number that the guide names."""

_TEXT_FORMAT = "@"
_WIDTHS = {NUMBER_HEADING: 22, "Suggestion": 22, REASON_HEADING: 60, "Row": 10, "Text as found": 22}
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]")
_NUMBER = re.compile(r"\+[0-9]+")

_NOTHING_TO_MEND = frozenset({RowRejection.OPTED_OUT, RowRejection.DUPLICATE})
_REASONS = {
    RowRejection.NOT_A_NUMBER: "This is no phone number, or more than one. Write one number into the cell.",
    RowRejection.LOST_DIGITS: (
        "Excel has lost digits of this number. Format column A as Text and type the number again."
    ),
    RowRejection.WRONG_LENGTH: (
        "Without a plus sign a number must have 11 or 13 digits. Write it with + and the country code."
    ),
    RowRejection.MISSING_COUNTRY_CODE: (
        "It can't be told which country this number is of. Write it with + and the country code."
    ),
    RowRejection.IMPOSSIBLE_NUMBER: "There can be no such number. Check its digits and its country code.",
    RowRejection.REGION_NOT_ALLOWED: (
        "The application does not send to this number. Use an application of the other region, or a mobile "
        "number."
    ),
    RowRejection.OPTED_OUT: "The owner of this number wants no messages. There is nothing to mend.",
    RowRejection.DUPLICATE: "This number is on the list before. There is nothing to mend.",
}


class FileFormat(StrEnum):
    """What a download may be."""

    XLSX = "XLSX"
    CSV = "CSV"


@cache
def sample_recipient_file() -> bytes:
    """An .xlsx to fill in: a heading and three example numbers, the whole of column A of format Text."""
    file = io.BytesIO()
    _write_workbook(((number,) for number in SAMPLE_NUMBERS), (NUMBER_HEADING,), file)
    return file.getvalue()


def write_failed_numbers(
    rows: Iterable[tuple[str, str]], target: BinaryIO | Path, file_format: FileFormat
) -> None:
    """Write E.164 numbers, each with the reason it failed, to `target`.

    Rows are taken one at a time and not kept, so there may be a million. A workbook is put together in a
    temporary file and reaches `target` at the end (about 30,000 rows a second); CSV reaches it as it goes.
    """
    _write(rows, _FAILED_HEADINGS, target, file_format)


def write_rejected_rows(
    rows: Iterable[RejectedRow], region: Region, target: BinaryIO | Path, file_format: FileFormat
) -> None:
    """Write the deleted rows of a list for an application of `region`, to be mended and uploaded again.

    Rows are taken as by `write_failed_numbers`.
    """
    _write((_rejected_cells(row, region) for row in rows), _REJECTED_HEADINGS, target, file_format)


def _rejected_cells(rejected: RejectedRow, region: Region) -> tuple[str, ...]:
    mendable = rejected.reason not in _NOTHING_TO_MEND
    return (
        rejected.value if mendable else "",
        (numbers.suggest(rejected.value, region) or "") if mendable else "",
        _REASONS[rejected.reason],
        str(rejected.row),
        rejected.value,
    )


def _write(
    rows: Iterable[tuple[str, ...]],
    headings: tuple[str, ...],
    target: BinaryIO | Path,
    file_format: FileFormat,
) -> None:
    if isinstance(target, Path):
        with target.open("wb") as file:
            _write(rows, headings, file, file_format)
    elif file_format is FileFormat.CSV:
        _write_csv(rows, headings, target)
    else:
        _write_workbook(rows, headings, target)


def _write_workbook(rows: Iterable[tuple[str, ...]], headings: tuple[str, ...], target: BinaryIO) -> None:
    workbook = Workbook(write_only=True)
    sheet: Any = workbook.create_sheet("Numbers")
    for position, heading in enumerate(headings, start=1):
        column = sheet.column_dimensions[get_column_letter(position)]
        column.width = _WIDTHS[heading]
        column.number_format = _TEXT_FORMAT
    cells = [WriteOnlyCell(sheet) for _ in headings]
    for cell in cells:
        cell.number_format = _TEXT_FORMAT
    for row in _texts(headings, rows):
        for cell, text in zip(cells, row, strict=True):
            cell.value = text
            cell.data_type = "s"  # or "=…" would become a formula
        sheet.append(cells)
    workbook.save(target)


def _write_csv(rows: Iterable[tuple[str, ...]], headings: tuple[str, ...], target: BinaryIO) -> None:
    text = io.TextIOWrapper(target, encoding="utf-8", newline="", write_through=True)
    try:
        target.write(codecs.BOM_UTF8)  # without it Excel takes Chinese for something else
        writer = csv.writer(text)
        for row in _texts(headings, rows):
            writer.writerow([_no_formula(cell) for cell in row])
    finally:
        text.detach()


def _no_formula(cell: str) -> str:
    """A text that Excel doesn't run. Whoever reads the file as a recipient list drops the apostrophe again.

    A number's plus sign makes it no more than the number itself; other texts may hold whatever somebody wrote
    or a carrier sent.
    """
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def _texts(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[list[str]]:
    yield list(headings)
    for row in rows:
        yield [ILLEGAL_CHARACTERS_RE.sub("", text) for text in row]
