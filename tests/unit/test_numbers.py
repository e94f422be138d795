"""The steps of "The recipient file" that make a number E.164 or refuse it, and the cleaning before them."""

import random
import unicodedata

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import NumberParseException, PhoneNumberFormat, PhoneNumberType, ValidationResult

from domain.calling_codes import is_possible
from domain.numbers import e164, normalize, suggest
from domain.states import Region, RowRejection

MAINLAND, INTERNATIONAL = Region.CHINESE_MAINLAND, Region.INTERNATIONAL
NOT_A_NUMBER = RowRejection.NOT_A_NUMBER
LOST_DIGITS = RowRejection.LOST_DIGITS
WRONG_LENGTH = RowRejection.WRONG_LENGTH
MISSING_COUNTRY_CODE = RowRejection.MISSING_COUNTRY_CODE
IMPOSSIBLE_NUMBER = RowRejection.IMPOSSIBLE_NUMBER
REGION_NOT_ALLOWED = RowRejection.REGION_NOT_ALLOWED

REGIONS = st.sampled_from(Region)
SCRAPS = st.text(st.sampled_from("0123456789+-. ()'eE０１٣¹\u00a0\u200b\u202e,;/\n"), max_size=24)
NUMBERS = st.from_regex(r"\+?(86|1|44|49|39|852|7)?[0-9]{6,12}", fullmatch=True)
MARKS = st.text(st.sampled_from("-. ()\u00a0\u200b"), max_size=2)


@pytest.mark.parametrize(
    ("value", "mainland", "international"),
    [
        ("13800138000", "+8613800138000", REGION_NOT_ALLOWED),
        ("8613800138000", "+8613800138000", REGION_NOT_ALLOWED),
        ("+8613800138000", "+8613800138000", REGION_NOT_ALLOWED),
        ("+8619912345678", "+8619912345678", REGION_NOT_ALLOWED),
        ("11012345678", "+8611012345678", REGION_NOT_ALLOWED),
        ("1380013800", WRONG_LENGTH, WRONG_LENGTH),
        ("138001380001", WRONG_LENGTH, WRONG_LENGTH),
        ("86138001380000", WRONG_LENGTH, WRONG_LENGTH),
        ("008613800138000", WRONG_LENGTH, WRONG_LENGTH),
        ("0", WRONG_LENGTH, WRONG_LENGTH),
        ("23800138000", MISSING_COUNTRY_CODE, MISSING_COUNTRY_CODE),
        ("4479111234567", MISSING_COUNTRY_CODE, MISSING_COUNTRY_CODE),
        ("8602012345678", IMPOSSIBLE_NUMBER, IMPOSSIBLE_NUMBER),
        ("8621012345678", REGION_NOT_ALLOWED, REGION_NOT_ALLOWED),
        ("+861012345678", REGION_NOT_ALLOWED, REGION_NOT_ALLOWED),
        ("+8612345", IMPOSSIBLE_NUMBER, IMPOSSIBLE_NUMBER),
        ("+447911123456", REGION_NOT_ALLOWED, "+447911123456"),
        ("+12025550123", REGION_NOT_ALLOWED, "+12025550123"),
        ("+390612345678", REGION_NOT_ALLOWED, "+390612345678"),
        ("+4407911123456", IMPOSSIBLE_NUMBER, IMPOSSIBLE_NUMBER),
        ("+4901711234567", IMPOSSIBLE_NUMBER, IMPOSSIBLE_NUMBER),
        ("+120255501234", IMPOSSIBLE_NUMBER, IMPOSSIBLE_NUMBER),
        ("+5550123", IMPOSSIBLE_NUMBER, IMPOSSIBLE_NUMBER),
        ("+15550123", IMPOSSIBLE_NUMBER, IMPOSSIBLE_NUMBER),
        ("+999123456789", IMPOSSIBLE_NUMBER, IMPOSSIBLE_NUMBER),
        ("+0123456789", IMPOSSIBLE_NUMBER, IMPOSSIBLE_NUMBER),
        ("+4912345678901234", IMPOSSIBLE_NUMBER, IMPOSSIBLE_NUMBER),
        ("+1", IMPOSSIBLE_NUMBER, IMPOSSIBLE_NUMBER),
    ],
)
def test_the_steps(value: str, mainland: str, international: str) -> None:
    assert normalize(value, MAINLAND) == mainland
    assert normalize(value, INTERNATIONAL) == international


