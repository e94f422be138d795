"""What a message centre and a phone make of submit_sm bodies. Only peers we did not write decode them.

smpp34 and smpplib must agree on every field; the alphabet is smpplib's table; packed septets are taken apart
here bit by bit, straight from the pictures in 3GPP TS 23.038, 6.1.2.1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import smpp34
import smpplib.client
import smpplib.gsm
import smpplib.smpp

from workers.smpp import pdu
from workers.smpp.pdu import Command, Tag

GSM7_TABLE = list(smpplib.gsm.GSM_CHARACTER_TABLE)
GSM7_TABLE[0x5F], GSM7_TABLE[0x80 + 0x0A] = "§", "\f"  # smpplib leaves these two out
FIELDS = (
    *("service_type", "source_addr_ton", "source_addr_npi", "source_addr", "dest_addr_ton", "dest_addr_npi"),
    *("destination_addr", "esm_class", "protocol_id", "priority_flag", "schedule_delivery_time"),
    *("validity_period", "registered_delivery", "replace_if_present_flag", "data_coding"),
    *("sm_default_msg_id", "sm_length", "short_message"),
)
OPTIONAL = {
    "user_message_reference": Tag.USER_MESSAGE_REFERENCE,
    "sar_msg_ref_num": Tag.SAR_MSG_REF_NUM,
    "sar_total_segments": Tag.SAR_TOTAL_SEGMENTS,
    "sar_segment_seqnum": Tag.SAR_SEGMENT_SEQNUM,
    "message_payload": Tag.MESSAGE_PAYLOAD,
}


def decoded(body: bytes) -> smpp34.SubmitSm:
    """Decode a submit_sm body with both peers, which must agree."""
    octets = pdu.encode(Command.SUBMIT_SM, 0, 1, body)
    client = smpplib.client.Client("127.0.0.1", 1, allow_unknown_opt_params=True)
    other = smpplib.smpp.parse_pdu(octets, client=client, allow_unknown_opt_params=False)
    one = smpp34.decode(octets)
    assert isinstance(one, smpp34.SubmitSm)
    for field in FIELDS:
        theirs = getattr(other, field)
        if isinstance(theirs, bytes) and field != "short_message":
            theirs = theirs.decode()
        # smpplib knows no difference between an empty and a missing short_message.
        assert getattr(one, field) == (b"" if theirs is None else theirs), field
    for name, tag in OPTIONAL.items():
        theirs = getattr(other, name, None)
        value = tlv(one, tag)
        assert (value if name == "message_payload" or value is None else int.from_bytes(value)) == theirs
    return one


def tlv(submit: smpp34.SubmitSm, tag: int) -> bytes | None:
    """Return the optional parameter's value, which may be there once at most."""
    values = [found.value for found in submit.tlvs if found.tag == tag]
    assert len(values) <= 1
    return values[0] if values else None


class Part(NamedTuple):
    """One segment as the phone gets it."""

    reference: int | None
    total: int
    number: int
    header: bytes
    octets: bytes
    data_coding: int


def part_of(submit: smpp34.SubmitSm) -> Part:
    """Read how the segment is tied to others: by header, by optional parameters, or not at all."""
    octets = submit.short_message
    if submit.esm_class & 0x40:
        header = octets[: 1 + octets[0]]
        assert header[:3] == b"\x05\x00\x03"
        assert tlv(submit, Tag.SAR_MSG_REF_NUM) is None, "tied together in two ways at once"
        reference, total, number = header[3:]
        return Part(reference, total, number, header, octets[len(header) :], submit.data_coding)
    sar = tlv(submit, Tag.SAR_MSG_REF_NUM)
    if sar is not None:
        assert len(sar) == 2
        total = int.from_bytes(tlv(submit, Tag.SAR_TOTAL_SEGMENTS) or b"")
        number = int.from_bytes(tlv(submit, Tag.SAR_SEGMENT_SEQNUM) or b"")
        return Part(int.from_bytes(sar), total, number, b"", octets, submit.data_coding)
    payload = tlv(submit, Tag.MESSAGE_PAYLOAD)
    assert payload is None or not octets, "a text in two places at once"
    return Part(None, 1, 1, b"", octets if payload is None else payload, submit.data_coding)


def text_of(submits: Sequence[smpp34.SubmitSm], packed: bool = False) -> str:
    """Put a message together from its segments, in whatever order they came.

    `packed`: the default alphabet is packed.
    """
    parts = sorted((part_of(submit) for submit in submits), key=lambda part: part.number)
    assert [part.number for part in parts] == list(range(1, len(submits) + 1))
    assert {part.total for part in parts} == {len(submits)}
    assert len({part.reference for part in parts}) == 1
    return "".join(_text(part, packed) for part in parts)


def _text(part: Part, packed: bool) -> str:
    if part.data_coding == 8:
        return part.octets.decode("utf-16-be")
    if part.data_coding == 3:
        return part.octets.decode("latin-1")
    return gsm7_decode(unpack(part.header, part.octets) if packed else part.octets)


def unpack(header: bytes, octets: bytes) -> bytes:
    """Take septets out of user data: the header and its fill bits take whole septets.

    A carriage return that ends on an octet boundary is filling (3GPP TS 23.038, 6.1.2.3.1).
    """
    bits = "".join(f"{octet:08b}"[::-1] for octet in header + octets)
    septets = bytes(int(bits[at : at + 7][::-1], 2) for at in range(0, len(bits) - 6, 7))
    if len(bits) % 7 == 0 and septets.endswith(b"\r"):
        septets = septets[:-1]
    return septets[-(-8 * len(header) // 7) :]


def gsm7_decode(octets: bytes) -> str:
    """Read the default alphabet; an escape never stands at the end."""
    text, escaped = "", 0
    for octet in octets:
        if octet == 0x1B:
            escaped = 0x80
            continue
        text += GSM7_TABLE[octet + escaped]
        escaped = 0
    assert not escaped
    return text
