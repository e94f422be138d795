"""What is known of failure codes: meanings in plain words, and which code has which. Pure data.

Sources: see `domain.failures`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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
class Meaning:
    """What a code says, before it is known whose message it was."""

    cause: FailureCause
    advice: str
    may_pass: bool


PHONE = Meaning(
    FailureCause.UNREACHABLE,
    "The phone was off, out of coverage, busy or out of memory. Send again later.",
    may_pass=True,
)
UNDELIVERED = Meaning(
    FailureCause.UNREACHABLE,
    "The network could not deliver it: the phone was off for long, its line is suspended, or the number is "
    "no longer in use. Send again later; take the number off your list if it keeps failing.",
    may_pass=True,
)
SUSPENDED = Meaning(
    FailureCause.UNREACHABLE,
    "The line is suspended or out of credit. Only its owner can settle that with the carrier; send again "
    "then.",
    may_pass=True,
)
NO_SMS = Meaning(
    FailureCause.UNREACHABLE,
    "This line or phone takes no text messages. Only its owner can change that with the carrier; until then "
    "reach the person another way.",
    may_pass=False,
)
NO_SUCH_NUMBER = Meaning(
    FailureCause.INVALID_NUMBER,
    "Nobody has this number, or not any more. Correct it or take it off your list.",
    may_pass=False,
)
BLACKLISTED = Meaning(
    FailureCause.BLOCKED,
    "The number is on a blacklist of the carrier or the gateway, mostly because its owner unsubscribed or "
    "complained. Take it off your list; only the owner can have the block lifted, by asking the carrier.",
    may_pass=False,
)
REJECTED = Meaning(
    FailureCause.BLOCKED,
    "The network rejected it, mostly because the owner unsubscribed from this sender or takes no such "
    "messages. Do not send again unless the owner asks for it.",
    may_pass=False,
)
WORDING = Meaning(
    FailureCause.CONTENT_REFUSED,
    "The carrier or the gateway refused the text. Ask the gateway's operator what it objects to, and write a "
    "new template.",
    may_pass=False,
)
SIGNATURE = Meaning(
    FailureCause.CONTENT_REFUSED,
    "The carrier or the gateway does not accept the signature. Have the operator register it there, then "
    "send again.",
    may_pass=True,
)
ALPHABET = Meaning(
    FailureCause.CONTENT_REFUSED,
    "The gateway's alphabet lacks a character of this text, such as € or a Greek capital in Latin-1, or the "
    "carrier does not know that alphabet. The operator can set another one for the gateway; else write a "
    "template without the character.",
    may_pass=True,
)
TOO_LONG = Meaning(
    FailureCause.CONTENT_REFUSED,
    "The gateway takes no text of this length or form. Write a shorter template.",
    may_pass=False,
)
TOO_OFTEN = Meaning(
    FailureCause.LIMIT_EXCEEDED,
    "Too many messages were sent to this number in a short time. Send again later: a limit counts a minute, "
    "a day or a month.",
    may_pass=True,
)
TOO_FAST = Meaning(
    FailureCause.LIMIT_EXCEEDED,
    "The gateway had more messages than it takes at a time. Send again later; the operator can set the "
    "gateway's rate lower or have its limit raised.",
    may_pass=True,
)
QUOTA = Meaning(
    FailureCause.LIMIT_EXCEEDED,
    "The gateway's quota or credit is used up. The operator can have it raised; send again then.",
    may_pass=True,
)
HOURS = Meaning(
    FailureCause.LIMIT_EXCEEDED,
    "The carrier takes no such messages at that hour. Send again during the day.",
    may_pass=True,
)
EXPIRED = Meaning(
    FailureCause.EXPIRED,
    "The network gave up: the phone was off or out of coverage for too long. Send again later.",
    may_pass=True,
)
NO_REPORT = Meaning(
    FailureCause.EXPIRED,
    "The message centre never said what became of it, so it may have arrived. Ask the person before sending "
    "again.",
    may_pass=False,
)
NETWORK = Meaning(
    FailureCause.GATEWAY_ERROR,
    "Something failed inside the gateway or the carrier's network; neither number nor text is at fault. Send "
    "again later; the operator can ask the gateway's support if it goes on.",
    may_pass=True,
)
SET_UP = Meaning(
    FailureCause.GATEWAY_ERROR,
    "The gateway does not accept the sender, the route or the account as set up. The operator has to settle "
    "that with the gateway's support; send again then.",
    may_pass=True,
)
TEMPLATE = Meaning(
    FailureCause.CONTENT_REFUSED,
    "The gateway's platform does not accept the template. Compare its externalId, text and type with the "
    "template on the platform, and see that it is active there; send again then.",
    may_pass=True,
)
WITHOUT_EXTERNAL_ID = Meaning(
    FailureCause.CONTENT_REFUSED,
    "This gateway's platform sends only its own templates, and the template names none. Create one with the "
    "platform's template id as externalId, and send again with that.",
    may_pass=True,
)
VENDOR = Meaning(
    FailureCause.OTHER,
    "The gateway refused it with a code of its vendor's own. Ask the operator to look the code up in the "
    "vendor's documentation.",
    may_pass=False,
)
UNKNOWN = Meaning(
    FailureCause.OTHER,
    "This code has no meaning known here. Ask the operator to look it up with the gateway's support before "
    "sending again.",
    may_pass=False,
)

WORDS = {
    "EXPIRED": EXPIRED,
    "DELETED": NETWORK,
    "SKIPPED": NETWORK,
    "UNDELIV": UNDELIVERED,
    "UNDELIVRD": UNDELIVERED,
    "REJECTD": REJECTED,
    "REJECTED": REJECTED,
    "MILIMIT": TOO_OFTEN,
    "LIMIT": TOO_OFTEN,
    "CTLIMIT": TOO_OFTEN,
    "BEYONDN": TOO_OFTEN,
    "BLACK": BLACKLISTED,
    "TDBLACK": BLACKLISTED,
    "TSBLACK": BLACKLISTED,
    "MBBLACK": BLACKLISTED,
    "BWLIST": BLACKLISTED,
    "TUIDING": BLACKLISTED,
    "HIGRISK": BLACKLISTED,
    "KEYWORD": WORDING,
    "SIGFAIL": SIGNATURE,
    "NOTITLE": SIGNATURE,
    "ERRNUM": NO_SUCH_NUMBER,
    "ERR_NUM": NO_SUCH_NUMBER,
    "NOROUTE": SET_UP,
    NO_EXTERNAL_ID: WITHOUT_EXTERNAL_ID,
}


def _each(numbers: str, meaning: Meaning) -> dict[int, Meaning]:
    return {int(number): meaning for number in numbers.split()}


PHONE_NETWORK = {
    **_each("1 12 73", NO_SUCH_NUMBER),
    **_each("3 4 5 6 7 16 19", NO_SMS),
    **_each("13", SUSPENDED),
    **_each("2 8 9 10 11 15 17 23 24 29 36 42 76 82 99 208 209", PHONE),
    **_each("18 30 31 32 33 34 35 37 40 41 45 46 48 49 50 51 52 53 55 56 57 58 61 62 63 64 65 66", NETWORK),
    **_each("67 68 69 77 192 194", NETWORK),
    **_each("79", TOO_OFTEN),
}
"""What a message centre learned from the phone network: MI (given up), MK (undeliverable), MN (rejected)."""

CENTRE = {
    **_each("1", TOO_LONG),
    **_each("10 1025 1044 1078", SET_UP),
    **_each("11 1043", NO_SUCH_NUMBER),
    **_each("19 88 1070", TOO_FAST),
    **_each("1031 1042", TOO_OFTEN),
    **_each("1026", QUOTA),
    **_each("1036 1040", SUSPENDED),
    **_each("1038", NO_SMS),
    **_each("1077", BLACKLISTED),
    **_each("1079 1083", REJECTED),
}
"""What a message centre answered the carrier's gateway: MB."""