@pytest.mark.parametrize(
    "value",
    [
        " 13800138000 ",
        "13800138000\n",
        "\u00a013800138000\u00a0",
        "138 0013 8000",
        "138\u00a00013\u30008000",
        "138-0013-8000",
        "138‑0013—8000",
        "138.0013.8000",
        "(138) 0013-8000",
        "（138）00138000",
        "[138]00138000",
        "'13800138000",
        "' 13800138000",
        "＇13800138000",
        "’13800138000",
        "１３８００１３８０００",
        "＋８６１３８００１３８０００",
        "138001\u200b38000",
        "\ufeff13800138000",
        "\u202a+8613800138000\u202c",
        "+86 138 0013 8000",
        "+ 86 13800138000",
        "(+86)13800138000",
        "（＋86）138-0013-8000",
        "+(86) 138 0013 8000",
        "+86.13800138000",
        "86-138-0013-8000",
        "13800138000.0",
        "8613800138000.00",
        "١٣٨٠٠١٣٨٠٠٠",
        "१३८००१३८०००",
    ],
)
def test_cleaning_drops_what_carries_no_digit(value: str) -> None:
    assert normalize(value, MAINLAND) == "+8613800138000"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("8.6138E+12", LOST_DIGITS),
        ("8,6138E+12", LOST_DIGITS),
        ("1.3800138e10", LOST_DIGITS),
        ("８．６１３８Ｅ＋１２", LOST_DIGITS),
        ("1E10", LOST_DIGITS),
        ("13800138000.5", LOST_DIGITS),
        ("1380013800.1", LOST_DIGITS),
        ("1380013800138000", LOST_DIGITS),
        ("１３８００１３８００１３８０００", LOST_DIGITS),
        ("861380013800.0", WRONG_LENGTH),
        ("1380013800.0", WRONG_LENGTH),
        ("", NOT_A_NUMBER),
        ("   ", NOT_A_NUMBER),
        ("'", NOT_A_NUMBER),
        ("+", NOT_A_NUMBER),
        ("abc", NOT_A_NUMBER),
        ("手机号码", NOT_A_NUMBER),
        ("1380013800x", NOT_A_NUMBER),
        ("1380013800O", NOT_A_NUMBER),
        ("13800138000 13800138001", NOT_A_NUMBER),
        ("13800138000,13800138001", NOT_A_NUMBER),
        ("13800138000、13800138001", NOT_A_NUMBER),
        ("13800138000;13800138001", NOT_A_NUMBER),
        ("13800138000/13800138001", NOT_A_NUMBER),
        ("1380013\n8000", NOT_A_NUMBER),
        ("1380013\t8000", NOT_A_NUMBER),
        ("+8613800138000+8613800138001", NOT_A_NUMBER),
        ("86+13800138000", NOT_A_NUMBER),
        ("++8613800138000", NOT_A_NUMBER),
        ("-13800138000", NOT_A_NUMBER),
        ("13800138000-", NOT_A_NUMBER),
        ("138--00138000", NOT_A_NUMBER),
        ("138…0138000", NOT_A_NUMBER),
        ("(13800138000", NOT_A_NUMBER),
        ("''13800138000", NOT_A_NUMBER),
        ("13,800,138,000", NOT_A_NUMBER),
        ("1380013800¹", NOT_A_NUMBER),
        ("1380013800①", NOT_A_NUMBER),
        ("1380013800½", NOT_A_NUMBER),
        ("\u202e00083100831", NOT_A_NUMBER),
        ("+861380013800.0", NOT_A_NUMBER),
        ("+86 (0)13800138000", IMPOSSIBLE_NUMBER),
        ("+352 (0) 621 123456", IMPOSSIBLE_NUMBER),
        ("9" * 40_000, LOST_DIGITS),
        ("9 " * 20_000, NOT_A_NUMBER),
    ],
)
@pytest.mark.parametrize("region", Region)
def test_what_is_never_guessed(value: str, reason: RowRejection, region: Region) -> None:
    assert normalize(value, region) is reason


def oracle(digits: str) -> bool:
    """What `phonenumbers` itself says of a number in E.164 form."""
    try:
        number = phonenumbers.parse(f"+{digits}")
    except NumberParseException:
        return False
    return (
        phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE
        and phonenumbers.format_number(number, PhoneNumberFormat.E164) == f"+{digits}"
    )


