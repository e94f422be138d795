"""What a deliver_sm says: a delivery receipt in any of its dialects, or somebody's reply. Pure.

A receipt's facts are taken from the optional parameters first (SMPP 3.4, 5.3.2.12, 5.3.2.35, 5.3.2.31), then
from the text of Appendix B: `id:… sub:… dlvrd:… submit date:… done date:… stat:… err:… text:…`. Centres vary
the order and the case of those fields, leave some out, and write dates with or without seconds.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from domain.ports import Receipt, ReceiptState, Reply
from workers.smpp import pdu
from workers.smpp.pdu import ShortMessage, Tag
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

NOT_FINAL: Final = frozenset({"", "ENROUTE", "ACCEPTD", "UNKNOWN", "SCHEDULED", "BUFFERED", "ACCEPTED"})
DELIVERED: Final = frozenset({"DELIVRD", "DELIVERED"})

UCS2: Final = 8
"""data_coding of UCS-2 (5.2.19)."""

_FIELD: Final = re.compile(
    r"\b(?:(id)|(sub)|(dlvrd)|(submit)[ _]?date|(done)[ _]?date|(stat)(?:us)?|(err)(?:or)?|(text))\s*:",
    re.IGNORECASE,
)
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
_CLOCK_ERROR: Final = timedelta(minutes=5)


class UnusableReceipt(Exception):  # noqa: N818
    """A delivery receipt that names no message, so nothing can be matched with it."""


def read_deliver_sm(
    message: ShortMessage, now: datetime, zone: tzinfo = UTC, alphabet: Alphabet = Alphabet.GSM7
) -> Receipt | Reply:
    """Tell a receipt from a reply and read it.

    `now` is the moment it was received; `zone` is the time zone the message centre writes its dates in, and
    `alphabet` what it means by the default one.
    Raises `UnusableReceipt`.
    """
    text = _text(message)
    fields = _fields(text)
    if not _is_receipt(message, fields):
        said = reply_text(message, alphabet)
        return Reply(_number(message.source.digits), message.destination.digits, said, now)
    message_id = _c_octets(message.tlv(Tag.RECEIPTED_MESSAGE_ID)) or _first_word(fields.get("id", ""))
    if not message_id:
        raise UnusableReceipt("a delivery receipt without a message id")
    state, status = _state(message.tlv(Tag.MESSAGE_STATE), _first_word(fields.get("stat", "")))
    return Receipt(
        gateway_message_id=message_id,
        number=_number(message.source.digits),
        state=state,
        status=status,
        error_code=_first_word(fields.get("err", "")) or _network_error(message.tlv(Tag.NETWORK_ERROR_CODE)),
        received_at=_done_date(fields.get("done", ""), now, zone),
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
    octets = message.payload
    if message.esm_class & pdu.UDH_INDICATOR and octets:
        octets = octets[1 + octets[0] :]
    if message.data_coding == UCS2:
        return octets.decode("utf-16-be", errors="replace")
    return octets.rstrip(b"\0").decode("latin-1")


def _fields(text: str) -> dict[str, str]:
    """Find the fields.

    The message's own words, quoted after `text:`, count only for fields found nowhere before.
    """
    found: dict[str, str] = {}
    name, start = "", 0
    for match in _FIELD.finditer(text):
        if name:
            found.setdefault(name, text[start : match.start()].strip())
        name, start = _FIELD_NAMES[(match.lastindex or 1) - 1], match.end()
    if name:
        found.setdefault(name, text[start:].strip())
    return found


def _first_word(value: str) -> str:
    return value.split(maxsplit=1)[0].rstrip(",;") if value else ""


def _c_octets(value: bytes | None) -> str:
    return value.rstrip(b"\0").decode("latin-1").strip() if value else ""


def _state(message_state: bytes | None, stat: str) -> tuple[ReceiptState, str]:
    """The parameter decides.

    The text's word is kept beside it where it agrees, since vendors say more there.
    """
    named = MESSAGE_STATES.get(message_state[0], "") if message_state else ""
    if named and (not stat or state_of(stat) is not state_of(named)):
        return state_of(named), named
    return state_of(stat), stat or "UNKNOWN"


def _network_error(value: bytes | None) -> str | None:
    """network_error_code: one octet of network type, two of code."""
    return str(int.from_bytes(value[1:3], "big")) if value and len(value) == 3 else None


def _number(digits: str) -> str:
    digits = digits.strip().removeprefix("+")
    return f"+{digits.removeprefix('00')}" if digits.isdigit() else digits


def _done_date(value: str, now: datetime, zone: tzinfo) -> datetime:
    """The done date where it is sane: no later than now, no older than a receipt can be."""
    done = _read_date(value, zone)
    if done is None or not now - _OLDEST_DONE <= done <= now + _CLOCK_ERROR:
        return now
    return min(done, now)


@lru_cache(maxsize=1024)
def _read_date(value: str, zone: tzinfo) -> datetime | None:
    """The end of the minute or second that a date spans, lest a message be delivered before it was sent."""
    digits = re.sub(r"\D", "", value)
    if len(digits) not in _DATE_FORMATS:
        return None
    date_format, span = _DATE_FORMATS[len(digits)]
    try:
        return datetime.strptime(digits, date_format).replace(tzinfo=zone).astimezone(UTC) + span
    except (ValueError, OverflowError):
        return None
