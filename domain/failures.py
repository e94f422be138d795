"""Raw failure codes made plain: the cause, who can mend it, whether it is billed and may pass later. Pure.

Three kinds of code reach us:

- What a gateway answered to submit_sm: the command_status as `0x0000000B` (SMPP 3.4, 5.1.3). Nothing was
  accepted, so nothing is billed.
- What a delivery receipt says: a state (`UNDELIV`; SMPP 3.4, appendix B) or a vendor's own word or number. In
  the Chinese mainland's networks that is a word (`BLACK`) or two letters for the element that gave up and a
  number of its own table (`MK:0001`). Billed by the rule of the region.
- What the gateway's own platform refused before any carrier saw it (`E200027`, `SC:0006`; or `HTTP 413` where
  it gave no code). Free.

Sources: "Money" and "Results from the network" in the guide; Huawei Cloud, Message & SMS, "API Error Codes"
and "SMS Status Error Codes"; China Mobile's tables of CMPP status reports, whose numbers vendors use a little
differently. Where those tables disagree, the meaning here is the wider one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from domain.states import Region

NO_EXTERNAL_ID = "NO_EXTERNAL_ID"
"""Our own code, of a gateway whose platform needs its own template's id and was given none."""


class FailureCause(StrEnum):
    """Why a message failed, as far as a person needs to know."""

    UNREACHABLE = "UNREACHABLE"
    INVALID_NUMBER = "INVALID_NUMBER"
    BLOCKED = "BLOCKED"
    CONTENT_REFUSED = "CONTENT_REFUSED"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    EXPIRED = "EXPIRED"
    GATEWAY_ERROR = "GATEWAY_ERROR"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class Failure:
    """What a raw code means."""

    code: str
    """As the network gave it."""
    cause: FailureCause
    advice: str
    """Who can mend it, and how."""
    billed: bool
    """Whether the segment that failed with this code is charged all the same."""
    may_pass: bool
    """Whether the same message may get through later."""


def explain(code: str, region: Region) -> Failure:
    """What `code` means for an application of this region; an unknown code is OTHER, and says so."""
    meaning = _meaning(code) or _UNKNOWN
    return Failure(
        code=code,
        cause=meaning.cause,
        advice=meaning.advice,
        billed=is_billed(code, region),
        may_pass=meaning.may_pass,
    )


def is_billed(code: str, region: Region) -> bool:
    """Whether a segment that failed with `code` is charged by the rule of this region.

    One to the Chinese mainland never is; an international one is, once the gateway has accepted it.
    """
    return region is Region.INTERNATIONAL and not _was_refused(code)


def receipt_code(status: str, error_code: str | None) -> str:
    """The one code to keep of a failed receipt's state and its `err:` field.

    A vendor's word or number known here says more than the state. Zeros say nothing. Any other value has a
    meaning only its own message centre knows, so it is kept beside the state, which decides:
    `UNDELIV err:027`.
    """
    error = (error_code or "").strip()
    if not error.strip("0"):
        return status
    if _meaning(error) is not None:
        return error
    return f"{status} err:{error}" if status else error


@dataclass(frozen=True, slots=True)
class _Meaning:
    cause: FailureCause
    advice: str
    may_pass: bool


