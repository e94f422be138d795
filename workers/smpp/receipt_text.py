"""What a deliver_sm says: a delivery receipt in any of its dialects, or somebody's reply. Pure.

A receipt's facts are taken from the optional parameters first (SMPP 3.4, 5.3.2.12, 5.3.2.35, 5.3.2.31), then
from the text of Appendix B: `id:… sub:… dlvrd:… submit date:… done date:… stat:… err:… text:…`. Centres vary
the order and the case of those fields, leave some out, and write dates with or without seconds. The text is
ASCII, in whatever coding it travels.
"""

from __future__ import annotations

import re
import string
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple

from domain.ports import Receipt, ReceiptState, Reply
from workers.smpp import pdu
from workers.smpp.pdu import ShortMessage, Tag
from workers.smpp.receipt_options import AS_THEY_COME, ReceiptOptions
from workers.smpp.reply_text import reply_text
from workers.smpp.submit_options import Alphabet

MESSAGE_STATES: Final = {
    0: "SCHEDULED",
    1: "ENROUTE",
    2: "DELIVRD",
    3: "EXPIRED",
    4: "DELETED",
    5: "UNDELIV",
    6: "ACCEPTD",
    7: "UNKNOWN",
    8: "REJECTD",
    9: "SKIPPED",
}
"""message_state (SMPP 3.4, 5.2.28; 0 and 9 from SMPP 5.0), named as in the text form."""

NOT_FINAL: Final = frozenset(
    {
        *("", "ENROUTE", "ACCEPTD", "ACCEPTED", "UNKNOWN", "SCHEDULED"),
        *("BUFFERED", "PENDING", "QUEUED", "SUBMITTED"),
    }
)
DELIVERED: Final = frozenset({"DELIVRD", "DELIVERED", "DELIVERD", "DELIVRED", "DELIVED", "DLVRD"})

# Not right behind a colon: ID:0076 is a code of China Mobile's.
_FIELD: Final = re.compile(
    r"(?<!:)\b(?:(?:(?:message|msg)[ _-]?)?(id)|(sub)|(dlvrd)"
    r"|(submit)[ _-]?(?:date|time)|(done)[ _-]?(?:date|time)"
    r"|(stat)(?:us|e)?|(err)(?:or)?(?:[ _-]?code)?|(text))\s*:",
    re.IGNORECASE,
)
_STANDARD: Final = re.compile(
    r"id:([^\s:]+) sub:(\d+) dlvrd:(\d+) submit date:(\d+) done date:(\d+) stat:(\w+) err:(\w+)"
    r" text:([^:]*)",
    re.ASCII | re.IGNORECASE,
)
"""As Appendix B has it, and with no colon that could begin another field: most receipts by far."""
_FIELD_NAMES: Final = ("id", "sub", "dlvrd", "submit", "done", "stat", "err", "text")
"""By the number of the group of `_FIELD` that matched, from 1."""
_DATE_FORMATS: Final = {
    10: ("%y%m%d%H%M", timedelta(minutes=1)),
    12: ("%y%m%d%H%M%S", timedelta(seconds=1)),
    14: ("%Y%m%d%H%M%S", timedelta(seconds=1)),
}
"""By their digits: the format, and how much time one such date spans."""
_OLDEST_DONE: Final = timedelta(hours=72)
"""Status reports arrive up to 72 hours after the hand-over: an older done date is a wrong clock."""
_OLDEST_SUBMIT: Final = timedelta(days=7)
"""No receipt is matched with an older message."""
_CLOCK_ERROR: Final = timedelta(minutes=5)


class UnusableReceipt(Exception):  # noqa: N818
    """A delivery receipt that names no message, so nothing can be matched with it."""


def read_deliver_sm(
    message: ShortMessage,
    now: datetime,
    zone: tzinfo = UTC,
    alphabet: Alphabet = Alphabet.GSM7,
    options: ReceiptOptions = AS_THEY_COME,
) -> Receipt | Reply:
    """Tell a receipt from a reply and read it.

    `now` is the moment it was received; `zone` is the time zone the message centre writes its dates in, and
    `alphabet` what it means by the default one; `options` say what else its receipts have in common.
    Raises `UnusableReceipt`.
    """
    fields = _fields(_text(message))
    if not _is_receipt(message, fields):
        said = reply_text(message, alphabet)
        return Reply(_number(message.source.digits, options), message.destination.digits, said, now)
    message_id = _c_octets(message.tlv(Tag.RECEIPTED_MESSAGE_ID)) or _first_word(fields.get("id", ""))
    if not message_id:
        raise UnusableReceipt("a delivery receipt without a message id")
    state, status = _state(message.tlv(Tag.MESSAGE_STATE), _first_word(fields.get("stat", "")))
    return Receipt(
        gateway_message_id=options.receipt_id(message_id),
        number=_number(message.source.digits, options),
        state=state,
        status=status,
        error_code=_error_code(_first_word(fields.get("err", "")), message.tlv(Tag.NETWORK_ERROR_CODE)),
        received_at=_done_date(fields.get("done", ""), now, zone),
        submitted_at=_submit_date(fields.get("submit", ""), now, zone),
        sender=message.destination.digits.strip() or None,
        reference=_reference(message.tlv(Tag.USER_MESSAGE_REFERENCE)),
        whole_message=options.whole_message,
        same_id=options.same_id,
    )


