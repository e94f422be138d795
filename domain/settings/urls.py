"""The URLs among the settings: which kinds are taken, and how they are shown without their secrets."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

DATABASE_SCHEMES = ("postgresql", "postgres")
REDIS_SCHEMES = ("redis", "rediss", "unix")
EXTERNAL_ID_SCHEMES = ("huawei", "huawei+http")
"""Of gateways whose platform sends only its own templates, by the ids it gave them."""
GATEWAY_SCHEMES = ("smpp", "smpps", *EXTERNAL_ID_SCHEMES, "simulator")

_PLACE = re.compile(r"(\[[^\]]*\]|[^:/]*)(:\d{1,5})?(/.*)?")


def with_scheme(url: str, schemes: tuple[str, ...]) -> str:
    """The URL, trimmed. Raises ValueError, fit to follow "X ", when it isn't one of these schemes."""
    url = url.strip()
    if "://" not in url:
        raise ValueError("is not a URL")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"is {redacted(url)!r}, which can't be read as a URL") from None
    if parts.scheme not in schemes:
        raise ValueError(f"is {redacted(url)!r}, of a kind not known here ({', '.join(schemes)})")
    needs_host = parts.scheme not in {"simulator", "unix", *DATABASE_SCHEMES}
    if needs_host and not host:
        raise ValueError(f"is {redacted(url)!r}, which names no host")
    return url


def redis_url(url: str) -> str:
    """The URL of a Redis. Raises ValueError, fit to follow "X ", for parameters that are not known."""
    parts = urlsplit(url)
    if unknown := parse_qs(parts.query).keys() - {"db"}:
        raise ValueError(f"has the unknown parameter {min(unknown)!r}")
    database = parse_qs(parts.query).get("db", [parts.path.lstrip("/") if parts.scheme != "unix" else ""])[0]
    if database and not database.isdecimal():
        raise ValueError(f"names the database {database!r}, which is not a number")
    return url


def origin(text: str) -> str:
    """An origin as browsers write it. Raises ValueError, fit to follow "X ", when it is more than that."""
    bare = with_scheme(text, ("http", "https")).rstrip("/")
    parts = urlsplit(bare)
    if parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"has {redacted(text)!r}, which is more than an origin")
    return bare.lower()


def local_url(host: str, port: int) -> str:
    """Where this machine reaches what listens there."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def redacted(url: str) -> str:
    """The URL without user name, password and query, fit for a log or an error."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "(not shown)"
    place = rest.rpartition("@")[2].partition("?")[0]
    if "@" not in rest and not _PLACE.fullmatch(place):
        return f"{scheme}://(not shown)"  # somebody forgot the host: what stands in its place is a password
    return f"{scheme}://{'***@' if '@' in rest else ''}{place}"
