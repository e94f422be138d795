"""What Huawei Cloud's platform posts: status reports as forms and in batches, and replies."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.failure_codes import FailureCause
from domain.failures import explain, receipt_code
from domain.huawei_reports import NotAReportError, echo, read_form, read_json
from domain.ports import Inbound, Receipt, ReceiptState, Reply
from domain.states import Region

NOW = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
ID = "b9d9b4fe-ad0e-4a2a-a2c7-445505b674ac_6"
EXAMPLE = (
    "sequence=1&total=1&orgCode=000&updateTime=2026-11-22T11%3A59%3A46Z&source=2"
    f"&smsMsgId={ID}&status=DELIVRD"
)
"""As in the documents, but for the date."""


def form(**fields: str) -> bytes:
    return urlencode({"smsMsgId": ID, "status": "DELIVRD", "to": "+8613800000001", **fields}).encode()


def receipt(body: bytes) -> Receipt:
    (found,) = read_form(body, NOW)
    assert isinstance(found, Receipt)
    return found


def test_the_documented_report() -> None:
    assert receipt(EXAMPLE.encode()) == Receipt(
        gateway_message_id=ID,
        number="",
        state=ReceiptState.DELIVERED,
        status="DELIVRD",
        error_code=None,
        received_at=datetime(2026, 11, 22, 11, 59, 46, tzinfo=UTC),
        same_id=True,
    )


def test_what_was_sent_along_comes_back_as_sender_number_and_time() -> None:
    submitted_at = NOW - timedelta(minutes=3)
    found = receipt(form(extend=echo("10690001", submitted_at)))
    assert (found.number, found.sender, found.submitted_at) == ("+8613800000001", "10690001", submitted_at)


@pytest.mark.parametrize(
    "extend", ["", "groupsms", "10690001@", "@x", "1@-1", "1@99999999999", "1@0", "1@²", "1@123456789012"]
)
def test_any_other_extend_says_nothing(extend: str) -> None:
    found = receipt(form(extend=extend))
    assert (found.sender, found.submitted_at) == (None, None)


def test_a_sender_of_any_length_keeps_to_the_128_characters_of_the_field() -> None:
    assert len(echo("1" * 500, NOW)) <= 128


@pytest.mark.parametrize(
    ("total", "sequence", "segment"),
    [
        ("1", "1", None),
        ("3", "1", 1),
        ("3", "3", 3),
        ("3", "4", None),
        ("3", "0", None),
        ("", "2", None),
        ("three", "2", None),
        ("-3", "2", None),
        ("999", "2", None),
    ],
)
def test_the_sequence_counts_only_where_the_message_was_split(
    total: str, sequence: str, segment: int | None
) -> None:
    assert receipt(form(total=total, sequence=sequence)).segment == segment


@pytest.mark.parametrize(
    ("status", "state", "cause"),
    [
        ("delivrd", ReceiptState.DELIVERED, None),
        ("ACCEPTD", ReceiptState.NOT_FINAL, None),
        ("UNKNOWN", ReceiptState.NOT_FINAL, None),
        ("EXPIRED", ReceiptState.FAILED, FailureCause.EXPIRED),
        ("REJECTD", ReceiptState.FAILED, FailureCause.BLOCKED),
        ("MK:0001", ReceiptState.FAILED, FailureCause.INVALID_NUMBER),
        ("MILIMIT", ReceiptState.FAILED, FailureCause.LIMIT_EXCEEDED),
        ("E200027", ReceiptState.FAILED, FailureCause.GATEWAY_ERROR),
        ("SC:0006", ReceiptState.FAILED, FailureCause.CONTENT_REFUSED),
        ("ODD", ReceiptState.FAILED, FailureCause.OTHER),
    ],
)
def test_a_status_is_delivered_not_final_or_a_failure_with_its_own_reason(
    status: str, state: ReceiptState, cause: FailureCause | None
) -> None:
    found = receipt(form(status=status))
    assert found.state is state
    if cause is not None:
        code = receipt_code(found.status, found.error_code)
        assert explain(code, Region.CHINESE_MAINLAND).cause is cause


@pytest.mark.parametrize(
    "moment", ["", "yesterday", "2026-11-22T12:00:31Z", "2026-11-01T12:00:00Z", "2026-11-22 11:00:00"]
)
def test_a_time_that_cannot_be_is_now(moment: str) -> None:
    assert receipt(form(updateTime=moment)).received_at == NOW


@pytest.mark.parametrize(
    ("to", "number"),
    [
        ("+8613800000001", "+8613800000001"),
        (" 8613800000001", "+8613800000001"),
        ("13800000001", "+8613800000001"),
        ("+14155550100", "+14155550100"),
        (" 14155550100", "+14155550100"),
        ("+447700900123", "+447700900123"),
        ("nobody", ""),
        ("+", ""),
        ("1" * 19, ""),
    ],
)
def test_a_number_however_it_is_written(to: str, number: str) -> None:
    assert receipt(form(to=to)).number == number


def test_a_batch_gives_each_of_its_reports_but_what_cannot_be_read() -> None:
    reports = [
        {"smsMsgId": "a", "status": "DELIVRD", "to": "+8613800000001", "total": 3, "sequence": 2},
        {"smsMsgId": "b", "status": "UNDELIV", "statusDesc": None},
        {"status": "DELIVRD"},
        None,
    ]
    found = read_json(json.dumps({"statusReportList": reports}).encode(), NOW)
    assert [(each.gateway_message_id, each.segment) for each in found if isinstance(each, Receipt)] == [
        ("a", 2),
        ("b", None),
    ]


def test_a_reply_says_who_answers_what_to_whom() -> None:
    body = "from=%2B8613800000001&to=1069000112&body=%E9%80%80%E8%AE%A2&smsMsgId=9692b5be"
    assert read_form(body.encode(), NOW) == [Reply("+8613800000001", "1069000112", "退订", NOW)]


@pytest.mark.parametrize("number", ["%2B14155550100", "+14155550100"])
def test_a_reply_from_north_america_is_not_taken_for_one_from_the_mainland(number: str) -> None:
    (said,) = read_form(f"from={number}&to=1069000112&body=STOP".encode(), NOW)
    assert isinstance(said, Reply)
    assert said.number == "+14155550100"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe\x00",
        b"hello",
        b"{}",
        b"smsMsgId=&status=DELIVRD",
        b"smsMsgId=a",
        b"status=DELIVRD",
        b"smsMsgId=" + b"a" * 51 + b"&status=DELIVRD",
        b"smsMsgId=a&status=" + b"X" * 33,
        b"a=1&" * 51 + b"smsMsgId=a&status=DELIVRD",
        b"body=STOP&to=1069",
        b"body=" + b"x" * 2001 + b"&from=%2B8613800000001&to=1069",
    ],
)
def test_what_is_no_report_is_refused(body: bytes) -> None:
    with pytest.raises(NotAReportError):
        read_form(body, NOW)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"statusReportList": {}}', b'{"statusReportList": [{}]}', b"[" * 50_000]
)
def test_what_is_no_batch_is_refused(body: bytes) -> None:
    with pytest.raises(NotAReportError):
        read_json(body, NOW)


@given(st.binary(max_size=300))
def test_any_body_is_a_report_or_refused(body: bytes) -> None:
    for read in (read_form, read_json):
        found: list[Inbound] = []
        try:
            found = read(body, NOW)
        except NotAReportError:
            continue
        assert found


@given(st.dictionaries(st.sampled_from(["to", "extend", "total", "sequence", "updateTime"]), st.text()))
def test_no_optional_field_makes_a_report_unreadable(fields: dict[str, str]) -> None:
    body = urlencode({"smsMsgId": ID, "status": "DELIVRD", **fields}, errors="surrogatepass").encode()
    assert receipt(body).gateway_message_id == ID
