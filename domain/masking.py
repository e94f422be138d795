"""Phone numbers as they may be shown to those who are not to know them: in logs, and to some roles."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

DIGITS_SHOWN = 4
"""How many digits at the end of a masked number are shown."""

# Longer than a clock reading or a port, as short as a number may be; not inside an identifier or a fraction.
_NUMBER = re.compile(r"(?<![\w.])(\+?\d{3})\d{2,10}(\d{2})(?!\w)")
_BEARER = re.compile(r"(?i)(bearer\s+)[^\s\"',]+")
_DIGIT = re.compile(r"\d")
_AS_THEY_ARE = frozenset({"timestamp", "level", "request_id", "trace_id", "span_id"})


def masked(text: str) -> str:
    """The text with the middle of phone numbers, and bearer tokens, starred out."""
    return _BEARER.sub(r"\1***", _NUMBER.sub(r"\1****\2", text))


def masked_number(text: str) -> str:
    """What was given as a number, without four digits before its last four: +86138****5678.

    Shorter ones show less: at most five digits at the beginning, and of fewer than eight only the last two.
    """
    digits = [found.start() for found in _DIGIT.finditer(text)]
    if len(digits) < 8:
        hidden = digits[:-2]
        return "".join("*" if at in hidden else character for at, character in enumerate(text))
    head = min(5, len(digits) - 8)
    return f"{text[: digits[head]]}****{text[digits[-DIGITS_SHOWN] :]}"


def mask_event(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: no phone number gets into the log, whoever forgot to mask it."""
    for name, value in event.items():
        if name not in _AS_THEY_ARE:
            event[name] = _without_numbers(value)
    return event


def _without_numbers(value: Any) -> Any:
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {name: _without_numbers(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_numbers(each) for each in value]
    return value
