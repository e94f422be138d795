"""Requests and answers of Huawei Cloud's Message & SMS API, batchSendSms v1. Pure.

Source: Huawei Cloud, Message & SMS, API Reference: "SMS Sending API", "Authentication" and "API Error Codes".
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import urlencode

from domain import huawei_reports
from domain.ports import Handover, Outcome, SegmentHandover

PATH: Final = "/sms/batchSendSms/v1"
MOST_NUMBERS: Final = 500
"""In one request; with more, none is sent. (Until 2020 the documents said 1000.)"""
ACCEPTED: Final = "000000"
BUSY: Final = frozenset({"E200015"})
"""Certainly not taken, and it passes: too much is waiting at the platform."""
_ABOUT_US: Final = frozenset({*range(1, 200), 620, 623, 629})
"""Codes about who asks, which a person can mend: E000001 to E000199, the headers, app_key, app_secret and the
account; E000620, addresses not on its list; E000623 and E000629, its quota."""
_NO_WAY_IN: Final = frozenset({401, 403, 404, 405, 407})
"""HTTP statuses that say the same; the documents explain 404 with a wrong application access address."""
_MOST_SEGMENTS: Final = 99


class Difficulty(Enum):
    """Why a platform takes nothing at all for now."""

    SET_UP = auto()
    """Credentials, address, account, quota: until a person mends it."""
    BUSY = auto()
    UNREACHABLE = auto()
    """Nothing was sent."""
    UNCLEAR = auto()
    """Something was sent, and nobody knows what became of it: to go on would put ever more in doubt."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Nothing of a request is known to be taken, and the next one would fare no better."""

    difficulty: Difficulty
    reason: str
    """For the log."""
    retry_after: float | None = None
    """Seconds, if the platform said."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer says of each number of its request."""

    handovers: dict[str, Handover] = field(default_factory=dict)
    """By number, all of them unless there is `trouble` with the whole request."""
    trouble: Trouble | None = None
    remark: str = ""
    """For the log, where the whole request was refused or its answer could not be read."""


class Kind(NamedTuple):
    """What the numbers of one request have in common."""

    sender: str
    """The channel number."""
    template_id: str
    signature: str | None
    segments: int
    """Of the text, as far as we know."""


def headers(app_key: str, app_secret: str, nonce: str, now: datetime) -> dict[str, str]:
    """The headers that prove who asks. `now` is UTC; the platform allows it to be 24 hours off.

    The digest is base64 over the hexadecimal text of the SHA-256, as in the documented example and all
    documented code but some of the Java.
    """
    created = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = hashlib.sha256(f"{nonce}{created}{app_secret}".encode()).hexdigest()
    password_digest = base64.b64encode(digest.encode()).decode()
    return {
        "Authorization": 'WSSE realm="SDP",profile="UsernameToken",type="Appkey"',
        "X-WSSE": (
            f'UsernameToken Username="{app_key}",PasswordDigest="{password_digest}",'
            f'Nonce="{nonce}",Created="{created}"'
        ),
    }


def form(kind: Kind, numbers: Iterable[str], callback: str | None, now: datetime) -> bytes:
    """The body of a request, application/x-www-form-urlencoded.

    `templateParas` is left out: a group task's template has no variables.
    """
    fields = {
        "from": kind.sender,
        "to": ",".join(numbers),
        "templateId": kind.template_id,
        "extend": huawei_reports.echo(kind.sender, now),
    }
    if kind.signature is not None:
        fields["signature"] = kind.signature
    if callback is not None:
        fields["statusCallback"] = callback
    return urlencode(fields).encode("ascii")