BUSINESS_PLATFORM = {
    **_each("9", TOO_LONG),
    **_each("10 9007", TOO_FAST),
    **_each("100 101", NO_SUCH_NUMBER),
    **_each("102 103", SUSPENDED),
    **_each("122 9001", NETWORK),
    **_each("139", HOURS),
    **_each("140 141 144 145 146 164", BLACKLISTED),
    **_each("142 143", TOO_OFTEN),
    **_each("150 154 500 501 502 505 506", NETWORK),
}
"""What the carrier's platform for its business customers decided: DB."""

CARRIER_GATEWAY = {
    **{number: BUSINESS_PLATFORM[number] for number in BUSINESS_PLATFORM if 100 <= number < 150},
    **_each("4 6 83", TOO_LONG),
    **_each("8 77 87 311", TOO_FAST),
    **_each("13 21", NO_SUCH_NUMBER),
    **_each("20 56", SUSPENDED),
    **_each("44", HOURS),
    **_each("45 46 47 48 49", QUOTA),
    **_each("51 52 53 54 70 73 74 75 85 86 88", NETWORK),
    **_each("55", NO_REPORT),
    **_each("61 62 310", EXPIRED),
    **_each("69 97", BLACKLISTED),
    **_each("76 318", WORDING),
}
"""What the carrier's own gateway decided: ID."""