def test_possible_is_what_phonenumbers_says_for_every_calling_code_and_length() -> None:
    chance = random.Random(1)
    answers = set()
    for code in [*phonenumbers.COUNTRY_CODE_TO_REGION_CODE, 0, 210, 999]:
        for length in range(16 - len(str(code))):
            for first in ("", "0", "1", "8", "9"):
                national = (first + "".join(chance.choices("0123456789", k=length)))[:length]
                digits = f"{code}{national}"
                assert is_possible(digits) == oracle(digits), digits
                answers.add(is_possible(digits))
    assert answers == {True, False}


def test_example_numbers_of_every_country_pass() -> None:
    seen = 0
    for region in phonenumbers.SUPPORTED_REGIONS:
        for kind in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE):
            example = phonenumbers.example_number_for_type(region, kind)
            if example is not None and example.country_code != 86:
                number = phonenumbers.format_number(example, PhoneNumberFormat.E164)
                assert normalize(number, INTERNATIONAL) == number
                written = phonenumbers.format_number(example, PhoneNumberFormat.INTERNATIONAL)
                if "/" not in written:
                    assert normalize(written, INTERNATIONAL) == number
                seen += 1
    assert seen > 400


@given(st.one_of(SCRAPS, NUMBERS, st.text(max_size=20)), REGIONS)
def test_normalizing_is_idempotent(value: str, region: Region) -> None:
    number = normalize(value, region)
    if not isinstance(number, RowRejection):
        assert normalize(number, region) == number
        assert e164(value, region) == int(number)


@given(st.one_of(SCRAPS, NUMBERS, st.text(max_size=20)), REGIONS)
def test_no_number_becomes_another(value: str, region: Region) -> None:
    number = normalize(value, region)
    if isinstance(number, RowRejection):
        return
    digits = "".join(str(unicodedata.decimal(each)) for each in value if each.isdecimal())
    whole = digits.rstrip("0") if "." in unicodedata.normalize("NFKC", value) else digits
    # A decimal's zeros may go, the calling code 86 may come; nothing else.
    assert number.removeprefix("+").removeprefix("86").startswith(whole.removeprefix("86"))
    assert digits.removeprefix("86").startswith(number.removeprefix("+").removeprefix("86"))


@given(NUMBERS, st.lists(MARKS, max_size=8), REGIONS)
def test_marks_between_digits_never_make_another_number(value: str, marks: list[str], region: Region) -> None:
    bare, marked = normalize(value, region), value
    for position, mark in enumerate(marks):
        marked = marked[: 2 * position + 2] + mark + marked[2 * position + 2 :]
    number = normalize(marked, region)
    assert isinstance(number, RowRejection) or number == bare


@given(st.from_regex(r"1[0-9]{10}", fullmatch=True), st.from_regex(r"1[0-9]{10}", fullmatch=True), REGIONS)
@pytest.mark.parametrize("between", [" ", ",", ";", "/", "\n", "\t", "-", ".", "、", "+", " +86", "(", ""])
def test_two_numbers_in_one_cell_never_fuse(between: str, one: str, other: str, region: Region) -> None:
    assert isinstance(normalize(one + between + other, region), RowRejection)


@pytest.mark.parametrize(
    ("value", "mainland", "international"),
    [
        ("008613800138000", "+8613800138000", None),
        ("0086 138-0013-8000", "+8613800138000", None),
        ("013800138000", "+8613800138000", None),
        ("+86 (0)13800138000", "+8613800138000", None),
        ("12025550123", None, "+12025550123"),
        ("447911123456", None, "+447911123456"),
        ("00447911123456", None, "+447911123456"),
        ("+44 (0)7911 123456", None, "+447911123456"),
        ("+4407911123456", None, "+447911123456"),
        ("8.6138E+12", None, None),
        ("13800138000 13800138001", None, None),
        ("1380013800", None, None),
        ("abc", None, None),
        ("", None, None),
    ],
)
def test_suggestions(value: str, mainland: str | None, international: str | None) -> None:
    assert suggest(value, MAINLAND) == mainland
    assert suggest(value, INTERNATIONAL) == international


@given(st.one_of(SCRAPS, NUMBERS), REGIONS)
def test_a_suggestion_is_a_number_the_region_takes(value: str, region: Region) -> None:
    suggestion = suggest(value, region)
    if suggestion is not None:
        assert isinstance(normalize(value, region), RowRejection)
        assert normalize(suggestion, region) == suggestion
