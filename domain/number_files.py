"""Files of numbers to download: the sample, and the failed numbers of a task.

Both have the layout of a recipient file, column A under a heading and of format Text, so that Excel leaves
the digits alone and the file can be uploaded again. CSV can't say "text": it is for programs, and Excel,
which takes its numbers for quantities, shows them without their plus sign.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.utils import get_column_letter

NUMBER_HEADING = "Phone number"
REASON_HEADING = "Reason"
SAMPLE_NUMBERS = ("13800138000", "8613800138001", "+8613800138002")
"""The three ways to write a mainland number that the guide names."""

_TEXT_FORMAT = "@"
_WIDTHS = (22, 60)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


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
    if isinstance(target, Path):
        with target.open("wb") as file:
            write_failed_numbers(rows, file, file_format)
    elif file_format is FileFormat.CSV:
        _write_csv(rows, target)
    else:
        _write_workbook(rows, (NUMBER_HEADING, REASON_HEADING), target)


def _write_workbook(rows: Iterable[tuple[str, ...]], headings: tuple[str, ...], target: BinaryIO) -> None:
    workbook = Workbook(write_only=True)
    sheet: Any = workbook.create_sheet("Numbers")
    for position in range(len(headings)):
        column = sheet.column_dimensions[get_column_letter(position + 1)]
        column.width = _WIDTHS[position]
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


def _write_csv(rows: Iterable[tuple[str, str]], target: BinaryIO) -> None:
    text = io.TextIOWrapper(target, encoding="utf-8", newline="", write_through=True)
    try:
        target.write(codecs.BOM_UTF8)  # without it Excel takes Chinese for something else
        writer = csv.writer(text)
        for number, reason in _texts((NUMBER_HEADING, REASON_HEADING), rows):
            # Excel would run a text that looks like a formula. A number's plus sign makes it no more than the
            # number itself; a reason may hold whatever a carrier sent.
            safe = f"'{reason}" if reason.startswith(_FORMULA_STARTS) else reason
            writer.writerow((number, safe))
    finally:
        text.detach()


def _texts(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[list[str]]:
    yield list(headings)
    for row in rows:
        yield [ILLEGAL_CHARACTERS_RE.sub("", text) for text in row]
