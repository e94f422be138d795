"""The SMPP 3.4 codec: bytes to PDUs and back. Pure: no sockets, no clock.

Source: "Short Message Peer to Peer Protocol Specification v3.4", 12-Oct-1999; section numbers below are its
own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

HEADER: Final = struct.Struct(">IIII")
TLV_HEADER: Final = struct.Struct(">HH")
_OCTETS_5: Final = struct.Struct("5B")
RESPONSE_BIT: Final = 0x80000000
INTERFACE_VERSION: Final = 0x34
LARGEST_PDU: Final = 0x12000
"""Octets: a 64 KiB message_payload with room for every other field. A longer length is a lost framing."""
LARGEST_SEQUENCE: Final = 0x7FFFFFFF

UDH_INDICATOR: Final = 0x40
"""esm_class: the short message begins with a user data header (5.2.12)."""
MESSAGE_TYPE: Final = 0x3C
"""esm_class: the bits that tell a receipt from a message (5.2.12)."""
DELIVERY_RECEIPT: Final = 0x04
INTERMEDIATE_NOTIFICATION: Final = 0x20


class PduError(Exception):
    """What the peer sent breaks the format.

    PduError
    ├── BadLength      the framing is lost: the connection can only be closed
    └── BadBody        one PDU can't be read: the stream goes on
    """


class BadLength(PduError):  # noqa: N818
    """A command_length below 16 or beyond any PDU."""


class BadBody(PduError):  # noqa: N818
    """A body that ends before its fields do."""


class Command(IntEnum):
    """command_id (5.1.2.1). Ids not listed here are legal on the wire and stay plain ints."""

    BIND_RECEIVER = 0x00000001
    BIND_TRANSMITTER = 0x00000002
    QUERY_SM = 0x00000003
    SUBMIT_SM = 0x00000004
    DELIVER_SM = 0x00000005
    UNBIND = 0x00000006
    BIND_TRANSCEIVER = 0x00000009
    OUTBIND = 0x0000000B
    ENQUIRE_LINK = 0x00000015
    ALERT_NOTIFICATION = 0x00000102
    GENERIC_NACK = 0x80000000
    BIND_RECEIVER_RESP = 0x80000001
    BIND_TRANSMITTER_RESP = 0x80000002
    SUBMIT_SM_RESP = 0x80000004
    DELIVER_SM_RESP = 0x80000005
    UNBIND_RESP = 0x80000006
    BIND_TRANSCEIVER_RESP = 0x80000009
    ENQUIRE_LINK_RESP = 0x80000015


BINDS: Final = frozenset({Command.BIND_RECEIVER, Command.BIND_TRANSMITTER, Command.BIND_TRANSCEIVER})


class Status(IntEnum):
    """command_status (5.1.3), those this code speaks of.

    Vendors add their own in 0x400-0x4FF: ints on the wire.
    """

    ESME_ROK = 0x00000000
    ESME_RINVMSGLEN = 0x00000001
    ESME_RINVCMDLEN = 0x00000002
    ESME_RINVCMDID = 0x00000003
    ESME_RINVBNDSTS = 0x00000004
    ESME_RALYBND = 0x00000005
    ESME_RSYSERR = 0x00000008
    ESME_RINVSRCADR = 0x0000000A
    ESME_RINVDSTADR = 0x0000000B
    ESME_RBINDFAIL = 0x0000000D
    ESME_RINVPASWD = 0x0000000E
    ESME_RINVSYSID = 0x0000000F
    ESME_RMSGQFUL = 0x00000014
    ESME_RINVESMCLASS = 0x00000043
    ESME_RSUBMITFAIL = 0x00000045
    ESME_RTHROTTLED = 0x00000058
    ESME_RX_T_APPN = 0x00000064
    ESME_RX_P_APPN = 0x00000065
    ESME_RX_R_APPN = 0x00000066
    ESME_RUNKNOWNERR = 0x000000FF
    ESME_RINVDCS = 0x00000104
    """Invalid data coding scheme: one of SMPP 5.0 (4.7.6), which has no older name."""


class Tag(IntEnum):
    """Optional parameters (5.3.2) that carry meaning here; any other is kept and ignored."""

    RECEIPTED_MESSAGE_ID = 0x001E
    USER_MESSAGE_REFERENCE = 0x0204
    SAR_MSG_REF_NUM = 0x020C
    SAR_TOTAL_SEGMENTS = 0x020E
    SAR_SEGMENT_SEQNUM = 0x020F
    SC_INTERFACE_VERSION = 0x0210
    NETWORK_ERROR_CODE = 0x0423
    MESSAGE_PAYLOAD = 0x0424
    MESSAGE_STATE = 0x0427


Tlvs = tuple[tuple[int, bytes], ...]


class Frame(NamedTuple):
    """One PDU off the wire: its header without the length, and its body unread."""

    command_id: int
    command_status: int
    sequence_number: int
    body: bytes


class Splitter:
    """Cuts a byte stream into PDUs, however the reads fall."""

    def __init__(self, largest: int = LARGEST_PDU) -> None:
        self._largest = largest
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield each PDU completed by `data`; what remains waits for the next call.

        Raises `BadLength` after the PDUs that precede a broken length.
        """
        buffer = self._rest + data if self._rest else data
        start, end = 0, len(buffer)
        try:
            while end - start >= HEADER.size:
                length, command_id, status, sequence = HEADER.unpack_from(buffer, start)
                self._check(length)
                stop = start + length
                if stop > end:
                    break
                frame = Frame(command_id, status, sequence, buffer[start + HEADER.size : stop])
                start = stop
                yield frame
            if 4 <= end - start < HEADER.size:
                self._check(int.from_bytes(buffer[start : start + 4], "big"))
        finally:
            self._rest = buffer[start:]

    def _check(self, length: int) -> None:
        if not HEADER.size <= length <= self._largest:
            raise BadLength(f"command_length {length}")


