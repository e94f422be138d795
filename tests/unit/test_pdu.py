"""The codec against octets written down by hand, against itself, and against two codecs we did not write."""

import pytest
import smpp34
import smpplib.client
import smpplib.smpp
from hypothesis import given
from hypothesis import strategies as st

from workers.smpp import pdu
from workers.smpp.pdu import Address, Bind, Command, Frame, ShortMessage, Splitter, Status, Tag

# bind_transceiver, sequence 1, as Appendix-style octets: every field by hand.
BIND = bytes.fromhex(
    "0000002b 00000009 00000000 00000001"
    "67726f7570736d73 00"  # system_id "groupsms"
    "7365637265742121 00"  # password "secret!!"
    "434d54 00"  # system_type "CMT"
    "34 01 01"  # interface_version, addr_ton, addr_npi
    "31 00"  # address_range "1"
)
SUBMIT = bytes.fromhex(
    "00000040 00000004 00000000 00000007"
    "00"  # service_type
    "05 00 41636d65 00"  # source: alphanumeric "Acme"
    "01 01 38363133383030313338303030 00"  # destination "8613800138000"
    "40 00 00"  # esm_class (UDH), protocol_id, priority_flag
    "00 00"  # schedule_delivery_time, validity_period
    "01 00 08 00"  # registered_delivery, replace_if_present, data_coding, sm_default_msg_id
    "08 050003 2a 02 01 4f60"  # sm_length, UDH, one UCS-2 character
    "0204 0002 0009"  # user_message_reference
)
RESPONSE = bytes.fromhex("00000015 80000004 00000000 00000007 6162633100")


def frames(*reads: bytes) -> list[Frame]:
    splitter = Splitter()
    return [frame for read in reads for frame in splitter.feed(read)]


def test_a_bind_is_encoded_octet_by_octet() -> None:
    bind = Bind("groupsms", "secret!!", "CMT", 0x34, 1, 1, "1")

    assert pdu.encode(Command.BIND_TRANSCEIVER, 0, 1, bind.encode()) == BIND
    assert Bind.decode(BIND[16:]) == bind


def test_a_submit_sm_is_encoded_octet_by_octet() -> None:
    message = ShortMessage(
        Address(5, 0, "Acme"),
        Address(1, 1, "8613800138000"),
        bytes.fromhex("0500032a02014f60"),
        esm_class=0x40,
        data_coding=8,
        registered_delivery=1,
        tlvs=((Tag.USER_MESSAGE_REFERENCE, b"\x00\x09"),),
    )

    assert pdu.encode(Command.SUBMIT_SM, 0, 7, message.encode()) == SUBMIT
    assert ShortMessage.decode(SUBMIT[16:]) == message


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "000000000000000R"),
        (59, "000000000059000R"),
        (93_784, "000001020304000R"),
        (8_639_999, "000099235959000R"),
    ],
)
def test_a_relative_time_is_days_hours_minutes_and_seconds(seconds: int, written: str) -> None:
    assert pdu.relative_time(seconds) == written


@pytest.mark.parametrize("seconds", [-1, 8_640_000])
def test_a_relative_time_beyond_its_digits_is_refused(seconds: int) -> None:
    with pytest.raises(ValueError, match="up to 99 days"):
        pdu.relative_time(seconds)


def test_a_response_tells_its_message_id() -> None:
    (frame,) = frames(RESPONSE)

    assert frame == Frame(Command.SUBMIT_SM_RESP, 0, 7, b"abc1\0")
    assert pdu.c_string(frame.body) == "abc1"
    assert pdu.c_string(b"") == "", "a refusal may have no body"
    assert pdu.c_string(b"abc") == "abc", "a missing NUL"


def test_pdus_may_be_split_anywhere() -> None:
    stream = BIND + RESPONSE + SUBMIT
    whole = frames(stream)
    assert [frame.sequence_number for frame in whole] == [1, 7, 7]

    for cut in range(len(stream) + 1):
        assert frames(stream[:cut], stream[cut:]) == whole
    assert frames(*(stream[at : at + 1] for at in range(len(stream)))) == whole


@pytest.mark.parametrize("length", [0, 4, 15, 0x12001, 0xFFFFFFFF])
def test_a_broken_length_ends_the_stream_behind_what_came_before(length: int) -> None:
    arriving = Splitter().feed(RESPONSE + RESPONSE + length.to_bytes(4, "big") + b"\0" * 12)

    assert [next(arriving).sequence_number, next(arriving).sequence_number] == [7, 7]
    with pytest.raises(pdu.BadLength):
        next(arriving)


