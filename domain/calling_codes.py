"""Which digits can be a complete international number: lengths by country calling code. Pure.

`phonenumbers` parses some 50,000 numbers a second. A table of the possible lengths in its metadata answers
for nearly every number many times faster; it is asked itself only about what the table cannot settle.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata, PhoneNumberFormat, ValidationResult

MOST_DIGITS = 15
"""Of an international number, country calling code included (ITU-T E.164, 6.2.1)."""


@dataclass(frozen=True, slots=True)
class _Plan:
    lengths: frozenset[int]
    """Possible numbers of digits, calling code included."""
    code_length: int
    trunk: re.Pattern[str] | None
    """What may be dialled before a national number but is no part of it."""


def is_possible(digits: str) -> bool:
    """Whether `digits`, without the plus sign, can be a complete E.164 number.

    True for what `phonenumbers` calls IS_POSSIBLE and would itself write with just these digits. So a number
    that lacks its area code (IS_POSSIBLE_LOCAL_ONLY) is not possible, nor is one with a trunk prefix left in
    (+44 07911 123456 stands for another E.164 number), nor one of more than 15 digits.
    """
    plan = _plan(digits[:3])
    if plan is None or len(digits) not in plan.lengths:
        return False
    if plan.trunk is None or plan.trunk.match(digits, plan.code_length) is None:
        return True
    return canonical(digits) == digits


def canonical(digits: str) -> str | None:
    """The digits `phonenumbers` would write for these, trunk prefix removed; None if it can't be a number."""
    try:
        number = phonenumbers.parse(f"+{digits}")
    except NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:]


def is_assigned(digits: str) -> bool:
    """Whether `phonenumbers` knows the range of these digits: stricter than possible, sooner out of date."""
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(f"+{digits}"))
    except NumberParseException:
        return False


@cache
def _plan(first_digits: str) -> _Plan | None:
    for code_length in range(1, len(first_digits) + 1):
        code = first_digits[:code_length]
        if code[0] != "0" and int(code) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return _plan_of(int(code), code_length)
    return None


def _plan_of(code: int, code_length: int) -> _Plan:
    region = phonenumbers.region_code_for_country_code(code)
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    assert metadata is not None
    assert metadata.general_desc is not None
    lengths = (code_length + length for length in metadata.general_desc.possible_length)
    prefix = metadata.national_prefix_for_parsing
    return _Plan(
        lengths=frozenset(length for length in lengths if length <= MOST_DIGITS),
        code_length=code_length,
        trunk=re.compile(prefix) if prefix else None,
    )
