"""Cursors that tell nothing: of lists whose order is that of phone numbers.

A cursor is encrypted with a stream that its own authentication code is the start of (SIV): the same cursor is
always sealed alike, and one that was altered, or sealed with another key, is none of ours.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from typing import overload

from domain.errors import InvalidInput

_PURPOSE = b"groupsms sealed cursor 1\0"
_CODE = 16
"""Octets of the authentication code."""
_BLOCK = 32
_LONGEST = 256 * _BLOCK
"""Octets of a cursor at most: blocks are numbered with one octet."""


class CursorSeal:
    """Seals and opens cursors; every process with the same key agrees."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """The first of the `keys` seals; any of them opens."""
        self._keys = [hmac.digest(key, _PURPOSE, "sha256") for key in keys]

    def seal(self, cursor: str) -> str:
        """The cursor, unreadable."""
        plain = cursor.encode()
        code = _code(self._keys[0], plain)
        return base64.urlsafe_b64encode(code + _mixed(self._keys[0], code, plain)).decode().rstrip("=")

    def open(self, sealed: str | None) -> str | None:
        """The cursor that was sealed; None for None. Raises `InvalidInput` for what is no sealed cursor."""
        if sealed is None:
            return None
        try:
            raw = base64.b64decode(sealed + "=" * (-len(sealed) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise _refusal() from error
        code, hidden = raw[:_CODE], raw[_CODE:]
        if len(hidden) > _LONGEST:
            raise _refusal()
        for key in self._keys:
            plain = _mixed(key, code, hidden)
            if hmac.compare_digest(_code(key, plain), code):
                return plain.decode()
        raise _refusal()


class SealedCursors(Sequence[str]):
    """The cursors of a page, each sealed when it is asked for."""

    def __init__(self, cursors: Sequence[str], seal: CursorSeal) -> None:
        self._cursors = cursors
        self._seal = seal

    def __len__(self) -> int:
        return len(self._cursors)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return SealedCursors(self._cursors[index], self._seal)
        return self._seal.seal(self._cursors[index])


def _code(key: bytes, plain: bytes) -> bytes:
    return hmac.digest(key, b"code" + plain, "sha256")[:_CODE]


def _mixed(key: bytes, code: bytes, text: bytes) -> bytes:
    """The text, encrypted or decrypted."""
    blocks = range(-(-len(text) // _BLOCK))
    stream = b"".join(hmac.digest(key, b"stream" + code + bytes([block]), "sha256") for block in blocks)
    return bytes(a ^ b for a, b in zip(text, stream, strict=False))


def _refusal() -> InvalidInput:
    return InvalidInput("after is not a cursor of this list; take one from its pageInfo.", "after")
