"""Addresses at which a gateway's platform reports to us, made so that nobody else can.

Huawei Cloud's platform does not authenticate its status reports ("Status Report Receiving API",
prerequisites), so the address itself is the secret: it carries a signature over the gateway's name. Every
process with the same key makes and accepts the same address, for ever; so does one that accepts that key
beside its own.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Collection
from urllib.parse import urlsplit

from domain.settings import Settings

_PURPOSE = b"groupsms callback address 1\0"


def callback_path(gateway: str) -> str:
    """The path at which a gateway's platform reports."""
    return f"/callbacks/{gateway}"


def callback_url(settings: Settings, gateway: str) -> str:
    """The address to give to a gateway's platform. Raises `SettingsError` without a key."""
    signature = _signature(settings.signing_key(), gateway)
    return f"{settings.public_url}{callback_path(gateway)}?signature={signature}"


def is_genuine(keys: Collection[bytes], gateway: str, signature: str) -> bool:
    """Whether a report for this gateway came to an address that was made with one of these keys."""
    given = signature.encode(errors="replace")
    return any(hmac.compare_digest(_signature(key, gateway).encode(), given) for key in keys)


def is_local(url: str) -> bool:
    """Whether an address leads a platform to itself instead of to us."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _signature(key: bytes, gateway: str) -> str:
    digest = hmac.digest(key, _PURPOSE + gateway.encode(), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