_PHONE = _Meaning(
    FailureCause.UNREACHABLE,
    "The phone was off, out of coverage, busy or out of memory. Send again later.",
    may_pass=True,
)
_UNDELIVERED = _Meaning(
    FailureCause.UNREACHABLE,
    "The network could not deliver it: the phone was off for long, its line is suspended, or the number is "
    "no longer in use. Send again later; take the number off your list if it keeps failing.",
    may_pass=True,
)
_SUSPENDED = _Meaning(
    FailureCause.UNREACHABLE,
    "The line is suspended or out of credit. Only its owner can settle that with the carrier; send again "
    "then.",
    may_pass=True,
)
_NO_SMS = _Meaning(
    FailureCause.UNREACHABLE,
    "This line or phone takes no text messages. Only its owner can change that with the carrier; until then "
    "reach the person another way.",
    may_pass=False,
)
_NO_SUCH_NUMBER = _Meaning(
    FailureCause.INVALID_NUMBER,
    "Nobody has this number, or not any more. Correct it or take it off your list.",
    may_pass=False,
)
_BLACKLISTED = _Meaning(
    FailureCause.BLOCKED,
    "The number is on a blacklist of the carrier or the gateway, mostly because its owner unsubscribed or "
    "complained. Take it off your list; only the owner can have the block lifted, by asking the carrier.",
    may_pass=False,
)
_REJECTED = _Meaning(
    FailureCause.BLOCKED,
    "The network rejected it, mostly because the owner unsubscribed from this sender or takes no such "
    "messages. Do not send again unless the owner asks for it.",
    may_pass=False,
)
_WORDING = _Meaning(
    FailureCause.CONTENT_REFUSED,
    "The carrier or the gateway refused the text. Ask the gateway's operator what it objects to, and write a "
    "new template.",
    may_pass=False,
)
_SIGNATURE = _Meaning(
    FailureCause.CONTENT_REFUSED,
    "The carrier or the gateway does not accept the signature. Have the operator register it there, then "
    "send again.",
    may_pass=True,
)
_ALPHABET = _Meaning(
    FailureCause.CONTENT_REFUSED,
    "The gateway's alphabet lacks a character of this text, such as € or a Greek capital in Latin-1, or the "
    "carrier does not know that alphabet. The operator can set another one for the gateway; else write a "
    "template without the character.",
    may_pass=True,
)
_TOO_LONG = _Meaning(
    FailureCause.CONTENT_REFUSED,
    "The gateway takes no text of this length or form. Write a shorter template.",
    may_pass=False,
)
_TOO_OFTEN = _Meaning(
    FailureCause.LIMIT_EXCEEDED,
    "Too many messages were sent to this number in a short time. Send again later: a limit counts a minute, "
    "a day or a month.",
    may_pass=True,
)
_TOO_FAST = _Meaning(
    FailureCause.LIMIT_EXCEEDED,
    "The gateway had more messages than it takes at a time. Send again later; the operator can set the "
    "gateway's rate lower or have its limit raised.",
    may_pass=True,
)
_QUOTA = _Meaning(
    FailureCause.LIMIT_EXCEEDED,
    "The gateway's quota or credit is used up. The operator can have it raised; send again then.",
    may_pass=True,
)
_HOURS = _Meaning(
    FailureCause.LIMIT_EXCEEDED,
    "The carrier takes no such messages at that hour. Send again during the day.",
    may_pass=True,
)
_EXPIRED = _Meaning(
    FailureCause.EXPIRED,
    "The network gave up: the phone was off or out of coverage for too long. Send again later.",
    may_pass=True,
)
_NO_REPORT = _Meaning(
    FailureCause.EXPIRED,
    "The message centre never said what became of it, so it may have arrived. Ask the person before sending "
    "again.",
    may_pass=False,
)
_NETWORK = _Meaning(
    FailureCause.GATEWAY_ERROR,
    "Something failed inside the gateway or the carrier's network; neither number nor text is at fault. Send "
    "again later; the operator can ask the gateway's support if it goes on.",
    may_pass=True,
)
_SET_UP = _Meaning(
    FailureCause.GATEWAY_ERROR,
    "The gateway does not accept the sender, the route or the account as set up. The operator has to settle "
    "that with the gateway's support; send again then.",
    may_pass=True,
)
_TEMPLATE = _Meaning(
    FailureCause.CONTENT_REFUSED,
    "The gateway's platform does not accept the template. Compare its externalId, text and type with the "
    "template on the platform, and see that it is active there; send again then.",
    may_pass=True,
)
_NO_EXTERNAL_ID = _Meaning(
    FailureCause.CONTENT_REFUSED,
    "This gateway's platform sends only its own templates, and the template names none. Create one with the "
    "platform's template id as externalId, and send again with that.",
    may_pass=True,
)
_VENDOR = _Meaning(
    FailureCause.OTHER,
    "The gateway refused it with a code of its vendor's own. Ask the operator to look the code up in the "
    "vendor's documentation.",
    may_pass=False,
)
_UNKNOWN = _Meaning(
    FailureCause.OTHER,
    "This code has no meaning known here. Ask the operator to look it up with the gateway's support before "
    "sending again.",
    may_pass=False,
)

