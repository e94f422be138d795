"""Column A of a workbook."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from pathlib import Path

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from domain.recipient_file.errors import DamagedWorkbook, EmptyFile
from domain.recipient_file.recipients import Cell
from domain.recipient_file.unvalued import unvalued


def cells(path: Path) -> Iterator[tuple[int, Cell]]:
    """The cells of column A in the first visible sheet, with their row numbers.

    A formula counts with the result stored in the file. An error, and a formula nobody has calculated yet,
    counts as the text a person would see.

    Raises:
        DamagedWorkbook: the workbook can't be parsed.
        EmptyFile: no sheet is visible.
    """
    sheet, texts = _parsed(path)
    # Where column A is empty, rows begin further right.
    has_column = sheet.start is not None and sheet.start[1] == 0
    column = map(itemgetter(0), sheet.iter_rows()) if has_column else iter(())
    return _with_texts(column, texts) if texts else enumerate(column, start=1)


def _parsed(path: Path) -> tuple[CalamineSheet, dict[int, str]]:
    """The first visible sheet, and its cells of column A in which calamine sees nothing."""
    try:
        with (
            path.open("rb") as file,
            CalamineWorkbook.from_filelike(file) as workbook,
            ThreadPoolExecutor(1) as beside,
        ):
            name = _first_visible(workbook)
            # calamine lets go of the interpreter while it parses.
            sheet = beside.submit(workbook.get_sheet_by_name, name)
            texts = unvalued(path, name)
            return sheet.result(), texts
    except (CalamineError, OSError) as error:
        raise DamagedWorkbook from error


def _with_texts(column: Iterator[Cell], texts: dict[int, str]) -> Iterator[tuple[int, Cell]]:
    row = 0
    for row, value in enumerate(column, start=1):
        yield row, texts[row] if value == "" and row in texts else value
    yield from ((late, texts[late]) for late in sorted(texts) if late > row)


def _first_visible(workbook: CalamineWorkbook) -> str:
    for sheet in workbook.sheets_metadata:
        if sheet.visible is SheetVisibleEnum.Visible and sheet.typ is SheetTypeEnum.WorkSheet:
            return sheet.name
    raise EmptyFile
