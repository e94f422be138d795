"""Column A of a workbook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

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
    try:
        with path.open("rb") as file, CalamineWorkbook.from_filelike(file) as workbook:
            name = _first_visible(workbook)
            texts = unvalued(path, name)
            sheet = workbook.get_sheet_by_name(name)
    except (CalamineError, OSError) as error:
        raise DamagedWorkbook from error
    row = 0
    if (
        sheet.start is not None and sheet.start[1] == 0
    ):  # else column A is empty, and rows begin further right
        for row, values in enumerate(sheet.iter_rows(), start=1):
            value = values[0]
            if value == "" and row in texts:
                value = texts[row]
            yield row, value
    yield from ((late, texts[late]) for late in sorted(texts) if late > row)


def _first_visible(workbook: CalamineWorkbook) -> str:
    for sheet in workbook.sheets_metadata:
        if sheet.visible is SheetVisibleEnum.Visible and sheet.typ is SheetTypeEnum.WorkSheet:
            return sheet.name
    raise EmptyFile