_WORDS = {
    "EXPIRED": _EXPIRED,
    "DELETED": _NETWORK,
    "SKIPPED": _NETWORK,
    "UNDELIV": _UNDELIVERED,
    "UNDELIVRD": _UNDELIVERED,
    "REJECTD": _REJECTED,
    "REJECTED": _REJECTED,
    "MILIMIT": _TOO_OFTEN,
    "LIMIT": _TOO_OFTEN,
    "CTLIMIT": _TOO_OFTEN,
    "BEYONDN": _TOO_OFTEN,
    "BLACK": _BLACKLISTED,
    "TDBLACK": _BLACKLISTED,
    "TSBLACK": _BLACKLISTED,
    "MBBLACK": _BLACKLISTED,
    "BWLIST": _BLACKLISTED,
    "TUIDING": _BLACKLISTED,
    "HIGRISK": _BLACKLISTED,
    "KEYWORD": _WORDING,
    "SIGFAIL": _SIGNATURE,
    "NOTITLE": _SIGNATURE,
    "ERRNUM": _NO_SUCH_NUMBER,
    "ERR_NUM": _NO_SUCH_NUMBER,
    "NOROUTE": _SET_UP,
    NO_EXTERNAL_ID: _NO_EXTERNAL_ID,
}


def _each(numbers: str, meaning: _Meaning) -> dict[int, _Meaning]:
    return {int(number): meaning for number in numbers.split()}


_PHONE_NETWORK = {
    **_each("1 12 73", _NO_SUCH_NUMBER),
    **_each("3 4 5 6 7 16 19", _NO_SMS),
    **_each("13", _SUSPENDED),
    **_each("2 8 9 10 11 15 17 23 24 29 36 42 76 82 99 208 209", _PHONE),
    **_each("18 30 31 32 33 34 35 37 40 41 45 46 48 49 50 51 52 53 55 56 57 58 61 62 63 64 65 66", _NETWORK),
    **_each("67 68 69 77 192 194", _NETWORK),
    **_each("79", _TOO_OFTEN),
}
"""What a message centre learned from the phone network: MI (given up), MK (undeliverable), MN (rejected)."""

_CENTRE = {
    **_each("1", _TOO_LONG),
    **_each("10 1025 1044 1078", _SET_UP),
    **_each("11 1043", _NO_SUCH_NUMBER),
    **_each("19 88 1070", _TOO_FAST),
    **_each("1031 1042", _TOO_OFTEN),
    **_each("1026", _QUOTA),
    **_each("1036 1040", _SUSPENDED),
    **_each("1038", _NO_SMS),
    **_each("1077", _BLACKLISTED),
    **_each("1079 1083", _REJECTED),
}
"""What a message centre answered the carrier's gateway: MB."""

_BUSINESS_PLATFORM = {
    **_each("9", _TOO_LONG),
    **_each("10 9007", _TOO_FAST),
    **_each("100 101", _NO_SUCH_NUMBER),
    **_each("102 103", _SUSPENDED),
    **_each("122 9001", _NETWORK),
    **_each("139", _HOURS),
    **_each("140 141 144 145 146 164", _BLACKLISTED),
    **_each("142 143", _TOO_OFTEN),
    **_each("150 154 500 501 502 505 506", _NETWORK),
}
"""What the carrier's platform for its business customers decided: DB."""

_CARRIER_GATEWAY = {
    **{number: _BUSINESS_PLATFORM[number] for number in _BUSINESS_PLATFORM if 100 <= number < 150},
    **_each("4 6 83", _TOO_LONG),
    **_each("8 77 87 311", _TOO_FAST),
    **_each("13 21", _NO_SUCH_NUMBER),
    **_each("20 56", _SUSPENDED),
    **_each("44", _HOURS),
    **_each("45 46 47 48 49", _QUOTA),
    **_each("51 52 53 54 70 73 74 75 85 86 88", _NETWORK),
    **_each("55", _NO_REPORT),
    **_each("61 62 310", _EXPIRED),
    **_each("69 97", _BLACKLISTED),
    **_each("76 318", _WORDING),
}
"""What the carrier's own gateway decided: ID."""

_PREPAID_PLATFORM = {
    **_each("1 53", _NO_SUCH_NUMBER),
    **_each("5 7 47", _SUSPENDED),
}
"""What the carrier's platform for prepaid lines decided: CB."""

_REVIEW = {
    **_each("3 4 5 16", _BLACKLISTED),
    **_each("6 15", _WORDING),
    **_each("13 18", _SIGNATURE),
    **_each("17", _TEMPLATE),
}
"""What Huawei Cloud's own review decided: SC."""

