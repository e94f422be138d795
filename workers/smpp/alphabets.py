"""From a text to the octets of one segment, in the alphabet a gateway wants. Pure.

`domain.segments` has cut the text by what it takes up on the air, and that is what it costs. No alphabet here
cuts it anew: a segment is a segment whichever way it travels.

Latin-1 is offered for message centres that take it as their input and send GSM 7-bit: their segments hold 160
or 153 septets like any others, so the cut stays right, though a segment of 160 octets would not fit the 140
on the air by itself. Each character must be in both alphabets, and every one of Latin-1's here is, since a
text that leaves GSM 7-bit is UCS-2 already. What Latin-1 lacks of GSM 7-bit (€ and Greek capitals) is never
replaced by something similar: such a text goes as UCS-2 where it still is one segment, as it was priced, and
is refused where it would become more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from domain.segments import UCS2_SINGLE, Content, gsm7_encode
from domain.states import Encoding
from workers.smpp.pdu import Status
from workers.smpp.submit_options import Alphabet, SubmitOptions

DEFAULT_ALPHABET: Final = 0
LATIN_1: Final = 3
UCS2: Final = 8
"""data_coding values (SMPP 3.4, 5.2.19)."""

_CARRIAGE_RETURN: Final = b"\x0d"


class Unencodable(ValueError):  # noqa: N818
    """A message that cannot be put on the wire as it is. `status` says why, as a message centre would."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Coding(NamedTuple):
    """How the segments of one content are encoded."""

    data_coding: int
    encode: Callable[[str, int], bytes]
    """From a segment's text, and the octets of the header before it, to the octets behind that header."""


def coding_of(content: Content, options: SubmitOptions) -> Coding:
    """Choose how `content` travels. Raises `Unencodable`."""
    if content.encoding is Encoding.UCS_2:
        return Coding(UCS2, _ucs2)
    if options.alphabet is Alphabet.LATIN_1:
        return _latin_1_or_ucs2(content, options)
    data_coding = DEFAULT_ALPHABET if options.data_coding is None else options.data_coding
    return Coding(data_coding, _packed if options.alphabet is Alphabet.GSM7_PACKED else _unpacked)


def pack(septets: bytes, header_octets: int = 0) -> bytes:
    """Pack septets into octets, to stand behind a header of that many octets (3GPP TS 23.038, 6.1.2.1).

    Fill bits bring them to a septet boundary, counted from the header's beginning (3GPP TS 23.040, 9.2.3.24).
    sm_length counts octets, so whoever unpacks cannot tell seven spare bits from an @; they are filled with a
    carriage return, as where the air interface does not count septets either (3GPP TS 23.038, 6.1.2.3.1).
    """
    fill = -8 * header_octets % 7
    if (fill + 7 * len(septets)) % 8 == 1:
        septets += _CARRIAGE_RETURN
    bits = 0
    for septet in reversed(septets):
        bits = bits << 7 | septet
    return (bits << fill).to_bytes((fill + 7 * len(septets) + 7) // 8, "little")


def _unpacked(text: str, _header_octets: int) -> bytes:
    return gsm7_encode(text)


def _packed(text: str, header_octets: int) -> bytes:
    return pack(gsm7_encode(text), header_octets)


def _latin_1(text: str, _header_octets: int) -> bytes:
    return text.encode("latin-1")


def _ucs2(text: str, _header_octets: int) -> bytes:
    try:
        return text.encode("utf-16-be")
    except UnicodeEncodeError:
        raise Unencodable(Status.ESME_RINVDCS, "half a surrogate pair is no character") from None


def _latin_1_or_ucs2(content: Content, options: SubmitOptions) -> Coding:
    try:
        content.text.encode("latin-1")
    except UnicodeEncodeError as error:
        if len(content.segments) == 1 and len(content.text.encode("utf-16-be")) <= 2 * UCS2_SINGLE:
            return Coding(UCS2, _ucs2)
        outside = content.text[error.start]
        raise Unencodable(
            Status.ESME_RINVDCS, f"{outside!r} is not in Latin-1, and UCS-2 would take more segments"
        ) from None
    return Coding(LATIN_1 if options.data_coding is None else options.data_coding, _latin_1)
