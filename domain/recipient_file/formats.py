"""What kind of file it is, by its content: names and types that come with uploads are often wrong."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from domain.recipient_file.errors import (
    DamagedWorkbook,
    EncryptedFile,
    NotAWorkbook,
    OldExcelFile,
    PdfFile,
    TooDemanding,
    WordFile,
)

MOST_UNPACKED = 2**30
"""Octets of a workbook's parts together; a million rows of one column take a tenth."""
MOST_PARTS = 10_000
"""A genuine workbook has a dozen, and a few for each sheet or picture."""

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_PDF = b"%PDF-"


class Format(Enum):
    """What can be read."""

    WORKBOOK = "workbook"
    TEXT = "text"


def detect(path: Path) -> Format:
    """Tell a workbook from text.

    Raises:
        RecipientFileError: it is known to be something else.
    """
    with path.open("rb") as file:
        beginning = file.read(1024)
    if beginning.startswith(_ZIP):
        _check_archive(path)
        return Format.WORKBOOK
    if beginning.startswith(_COMPOUND):
        _refuse_compound(path.read_bytes())
    if _PDF in beginning:
        raise PdfFile
    return Format.TEXT


def _check_archive(path: Path) -> None:
    try:
        with ZipFile(path) as archive:
            parts = archive.infolist()
    except (BadZipFile, ValueError, OSError) as error:
        raise DamagedWorkbook from error
    names = {part.filename.lower().replace("\\", "/") for part in parts}
    if "xl/workbook.xml" not in names:
        raise WordFile if "word/document.xml" in names else NotAWorkbook
    if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > MOST_UNPACKED:
        raise TooDemanding


def _refuse_compound(content: bytes) -> None:
    """Tell apart what lies in an OLE compound file, by the names of its streams ([MS-CFB], 2.6.1)."""
    if "EncryptedPackage".encode("utf-16-le") in content:
        raise EncryptedFile
    if "WordDocument".encode("utf-16-le") in content:
        raise WordFile
    raise OldExcelFile