_FAMILIES = {
    "MI": (_PHONE_NETWORK, _EXPIRED),
    "MK": (_PHONE_NETWORK, _UNDELIVERED),
    "MN": (_PHONE_NETWORK, _UNDELIVERED),
    "MB": (_CENTRE, _NETWORK),
    "DB": (_BUSINESS_PLATFORM, _SET_UP),
    "ID": (_CARRIER_GATEWAY, _SET_UP),
    "CB": (_PREPAID_PLATFORM, _NETWORK),
    "SC": (_REVIEW, _REJECTED),
    **{family: ({}, _NETWORK) for family in ("CA", "DA", "IA", "IB", "MA")},
    **{family: ({}, _NO_REPORT) for family in ("IC", "MC")},
}
"""By the letters: a table, and what a number that isn't in it means."""

_PLATFORM_CODES = {
    **_each("112 623 629", _QUOTA),
    **_each("503", _NO_SUCH_NUMBER),
    **_each("200015", _TOO_FAST),
    **_each("200028 200029 200030 200032 200033", _TEMPLATE),
    **_each("200020 200021", _SIGNATURE),
    **_each("200034 200035 200038", _NETWORK),
    **_each("200041", _TOO_OFTEN),
    **_each("200051", _WORDING),
}
"""What Huawei Cloud's platform answered or reported itself: E and six digits. Any other is set up wrong."""

_STATUSES = {
    **dict.fromkeys((0x0B,), _NO_SUCH_NUMBER),
    **dict.fromkeys((0x01,), _TOO_LONG),
    **dict.fromkeys((0x104,), _ALPHABET),
    **dict.fromkeys((0x14, 0x58), _TOO_FAST),
    **dict.fromkeys((0x08, 0x45, 0x64, 0xFE, 0xFF), _NETWORK),
    # What is at fault is how the gateway was set up: bind, sender, service type, flags, parameters.
    **dict.fromkeys((*range(0x02, 0x08), 0x0A, *range(0x0D, 0x10), 0x15, 0x33, 0x34), _SET_UP),
    **dict.fromkeys((0x40, 0x42, 0x43, 0x44, 0x48, 0x49, 0x50, 0x51, 0x53, 0x54), _SET_UP),
    **dict.fromkeys((0x61, 0x62, 0x63, *range(0xC0, 0xC5), *range(0x100, 0x104)), _SET_UP),
}
_VENDORS_STATUSES = range(0x400, 0x500)

_STATUS = re.compile(r"0X([0-9A-F]{1,8})")
_FAMILY = re.compile(r"([A-Z]{2}): *(\d{1,6})(?:_\d+)?|([A-Z]{2})(\d{4,6})")
_STATE_AND_ERROR = re.compile(r"(\S+?)(?: ERR:|\*)(.+)")
_PLATFORM = re.compile(r"E([0-9]{6})")
_HTTP = re.compile(r"HTTP [0-9]{3}")

_REFUSALS = (_STATUS, _PLATFORM, _HTTP, re.compile(r"SC: *[0-9]{4}"))


@lru_cache(maxsize=4096)
def _meaning(code: str) -> _Meaning | None:
    plain = code.strip().upper()
    if meaning := _WORDS.get(plain):
        return meaning
    if status := _STATUS.fullmatch(plain):
        return _meaning_of_status(int(status[1], 16))
    if platform := _PLATFORM.fullmatch(plain):
        return _PLATFORM_CODES.get(int(platform[1]), _SET_UP)
    if _HTTP.fullmatch(plain):
        return _SET_UP
    if family := _FAMILY.fullmatch(plain):
        return _meaning_in_family(family[1] or family[3], int(family[2] or family[4]))
    if parts := _STATE_AND_ERROR.fullmatch(plain):
        return _meaning(parts[1])
    return None


def _meaning_of_status(status: int) -> _Meaning | None:
    return _STATUSES.get(status) or (_VENDOR if status in _VENDORS_STATUSES else None)


def _meaning_in_family(letters: str, number: int) -> _Meaning | None:
    table, otherwise = _FAMILIES.get(letters, ({}, None))
    return table.get(number, otherwise)


def _was_refused(code: str) -> bool:
    """Whether the gateway never took it, or its platform gave it to no carrier."""
    plain = code.strip().upper()
    return plain == NO_EXTERNAL_ID or any(form.fullmatch(plain) for form in _REFUSALS)
