"""Rows of a recipient list whose numbers opted out."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path

import pytest

from domain.recipient_file import ReadLimits, Recipients, read_recipients
from domain.recipient_file.errors import TooDemanding
from domain.states import Region, RowRejection

FIRST = 8613800138000
OPTED_OUT, DUPLICATE = RowRejection.OPTED_OUT, RowRejection.DUPLICATE


@pytest.fixture(params=["file", "numbers"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path | list[str]:
    rows = ["13800138000", "+86 138-0013-8001", "13800138000", "13800138002", "x1380", "13800138002"]
    if request.param == "numbers":
        return rows
    path = tmp_path / "numbers.txt"
    path.write_text("\n".join(rows))
    return path


async def read(source: Path | Sequence[str], opted_out: array[int] | None) -> Recipients:
    recipients = await read_recipients(source, region=Region.CHINESE_MAINLAND, opted_out=opted_out)
    rejected = len(recipients.rejected)
    assert rejected == recipients.invalid + recipients.duplicates + recipients.opted_out
    assert recipients.rows == recipients.imported + rejected == 6
    return recipients


async def test_every_row_of_an_opted_out_number_is_rejected_as_such(source: Path | list[str]) -> None:
    """Opt-outs: rows on the list are rejected as OPTED_OUT, kept with row and text as found."""
    recipients = await read(source, array("q", [FIRST - 1, FIRST, FIRST + 1, 2**62]))
    assert list(recipients.numbers) == [FIRST + 2]
    assert [(each.row, each.value, each.reason) for each in recipients.rejected] == [
        (1, "13800138000", OPTED_OUT),
        (2, "+86 138-0013-8001", OPTED_OUT),
        (3, "13800138000", OPTED_OUT),
        (5, "x1380", RowRejection.NOT_A_NUMBER),
        (6, "13800138002", DUPLICATE),
    ]
    assert (recipients.opted_out, recipients.duplicates, recipients.invalid) == (3, 1, 1)


@pytest.mark.parametrize("opted_out", [None, array("q"), array("q", [1, FIRST + 3])])
async def test_a_list_on_which_nobody_opted_out(
    source: Path | list[str], opted_out: array[int] | None
) -> None:
    recipients = await read(source, opted_out)
    assert list(recipients.numbers) == [FIRST, FIRST + 1, FIRST + 2]
    assert (recipients.opted_out, recipients.duplicates, recipients.invalid) == (0, 2, 1)


async def test_a_list_on_which_everybody_opted_out(source: Path | list[str]) -> None:
    recipients = await read(source, array("q", range(FIRST, FIRST + 3)))
    assert (recipients.imported, recipients.opted_out, recipients.invalid) == (0, 5, 1)


async def test_more_opted_out_numbers_than_a_pipe_holds(tmp_path: Path) -> None:
    path = tmp_path / "numbers.txt"
    path.write_text("13800138000\n13800138001\n")
    many = array("q", range(FIRST + 1, FIRST + 1_000_001))
    recipients = await read_recipients(path, region=Region.CHINESE_MAINLAND, opted_out=many)
    assert (list(recipients.numbers), recipients.opted_out) == ([FIRST], 1)


async def test_a_child_that_dies_before_it_has_heard_them_all(tmp_path: Path) -> None:
    path = tmp_path / "numbers.txt"
    path.write_text("13800138000\n")
    many = array("q", range(1_000_000))
    with pytest.raises(TooDemanding):
        await read_recipients(
            path, region=Region.CHINESE_MAINLAND, limits=ReadLimits(memory=2**24), opted_out=many
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("13800138000", FIRST),
        ("+447400123456", 447400123456),
        ("+861012345678", None),
        ("07400123456", None),
    ],
)
async def test_without_a_region_what_either_takes_is_taken(text: str, expected: int | None) -> None:
    recipients = await read_recipients([text], region=None)
    assert list(recipients.numbers) == ([] if expected is None else [expected])
