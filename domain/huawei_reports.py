"""What Huawei Cloud's Message & SMS platform posts to us: status reports and replies. Pure.

Source: Huawei Cloud, Message & SMS, API Reference: "Status Report Receiving API" (one report, as a form),
"Batch Status Reports Receiving API" (up to 50, as JSON) and "Receiving Uplink SMSs" (one reply, as a form).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl

from domain.ports import Inbound, Receipt, ReceiptState, Reply

LONGEST_ID: Final = 50
LONGEST_ECHOED: Final = 100
"""Characters of a sender, so that `extend` keeps to its 128."""
LONGEST_STATUS: Final = 32
"""The platform's are up to 7 characters long."""
LONGEST_REPLY: Final = 2000
"""The platform's are up to 160 characters long."""
_MOST_FIELDS: Final = 50
_OLDEST: Final = timedelta(days=4)
"""Reports come up to 72 hours after the hand-over."""
_FASTEST_CLOCK: Final = timedelta(minutes=5)
_STATES: Final = {
    "DELIVRD": ReceiptState.DELIVERED,
    "ACCEPTD": ReceiptState.NOT_FINAL,
    "ENROUTE": ReceiptState.NOT_FINAL,
    "UNKNOWN": ReceiptState.NOT_FINAL,
}
"""Anything else is a failure, and its own reason: EXPIRED, UNDELIV, MK:0001, E200027, …"""


class NotAReportError(ValueError):
    """The body is nothing that the platform sends. The text tells what is wrong, and quotes nothing."""


def echo(sender: str, submitted_at: datetime) -> str:
    """What to send as `extend`, for reports to bring back: who sent it and when.

    Only a report that brings it back tells the number, too ("Status Report Receiving API", `to`).
    """
    return f"{sender[:LONGEST_ECHOED]}@{int(submitted_at.timestamp())}"


def read_form(body: bytes, now: datetime) -> list[Inbound]:
    """The report or reply of a form. Raises `NotAReportError`."""
    try:
        pairs = parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise NotAReportError("not a form") from error
    fields = dict(pairs)
    if "status" not in fields and "body" in fields:
        return [_reply(fields, now)]
    return [_receipt(fields, now)]


def read_json(body: bytes, now: datetime) -> list[Inbound]:
    """The reports of a batch, without those that cannot be read. Raises `NotAReportError` if that is all."""
    try:
        batch = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotAReportError("not JSON") from error
    reports = batch.get("statusReportList") if isinstance(batch, dict) else None
    if not isinstance(reports, list):
        raise NotAReportError("no statusReportList")
    found: list[Inbound] = []
    for report in reports:
        try:
            found.append(_receipt(_texts(report), now))
        except NotAReportError:
            continue
    if not found:
        raise NotAReportError("no report in the statusReportList can be read")
    return found


def _texts(report: object) -> dict[str, str]:
    fields = report if isinstance(report, dict) else {}
    return {name: str(value) for name, value in fields.items() if isinstance(value, (str, int))}


def _receipt(fields: Mapping[str, str], now: datetime) -> Receipt:
    message_id = _required(fields, "smsMsgId", LONGEST_ID)
    status = _required(fields, "status", LONGEST_STATUS).upper()
    sender, submitted_at = _echoed(fields.get("extend", ""), now)
    total, sequence = _count(fields.get("total")), _count(fields.get("sequence"))
    return Receipt(
        gateway_message_id=message_id,
        number=_number(fields.get("to", "")),
        state=_STATES.get(status, ReceiptState.FAILED),
        status=status,
        error_code=None,
        received_at=_moment(fields.get("updateTime"), now),
        submitted_at=submitted_at,
        sender=sender,
        same_id=True,
        # Of a message that was not split, whatever we had expected, the one report settles everything.
        segment=sequence if total > 1 and 1 <= sequence <= total else None,
    )


def _echoed(extend: str, now: datetime) -> tuple[str | None, datetime | None]:
    """What `echo` made it of; nothing of anything else."""
    sender, at, seconds = extend.rpartition("@")
    if not (at and seconds.isascii() and seconds.isdigit() and len(seconds) <= 11):
        return None, None
    submitted_at = datetime.fromtimestamp(int(seconds), UTC)
    if not now - _OLDEST <= submitted_at <= now + _FASTEST_CLOCK:
        return None, None
    return sender or None, submitted_at


def _reply(fields: Mapping[str, str], now: datetime) -> Reply:
    text = fields["body"]
    if len(text) > LONGEST_REPLY:
        raise NotAReportError("body is too long")
    _required(fields, "from", LONGEST_ID)
    return Reply(
        number=_number(fields["from"]),
        destination=_required(fields, "to", LONGEST_ID),
        text=text,
        received_at=_moment(fields.get("createTime"), now),
    )


def _required(fields: Mapping[str, str], name: str, longest: int) -> str:
    value = fields.get(name, "").strip()
    if not 1 <= len(value) <= longest:
        raise NotAReportError(f"{name} is missing or too long")
    return value


def _count(text: str | None) -> int:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 2 else 0


def _number(text: str) -> str:
    """E.164 with its plus sign, which a form that was not encoded turns into a blank; empty if it is none."""
    digits = text.strip().removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        return ""
    has_plus = text.startswith(("+", " "))
    if len(digits) == 11 and digits.startswith("1") and not has_plus:
        digits = f"86{digits}"  # as people in the mainland write it; with a plus it is North American
    return f"+{digits}"


def _moment(text: str | None, now: datetime) -> datetime:
    """A time as the platform writes it, `2018-04-13T06:31:46Z`; now, if there is none or it cannot be."""
    try:
        moment = datetime.strptime((text or "").strip(), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return now
    return min(moment, now) if moment >= now - _OLDEST else now
