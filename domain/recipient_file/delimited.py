"""The first column of CSV and plain text.

UTF-8 or UTF-16 by its mark, else UTF-8, GB18030 (what Chinese Excel writes) or Windows-1252: the first that
fits.
Fields are parted by tabs, semicolons or commas, whichever most lines have.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from domain.recipient_file.errors import DamagedText, NotAList, NumbersInOneLine, TooDemanding

MOST_ROWS = 2**21
"""A million numbers with a blank line behind each, and a header. A million blank lines take two seconds."""
_DELIMITERS = "\t;,"
_SAMPLE_LINES = 200
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)
"""Excel's own first line of some CSV files; it shows no row for it."""
_AS_TEXT = re.compile(r'="([^"]*)"')
"""How CSV files keep Excel from reading a number."""
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1f\x7f]")
_DIGITS_OF_OTHER_THINGS = 8
"""A date has as many."""
_MARKUP = ("<", "{\\rtf")


def cells(path: Path) -> Iterator[tuple[int, str]]:
    """The first column, with row numbers as a spreadsheet program would show them.

    Raises:
        NotAList: it is no text, or a web page or the like, or a single text without end.
        DamagedText: a quotation mark has no partner.
        NumbersInOneLine: there is but one line, and all its fields look like numbers.
        TooDemanding: it has more rows, blank ones included, than any genuine list.
    """
    text = _decode(path.read_bytes())
    if text.lstrip().startswith(_MARKUP):
        raise NotAList
    if separator := _SEPARATOR_LINE.match(text):
        text, delimiter = text[separator.end() :], separator.group(1)
    else:
        delimiter = _delimiter(text)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines: list[list[str]] = []
    try:
        for row, fields in enumerate(rows, start=1):
            if row > MOST_ROWS:
                raise TooDemanding
            field = fields[0] if fields else ""
            if len(lines) < 2 and any(fields):
                lines.append(fields)
            if field[:2] == '="' and (as_text := _AS_TEXT.fullmatch(field)):
                field = as_text.group(1)
            yield row, field
    except csv.Error as error:
        # Without a quotation mark in it, what csv minds is that a field has more than 128 KiB.
        raise (DamagedText(rows.line_num) if '"' in text else NotAList) from error
    if len(lines) == 1 and len(lines[0]) > 1 and all(map(_has_many_digits, lines[0])):
        raise NumbersInOneLine


def _has_many_digits(field: str) -> bool:
    return sum(map(str.isdecimal, field)) > _DIGITS_OF_OTHER_THINGS


def _decode(content: bytes) -> str:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            candidates = [encoding]
            break
    else:
        candidates = ["utf-8", "gb18030", "cp1252"]
    for encoding in candidates:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not _CONTROL.search(text):
            return text
    raise NotAList


def _delimiter(text: str) -> str:
    lines = list(islice(io.StringIO(text), _SAMPLE_LINES))
    return max(_DELIMITERS, key=lambda delimiter: sum(delimiter in line for line in lines))
