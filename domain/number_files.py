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
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from functools import cache, partial
from typing import Generic, Protocol, TypeVar

from domain import numbers
from domain.recipient_file import RejectedRow
from domain.states import Region, RowRejection
from domain.text_workbook import TextWorkbook, legal

NUMBER_HEADING = "Phone number"
REASON_HEADING = "Reason"
_FAILED_HEADINGS = (NUMBER_HEADING, REASON_HEADING)
_REJECTED_HEADINGS = (NUMBER_HEADING, "Suggestion", REASON_HEADING, "Row", "Text as found")
SAMPLE_NUMBERS = ("13800138000", "8613800138001", "+8613800138002")
"""The three ways to write a mainland number that the guide names."""

_WIDTHS = {NUMBER_HEADING: 22, "Suggestion": 22, REASON_HEADING: 60, "Row": 10, "Text as found": 22}
# Where lists are separated by semicolons, Excel begins a cell in the middle of ours.
_FORMULA = re.compile(r"(?:^|[;\t\r\n])\s*(?=[=+\-@＝＋－＠﹢﹣−])")
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


R = TypeVar("R")


class FileFormat(StrEnum):
    """What a download may be."""

    XLSX = "XLSX"
    CSV = "CSV"


class NumberFile(Generic[R]):
    """A file made while its rows are read: what `begin`, `add` and `end` return, one after the other.

    It keeps no rows, so there may be a million, and may be abandoned at any point. Of a workbook the end
    alone makes a file that opens; a CSV file that was cut short looks like a whole one, so whoever sends it
    must tell.
    """

    def __init__(
        self,
        headings: Sequence[str],
        cells: Callable[[R], Sequence[str]],
        file_format: FileFormat,
    ) -> None:
        self._cells = cells
        self._form: _Form = _Csv(headings) if file_format is FileFormat.CSV else _workbook(headings)

    def begin(self) -> bytes:
        """The file up to its first row, headings included."""
        return self._form.begin()

    def add(self, rows: Iterable[R]) -> bytes:
        """What the file goes on with; nothing yet, perhaps."""
        return self._form.add(map(self._cells, rows))

    def end(self) -> bytes:
        """The rest."""
        return self._form.end()


def failed_numbers(file_format: FileFormat) -> NumberFile[tuple[str, str]]:
    """A file of E.164 numbers, each with the reason it failed."""
    return NumberFile(_FAILED_HEADINGS, _failed_cells, file_format)


def rejected_rows(region: Region, file_format: FileFormat) -> NumberFile[RejectedRow]:
    """A file of a list's deleted rows, to be mended for an application of `region` and uploaded again."""
    return NumberFile(_REJECTED_HEADINGS, partial(_rejected_cells, region), file_format)


@cache
def sample_recipient_file() -> bytes:
    """An .xlsx to fill in: a heading and three example numbers, the whole of column A of format Text."""
    file = _workbook((NUMBER_HEADING,))
    return b"".join((file.begin(), file.add((number,) for number in SAMPLE_NUMBERS), file.end()))


def _failed_cells(failed: tuple[str, str]) -> Sequence[str]:
    return failed


def _rejected_cells(region: Region, rejected: RejectedRow) -> Sequence[str]:
    mendable = rejected.reason not in _NOTHING_TO_MEND
    return (
        rejected.value if mendable else "",
        (numbers.suggest(rejected.value, region) or "") if mendable else "",
        _REASONS[rejected.reason],
        str(rejected.row),
        rejected.value,
    )


class _Form(Protocol):
    def begin(self) -> bytes: ...

    def add(self, rows: Iterable[Sequence[str]]) -> bytes: ...

    def end(self) -> bytes: ...


def _workbook(headings: Sequence[str]) -> TextWorkbook:
    return TextWorkbook([(heading, _WIDTHS[heading]) for heading in headings])


class _Csv:
    def __init__(self, headings: Sequence[str]) -> None:
        self._headings = headings

    def begin(self) -> bytes:
        # Without the mark Excel takes Chinese for something else.
        return codecs.BOM_UTF8 + self.add([self._headings])

    def add(self, rows: Iterable[Sequence[str]]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([_no_formula(legal(cell)) for cell in row] for row in rows)
        return text.getvalue().encode()

    def end(self) -> bytes:
        return b""


def _no_formula(cell: str) -> str:
    """A text that Excel doesn't run. Whoever reads the file as a recipient list drops the apostrophe again.

    A number's plus sign makes it no more than the number itself; other texts may hold whatever somebody wrote
    or a carrier sent.
    """
    return cell if _NUMBER.fullmatch(cell) else _FORMULA.sub(_with_apostrophe, cell)


def _with_apostrophe(begins: re.Match[str]) -> str:
    # Before the blanks of a cell that begins with them, behind a separator within it.
    return f"'{begins[0]}" if begins.start() == 0 and begins[0][:1] != ";" else f"{begins[0]}'"
