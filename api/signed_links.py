"""Short-lived links to downloads, signed so that they work without a token, for one account and one path.

A link also says who asked for it: the audit log tells of the download, and the link ends with their token.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from domain.audit import Actor, ActorKind
from domain.states import Role

_PURPOSE = b"groupsms download link 2\0"
_DIGEST_SIZE = hashlib.sha256().digest_size


class LinkRefusedError(Exception):
    """The link was not made by us for this path."""


class LinkExpiredError(LinkRefusedError):
    """The link was good once."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a link stands for."""

    account_id: int
    """Whose files it opens."""
    actor: Actor
    """Who asked for it."""


class LinkSigner:
    """Signs and checks links; every process with the same keys agrees."""

    def __init__(self, key: bytes, *accepted: bytes) -> None:
        """Links are signed with `key`; those signed with one of `accepted` are good, too."""
        self._keys = (key, *accepted)

    def sign(self, path: str, grant: Grant, *, now: datetime, lifetime: timedelta) -> str:
        """The path with a `signature` that `verify` accepts until `now + lifetime`, rounded up to a second.

        `path` has no query string: whatever matters to the answer is part of the path.
        """
        if "?" in path:
            raise ValueError("only a path is signed, not a query string")
        bound = _packed(grant, -int(-(now + lifetime).timestamp() // 1))
        signature = base64.urlsafe_b64encode(_digest(self._keys[0], path, bound) + bound).decode()
        return f"{path}?signature={signature}"

    def verify(self, path: str, signature: str, *, now: datetime) -> Grant:
        """What the link was made for.

        Raises `LinkRefusedError`, or `LinkExpiredError` when it was good once.
        """
        try:
            raw = base64.b64decode(signature.encode(), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise LinkRefusedError("not a signature") from error
        digest, bound = raw[:_DIGEST_SIZE], raw[_DIGEST_SIZE:]
        if not any(hmac.compare_digest(digest, _digest(key, path, bound)) for key in self._keys):
            raise LinkRefusedError("not signed by this service for this path")
        account_id, expires, kind, token_id, name, role = json.loads(bound)
        if now >= datetime.fromtimestamp(expires, UTC):
            raise LinkExpiredError("the link has expired")
        return Grant(account_id, Actor(ActorKind(kind), token_id, name, Role(role) if role else None))


def _packed(grant: Grant, expires: int) -> bytes:
    actor = grant.actor
    parts = [grant.account_id, expires, actor.kind, actor.id, actor.name, actor.role]
    packed = json.dumps(parts, separators=(",", ":")).encode()
    # Base64 has one way to write whole groups of three octets; anything else could be written in several.
    return packed + b" " * (-(_DIGEST_SIZE + len(packed)) % 3)


def _digest(key: bytes, path: str, bound: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + bound + b"\0" + path.encode(), "sha256")