def encode(command_id: int, command_status: int, sequence_number: int, body: bytes = b"") -> bytes:
    """Return one whole PDU."""
    return HEADER.pack(HEADER.size + len(body), command_id, command_status, sequence_number) + body


def describe_status(status: int) -> str:
    """Return the specification's name with the number, or the number alone for a vendor's own status."""
    try:
        return f"{Status(status).name} (0x{status:08X})"
    except ValueError:
        return f"0x{status:08X}"


def encode_c_string(text: str) -> bytes:
    """Return `text` as a C-octet string (3.1). Raises ValueError if it has a NUL or is beyond Latin-1."""
    if "\0" in text:
        raise ValueError("a C-octet string cannot contain NUL")
    return text.encode("latin-1") + b"\0"


def relative_time(seconds: int) -> str:
    """Return a span of up to 99 days in the relative time format (7.1.1.2). Raises ValueError beyond."""
    if not 0 <= seconds < 100 * 86_400:
        raise ValueError("a relative time is up to 99 days")
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    return f"0000{day:02}{hour:02}{minute:02}{second:02}000R"


def c_string(body: bytes) -> str:
    """Read the C-octet string a response's body begins with: a message_id or a system_id.

    Tolerant: a missing NUL ends with the body, and an empty body (as refusals have) is an empty string.
    """
    return body.partition(b"\0")[0].decode("latin-1")


class _Reader:
    """Walks a body field by field; every overrun is a `BadBody`."""

    __slots__ = ("_at", "_body")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def text(self) -> str:
        start = self._at
        end = self._body.find(0, start)
        if end < 0:
            raise BadBody(f"unterminated string at octet {start}")
        self._at = end + 1
        return self._body[start:end].decode("latin-1")

    def octet(self) -> int:
        at = self._at
        if at >= len(self._body):
            raise BadBody(f"body ends at octet {at}")
        self._at = at + 1
        return self._body[at]


def encode_tlvs(tlvs: Tlvs) -> bytes:
    """Return the optional parameters as they follow a body."""
    return b"".join(TLV_HEADER.pack(tag, len(value)) + value for tag, value in tlvs)


def decode_tlvs(octets: bytes) -> Tlvs:
    """Read optional parameters alone. Raises `BadBody`.

    Up to three stray octets at the end are padding some centres add.
    """
    found: list[tuple[int, bytes]] = []
    at, end = 0, len(octets)
    while end - at >= TLV_HEADER.size:
        tag, length = TLV_HEADER.unpack_from(octets, at)
        at += TLV_HEADER.size
        if at + length > end:
            raise BadBody(f"{length} octets wanted at octet {at} of {end} of optional parameters")
        found.append((tag, octets[at : at + length]))
        at += length
    return tuple(found)


