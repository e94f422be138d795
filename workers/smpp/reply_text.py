"""What a reply says: from the octets of a deliver_sm to its text. Pure, and never at a loss.

A gateway's `alphabet` says what its centre means by the default alphabet, in both directions. Octets that
cannot be in it are read as UTF-8, or else as Latin-1, so that a centre that was set up wrongly garbles a few
letters and loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from domain.segments import gsm7_decode
from workers.smpp import pdu
from workers.smpp.pdu import ShortMessage
from workers.smpp.submit_options import Alphabet

_DEFAULT: Final = frozenset({0x00, *range(0x10, 0x14), *range(0xF0, 0xF4)})
"""data_coding values of the default alphabet: SMPP's own, and those of 3GPP TS 23.038 with a class."""
_ENCODINGS: Final = {
    1: "latin-1",  # ASCII, by right
    3: "latin-1",
    5: "shift_jis",
    6: "iso8859-5",
    7: "iso8859-8",
    8: "utf-16-be",
    10: "iso2022_jp",
    14: "euc_kr",
    15: "gb18030",
    **dict.fromkeys(range(0x18, 0x1C), "utf-16-be"),
}
"""By data_coding (SMPP 3.4, 5.2.19), and 15, which Chinese carriers know from CMPP."""


def reply_text(message: ShortMessage, alphabet: Alphabet) -> str:
    """The text behind the header, if there is one. What the octets don't hold becomes U+FFFD."""
    octets, header = message.payload, 0
    if message.esm_class & pdu.UDH_INDICATOR and octets:
        header = min(1 + octets[0], len(octets))
        octets = octets[header:]
    if message.data_coding in _DEFAULT:
        return _default_alphabet(octets, header, alphabet)
    encoding = _ENCODINGS.get(message.data_coding)
    return octets.decode(encoding, errors="replace") if encoding else _guessed(octets)


def _default_alphabet(octets: bytes, header: int, alphabet: Alphabet) -> str:
    if alphabet is Alphabet.GSM7_PACKED:
        return gsm7_decode(bytes(_unpacked(octets, header))).removesuffix("\r")
    octets = octets.rstrip(b"\0")  # an @ in GSM 7-bit, but far more often the end of a C string
    if alphabet is Alphabet.GSM7 and octets.isascii():
        return gsm7_decode(octets)
    return octets.decode("latin-1") if alphabet is Alphabet.LATIN_1 else _guessed(octets)


def _guessed(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _unpacked(octets: bytes, header: int) -> Iterator[int]:
    """The septets behind a header of that many octets and its fill bits (3GPP TS 23.038, 6.1.2.1)."""
    bits, held = 0, 0
    skip = -8 * header % 7
    for octet in octets:
        bits |= octet << held
        held += 8
        if skip:
            bits >>= skip
            held -= skip
            skip = 0
        while held >= 7:
            yield bits & 0x7F
            bits >>= 7
            held -= 7