PREPAID_PLATFORM = {
    **_each("1 53", NO_SUCH_NUMBER),
    **_each("5 7 47", SUSPENDED),
}
"""What the carrier's platform for prepaid lines decided: CB."""

REVIEW = {
    **_each("3 4 5 16", BLACKLISTED),
    **_each("6 15", WORDING),
    **_each("13 18", SIGNATURE),
    **_each("17", TEMPLATE),
}
"""What Huawei Cloud's own review decided: SC."""

FAMILIES = {
    "MI": (PHONE_NETWORK, EXPIRED),
    "MK": (PHONE_NETWORK, UNDELIVERED),
    "MN": (PHONE_NETWORK, UNDELIVERED),
    "MB": (CENTRE, NETWORK),
    "DB": (BUSINESS_PLATFORM, SET_UP),
    "ID": (CARRIER_GATEWAY, SET_UP),
    "CB": (PREPAID_PLATFORM, NETWORK),
    "SC": (REVIEW, REJECTED),
    **{family: ({}, NETWORK) for family in ("CA", "DA", "IA", "IB", "MA")},
    **{family: ({}, NO_REPORT) for family in ("IC", "MC")},
}
"""By the letters: a table, and what a number that isn't in it means."""

PLATFORM_CODES = {
    **_each("112 623 629", QUOTA),
    **_each("503", NO_SUCH_NUMBER),
    **_each("200015", TOO_FAST),
    **_each("200028 200029 200030 200032 200033", TEMPLATE),
    **_each("200020 200021", SIGNATURE),
    **_each("200034 200035 200038", NETWORK),
    **_each("200041", TOO_OFTEN),
    **_each("200051", WORDING),
}
"""What Huawei Cloud's platform answered or reported itself: E and six digits. Any other is set up wrong."""

STATUSES = {
    **dict.fromkeys((0x0B,), NO_SUCH_NUMBER),
    **dict.fromkeys((0x01,), TOO_LONG),
    **dict.fromkeys((0x104,), ALPHABET),
    **dict.fromkeys((0x14, 0x58), TOO_FAST),
    **dict.fromkeys((0x08, 0x45, 0x64, 0xFE, 0xFF), NETWORK),
    # What is at fault is how the gateway was set up: bind, sender, service type, flags, parameters.
    **dict.fromkeys((*range(0x02, 0x08), 0x0A, *range(0x0D, 0x10), 0x15, 0x33, 0x34), SET_UP),
    **dict.fromkeys((0x40, 0x42, 0x43, 0x44, 0x48, 0x49, 0x50, 0x51, 0x53, 0x54), SET_UP),
    **dict.fromkeys((0x61, 0x62, 0x63, *range(0xC0, 0xC5), *range(0x100, 0x104)), SET_UP),
}