class Bind(NamedTuple):
    """The body of bind_receiver, bind_transmitter and bind_transceiver (4.1)."""

    system_id: str
    password: str
    system_type: str = ""
    interface_version: int = INTERFACE_VERSION
    addr_ton: int = 0
    addr_npi: int = 0
    address_range: str = ""

    def encode(self) -> bytes:
        """Return the body. Raises ValueError if a field cannot be put on the wire."""
        return b"".join(
            (
                encode_c_string(self.system_id),
                encode_c_string(self.password),
                encode_c_string(self.system_type),
                bytes((self.interface_version, self.addr_ton, self.addr_npi)),
                encode_c_string(self.address_range),
            )
        )

    @classmethod
    def decode(cls, body: bytes) -> Bind:
        """Read a body. Raises `BadBody`."""
        read = _Reader(body)
        return cls(
            read.text(), read.text(), read.text(), read.octet(), read.octet(), read.octet(), read.text()
        )


def encode_bind_resp(system_id: str, tlvs: Tlvs = ((Tag.SC_INTERFACE_VERSION, b"\x34"),)) -> bytes:
    """Return the body of a bind response (4.1.2)."""
    return encode_c_string(system_id) + encode_tlvs(tlvs)


class Address(NamedTuple):
    """An address with its type of number (5.2.5) and numbering plan (5.2.6)."""

    ton: int
    npi: int
    digits: str
    """What the address says; letters for an alphanumeric sender."""

    def encode(self) -> bytes:
        """Return the three fields. Raises ValueError if they cannot be put on the wire."""
        return bytes((self.ton, self.npi)) + encode_c_string(self.digits)


class ShortMessage(NamedTuple):
    """The body submit_sm (4.4.1) and deliver_sm (4.6.1) share."""

    source: Address
    destination: Address
    short_message: bytes
    esm_class: int = 0
    data_coding: int = 0
    registered_delivery: int = 0
    service_type: str = ""
    protocol_id: int = 0
    priority_flag: int = 0
    schedule_delivery_time: str = ""
    validity_period: str = ""
    replace_if_present_flag: int = 0
    sm_default_msg_id: int = 0
    tlvs: Tlvs = ()

    def encode(self) -> bytes:
        """Return the body. Raises ValueError if a field cannot be put on the wire."""
        if len(self.short_message) > 254:
            raise ValueError(f"short_message has {len(self.short_message)} octets; 254 fit")
        return b"".join(
            (
                encode_c_string(self.service_type),
                self.source.encode(),
                self.destination.encode(),
                bytes((self.esm_class, self.protocol_id, self.priority_flag)),
                encode_c_string(self.schedule_delivery_time),
                encode_c_string(self.validity_period),
                bytes(
                    (
                        self.registered_delivery,
                        self.replace_if_present_flag,
                        self.data_coding,
                        self.sm_default_msg_id,
                        len(self.short_message),
                    )
                ),
                self.short_message,
                encode_tlvs(self.tlvs),
            )
        )

    @classmethod
    def decode(cls, body: bytes) -> ShortMessage:
        """Read a body. Raises `BadBody`."""
        # Field by field in place, not by way of `_Reader`: a centre sends as many as it delivers messages.
        try:
            at = body.index(0)
            service_type = body[:at].decode("latin-1")
            end = body.index(0, at + 3)
            source = Address(body[at + 1], body[at + 2], body[at + 3 : end].decode("latin-1"))
            at, end = end, body.index(0, end + 3)
            destination = Address(body[at + 1], body[at + 2], body[at + 3 : end].decode("latin-1"))
            esm_class, protocol_id, priority_flag = body[end + 1], body[end + 2], body[end + 3]
            at, end = end + 4, body.index(0, end + 4)
            schedule_delivery_time = body[at:end].decode("latin-1")
            at, end = end + 1, body.index(0, end + 1)
            validity_period = body[at:end].decode("latin-1")
            registered, replace, data_coding, default_message, length = _OCTETS_5.unpack_from(body, end + 1)
        except (ValueError, IndexError, struct.error):
            raise BadBody(f"a body of {len(body)} octets ends before its fields do") from None
        at = end + 6
        end = at + length
        if end > len(body):
            raise BadBody(f"{length} octets wanted at octet {at} of {len(body)}")
        return cls(
            source,
            destination,
            body[at:end],
            esm_class,
            data_coding,
            registered,
            service_type,
            protocol_id,
            priority_flag,
            schedule_delivery_time,
            validity_period,
            replace,
            default_message,
            decode_tlvs(body[end:]) if end < len(body) else (),
        )

    def tlv(self, tag: int) -> bytes | None:
        """Return the first value under `tag`, or None."""
        for found, value in self.tlvs:
            if found == tag:
                return value
        return None

    @property
    def payload(self) -> bytes:
        """The message's octets, wherever they travel: short_message, else the message_payload TLV."""
        return self.short_message or self.tlv(Tag.MESSAGE_PAYLOAD) or b""