def test_unknown_commands_statuses_and_tlvs_pass_through() -> None:
    tlvs = ((0x1403, b"vendor"), (0x3FFF, b""))
    message = ShortMessage(Address(0, 0, ""), Address(1, 1, "44"), b"", tlvs=tlvs)
    (frame,) = frames(pdu.encode(0x00010203, 0x0410, 0xFFFFFFFF, message.encode()))

    assert (frame.command_id, frame.command_status, frame.sequence_number) == (0x10203, 0x410, 0xFFFFFFFF)
    assert ShortMessage.decode(frame.body).tlvs == tlvs
    assert pdu.describe_status(0x410) == "0x00000410"
    assert pdu.describe_status(Status.ESME_RTHROTTLED) == "ESME_RTHROTTLED (0x00000058)"


def test_every_truncation_of_a_body_is_told() -> None:
    """No prefix is taken for a whole message, but one that ends between the fields and the parameters."""
    body = SUBMIT[16:]
    whole = len(body) - 6

    for length in range(len(body)):
        if length in range(whole, whole + 4):  # up to three stray octets are padding
            assert ShortMessage.decode(body[:length]).tlvs == ()
        else:
            with pytest.raises(pdu.BadBody):
                ShortMessage.decode(body[:length])


def test_a_long_text_may_travel_as_message_payload() -> None:
    message = ShortMessage(
        Address(0, 0, ""), Address(1, 1, "44"), b"", tlvs=((Tag.MESSAGE_PAYLOAD, b"x" * 1000),)
    )

    assert ShortMessage.decode(message.encode()).payload == b"x" * 1000


def test_what_does_not_fit_the_wire_is_refused() -> None:
    with pytest.raises(ValueError, match="254"):
        ShortMessage(Address(0, 0, ""), Address(1, 1, "44"), b"x" * 255).encode()
    with pytest.raises(ValueError, match="NUL"):
        Bind("a\0b", "").encode()


addresses = st.builds(
    Address, st.integers(0, 255), st.integers(0, 255), st.text("0123456789abcXYZ+ é", max_size=20)
)
words = st.text("abc019 ", max_size=16)
octet = st.integers(0, 255)


@given(
    st.builds(
        ShortMessage,
        source=addresses,
        destination=addresses,
        short_message=st.binary(max_size=254),
        esm_class=octet,
        data_coding=octet,
        registered_delivery=octet,
        service_type=words,
        protocol_id=octet,
        priority_flag=octet,
        schedule_delivery_time=words,
        validity_period=words,
        replace_if_present_flag=octet,
        sm_default_msg_id=octet,
        tlvs=st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=4).map(tuple),
    )
)
def test_every_message_survives_the_wire(message: ShortMessage) -> None:
    assert ShortMessage.decode(message.encode()) == message


@given(st.binary(max_size=200))
def test_garbage_is_read_or_refused_never_worse(octets: bytes) -> None:
    for decode in (ShortMessage.decode, Bind.decode, pdu.decode_tlvs):
        try:
            decode(octets)
        except pdu.BadBody:
            continue


def test_smpp34_and_we_write_the_same_submit_sm() -> None:
    theirs = smpp34.SubmitSm(
        "10690",
        "8613800138000",
        b"Hi",
        source_addr_ton=3,
        dest_addr_ton=1,
        dest_addr_npi=1,
        registered_delivery=1,
        validity_period="000001000000000R",
        sequence_number=7,
        tlvs=[smpp34.Tlv(0x1403, b"abc")],
    ).encode()
    ours = ShortMessage(
        Address(3, 0, "10690"),
        Address(1, 1, "8613800138000"),
        b"Hi",
        registered_delivery=1,
        validity_period="000001000000000R",
        tlvs=((0x1403, b"abc"),),
    )

    assert pdu.encode(Command.SUBMIT_SM, 0, 7, ours.encode()) == theirs
    assert ShortMessage.decode(frames(theirs)[0].body) == ours


def test_smpplib_reads_our_deliver_sm() -> None:
    message = ShortMessage(
        Address(1, 1, "8613800138000"),
        Address(3, 0, "10690"),
        b"id:1 stat:DELIVRD",
        esm_class=pdu.DELIVERY_RECEIPT,
        tlvs=((Tag.RECEIPTED_MESSAGE_ID, b"1\0"), (Tag.MESSAGE_STATE, b"\x02")),
    )
    client = smpplib.client.Client("127.0.0.1", 1, allow_unknown_opt_params=True)

    read = smpplib.smpp.parse_pdu(
        pdu.encode(Command.DELIVER_SM, 0, 9, message.encode()), client=client, allow_unknown_opt_params=True
    )

    assert read.command == "deliver_sm"
    assert read.sequence == 9
    assert (read.source_addr, read.destination_addr) == (b"8613800138000", b"10690")
    assert (read.short_message, read.receipted_message_id, read.message_state) == (
        b"id:1 stat:DELIVRD",
        b"1",
        2,
    )