def read_answer(
    status: int, body: bytes, segments: Mapping[str, int], retry_after: float | None = None
) -> Reading:
    """What the answer with this HTTP status says of the numbers asked for.

    `segments` is how many each number's message has, as far as we know; the answer's `total` knows better.

    A result for each number counts, whatever the status, and so does a code of the platform's own; but with
    5xx only one that rules out that anything was taken. Without either, 2xx, 408 and 5xx leave it in doubt: a
    proxy on the way answers 502, 503 or 504 also for a platform that was at work already. Other 4xx, and
    redirections, which are not followed, are answered before anything is done (RFC 9110, 15.4 and 15.5; 429:
    RFC 6585, 4).
    """
    answer = _object(body)
    results, code = answer.get("result"), _text(answer.get("code"))
    if isinstance(results, list) and results:
        return Reading(_read_results(results, segments, retry_after), _busy_among(results, retry_after))
    said = (code or f"HTTP {status}", _text(answer.get("description")), _text(answer.get("error_code")))
    remark = " ".join(filter(None, said))
    if difficulty := _difficulty(code, status):
        return Reading(trouble=Trouble(difficulty, remark, retry_after))
    final = status < 500 and (_is_code(code) or (status >= 400 and status != HTTPStatus.REQUEST_TIMEOUT))
    if code == ACCEPTED or not final:
        return Reading({number: in_doubt(count) for number, count in segments.items()}, remark=remark)
    refused_as = code if _is_code(code) else f"HTTP {status}"
    return Reading({number: refused(count, refused_as) for number, count in segments.items()}, remark=remark)


def in_doubt(segments: int) -> Handover:
    """The request may have been taken."""
    return Handover(Outcome.IN_DOUBT, (SegmentHandover(None),) * segments)


def refused(segments: int, code: str) -> Handover:
    """It was refused for good."""
    return Handover(Outcome.REFUSED, (SegmentHandover(None, code),) * segments)


def not_taken(segments: int, retry_after: float) -> Handover:
    """It was certainly not taken."""
    return Handover(Outcome.NOT_HANDED_OVER, (SegmentHandover(None),) * segments, retry_after)


def _read_results(
    results: list[object], segments: Mapping[str, int], retry_after: float | None
) -> dict[str, Handover]:
    by_number: dict[str, dict[str, object]] = {}
    for result in results:
        if isinstance(result, dict):
            by_number.setdefault(_text(result.get("originTo")).strip().removeprefix("+"), result)
    return {
        number: _read_result(by_number.get(number.removeprefix("+")), count, retry_after)
        for number, count in segments.items()
    }


def _read_result(result: dict[str, object] | None, segments: int, retry_after: float | None) -> Handover:
    status = _text(result.get("status")) if result is not None else ""
    if result is None or not status:
        return in_doubt(segments)
    if status == ACCEPTED:
        total = result.get("total")
        count = total if isinstance(total, int) and 1 <= total <= _MOST_SEGMENTS else segments
        accepted = SegmentHandover(_text(result.get("smsMsgId")) or None)
        return Handover(Outcome.ACCEPTED, (accepted,) * count)
    if status in BUSY:
        return not_taken(segments, retry_after or 0.0)
    return refused(segments, status)


def _busy_among(results: list[object], retry_after: float | None) -> Trouble | None:
    codes = {_text(result.get("status")) for result in results if isinstance(result, dict)}
    busy = min(codes & BUSY, default=None)
    return Trouble(Difficulty.BUSY, busy, retry_after) if busy else None


def _difficulty(code: str, status: int) -> Difficulty | None:
    """Why the whole request was certainly not taken, if what is wrong is not the request itself."""
    if _is_code(code):
        if code in BUSY:
            return Difficulty.BUSY
        return Difficulty.SET_UP if int(code[1:]) in _ABOUT_US else None
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Difficulty.BUSY
    return Difficulty.SET_UP if 300 <= status < 400 or status in _NO_WAY_IN else None


def _is_code(code: str) -> bool:
    return len(code) == 7 and code[0] == "E" and code[1:].isascii() and code[1:].isdigit()


def _object(body: bytes) -> dict[str, object]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _text(value: object) -> str:
    return value[:200] if isinstance(value, str) else ""
