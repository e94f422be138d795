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
from functools import lru_cache

from domain.failure_codes import (
    FAMILIES,
    NO_EXTERNAL_ID,
    PLATFORM_CODES,
    SET_UP,
    STATUSES,
    UNKNOWN,
    VENDOR,
    WORDS,
    FailureCause,
    Meaning,
)
from domain.states import Region


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
    meaning = _meaning(code) or UNKNOWN
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


_VENDORS_STATUSES = range(0x400, 0x500)

_STATUS = re.compile(r"0X([0-9A-F]{1,8})")
_FAMILY = re.compile(r"([A-Z]{2}): *(\d{1,6})(?:_\d+)?|([A-Z]{2})(\d{4,6})")
_STATE_AND_ERROR = re.compile(r"(\S+?)(?: ERR:|\*)(.+)")
_PLATFORM = re.compile(r"E([0-9]{6})")
_HTTP = re.compile(r"HTTP [0-9]{3}")

_REFUSALS = (_STATUS, _PLATFORM, _HTTP, re.compile(r"SC: *[0-9]{4}"))


@lru_cache(maxsize=4096)
def _meaning(code: str) -> Meaning | None:
    plain = code.strip().upper()
    if meaning := WORDS.get(plain):
        return meaning
    if status := _STATUS.fullmatch(plain):
        return _meaning_of_status(int(status[1], 16))
    if platform := _PLATFORM.fullmatch(plain):
        return PLATFORM_CODES.get(int(platform[1]), SET_UP)
    if _HTTP.fullmatch(plain):
        return SET_UP
    if family := _FAMILY.fullmatch(plain):
        return _meaning_in_family(family[1] or family[3], int(family[2] or family[4]))
    if parts := _STATE_AND_ERROR.fullmatch(plain):
        return _meaning(parts[1])
    return None


def _meaning_of_status(status: int) -> Meaning | None:
    return STATUSES.get(status) or (VENDOR if status in _VENDORS_STATUSES else None)


def _meaning_in_family(letters: str, number: int) -> Meaning | None:
    table, otherwise = FAMILIES.get(letters, ({}, None))
    return table.get(number, otherwise)


def _was_refused(code: str) -> bool:
    """Whether the gateway never took it, or its platform gave it to no carrier."""
    plain = code.strip().upper()
    return plain == NO_EXTERNAL_ID or any(form.fullmatch(plain) for form in _REFUSALS)
