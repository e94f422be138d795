"""How a text travels: its alphabet and its segments. Pure.

Source: "Length and segments" in the guide; the tables are those of 3GPP TS 23.038, section 6.2.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from domain.states import Encoding, Region

GSM7_SINGLE = 160
"""Septets in a message of one segment."""
GSM7_PART = 153
"""Septets in each segment of a longer message: the concatenation header takes the other seven."""
UCS2_SINGLE = 70
"""UTF-16 units in a message of one segment."""
UCS2_PART = 67
"""UTF-16 units in each segment of a longer message."""

_ESCAPE = 0x1B
_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = {
    "\f": 0x0A,
    "^": 0x14,
    "{": 0x28,
    "}": 0x29,
    "\\": 0x2F,
    "[": 0x3C,
    "~": 0x3D,
    "]": 0x3E,
    "|": 0x40,
    "€": 0x65,
}
_SEPTETS = {
    **{character: bytes([code]) for code, character in enumerate(_BASIC) if code != _ESCAPE},
    **{character: bytes([_ESCAPE, code]) for character, code in _EXTENSION.items()},
}
_ALPHABET = frozenset(_SEPTETS)
_EXTENDED = {code: character for character, code in _EXTENSION.items()}


@dataclass(frozen=True, slots=True)
class Content:
    """A text as it goes on the wire, the same for every number of a task."""

    text: str
    encoding: Encoding
    segments: tuple[str, ...]
    """The text of each segment, at least one; put together they are `text`."""


def segment(text: str, region: Region) -> Content:
    """Choose the alphabet of `text` and cut it into segments.

    The Chinese mainland counts characters whatever the alphabet, so its messages are always UCS-2. Elsewhere
    a text within the GSM 7-bit alphabet is counted in septets, an extension character taking two.
    Neither a surrogate pair nor an escape and its character are ever parted.
    """
    if region is Region.INTERNATIONAL and is_gsm7(text):
        return Content(text, Encoding.GSM_7, _cut(text, _septets, GSM7_SINGLE, GSM7_PART))
    return Content(text, Encoding.UCS_2, _cut(text, _utf16_units, UCS2_SINGLE, UCS2_PART))


def is_gsm7(text: str) -> bool:
    """Whether every character is in the GSM 7-bit default alphabet or its extension table."""
    return _ALPHABET.issuperset(text)


def gsm7_encode(text: str) -> bytes:
    """Encode unpacked, one octet a septet; an extension character becomes 0x1B and its code.

    Raises:
        ValueError: a character is outside the alphabet and its extension table.
    """
    try:
        return b"".join([_SEPTETS[character] for character in text])
    except KeyError as outside:
        raise ValueError(f"{outside.args[0]!r} is not in the GSM 7-bit alphabet") from None


def gsm7_decode(septets: bytes) -> str:
    """Decode unpacked GSM 7-bit, one octet a septet.

    As a phone does: after an escape, a code that the extension table lacks is read in the basic one, and an
    escape with nothing behind it is a blank (3GPP TS 23.038, 6.2.1 and 6.2.1.1).

    Raises:
        ValueError: an octet is no septet.
    """
    if not septets.isascii():
        raise ValueError("an octet above 0x7F is no septet")
    head, *escaped = septets.split(bytes([_ESCAPE]))
    return "".join([_basic(head), *map(_after_escape, escaped)])


def _after_escape(codes: bytes) -> str:
    if not codes:
        return " "
    return _EXTENDED.get(codes[0], _BASIC[codes[0]]) + _basic(codes[1:])


def _basic(codes: bytes) -> str:
    return "".join([_BASIC[code] for code in codes])


def unicode_characters(text: str) -> list[str]:
    """The distinct characters, in order of appearance, that force the text into UCS-2."""
    return [character for character in dict.fromkeys(text) if character not in _ALPHABET]


def _septets(character: str) -> int:
    return len(_SEPTETS[character])


def _utf16_units(character: str) -> int:
    return 2 if character > "\uffff" else 1


def _cut(text: str, size: Callable[[str], int], single: int, part: int) -> tuple[str, ...]:
    sizes = [size(character) for character in text]
    if sum(sizes) <= single:
        return (text,)
    segments = []
    begin = used = 0
    for position, units in enumerate(sizes):
        if used + units > part:
            segments.append(text[begin:position])
            begin, used = position, 0
        used += units
    segments.append(text[begin:])
    return tuple(segments)
