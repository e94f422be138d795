"""From a submission to the bodies of its submit_sm PDUs.

The content is the same for every number of a task, so all of a body but the destination and the references is
encoded once and kept.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from struct import Struct
from typing import Final, NamedTuple

from domain.ports import Submission
from domain.segments import Content
from workers.smpp import pdu
from workers.smpp.addresses import NO_ADDRESS, Destinations, source_address
from workers.smpp.alphabets import Coding, Unencodable, coding_of
from workers.smpp.pdu import ShortMessage, Status, Tag
from workers.smpp.submit_options import LongText, SubmitOptions

CONCATENATION: Final = b"\x05\x00\x03"
"""A user data header of 5 octets.

Element 0, 3 octets: reference, total, number (3GPP TS 23.040, 9.2.3.24.1).
"""
HEADER_OCTETS: Final = 6

TEMPLATES_KEPT: Final = 256
REFERENCES_KEPT: Final = 65_536

_USER_MESSAGE_REFERENCE: Final = Struct(">HHH")


class References:
    """The reference that ties segments together: 8 or 16 bits, counted for each sender and destination.

    A phone puts segments together by it, so it must differ between messages that arrive about the same time
    from one sender. Only the latest pairs are kept; a pair seen anew starts where the last new one left off,
    not at 0.
    """

    def __init__(self, octets: int = 1, kept: int = REFERENCES_KEPT) -> None:
        self._count = 1 << 8 * octets
        self._kept = kept
        self._last: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._next_start = secrets.randbelow(self._count)

    def next(self, sender: str, number: str) -> int:
        """Return the reference of the next message from `sender` to `number`."""
        pair = (sender, number)
        last = self._last.pop(pair, None)
        if last is None:
            last = self._next_start
            self._next_start = (last + 1) % self._count
        self._last[pair] = reference = (last + 1) % self._count
        if len(self._last) > self._kept:
            self._last.popitem(last=False)
        return reference


class _Template(NamedTuple):
    """A body in the pieces that stay the same.

    `after_reference` is None where no reference ties it to other bodies.
    """

    before_destination: bytes
    after_destination: bytes
    after_reference: bytes | None


class SubmitEncoder:
    """Makes submit_sm bodies, with registered_delivery 1 and otherwise as the options say.

    UDH and SAR: one body a segment of `domain.segments`, never more. message_payload: one body for all.
    """

    def __init__(self, options: SubmitOptions) -> None:
        self._options = options
        self._templates: dict[tuple[Content, str], list[_Template]] = {}
        self._destinations = Destinations(options)
        self._reference_octets = 2 if options.long_text is LongText.SAR else 1
        self._references = References(self._reference_octets)

    def bodies(self, submission: Submission) -> list[bytes]:
        """Return the bodies, in the order of the segments. Raises `Unencodable`."""
        content, sender = submission.content, submission.sender
        key = (content, sender)
        templates = self._templates.get(key)
        if templates is None:
            if len(self._templates) >= TEMPLATES_KEPT:
                self._templates.pop(next(iter(self._templates)))
            self._templates[key] = templates = _templates(content, sender, self._options)
        destination = self._destinations.encode(submission.number)
        if len(templates) == 1:
            only = templates[0]
            bodies = [only.before_destination + destination + only.after_destination]
        else:
            reference = self._references.next(sender, submission.number).to_bytes(self._reference_octets)
            bodies = [
                part.before_destination
                + destination
                + part.after_destination
                + reference
                + (part.after_reference or b"")
                for part in templates
            ]
        if self._options.user_message_reference and submission.references:
            # A payload has the first segment's.
            return [
                body + _USER_MESSAGE_REFERENCE.pack(Tag.USER_MESSAGE_REFERENCE, 2, own)
                for body, own in zip(bodies, submission.references, strict=False)
            ]
        return bodies


def _templates(content: Content, sender: str, options: SubmitOptions) -> list[_Template]:
    coding = coding_of(content, options)
    plain = ShortMessage(
        source_address(sender, options),
        NO_ADDRESS,
        b"",
        data_coding=coding.data_coding,
        registered_delivery=1,
        service_type=options.service_type,
        validity_period=pdu.relative_time(options.validity) if options.validity else "",
    )
    total = len(content.segments)
    if total == 1:
        return [_template(plain._replace(short_message=coding.encode(content.text, 0)))]
    if options.long_text is LongText.PAYLOAD:
        payload = coding.encode(content.text, 0)
        return [_template(plain._replace(tlvs=((Tag.MESSAGE_PAYLOAD, payload),)))]
    if total > 255:
        raise Unencodable(Status.ESME_RINVMSGLEN, "a message has at most 255 segments")
    part = _sar_part if options.long_text is LongText.SAR else _udh_part
    return [part(plain, coding, text, number, total) for number, text in enumerate(content.segments, 1)]


def _udh_part(plain: ShortMessage, coding: Coding, text: str, number: int, total: int) -> _Template:
    octets = coding.encode(text, HEADER_OCTETS)
    header = CONCATENATION + bytes((0, total, number))
    message = plain._replace(short_message=header + octets, esm_class=pdu.UDH_INDICATOR)
    return _template(message, reference_octets=1, behind=2 + len(octets))


def _sar_part(plain: ShortMessage, coding: Coding, text: str, number: int, total: int) -> _Template:
    tlvs = (
        (Tag.SAR_TOTAL_SEGMENTS, bytes((total,))),
        (Tag.SAR_SEGMENT_SEQNUM, bytes((number,))),
        (Tag.SAR_MSG_REF_NUM, b"\0\0"),
    )
    message = plain._replace(short_message=coding.encode(text, 0), tlvs=tlvs)
    return _template(message, reference_octets=2, behind=0)


def _template(message: ShortMessage, reference_octets: int = 0, behind: int = 0) -> _Template:
    """Take a body apart at its empty destination and at its reference, `behind` octets before the end."""
    body = message.encode()
    destination_at = len(pdu.encode_c_string(message.service_type) + message.source.encode())
    before, after = body[:destination_at], body[destination_at + len(NO_ADDRESS.encode()) :]
    if not reference_octets:
        return _Template(before, after, None)
    reference_end = len(after) - behind
    return _Template(before, after[: reference_end - reference_octets], after[reference_end:])
