"""Short-lived links to downloads, signed so that they work without a token, for one account and one path."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from datetime import UTC, datetime, timedelta

_BOUND = struct.Struct(">qq")  # the account and the second of expiry
_PURPOSE = b"groupsms download link 1\0"
_DIGEST_SIZE = hashlib.sha256().digest_size


class LinkRefusedError(Exception):
    """The link was not made by us for this path."""


class LinkExpiredError(LinkRefusedError):
    """The link was good once."""


class LinkSigner:
    """Signs and checks links; every process with the same secret agrees."""

    def __init__(self, secret_key: bytes) -> None:
        self._key = secret_key

    def sign(self, path: str, *, account_id: int, now: datetime, lifetime: timedelta) -> str:
        """The path with a `signature` that `verify` accepts until `now + lifetime`, rounded up to a second.

        `path` has no query string: whatever matters to the answer is part of the path.
        """
        if "?" in path:
            raise ValueError("only a path is signed, not a query string")
        expires = -int(-(now + lifetime).timestamp() // 1)
        bound = _BOUND.pack(account_id, expires)
        signature = base64.urlsafe_b64encode(bound + self._digest(path, bound)).decode()
        return f"{path}?signature={signature}"

    def verify(self, path: str, signature: str, *, now: datetime) -> int:
        """The account the link was made for.

        Raises `LinkRefusedError`, or `LinkExpiredError` when it was good once.
        """
        try:
            raw = base64.b64decode(signature.encode(), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise LinkRefusedError("not a signature") from error
        if len(raw) != _BOUND.size + _DIGEST_SIZE:
            raise LinkRefusedError("not a signature")
        bound, digest = raw[: _BOUND.size], raw[_BOUND.size :]
        if not hmac.compare_digest(digest, self._digest(path, bound)):
            raise LinkRefusedError("not signed by this service for this path")
        account_id, expires = _BOUND.unpack(bound)
        if now >= datetime.fromtimestamp(expires, UTC):
            raise LinkExpiredError("the link has expired")
        return int(account_id)

    def _digest(self, path: str, bound: bytes) -> bytes:
        return hmac.digest(self._key, _PURPOSE + bound + path.encode(), "sha256")
