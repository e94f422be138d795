"""Delivery receipts in the dialects message centres speak, and replies that only look like them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from domain.gateway_ids import IdForm
from domain.ports import Receipt, ReceiptState, Reply
from workers.smpp.pdu import Address, ShortMessage, Tag, Tlvs
from workers.smpp.receipt_options import AS_THEY_COME, ReceiptOptions
from workers.smpp.receipt_text import UnusableReceipt, read_deliver_sm, state_of

NOW = datetime(2026, 3, 9, 12, 30, 45, tzinfo=UTC)
PHONE = Address(1, 1, "8613800138000")
SENDER = Address(3, 0, "10690")


def read(
    text: str | bytes,
    *,
    esm_class: int = 0x04,
    data_coding: int = 0,
    tlvs: Tlvs = (),
    source: Address = PHONE,
    destination: Address = SENDER,
    zone: str = "UTC",
    options: ReceiptOptions = AS_THEY_COME,
) -> Receipt | Reply:
    octets = text.encode("latin-1") if isinstance(text, str) else text
    message = ShortMessage(
        source, destination, octets, esm_class=esm_class, data_coding=data_coding, tlvs=tlvs
    )
    return read_deliver_sm(message, NOW, ZoneInfo(zone), options=options)


def receipt(
    text: str | bytes,
    *,
    esm_class: int = 0x04,
    data_coding: int = 0,
    tlvs: Tlvs = (),
    zone: str = "UTC",
    source: Address = PHONE,
    destination: Address = SENDER,
    options: ReceiptOptions = AS_THEY_COME,
) -> Receipt:
    said = read(
        text,
        esm_class=esm_class,
        data_coding=data_coding,
        tlvs=tlvs,
        zone=zone,
        source=source,
        destination=destination,
        options=options,
    )
    assert isinstance(said, Receipt)
    return said


def test_the_form_of_the_specification() -> None:
    text = (
        "id:0000001 sub:001 dlvrd:001 submit date:2603091229 done date:260309123040 "
        "stat:DELIVRD err:000 text:Hello"
    )

    assert receipt(text) == Receipt(
        gateway_message_id="0000001",
        number="+8613800138000",
        state=ReceiptState.DELIVERED,
        status="DELIVRD",
        error_code="000",
        received_at=NOW.replace(second=41),  # the end of the second it names
        submitted_at=NOW.replace(minute=29, second=0),
        sender="10690",
    )


@pytest.mark.parametrize(
    "text",
    [
        "ID:7F STAT:UNDELIV ERR:012 DONE DATE:2603091230",
        "err:012 stat:UNDELIV id:7F",
        "id: 7F  sub: 001  stat: UNDELIV  err: 012 text: ",
        "stat:UNDELIV,err:012,id:7F,donedate:2603091230",
        "id:7F sub:001 dlvrd:000 submit_date:2603091229 done_date:2603091230 status:UNDELIV error:012",
        "id:7F\nstat:UNDELIV\nerr:012\n",
        "id:7F\tstat:UNDELIV\terr:012\0\0",
        "message_id:7F submit-date:2603091229 done time:2603091230 state:UNDELIV error_code:012",
        "Message ID : 7F; Status : UNDELIV; Err Code : 012; Text : ",
        "msgid:'7F' stat:\"UNDELIV\" err:012|text:",
        "text:Your id:1 has stat:DELIVRD err:0 id:7F sub:001 dlvrd:000 stat:UNDELIV err:012",
        "id:7F text:It has stat:DELIVRD sub:001 dlvrd:000 stat:UNDELIV err:012",
    ],
)
def test_fields_come_in_any_order_case_and_spacing(text: str) -> None:
    said = receipt(text)

    assert (said.gateway_message_id, said.status, said.error_code) == ("7F", "UNDELIV", "012")
    assert said.state is ReceiptState.FAILED


def test_the_messages_own_words_do_not_count() -> None:
    said = receipt("id:7F stat:UNDELIV err:012 text:id:99 stat:DELIVRD err:000")

    assert (said.gateway_message_id, said.status, said.error_code) == ("7F", "UNDELIV", "012")


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("DELIVRD", ReceiptState.DELIVERED),
        ("delivrd", ReceiptState.DELIVERED),
        ("EXPIRED", ReceiptState.FAILED),
        ("DELETED", ReceiptState.FAILED),
        ("UNDELIV", ReceiptState.FAILED),
        ("REJECTD", ReceiptState.FAILED),
        ("MILIMIT", ReceiptState.FAILED),
        ("MK:0001", ReceiptState.FAILED),
        ("DELIVERED", ReceiptState.DELIVERED),
        ("Delivred", ReceiptState.DELIVERED),
        ("BUFFERED", ReceiptState.NOT_FINAL),
        ("ENROUTE", ReceiptState.NOT_FINAL),
        ("ACCEPTD", ReceiptState.NOT_FINAL),
        ("UNKNOWN", ReceiptState.NOT_FINAL),
    ],
)
def test_states_are_reduced_and_the_raw_word_is_kept(status: str, state: ReceiptState) -> None:
    said = receipt(f"id:1 stat:{status} err:000")

    assert (said.state, said.status) == (state, status)
    assert state_of(status) is state


def test_vendors_put_their_own_codes_into_err() -> None:
    assert receipt("id:1 stat:UNDELIV err:MILIMIT").error_code == "MILIMIT"
    assert receipt("id:1 stat:UNDELIV err:-1").error_code == "-1"
    assert receipt("id:1 stat:UNDELIV").error_code is None
    assert receipt("id:1 stat:UNDELIV err: text:x").error_code is None


@pytest.mark.parametrize("err", ["7", "012", "0012", "0x0B", "SYSERR", "ID:0076", "-1"])
def test_err_is_taken_as_it_is(err: str) -> None:
    assert receipt(f"id:1 sub:001 stat:UNDELIV err:{err} text:").error_code == err


@pytest.mark.parametrize(
    ("text", "octets", "code"),
    [
        ("id:1 stat:UNDELIV err:000", b"\x03\x00\x22", "34"),
        ("id:1 stat:UNDELIV", b"\x03\x01\x00", "256"),
        ("id:1 stat:UNDELIV err:012", b"\x03\x00\x22", "012"),
        ("id:1 stat:UNDELIV err:000", b"\x22", "000"),
        ("id:1 stat:UNDELIV", b"", None),
    ],
)
def test_the_networks_own_code_counts_where_err_says_nothing(
    text: str, octets: bytes, code: str | None
) -> None:
    assert receipt(text, tlvs=((Tag.NETWORK_ERROR_CODE, octets),)).error_code == code


@pytest.mark.parametrize(("stat", "status"), [("2", "DELIVRD"), ("5", "UNDELIV"), ("1", "ENROUTE")])
def test_a_state_may_be_the_number_of_message_state(stat: str, status: str) -> None:
    assert receipt(f"id:1 stat:{stat}").status == status


def test_a_state_that_looks_like_a_number_is_a_vendors_own() -> None:
    said = receipt("id:1 stat:\xb2".encode("latin-1"))

    assert (said.state, said.status) == (ReceiptState.FAILED, "\xb2")


def test_a_receipt_without_stat_is_not_final() -> None:
    said = receipt("id:1")

    assert (said.state, said.status) == (ReceiptState.NOT_FINAL, "UNKNOWN")


def test_parameters_outweigh_the_text() -> None:
    tlvs = ((Tag.RECEIPTED_MESSAGE_ID, b"ABC1\0"), (Tag.MESSAGE_STATE, b"\x02"))

    said = receipt("id:2739 stat:UNDELIV err:012", tlvs=tlvs)

    assert (said.gateway_message_id, said.state, said.status) == ("ABC1", ReceiptState.DELIVERED, "DELIVRD")


def test_a_vendors_word_stays_where_the_parameter_agrees() -> None:
    said = receipt("id:1 stat:BLACK", tlvs=((Tag.MESSAGE_STATE, b"\x05"),))

    assert (said.state, said.status) == (ReceiptState.FAILED, "BLACK")


def test_parameters_alone_are_enough() -> None:
    tlvs = (
        (Tag.RECEIPTED_MESSAGE_ID, b"ABC1"),
        (Tag.MESSAGE_STATE, b"\x08"),
        (Tag.NETWORK_ERROR_CODE, b"\x03\x00\x22"),
        (0x1401, b"who knows"),
    )
    said = read("", esm_class=0, tlvs=tlvs)

    assert isinstance(said, Receipt)
    assert (said.gateway_message_id, said.status, said.error_code) == ("ABC1", "REJECTD", "34")
    assert said.received_at == NOW


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2603091229", NOW.replace(minute=30, second=0)),
        ("2603091230", NOW),  # the end of that minute has not come yet
        ("260309122959", NOW.replace(second=0)),
        ("20260309122959", NOW.replace(second=0)),
        ("26-03-09 12:29:59", NOW.replace(second=0)),
        ("", NOW),
        ("0", NOW),
        ("2613391299", NOW),
        ("0000000000", NOW),
        ("260309133045", NOW),  # an hour ahead
        ("260301123045", NOW),  # eight days old
    ],
)
def test_done_dates_count_where_they_are_sane(date: str, expected: datetime) -> None:
    assert receipt(f"id:1 done date:{date} stat:DELIVRD").received_at == expected


def test_done_dates_are_in_the_centres_time_zone() -> None:
    assert receipt("id:1 done date:260309202959 stat:DELIVRD", zone="Asia/Shanghai").received_at == (
        NOW.replace(second=0)
    )
    assert receipt("id:1 done date:260309202959 stat:DELIVRD").received_at == NOW


def test_a_date_never_lies_in_the_future() -> None:
    soon = (NOW + timedelta(minutes=2)).strftime("%y%m%d%H%M%S")

    assert receipt(f"id:1 done date:{soon} stat:DELIVRD").received_at == NOW


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2603091229", NOW.replace(minute=29, second=0)),
        ("260309122958", NOW.replace(minute=29, second=58)),
        ("20260309122958", NOW.replace(minute=29, second=58)),
        ("2603041229", NOW.replace(day=4, minute=29, second=0)),
        ("", None),
        ("0000000000", None),
        ("2603091430", None),  # two hours ahead
        ("2602011230", None),  # older than any that is matched
        ("99999999999999", None),
    ],
)
def test_submit_dates_count_where_they_are_sane(date: str, expected: datetime | None) -> None:
    assert receipt(f"id:1 submit date:{date} stat:DELIVRD").submitted_at == expected


def test_submit_dates_are_in_the_centres_time_zone() -> None:
    said = receipt("id:1 submit date:2603092029 stat:DELIVRD", zone="Asia/Shanghai")

    assert said.submitted_at == NOW.replace(minute=29, second=0)


def test_the_sender_is_where_it_goes_to() -> None:
    assert receipt("id:1", destination=Address(5, 0, "Acme")).sender == "Acme"
    assert receipt("id:1", destination=Address(0, 0, "")).sender is None


@pytest.mark.parametrize(
    ("octets", "reference"), [(b"\x12\x34", 0x1234), (b"\x00\x00", 0), (b"\x12", None), (b"", None)]
)
def test_the_reference_is_two_octets(octets: bytes, reference: int | None) -> None:
    assert receipt("id:1", tlvs=((Tag.USER_MESSAGE_REFERENCE, octets),)).reference == reference


PLAIN = "id:7F sub:001 dlvrd:000 submit date:2603091229 done date:2603091230 stat:UNDELIV err:012 text:"
HEADER = bytes.fromhex("0500032a0101")


@pytest.mark.parametrize("esm_class", [0x00, 0x04])
@pytest.mark.parametrize(
    ("octets", "marks", "data_coding"),
    [
        (PLAIN.encode("utf-16-be"), 0, 8),
        (PLAIN.encode("utf-16-le"), 0, 8),
        (PLAIN.encode("utf-16-be") + b"\0\0", 0, 8),
        (PLAIN.encode("utf-16-be"), 0, 0),
        (PLAIN.encode("ascii"), 0, 8),
        (PLAIN.encode("ascii") + b"\0", 0, 3),
        (PLAIN.encode("ascii") + "退订".encode("utf-16-be"), 0, 0),
        ((PLAIN + "退订").encode("utf-16-be"), 0, 8),
        (HEADER + PLAIN.encode("ascii"), 0x40, 0),
        (HEADER + PLAIN.encode("utf-16-be"), 0x40, 8),
        (PLAIN.encode("ascii"), 0x40, 0),  # announced, and not there
    ],
)
@pytest.mark.parametrize("in_payload", [False, True])
def test_the_text_is_found_in_any_coding(
    octets: bytes, marks: int, data_coding: int, esm_class: int, in_payload: bool
) -> None:
    tlvs = ((Tag.MESSAGE_PAYLOAD, octets),) if in_payload else ()
    said = receipt(
        b"" if in_payload else octets, esm_class=esm_class | marks, data_coding=data_coding, tlvs=tlvs
    )

    assert (said.gateway_message_id, said.status, said.error_code) == ("7F", "UNDELIV", "012")


def test_ids_are_decimal_where_the_gateway_is_said_to_have_hexadecimal_ones() -> None:
    hex_decimal = ReceiptOptions(ids=IdForm.HEX_DECIMAL)
    decimal_hex = ReceiptOptions(ids=IdForm.DECIMAL_HEX)

    assert hex_decimal.submit_id("00004d2") == hex_decimal.receipt_id("1234") == "1234"
    assert decimal_hex.submit_id("01234") == decimal_hex.receipt_id("000004D2") == "1234"
    assert hex_decimal.submit_id("not-a-number") == "not-a-number"
    said = receipt("id:4D2 stat:DELIVRD", options=decimal_hex)
    assert (said.gateway_message_id, said.same_id) == ("1234", True)


def test_ids_are_left_alone_unless_the_gateway_is_said_to_change_them() -> None:
    for options in (ReceiptOptions(), ReceiptOptions(ids=IdForm.SAME)):
        assert options.submit_id("0004d2") == options.receipt_id("0004d2") == "0004d2"
        assert receipt("id:04D2", options=options).same_id is (options.ids is IdForm.SAME)


def test_a_gateway_may_report_once_a_message() -> None:
    assert receipt("id:1", options=ReceiptOptions(whole_message=True)).whole_message
    assert not receipt("id:1").whole_message


@pytest.mark.parametrize("digits", ["8613800138000", "+8613800138000", "008613800138000"])
def test_the_number_is_made_e164(digits: str) -> None:
    assert receipt("id:1 stat:DELIVRD", source=Address(0, 0, digits)).number == "+8613800138000"


def test_an_unmarked_receipt_is_known_by_its_text() -> None:
    text = "id:1 sub:001 dlvrd:001 submit date:2603091229 done date:2603091230 stat:DELIVRD err:000 text:"

    assert isinstance(read(text, esm_class=0), Receipt)


def test_an_intermediate_notification_is_a_receipt() -> None:
    said = read("id:1 stat:ENROUTE", esm_class=0x20)

    assert isinstance(said, Receipt)
    assert said.state is ReceiptState.NOT_FINAL


@pytest.mark.parametrize("text", ["STOP", "my id: 12, stat: fine", "", "text: sub: id:"])
def test_anything_else_is_a_reply(text: str) -> None:
    assert read(text, esm_class=0) == Reply("+8613800138000", "10690", text, NOW)


def test_a_reply_may_be_ucs2_behind_a_header() -> None:
    octets = bytes.fromhex("0500032a0101") + "退订".encode("utf-16-be")

    assert read(octets, esm_class=0x40, data_coding=8) == Reply("+8613800138000", "10690", "退订", NOW)


def test_a_receipt_without_an_id_is_unusable() -> None:
    with pytest.raises(UnusableReceipt):
        read("stat:DELIVRD")
    with pytest.raises(UnusableReceipt):
        read("id: stat:DELIVRD sub:001")


@pytest.mark.parametrize(
    ("given", "calling_code", "number"),
    [
        ("13800138000", "86", "+8613800138000"),
        ("8613800138000", "86", "+8613800138000"),
        ("+14155550100", "86", "+14155550100"),
        ("00447400123456", "86", "+447400123456"),
        ("447400123456", "86", "+447400123456"),
        ("07400123456", "44", "+447400123456"),
        ("612345678", "34", "+34612345678"),
        ("13800138000", "", "+13800138000"),
        ("Shop", "86", "Shop"),
        ("²", "86", "²"),
    ],
)
def test_a_number_in_its_national_form(given: str, calling_code: str, number: str) -> None:
    """Only where the gateway is said to send them so; what brings a calling code keeps it."""
    options = ReceiptOptions(calling_code=calling_code)

    assert receipt("id:1 stat:DELIVRD", source=Address(0, 0, given), options=options).number == number
    assert read("STOP", esm_class=0, source=Address(0, 0, given), options=options) == Reply(
        number, SENDER.digits, "STOP", NOW
    )
