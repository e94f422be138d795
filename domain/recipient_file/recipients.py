"""What a recipient list comes to: the numbers to send to, and the rows that were deleted. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, time, timedelta
from functools import partial

from domain.numbers import e164, is_blank
from domain.recipient_file.errors import TooManyNumbers
from domain.states import Region, RowRejection

Cell = str | float | bool | date | time | timedelta
"""What a cell of column A may hold."""

LONGEST_VALUE = 64
"""Characters of a rejected row's text that are kept."""
_MOST_EXACT = 10**15
"""Excel keeps 15 significant digits; a larger number's last digits are made up."""
_FEW_DIGITS = 5


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that was deleted."""

    row: int
    """As a spreadsheet counts: the first is 1, headers and blank rows included."""
    value: str
    """As found; a very long text is cut short."""
    reason: RowRejection


@dataclass(frozen=True, slots=True)
class Recipients:
    """A recipient list, read. rows = imported + invalid + duplicates + opted_out."""

    numbers: array[int]
    """E.164 digits as integers (type code "q"), each once, in the order of their first occurrence."""
    rejected: list[RejectedRow]
    """In the order of the rows; duplicates and opted-out numbers are among them."""
    duplicates: int
    opted_out: int = 0

    @property
    def imported(self) -> int:
        """How many numbers there are to send to."""
        return len(self.numbers)

    @property
    def invalid(self) -> int:
        """Rows deleted because they hold no number that can be used."""
        return len(self.rejected) - self.duplicates - self.opted_out

    @property
    def rows(self) -> int:
        """All rows but a header and blank ones."""
        return len(self.numbers) + len(self.rejected)


def collect(
    cells: Iterable[tuple[int, Cell]],
    region: Region | None,
    *,
    most: int,
    header: bool,
    opted_out: array[int] | None = None,
) -> Recipients:
    """Normalise the cells, given with their row numbers, and delete invalid ones and duplicates.

    Without a `region`, what an application of either could send to is taken. Numbers of `opted_out`, which is
    in ascending order, are deleted too; each of their rows is OPTED_OUT, the second of the same number as
    well: mending the duplicate would not help.

    With `header`, a first row that is text with fewer than five digits and no number is taken for a heading:
    "Phone", "手机号码", "Mobile 1", "-". More digits, as in "1380013800x", make it a broken number.

    Raises:
        TooManyNumbers: there are more than `most` rows.
    """
    numbers = array("q")
    rejected: list[RejectedRow] = []
    seen: set[int] = set()
    left = most
    read = _of_either_region if region is None else partial(e164, region=region)
    for row, cell in cells:
        number = read(cell) if type(cell) is str else _of_value(cell, read)
        # First what nearly every row of a million comes to.
        if type(number) is int and number not in seen and not (opted_out and _is_in(opted_out, number)):
            seen.add(number)
            numbers.append(number)
        elif number is RowRejection.NOT_A_NUMBER and type(cell) is str and is_blank(cell):
            continue
        elif header and not numbers and not rejected and _is_heading(number, cell):
            header = False
            continue
        else:
            rejected.append(RejectedRow(row, _as_found(cell), _reason(number, opted_out)))
        left -= 1
        if left < 0:
            raise TooManyNumbers(most)
    reasons = Counter(each.reason for each in rejected)
    return Recipients(numbers, rejected, reasons[RowRejection.DUPLICATE], reasons[RowRejection.OPTED_OUT])


def _reason(number: int | RowRejection, opted_out: array[int] | None) -> RowRejection:
    if isinstance(number, RowRejection):
        return number
    return RowRejection.OPTED_OUT if opted_out and _is_in(opted_out, number) else RowRejection.DUPLICATE


def _is_in(ascending: array[int], number: int) -> bool:
    place = bisect_left(ascending, number)
    return place < len(ascending) and ascending[place] == number


def _of_either_region(text: str) -> int | RowRejection:
    number = e164(text, Region.CHINESE_MAINLAND)
    return e164(text, Region.INTERNATIONAL) if isinstance(number, RowRejection) else number


def _is_heading(number: int | RowRejection, cell: Cell) -> bool:
    if number is not RowRejection.NOT_A_NUMBER or type(cell) is not str:
        return False
    return sum(map(str.isdecimal, cell)) < _FEW_DIGITS


def _of_value(cell: Cell, read: Callable[[str], int | RowRejection]) -> int | RowRejection:
    if type(cell) is not float:
        return RowRejection.NOT_A_NUMBER
    if not cell.is_integer():
        return RowRejection.LOST_DIGITS
    return read(str(int(cell)))


def _as_found(cell: Cell) -> str:
    if isinstance(cell, str):
        text = cell
    elif isinstance(cell, bool):
        text = str(cell).upper()
    elif isinstance(cell, float):
        whole = cell.is_integer() and abs(cell) < _MOST_EXACT
        text = str(int(cell)) if whole else f"{cell:.15G}"
    else:
        text = str(cell)
    text = text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
    # PostgreSQL stores neither NUL nor half a surrogate pair.
    return text.replace("\0", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")
