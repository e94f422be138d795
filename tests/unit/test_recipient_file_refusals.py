"""Files that are not what they should be: each its own error, in bounded time and memory."""

import asyncio
import itertools
import os
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from domain.recipient_file import FileTooLarge, ReadLimits, RecipientFileError, read_recipients
from domain.recipient_file import errors as kinds
from domain.states import Region

FILES = Path(__file__).parent / "files"
PATIENCE = 20.0


async def refusal(path: Path, limits: ReadLimits | None = None) -> RecipientFileError:
    with pytest.raises(RecipientFileError) as caught:
        await read_recipients(path, region=Region.CHINESE_MAINLAND, limits=limits or ReadLimits())
    return caught.value


def workbook(path: Path, cells: dict[str, object]) -> None:
    made = openpyxl.Workbook()
    sheet: Any = made.active
    for place, value in cells.items():
        sheet[place] = value
    made.save(path)


def archive(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as made:
        for name in names:
            made.writestr(name, "<xml/>")


def replace_part(path: Path, part: str, content: Iterator[bytes]) -> None:
    """Put other content, which may be huge, into one part of a workbook."""
    with zipfile.ZipFile(path) as original:
        others = {name: original.read(name) for name in original.namelist() if name != part}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        for name, data in others.items():
            made.writestr(name, data)
        with made.open(part, "w") as stream:
            for piece in content:
                stream.write(piece)


def truncated(path: Path) -> None:
    whole = (FILES / "libreoffice.xlsx").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def spoilt_inside(path: Path) -> None:
    workbook(path, {"A1": "13800138000"})
    replace_part(path, "xl/worksheets/sheet1.xml", iter([b"<worksheet><sheetData><row><c r='A1"]))


def word(path: Path) -> None:
    archive(path, "[Content_Types].xml", "word/document.xml")


def powerpoint(path: Path) -> None:
    archive(path, "[Content_Types].xml", "ppt/presentation.xml")


def just_a_zip(path: Path) -> None:
    archive(path, "numbers.txt")


def picture(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)))


