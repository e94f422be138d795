"""The demo's recipient file: a thousand rows, some of them invalid or given twice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell

ROWS = 1000
_INVALID = ("12345", "no number", "8.6138E+12", "23800138000", "+861380013")
_FAILING = ("0001", "0002", "0003", "0005", "0006", "0007", "0009", "0010")
"""Endings for which the simulated message centre reports a failure."""
_DELIVERED_LATER = ("0011", "0012", "0013", "0015")
"""Endings with a detour: throttled, queue full, a receipt that is not final, one that comes twice."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What must come of the sample."""

    rows: int
    invalid: int
    duplicates: int
    failing: int

    @property
    def imported(self) -> int:
        """The numbers that are left."""
        return self.rows - self.invalid - self.duplicates


SAMPLE = Sample(rows=ROWS, invalid=3 * len(_INVALID), duplicates=20, failing=3 * len(_FAILING))


def write_sample(path: Path) -> Path:
    """Write the file and return where it is."""
    workbook = Workbook(write_only=True)
    sheet = workbook.create_sheet("Recipients")
    for text in ["Mobile number", *_rows()]:
        cell = WriteOnlyCell(sheet, value=text)
        cell.number_format = "@"
        sheet.append([cell])
    workbook.save(path)
    return path


def _rows() -> list[str]:
    special = [
        f"13{block}0000{ending}" for block in range(7, 10) for ending in (*_FAILING, *_DELIVERED_LATER)
    ]
    plain_count = SAMPLE.imported - len(special)
    numbers = [f"138{2000_0100 + 7 * index}" for index in range(plain_count)]
    # The guide's other two ways to write a number, and a tidy person's third.
    numbers[::10] = [f"86{number}" for number in numbers[::10]]
    numbers[5::10] = [f"+86 {number[:3]}-{number[3:7]}-{number[7:]}" for number in numbers[5::10]]
    rows = [*special, *numbers]
    rows[100:100] = list(_INVALID) * 3
    return [*rows, *(rows[-1 - 30 * index] for index in range(SAMPLE.duplicates))]
