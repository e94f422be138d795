"""Raw codes to causes: "Results from the network" and "Money" in the guide."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.failure_codes import FailureCause
from domain.failures import explain, receipt_code
from domain.states import Region

MAINLAND = Region.CHINESE_MAINLAND
INTERNATIONAL = Region.INTERNATIONAL


@pytest.mark.parametrize(
    ("code", "cause", "may_pass"),
    [
        ("UNDELIV", FailureCause.UNREACHABLE, True),
        ("EXPIRED", FailureCause.EXPIRED, True),
        ("REJECTD", FailureCause.BLOCKED, False),
        ("DELETED", FailureCause.GATEWAY_ERROR, True),
        ("MILIMIT", FailureCause.LIMIT_EXCEEDED, True),
        ("BLACK", FailureCause.BLOCKED, False),
        ("TDBLACK", FailureCause.BLOCKED, False),
        ("KEYWORD", FailureCause.CONTENT_REFUSED, False),
        ("MK:0001", FailureCause.INVALID_NUMBER, False),
        ("MK:0005", FailureCause.UNREACHABLE, False),
        ("MK:0017", FailureCause.UNREACHABLE, True),
        ("MK:9999", FailureCause.UNREACHABLE, True),
        ("MI:0024", FailureCause.UNREACHABLE, True),
        ("MI:9999", FailureCause.EXPIRED, True),
        ("MB:1077", FailureCause.BLOCKED, False),
        ("MB:1070", FailureCause.LIMIT_EXCEEDED, True),
        ("DB:0141", FailureCause.BLOCKED, False),
        ("DB:0101", FailureCause.INVALID_NUMBER, False),
        ("DB:0139", FailureCause.LIMIT_EXCEEDED, True),
        ("ID:0101", FailureCause.INVALID_NUMBER, False),
        ("ID:0318", FailureCause.CONTENT_REFUSED, False),
        ("ID:0010", FailureCause.GATEWAY_ERROR, True),
        ("CA:0054", FailureCause.GATEWAY_ERROR, True),
        ("CB:0007", FailureCause.UNREACHABLE, True),
        ("MC:0151", FailureCause.EXPIRED, False),
        ("E200027", FailureCause.GATEWAY_ERROR, True),
        ("E000112", FailureCause.LIMIT_EXCEEDED, True),
        ("E000503", FailureCause.INVALID_NUMBER, False),
        ("E200015", FailureCause.LIMIT_EXCEEDED, True),
        ("E200030", FailureCause.CONTENT_REFUSED, True),
        ("E200038", FailureCause.GATEWAY_ERROR, True),
        ("SC:0006", FailureCause.CONTENT_REFUSED, False),
        ("SC:0016", FailureCause.BLOCKED, False),
        ("HTTP 413", FailureCause.GATEWAY_ERROR, True),
        ("NO_EXTERNAL_ID", FailureCause.CONTENT_REFUSED, True),
        ("0x00000001", FailureCause.CONTENT_REFUSED, False),
        ("0x00000008", FailureCause.GATEWAY_ERROR, True),
        ("0x0000000A", FailureCause.GATEWAY_ERROR, True),
        ("0x0000000B", FailureCause.INVALID_NUMBER, False),
        ("0x00000014", FailureCause.LIMIT_EXCEEDED, True),
        ("0x00000045", FailureCause.GATEWAY_ERROR, True),
        ("0x00000058", FailureCause.LIMIT_EXCEEDED, True),
        ("0x00000104", FailureCause.CONTENT_REFUSED, True),
        ("0x00000400", FailureCause.OTHER, False),
        ("0x000004FF", FailureCause.OTHER, False),
    ],
)
def test_each_code_has_a_cause_and_may_pass_or_not(code: str, cause: FailureCause, may_pass: bool) -> None:
    failure = explain(code, MAINLAND)
    assert (failure.code, failure.cause, failure.may_pass) == (code, cause, may_pass)


@pytest.mark.parametrize("written", ["MK:0012", "mk:0012", "MK00012", "MK0012", "MK: 0012 ", "MK:0012_006"])
def test_a_vendors_spelling_does_not_matter(written: str) -> None:
    assert explain(written, MAINLAND).cause is FailureCause.INVALID_NUMBER


@pytest.mark.parametrize("code", ["", "0x00000065", "0x00000500", "027", "ZZ:0001", "WHATEVER"])
def test_an_unknown_code_says_that_it_is_unknown(code: str) -> None:
    failure = explain(code, MAINLAND)
    assert failure.cause is FailureCause.OTHER
    assert not failure.may_pass
    assert "no meaning known here" in failure.advice


def test_a_vendors_own_status_sends_the_reader_to_the_vendor() -> None:
    assert "vendor" in explain("0x00000410", INTERNATIONAL).advice


@pytest.mark.parametrize(
    "code", ["UNDELIV", "BLACK", "MK:0001", "WHATEVER", "UNDELIV err:001", "E20002", "XE200027", "E200027x"]
)
def test_only_international_messages_the_gateway_accepted_are_billed(code: str) -> None:
    assert explain(code, INTERNATIONAL).billed
    assert not explain(code, MAINLAND).billed


@pytest.mark.parametrize(
    "code",
    ["0x0000000B", "0x00000410", "0x00000065", "E200027", "e200099", "SC:0006", "HTTP 413", "NO_EXTERNAL_ID"],
)
def test_what_was_refused_is_free(code: str) -> None:
    assert not explain(code, INTERNATIONAL).billed


@pytest.mark.parametrize(
    ("status", "error", "kept", "cause"),
    [
        ("UNDELIV", None, "UNDELIV", FailureCause.UNREACHABLE),
        ("UNDELIV", "", "UNDELIV", FailureCause.UNREACHABLE),
        ("UNDELIV", "000", "UNDELIV", FailureCause.UNREACHABLE),
        ("UNDELIV", "MILIMIT", "MILIMIT", FailureCause.LIMIT_EXCEEDED),
        ("REJECTD", "KEYWORD", "KEYWORD", FailureCause.CONTENT_REFUSED),
        ("UNDELIV", "MK:0001", "MK:0001", FailureCause.INVALID_NUMBER),
        ("MK:0001", "000", "MK:0001", FailureCause.INVALID_NUMBER),
        ("UNDELIV", "001", "UNDELIV err:001", FailureCause.UNREACHABLE),
        ("EXPIRED", "027", "EXPIRED err:027", FailureCause.EXPIRED),
        ("REJECTD", "GONE", "REJECTD err:GONE", FailureCause.BLOCKED),
        ("WHATEVER", "027", "WHATEVER err:027", FailureCause.OTHER),
        ("", "027", "027", FailureCause.OTHER),
    ],
)
def test_of_a_receipt_the_code_that_says_most_is_kept(
    status: str, error: str | None, kept: str, cause: FailureCause
) -> None:
    assert receipt_code(status, error) == kept
    assert explain(kept, MAINLAND).cause is cause


def test_a_state_and_a_number_joined_by_a_vendor_mean_what_the_state_means() -> None:
    assert explain("REJECTD*704", MAINLAND).cause is FailureCause.BLOCKED


@given(st.text(max_size=30), st.sampled_from(Region))
def test_any_text_is_explained_and_stays_visible(code: str, region: Region) -> None:
    failure = explain(code, region)
    assert failure.code == code
    assert failure.advice


@given(st.text(max_size=20), st.text(max_size=20))
def test_what_is_kept_of_a_receipt_means_as_much_as_its_state(status: str, error: str) -> None:
    kept = explain(receipt_code(status, error), MAINLAND)
    if kept.cause is FailureCause.OTHER:
        assert explain(status, MAINLAND).cause is FailureCause.OTHER
