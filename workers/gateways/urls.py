"""Reads a gateway's URL strictly. No message here ever contains a password."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


class GatewayUrl:
    """A gateway's URL in its parts.

    Every refusal is a ValueError of one line that begins with the gateway's name.
    """

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        rest = url.partition("://")[2]
        if "://" not in url:
            self.refuse("its URL has no scheme; smpp://… or simulator:// is expected")
        if "#" in rest or "@" in rest.partition("?")[2] or re.search(r"\s", url):
            # Such a URL has been cut in the wrong place: its parameters may be pieces of the password.
            self.refuse(
                "its URL is ambiguous; percent-encode @ : / ? # and blanks in the system_id and the password"
            )
        try:
            parts = urlsplit(url)
            self.port = parts.port
        except ValueError:
            self.refuse("its URL has no valid host and port; percent-encode @ : / ? # in the password")
        if parts.path not in ("", "/"):
            self.refuse("its URL has a path; a gateway has none (percent-encode a / in the password)")
        self.scheme = parts.scheme
        self.host = parts.hostname or ""
        try:
            self.host.encode("idna")
        except UnicodeError:
            self.refuse("its URL has no valid host and port: no host can have such a name")
        self.username = unquote(parts.username or "")
        self.password = unquote(parts.password or "")
        self._query = self._read_query(parts.query)

    def refuse(self, reason: str) -> NoReturn:
        """Raise the ValueError that names the gateway."""
        raise ValueError(f"gateway {self.name}: {reason}") from None

    def _read_query(self, query: str) -> dict[str, str]:
        pairs = parse_qsl(query, keep_blank_values=True)
        found = dict(pairs)
        if len(found) < len(pairs):
            self.refuse("a parameter of its URL is given twice")
        return found

    def read(self, known: Mapping[str, Callable[[GatewayUrl, str, str], Any]]) -> dict[str, Any]:
        """Return the parameters given, each read by its entry in `known`. Raises ValueError for any other."""
        for key in self._query:
            if key not in known:
                shown = f"'{key}'" if re.fullmatch(r"[a-z_]{1,20}", key) else "one"
                self.refuse(f"unknown parameter ({shown}) in its URL; known are {', '.join(sorted(known))}")
        return {key: known[key](self, key, value) for key, value in self._query.items()}


def whole(least: int, most: int) -> Callable[[GatewayUrl, str, str], int]:
    """Read a whole number within limits."""

    def read(url: GatewayUrl, key: str, value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not least <= int(value) <= most:
            url.refuse(f"{key} must be a whole number from {least} to {most}")
        return int(value)

    return read


def number(least: float, most: float) -> Callable[[GatewayUrl, str, str], float]:
    """Read a decimal number within limits."""

    def read(url: GatewayUrl, key: str, value: str) -> float:
        found = float(value) if re.fullmatch(r"[0-9]{0,9}(\.[0-9]{1,9})?", value) and value else math.nan
        if not least <= found <= most:
            url.refuse(f"{key} must be a number from {least:.10g} to {most:.10g}")
        return found

    return read


def text(longest: int) -> Callable[[GatewayUrl, str, str], str]:
    """Read plain ASCII text."""

    def read(url: GatewayUrl, key: str, value: str) -> str:
        if len(value) > longest or not value.isascii() or not value.isprintable():
            url.refuse(f"{key} must be at most {longest} ASCII characters")
        return value

    return read


T = TypeVar("T")


def one_of(choices: Mapping[str, T]) -> Callable[[GatewayUrl, str, str], T]:
    """Read one of a few words, each standing for a value."""

    def read(url: GatewayUrl, key: str, value: str) -> T:
        if value not in choices:
            url.refuse(f"{key} must be {' or '.join(choices)}")
        return choices[value]

    return read


def time_zone(url: GatewayUrl, key: str, value: str) -> ZoneInfo:
    """Read the name of a time zone, such as Asia/Shanghai."""
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        url.refuse(f"{key} must be a time zone such as Asia/Shanghai")
