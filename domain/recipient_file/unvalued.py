"""Cells of column A that hold something but no value: errors, and formulas without a stored result.

calamine gives both as empty, and a row would vanish without being counted. So the sheet's XML is searched for
them (ISO/IEC 29500-1, 18.3.1.4): an error cell has t="e", a formula an <f> element.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from xml.etree import ElementTree as ET
from xml.sax.saxutils import unescape
from zipfile import BadZipFile, ZipFile

from domain.recipient_file.errors import DamagedWorkbook

_WORKBOOK = "xl/workbook.xml"
_RELATIONS = "xl/_rels/workbook.xml.rels"
_CHUNK = 4 * 2**20
_OVERLAP = 64 * 2**10
"""More than the longest cell with a formula: 8,192 characters."""

_CELL = re.compile(rb'<(?:\w+:)?c ([^>]*?\br="A(\d+)"[^>]*)(?<!/)>(.*?)</(?:\w+:)?c>', re.DOTALL)
_FORMULA = re.compile(rb"<(?:\w+:)?f\b[^>]*?(?:/>|>(.*?)</(?:\w+:)?f>)", re.DOTALL)
_VALUE = re.compile(rb"<(?:\w+:)?v\b[^>]*>([^<]+)<")
_FORMULA_BEGINS = (b"<f", b":f")
"""Without and with a prefix: looked for without a pattern, which would stop at every element of a million."""
_ERROR = b't="e"'
_TEXT_RESULT = b't="str"'


def unvalued(path: Path, sheet: str) -> dict[int, str]:
    """Row number and text of each such cell of the named sheet: "#N/A", "=B2".

    Raises:
        DamagedWorkbook: the archive can't be read.
    """
    found: dict[int, str] = {}
    try:
        with ZipFile(path) as archive:
            part = _part(archive, sheet)
            if part is not None:
                with archive.open(part) as stream:
                    for xml in _windows(stream):
                        if _ERROR in xml or any(begins in xml for begins in _FORMULA_BEGINS):
                            found.update(_cells(xml))
    except (BadZipFile, ET.ParseError, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise DamagedWorkbook from error
    return found


def _part(archive: ZipFile, sheet: str) -> str | None:
    """The archive's name for the sheet; None if it is laid out in a way only calamine knows."""
    names = set(archive.namelist())
    if not {_WORKBOOK, _RELATIONS} <= names:
        return None
    target = None
    targets = {
        relation.get("Id"): relation.get("Target", "")
        for relation in ET.fromstring(archive.read(_RELATIONS))  # noqa: S314 - in a bounded process
    }
    for element in ET.fromstring(archive.read(_WORKBOOK)).iter():  # noqa: S314
        if element.tag.endswith("}sheet") and element.get("name") == sheet:
            ids = (value for key, value in element.items() if key.endswith("}id"))
            target = targets.get(next(ids, None))
    part = posixpath.normpath(posixpath.join("xl", target)).lstrip("/") if target else ""
    return part if part in names else None


def _windows(stream: IO[bytes]) -> Iterator[bytes]:
    tail = b""
    while chunk := stream.read(_CHUNK):
        window = tail + chunk
        yield window
        tail = window[-_OVERLAP:]


def _cells(xml: bytes) -> Iterator[tuple[int, str]]:
    for cell in _CELL.finditer(xml):
        attributes, row, inner = cell.groups()
        value = _VALUE.search(inner)
        if _ERROR in attributes:
            yield int(row), _text(value.group(1)) if value else "#ERROR"
        elif value is None and _TEXT_RESULT not in attributes and (formula := _FORMULA.search(inner)):
            yield int(row), f"={_text(formula.group(1) or b'')}"


def _text(xml: bytes) -> str:
    return unescape(xml.decode("utf-8", "replace"), {"&quot;": '"', "&apos;": "'"})
