"""Times, amounts and phone numbers as clients write and read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import NewType

from strawberry import scalar
from strawberry.types.scalar import ScalarDefinition

PhoneNumber = NewType("PhoneNumber", str)

_RFC_3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?P<offset>[Zz]|[+-]\d{2}:\d{2})?", re.ASCII
)


def _read_time(value: object) -> datetime:
    found = _RFC_3339.fullmatch(value) if isinstance(value, str) else None
    if not isinstance(value, str) or found is None:
        raise ValueError("A time is written as in RFC 3339: 2026-03-01T09:00:00+08:00.")
    if found["offset"] is None:
        raise ValueError(
            "The time has no offset from UTC, so it could mean different moments: write "
            f"{value}+08:00, or {value}Z for UTC."
        )
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"There is no such time: {value}.") from error


def _write_time(value: object) -> str:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError(f"not a time with an offset: {value!r}")
    return value.astimezone(UTC).isoformat()


DATE_TIME: ScalarDefinition = scalar(
    name="DateTime",
    description=(
        "A moment, as in RFC 3339 with an offset from UTC: 2026-03-01T09:00:00+08:00. A time without one "
        "is refused. Answers are in UTC."
    ),
    specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
    serialize=_write_time,
    parse_value=_read_time,
)


def _write_decimal(value: object) -> str:
    if not isinstance(value, Decimal):
        raise TypeError(f"not a decimal number: {value!r}")
    written = f"{value:f}"
    return written.rstrip("0").rstrip(".") if "." in written else written


DECIMAL: ScalarDefinition = scalar(
    name="Decimal",
    description='An exact decimal number, written as a string without an exponent: "0.045".',
    serialize=_write_decimal,
)

PHONE_NUMBER: ScalarDefinition = scalar(
    name="PhoneNumber",
    description=(
        "A phone number in the international form E.164, with its plus sign: +8613800138000. Roles named by "
        "the setting GROUPSMS_MASKED_ROLES see it without its middle: +86138****8000."
    ),
    specified_by_url="https://www.itu.int/rec/T-REC-E.164",
    serialize=str,
    parse_value=lambda value: PhoneNumber(str(value)),
)
