"""A workbook of one sheet of texts that can be sent while it is made.

openpyxl makes the workbook round the rows; the rows themselves are put together here. Neither openpyxl
(write-only) nor XlsxWriter (constant_memory) gives out an octet before the last row is known, and 300,000
rows of two cells take them ten and five times the processor time of this: the process that serves everybody
would spend as much on handing the rows to another one as on this.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.utils import get_column_letter

LONGEST_TEXT = 32_767
"""Characters a cell may have; Excel calls a workbook damaged that has more."""

_TEXT_FORMAT = "@"
_SHEET = "xl/worksheets/sheet1.xml"
_ROWS_END = b"</sheetData>"
_COMPRESSION = 1
"""The fastest: the rows are so alike that the best one saves 4 % more and takes twice as long."""

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKUP = re.compile("[^\t\n\x20-%'-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})


def legal(text: str) -> str:
    """The text without the characters that XML has no way to write (XML 1.0, 2.2)."""
    return _ILLEGAL.sub("", text)


class TextWorkbook:
    """Writes an .xlsx: what `begin`, `add` and `end` return, one after the other, is the file.

    All cells are of format Text and none is ever a formula. It may be abandoned at any point.
    """

    def __init__(self, columns: Sequence[tuple[str, float]]) -> None:
        """`columns` have a heading and a width, in characters."""
        self._parts, style = _frame(columns)
        self._before, end, after = self._parts.pop(_SHEET).partition(_ROWS_END)
        self._after = end + after
        self._cell_starts = [
            (f'<c r="{get_column_letter(position)}', f'" s="{style}"')
            for position in range(1, len(columns) + 1)
        ]
        self._row = 1
        self._written = _Written()
        self._archive = _Archive(self._written, "w", ZIP_DEFLATED, compresslevel=_COMPRESSION)

    def begin(self) -> bytes:
        """The workbook up to its first row, headings included."""
        for name, content in self._parts.items():
            self._archive.writestr(name, content)
        self._sheet = self._archive.open(_SHEET, "w")
        self._sheet.write(self._before)
        return self._written.take()

    def add(self, rows: Iterable[Sequence[str]]) -> bytes:
        """What the file goes on with; nothing yet, perhaps. The rows are not kept."""
        xml = []
        for row in rows:
            self._row += 1
            xml.append(f'<row r="{self._row}">')
            for (reference, style), text in zip(self._cell_starts, row, strict=True):
                xml.append(f"{reference}{self._row}{style}{_content(text)}")
            xml.append("</row>")
        self._sheet.write("".join(xml).encode())
        return self._written.take()

    def end(self) -> bytes:
        """The rest. Until it has been sent, nothing takes the file for a workbook."""
        self._sheet.write(self._after)
        self._sheet.close()
        self._archive.close()
        return self._written.take()


def _content(text: str) -> str:
    """The rest of a cell's element."""
    if not text:
        return "/>"
    if len(text) > LONGEST_TEXT:
        text = text[:LONGEST_TEXT]
    if _MARKUP.search(text):
        text = legal(text).translate(_ESCAPES)
    return f' t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'


def _frame(columns: Sequence[tuple[str, float]]) -> tuple[dict[str, bytes], int]:
    """The files of a workbook that has headings alone, by name, and the number of the format Text in it."""
    workbook = Workbook(write_only=True)
    sheet: Any = workbook.create_sheet("Numbers")
    cells = []
    for position, (heading, width) in enumerate(columns, start=1):
        column = sheet.column_dimensions[get_column_letter(position)]
        column.width = width
        column.number_format = _TEXT_FORMAT
        cell: Any = WriteOnlyCell(sheet, heading)
        cell.number_format = _TEXT_FORMAT
        cells.append(cell)
    sheet.append(cells)
    file = io.BytesIO()
    workbook.save(file)
    with ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}, cells[0].style_id


class _Archive(ZipFile):
    def __del__(self) -> None:
        """Nothing: an abandoned archive needs no end, and ZipFile complains when it has none."""


class _Written:
    """Keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def write(self, octets: bytes, /) -> int:
        self._kept += octets
        return len(octets)

    def flush(self) -> None:
        """Nothing: it is where it belongs."""

    def close(self) -> None:
        """Nothing: what is kept is still to be taken."""

    def take(self) -> bytes:
        taken = bytes(self._kept)
        self._kept.clear()
        return taken