def state_of(status: str) -> ReceiptState:
    """Reduce a raw state.

    A vendor's own word (MILIMIT, BLACK, MK:0001) says why a message was not delivered.
    """
    word = status.upper()
    if word in DELIVERED:
        return ReceiptState.DELIVERED
    if word in NOT_FINAL:
        return ReceiptState.NOT_FINAL
    return ReceiptState.FAILED


def _is_receipt(message: ShortMessage, fields: dict[str, str]) -> bool:
    kind = message.esm_class & pdu.MESSAGE_TYPE
    if kind in (pdu.DELIVERY_RECEIPT, pdu.INTERMEDIATE_NOTIFICATION):
        return True
    if message.tlv(Tag.RECEIPTED_MESSAGE_ID) is not None:
        return True
    # Some centres leave esm_class at 0. Three fields together are no coincidence in a reply.
    return "id" in fields and "stat" in fields and not fields.keys().isdisjoint({"sub", "dlvrd", "done"})


def _text(message: ShortMessage) -> str:
    """The octets but for the zeros, with which ASCII is the same in every coding, whatever is declared.

    A header, or what of a quoted text is no ASCII, is rubbish between the fields.
    """
    return message.payload.replace(b"\0", b"").decode("latin-1")


def _fields(text: str) -> dict[str, str]:
    """Find the fields.

    What stands behind `text:` may be the message's own words: it counts only for fields found nowhere before,
    and of several with one name the last does, for the words come first.
    """
    if standard := _STANDARD.fullmatch(text):
        return dict(zip(_FIELD_NAMES, standard.groups(), strict=True))
    found: dict[str, str] = {}
    quoted: dict[str, str] = {}
    name, start = "", 0
    for match in _FIELD.finditer(text):
        _keep(found, quoted, name, text[start : match.start()])
        name, start = _FIELD_NAMES[(match.lastindex or 1) - 1], match.end()
    _keep(found, quoted, name, text[start:])
    return quoted | found if quoted else found


def _keep(found: dict[str, str], quoted: dict[str, str], name: str, value: str) -> None:
    if "text" in found:
        quoted[name] = value.strip()
    elif name:
        found.setdefault(name, value.strip())


def _first_word(value: str) -> str:
    return value.split(maxsplit=1)[0].strip("\"',;|") if value else ""


def _c_octets(value: bytes | None) -> str:
    return value.rstrip(b"\0").decode("latin-1").strip() if value else ""


def _state(message_state: bytes | None, stat: str) -> tuple[ReceiptState, str]:
    """The parameter decides.

    The text's word is kept beside it where it agrees, since vendors say more there.
    """
    named = MESSAGE_STATES.get(message_state[0], "") if message_state else ""
    if len(stat) == 1 and stat in string.digits:
        stat = MESSAGE_STATES[int(stat)]
    if named and (not stat or state_of(stat) is not state_of(named)):
        return state_of(named), named
    return state_of(stat), stat or "UNKNOWN"


def _error_code(err: str, network_error_code: bytes | None) -> str | None:
    """What `err:` says, unless that is nothing but zeros and the parameter says more.

    The parameter is one octet of network type and two of code.
    """
    if not err.strip("0") and network_error_code and len(network_error_code) == 3:
        return str(int.from_bytes(network_error_code[1:], "big"))
    return err or None


def _reference(value: bytes | None) -> int | None:
    """user_message_reference (5.3.2.17): two octets."""
    return int.from_bytes(value, "big") if value and len(value) == 2 else None


def _number(given: str, options: ReceiptOptions) -> str:
    given = given.strip()
    digits = given.removeprefix("+").removeprefix("00")
    if not (digits.isascii() and digits.isdigit()):
        return given.removeprefix("+")
    international = given != digits
    return f"+{digits if international else options.e164(digits)}"


def _done_date(value: str, now: datetime, zone: tzinfo) -> datetime:
    """The done date where it is sane: no later than now, no older than a receipt can be.

    It is the end of what it spans, lest a message be delivered before it was sent.
    """
    date = _read_date(value, zone)
    if date is None or not now - _OLDEST_DONE <= date.end <= now + _CLOCK_ERROR:
        return now
    return min(date.end, now)


def _submit_date(value: str, now: datetime, zone: tzinfo) -> datetime | None:
    date = _read_date(value, zone)
    if date is None or not now - _OLDEST_SUBMIT <= date.start <= now + _CLOCK_ERROR:
        return None
    return date.start


class _Date(NamedTuple):
    """The minute or second that a date spans."""

    start: datetime
    end: datetime


@lru_cache(maxsize=1024)
def _read_date(value: str, zone: tzinfo) -> _Date | None:
    digits = re.sub(r"\D", "", value)
    if len(digits) not in _DATE_FORMATS:
        return None
    date_format, span = _DATE_FORMATS[len(digits)]
    try:
        start = datetime.strptime(digits, date_format).replace(tzinfo=zone).astimezone(UTC)
        return _Date(start, start + span)
    except (ValueError, OverflowError):
        return None
