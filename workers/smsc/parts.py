"""Which segment of which message a submit_sm carries."""

from __future__ import annotations

from typing import Final, NamedTuple

from workers.smpp import pdu
from workers.smpp.pdu import ShortMessage, Tag

_ELEMENTS: Final = {(0x00, 3): 1, (0x08, 4): 2}
"""Concatenation elements of a user data header (3GPP TS 23.040, 9.2.3.24.1 and 9.2.3.24.8).

By identifier and length: the octets of the reference.
"""


class Part(NamedTuple):
    """A segment's place in its message."""

    reference: int | None
    """What the segments of one message have in common; None: it has a single one."""
    total: int
    number: int
    """From 1."""

    @property
    def last_of_several(self) -> bool:
        """Whether it ends a long message."""
        return self.number == self.total > 1


WHOLE: Final = Part(None, 1, 1)


def part_of(message: ShortMessage) -> Part:
    """Read the user data header, 8 or 16 bits, or the SAR parameters. Without either it is all there is."""
    if message.esm_class & pdu.UDH_INDICATOR:
        return _from_header(message.payload) or WHOLE
    if not message.tlvs:
        return WHOLE
    reference = message.tlv(Tag.SAR_MSG_REF_NUM)
    total = message.tlv(Tag.SAR_TOTAL_SEGMENTS)
    number = message.tlv(Tag.SAR_SEGMENT_SEQNUM)
    if not (reference and total and number):
        return WHOLE
    return Part(*(int.from_bytes(value, "big") for value in (reference, total, number)))


def _from_header(octets: bytes) -> Part | None:
    end = min(len(octets), 1 + octets[0]) if octets else 0
    at = 1
    while at + 2 <= end:
        identifier, length = octets[at], octets[at + 1]
        value = octets[at + 2 : min(at + 2 + length, end)]
        width = _ELEMENTS.get((identifier, len(value)))
        if width is not None:
            return Part(int.from_bytes(value[:width], "big"), value[width], value[width + 1])
        at += 2 + length
    return None