def writes(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (writes((FILES / "old.xls").read_bytes()), kinds.OldExcelFile),
        (writes((FILES / "encrypted.xlsx").read_bytes()), kinds.EncryptedFile),
        (writes(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj"), kinds.PdfFile),
        (word, kinds.WordFile),
        (powerpoint, kinds.NotAWorkbook),
        (just_a_zip, kinds.NotAWorkbook),
        (truncated, kinds.DamagedWorkbook),
        (spoilt_inside, kinds.DamagedWorkbook),
        (picture, kinds.NotAList),
        (writes(b"\xff\xd8\xff\xe0\0\x10JFIF"), kinds.NotAList),
        (writes(b"<html><table><tr><td>13800138000</td></tr></table></html>"), kinds.NotAList),
        (writes(b"\xff\xfe1\x003\x008\x00\x00\xd8"), kinds.NotAList),
        (writes(b'Phone,Name\n"13800138000,a\n13800138001,b\n'), kinds.DamagedText),
        (writes(b"13800138000, 13800138001, 13800138002\n"), kinds.NumbersInOneLine),
        (writes(b""), kinds.EmptyFile),
        (writes(b"\xef\xbb\xbfPhone\r\n\r\n \r\n"), kinds.EmptyFile),
        (lambda path: workbook(path, {}), kinds.EmptyFile),
        (lambda path: workbook(path, {"A1": "Phone"}), kinds.EmptyFile),
        (lambda path: workbook(path, {"B1": "13800138000", "B2": "13800138001"}), kinds.EmptyFile),
    ],
)
async def test_each_wrong_file_has_its_own_error(
    make: Callable[[Path], None], kind: type[RecipientFileError], tmp_path: Path
) -> None:
    path = tmp_path / "renamed.xlsx"
    make(path)
    error = await refusal(path)
    assert type(error) is kind
    assert error.code == "FILE_UNREADABLE"


def test_messages_differ_and_tell_what_to_do() -> None:
    each = [kind(7) for kind in RecipientFileError.__subclasses__()]
    assert len({error.message for error in each}) == len(each) == 13
    assert all(str(error) == error.message and error.message.count(".") >= 2 for error in each)
    assert FileTooLarge(16 * 2**20).message.startswith("The file is larger than 16 MiB.")


async def test_one_number_too_many(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("Phone\n" + "\n".join(str(13800138000 + n) for n in range(1001)))
    error = await refusal(tmp_path / "list.txt", ReadLimits(numbers=1000))
    assert isinstance(error, kinds.TooManyNumbers)
    assert (error.code, "1,000" in error.message) == ("FILE_TOO_LARGE", True)
    just = await read_recipients(
        tmp_path / "list.txt", region=Region.CHINESE_MAINLAND, limits=ReadLimits(numbers=1001)
    )
    assert just.imported == 1001


async def test_duplicates_and_invalid_rows_count_towards_the_most(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("13800138000\n" * 3 + "1\n")
    error = await refusal(tmp_path / "list.txt", ReadLimits(numbers=3))
    assert isinstance(error, kinds.TooManyNumbers)


async def test_the_default_is_a_million(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\n".join(map(str, range(13000000000, 13001000001))))
    assert isinstance(await refusal(tmp_path / "list.txt"), kinds.TooManyNumbers)


async def test_a_cell_in_the_farthest_corner(tmp_path: Path) -> None:
    workbook(tmp_path / "bomb.xlsx", {"A1": "13800138000", "XFD1048576": 1})
    assert isinstance(await refusal(tmp_path / "bomb.xlsx"), kinds.TooDemanding)


async def test_a_zip_bomb_by_its_directory(tmp_path: Path) -> None:
    workbook(tmp_path / "bomb.xlsx", {"A1": "13800138000"})
    piece = bytes(2**24)
    replace_part(tmp_path / "bomb.xlsx", "xl/media/image1.png", itertools.repeat(piece, 65))
    assert (tmp_path / "bomb.xlsx").stat().st_size < 16 * 2**20
    began = time.monotonic()
    assert isinstance(await refusal(tmp_path / "bomb.xlsx"), kinds.TooDemanding)
    assert time.monotonic() - began < PATIENCE


async def test_huge_shared_strings(tmp_path: Path) -> None:
    workbook(tmp_path / "bomb.xlsx", {"A1": "13800138000"})
    piece = (b"<si><t>" + b"1" * 1000 + b"</t></si>") * 10_000
    head = b'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
    strings = itertools.chain([head], itertools.repeat(piece, 40), [b"</sst>"])
    replace_part(tmp_path / "bomb.xlsx", "xl/sharedStrings.xml", strings)
    began = time.monotonic()
    error = await refusal(tmp_path / "bomb.xlsx", ReadLimits(memory=384 * 2**20))
    assert isinstance(error, kinds.TooDemanding)
    assert time.monotonic() - began < PATIENCE


async def test_entities_that_explode(tmp_path: Path) -> None:
    workbook(tmp_path / "bomb.xlsx", {"A1": "13800138000"})
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    xml = f'<!DOCTYPE s [<!ENTITY e0 "1">{entities}]><workbook><sheets>&e11;</sheets></workbook>'
    replace_part(tmp_path / "bomb.xlsx", "xl/workbook.xml", iter([xml.encode()]))
    began = time.monotonic()
    await refusal(tmp_path / "bomb.xlsx")
    assert time.monotonic() - began < PATIENCE


async def test_too_much_processor_time(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("１３８００１３８０００\n" * 800_000, "utf-8")
    began = time.monotonic()
    error = await refusal(tmp_path / "list.txt", ReadLimits(cpu_seconds=1))
    assert isinstance(error, kinds.TooDemanding)
    assert time.monotonic() - began < PATIENCE


async def test_too_much_time(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never")
    assert isinstance(await refusal(tmp_path / "never", ReadLimits(seconds=1)), kinds.TooDemanding)


def children(pid: int) -> set[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {int(child) for task in tasks for child in (task / "children").read_text().split()}


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(0.01)


linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@linux
async def test_cancelling_ends_the_child(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never")
    before = children(os.getpid())
    reading = asyncio.create_task(
        read_recipients(tmp_path / "never", region=Region.CHINESE_MAINLAND, limits=ReadLimits())
    )
    await until(lambda: children(os.getpid()) - before)
    started = children(os.getpid()) - before
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not any(map(runs, started))


PARENT = """
import asyncio, sys
from pathlib import Path
from domain.recipient_file import ReadLimits, read_recipients
from domain.states import Region
asyncio.run(read_recipients(Path(sys.argv[1]), region=Region.INTERNATIONAL, limits=ReadLimits()))
"""


@linux
async def test_the_child_does_not_outlive_its_parent(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never")
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, tmp_path / "never")
    await until(lambda: children(parent.pid))
    (child,) = children(parent.pid)
    parent.kill()
    await parent.wait()
    await until(lambda: not runs(child))
