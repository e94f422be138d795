"""Recipient files of a million rows, as people make them: text cells, some of them invalid or twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import phonenumbers
import xlsxwriter

ROWS = 1_000_000
_SHARE_INVALID = _SHARE_TWICE = 0.01

COUNTRIES = [
    *("US", "CA", "MX", "GT", "CR", "PA", "CO", "VE", "PE", "EC", "BO", "CL", "AR", "UY", "PY", "BR"),
    *("GB", "IE", "FR", "BE", "NL", "LU", "DE", "AT", "CH", "IT", "ES", "PT", "DK", "SE", "NO", "FI"),
    *("EE", "LV", "LT", "PL", "CZ", "HU", "RO", "BG", "GR", "TR", "EG", "MA", "NG", "KE", "ZA", "SA"),
    *("AE", "IL", "IN", "PK", "BD", "TH", "VN", "MY", "SG", "ID", "PH", "JP"),
]
"""Sixty of them, as ISO 3166 writes them."""
_VARIED = 6
"""Digits at the end that differ from number to number."""


def write_mainland(path: Path) -> None:
    """85 % with +86, the rest 11 or 13 digits; 1 % invalid, 1 % twice."""
    _write(path, _mainland(Random(1)))


def write_international(path: Path) -> None:
    """Numbers of sixty countries; 1 % invalid, 1 % twice."""
    _write(path, _international(Random(2)))


def _write(path: Path, rows: Iterator[str]) -> None:
    book = xlsxwriter.Workbook(path, {"constant_memory": False, "strings_to_numbers": False})
    sheet = book.add_worksheet("Recipients")
    for index, text in enumerate(rows):
        sheet.write_string(index, 0, text)
    book.close()


def _mainland(random: Random) -> Iterator[str]:
    subscribers = random.sample(range(10_000_000_000), ROWS)
    for index, subscriber in enumerate(subscribers):
        kind = random.random()
        if kind < _SHARE_INVALID:
            yield f"86{subscriber % 10_000_000}"
        elif kind < _SHARE_INVALID + _SHARE_TWICE and index:
            yield f"+861{subscribers[0]:010d}"
        elif index % 20 < 17:
            yield f"+861{subscriber:010d}"
        elif index % 2:
            yield f"1{subscriber:010d}"
        else:
            yield f"861{subscriber:010d}"


def _international(random: Random) -> Iterator[str]:
    stems = [_stem(country) for country in COUNTRIES]
    before = ""
    for index in range(ROWS):
        kind = random.random()
        if kind < _SHARE_INVALID:
            yield f"+99{index}"
        elif kind < _SHARE_INVALID + _SHARE_TWICE and before:
            yield before
        else:
            # A stride that shares no factor with ten goes through all subscribers once.
            subscriber = index // len(stems) * 7919 % 10**_VARIED
            before = f"{stems[index % len(stems)]}{subscriber:0{_VARIED}d}"
            yield before


def _stem(country: str) -> str:
    """What the mobile numbers of a country begin with, as far as they differ at the end only."""
    example = phonenumbers.example_number_for_type(country, phonenumbers.PhoneNumberType.MOBILE)
    assert example is not None
    return phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)[:-_VARIED]
