"""From a submission to the bodies of its submit_sm PDUs.

The content is the same for every number of a task, so all of a body but the destination, and the reference
that ties the segments of one message together, is encoded once and kept.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import Final, NamedTuple

from domain.ports import Submission
from domain.segments import Content, gsm7_encode
from domain.states import Encoding
from workers.smpp import pdu
from workers.smpp.pdu import Address, ShortMessage

GSM7_DEFAULT: Final = 0
UCS2: Final = 8
"""data_coding values (SMPP 3.4, 5.2.19)."""

CONCATENATION: Final = b"\x05\x00\x03"
"""A user data header of 5 octets.

Element 0, 3 octets: reference, total, number (3GPP TS 23.040, 9.2.3.24.1).
"""

SHORT_CODE_DIGITS: Final = 8
"""A sender of digits up to this length is a short code; a longer one is an international number."""

NO_ADDRESS: Final = Address(0, 0, "")
TEMPLATES_KEPT: Final = 256
REFERENCES_KEPT: Final = 65_536


def source_address(sender: str) -> Address:
    """Derive type of number and numbering plan (SMPP 3.4, 5.2.5, 5.2.6) from what the sender looks like.

    Digits: up to 8 a short code (network specific), more or a leading plus an international number. Anything
    else is alphanumeric. Raises ValueError if it cannot be a source address at all.
    """
    if not sender:
        return NO_ADDRESS
    digits = sender.removeprefix("+")
    if digits.isascii() and digits.isdigit():
        if len(digits) > 20:
            raise ValueError("a sender has at most 20 digits")
        if digits == sender and len(digits) <= SHORT_CODE_DIGITS:
            return Address(3, 0, digits)
        return Address(1, 1, digits)
    if len(sender) > 11 or not sender.isascii() or not sender.isprintable():
        raise ValueError("an alphanumeric sender has at most 11 ASCII characters")
    return Address(5, 0, sender)


def destination_address(number: str) -> Address:
    """International, by the ISDN plan, without its plus. Raises ValueError if it is no E.164 number."""
    digits = number.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 15:
        raise ValueError("a destination is E.164: up to 15 digits behind a plus sign")
    return Address(1, 1, digits)


class References:
    """The reference that ties segments together: 8 bits, counted for each sender and destination.

    A phone puts segments together by it, so it must differ between messages that arrive about the same time
    from one sender. Only the latest pairs are kept; a pair seen anew starts where the last new one left off,
    not at 0.
    """

    def __init__(self, kept: int = REFERENCES_KEPT) -> None:
        self._kept = kept
        self._last: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._next_start = secrets.randbelow(256)

    def next(self, sender: str, number: str) -> int:
        """Return the reference of the next message from `sender` to `number`."""
        pair = (sender, number)
        last = self._last.pop(pair, None)
        if last is None:
            last = self._next_start
            self._next_start = (last + 1) % 256
        self._last[pair] = reference = (last + 1) % 256
        if len(self._last) > self._kept:
            self._last.popitem(last=False)
        return reference


class _Template(NamedTuple):
    """A body in the pieces that stay the same. `after_reference` is None in a message of one segment."""

    before_destination: bytes
    after_destination: bytes
    after_reference: bytes | None


class SubmitEncoder:
    """Makes submit_sm bodies.

    UDH concatenation, registered_delivery 1, GSM 7-bit unpacked or UCS-2 big-endian.
    """

    def __init__(self) -> None:
        self._templates: dict[tuple[Content, str], list[_Template]] = {}
        self._references = References()

    def bodies(self, submission: Submission) -> list[bytes]:
        """Return one body a segment, in order. Raises ValueError if a field cannot be put on the wire."""
        content, sender = submission.content, submission.sender
        key = (content, sender)
        templates = self._templates.get(key)
        if templates is None:
            if len(self._templates) >= TEMPLATES_KEPT:
                self._templates.pop(next(iter(self._templates)))
            self._templates[key] = templates = _templates(content, sender)
        destination = destination_address(submission.number).encode()
        if len(templates) == 1:
            only = templates[0]
            return [only.before_destination + destination + only.after_destination]
        reference = bytes((self._references.next(sender, submission.number),))
        return [
            part.before_destination
            + destination
            + part.after_destination
            + reference
            + (part.after_reference or b"")
            for part in templates
        ]


def _templates(content: Content, sender: str) -> list[_Template]:
    source = source_address(sender)
    total = len(content.segments)
    if total > 255:
        raise ValueError("a message has at most 255 segments")
    return [
        _template(content.encoding, text, source, number, total)
        for number, text in enumerate(content.segments, 1)
    ]


def _template(encoding: Encoding, text: str, source: Address, number: int, total: int) -> _Template:
    unicode = encoding is Encoding.UCS_2
    octets = text.encode("utf-16-be") if unicode else gsm7_encode(text)
    header = CONCATENATION + bytes((0, total, number)) if total > 1 else b""
    body = ShortMessage(
        source,
        NO_ADDRESS,
        header + octets,
        esm_class=pdu.UDH_INDICATOR if header else 0,
        data_coding=UCS2 if unicode else GSM7_DEFAULT,
        registered_delivery=1,
    ).encode()
    start = len(b"\0" + source.encode())
    after = body[start + len(NO_ADDRESS.encode()) :]
    if not header:
        return _Template(body[:start], after, None)
    # From the end: the text, the number, the total, and before them the reference.
    reference_at = len(after) - len(octets) - 3
    return _Template(body[:start], after[:reference_at], after[reference_at + 1 :])
