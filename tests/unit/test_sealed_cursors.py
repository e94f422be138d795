"""Cursors that tell nothing of the numbers they stand at."""

from __future__ import annotations

import base64

import pytest

from api.sealed_cursors import CursorSeal
from domain.errors import InvalidInput
from domain.paging import encode_cursor

OLD, NEW = b"the key of yesterday", b"the key of tomorrow"
CURSOR = encode_cursor("optOuts", [8613800138000])


def test_a_sealed_cursor_is_opened_again() -> None:
    seal = CursorSeal([OLD])
    sealed = seal.seal(CURSOR)
    assert seal.open(sealed) == CURSOR
    assert seal.seal(CURSOR) == sealed
    assert seal.open(None) is None


def test_it_tells_nothing() -> None:
    sealed = CursorSeal([OLD]).seal(CURSOR)
    raw = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
    assert b"8000" not in raw
    assert CURSOR[:8] not in sealed
    other = CursorSeal([OLD]).seal(encode_cursor("optOuts", [8613800138001]))
    pieces = {sealed[at : at + 6] for at in range(len(sealed) - 5)}
    assert not any(other[at : at + 6] in pieces for at in range(len(other) - 5))


def test_keys_are_changed_without_breaking_cursors() -> None:
    assert CursorSeal([NEW, OLD]).open(CursorSeal([OLD]).seal(CURSOR)) == CURSOR


@pytest.mark.parametrize("text", ["", "x", "*", CURSOR, "A" * 80, "A" * 12_000, "\ud800"])
def test_others_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        CursorSeal([NEW]).open(text)


def test_every_altered_one_is_refused() -> None:
    seal = CursorSeal([OLD])
    sealed = seal.seal(CURSOR)
    for at, character in enumerate(sealed[:-1]):
        altered = sealed[:at] + ("A" if character != "A" else "B") + sealed[at + 1 :]
        with pytest.raises(InvalidInput):
            seal.open(altered)
