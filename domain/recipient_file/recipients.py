"""What a recipient list comes to: the numbers to send to, and the rows that were deleted. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, time, timedelta

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
    """A recipient list, read. rows = imported + invalid + duplicates."""

    numbers: array[int]
    """E.164 digits as integers (type code "q"), each once, in the order of their first occurrence."""
    rejected: list[RejectedRow]
    """In the order of the rows; duplicates are among them."""
    duplicates: int

    @property
    def imported(self) -> int:
        """How many numbers there are to send to."""
        return len(self.numbers)

    @property
    def invalid(self) -> int:
        """Rows deleted for another reason than being duplicates."""
        return len(self.rejected) - self.duplicates

    @property
    def rows(self) -> int:
        """All rows but a header and blank ones."""
        return len(self.numbers) + len(self.rejected)


def collect(cells: Iterable[tuple[int, Cell]], region: Region, *, most: int, header: bool) -> Recipients:
    """Normalise the cells, given with their row numbers, and delete invalid ones and duplicates.

    With `header`, a first row that is text with fewer than five digits and no number is taken for a heading:
    "Phone", "手机号码", "Mobile 1", "-". More digits, as in "1380013800x", make it a broken number.

    Raises:
        TooManyNumbers: there are more than `most` rows.
    """
    numbers = array("q")
    rejected: list[RejectedRow] = []
    seen: set[int] = set()
    duplicates = 0
    for row, cell in cells:
        number = e164(cell, region) if type(cell) is str else _of_value(cell, region)
        if not isinstance(number, RowRejection):
            if number not in seen:
                seen.add(number)
                numbers.append(number)
                if len(numbers) + len(rejected) > most:
                    raise TooManyNumbers(most)
                continue
            duplicates += 1
            reason = RowRejection.DUPLICATE
        elif number is not RowRejection.NOT_A_NUMBER or type(cell) is not str:
            reason = number
        elif is_blank(cell) or (header and not numbers and not rejected and _is_heading(cell)):
            header = header and is_blank(cell)
            continue
        else:
            reason = number
        rejected.append(RejectedRow(row, _as_found(cell), reason))
        if len(numbers) + len(rejected) > most:
            raise TooManyNumbers(most)
    return Recipients(numbers, rejected, duplicates)


def _is_heading(text: str) -> bool:
    return sum(map(str.isdecimal, text)) < _FEW_DIGITS


def _of_value(cell: Cell, region: Region) -> int | RowRejection:
    if type(cell) is not float:
        return RowRejection.NOT_A_NUMBER
    if not cell.is_integer():
        return RowRejection.LOST_DIGITS
    return e164(str(int(cell)), region)


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
