"""Global ids: opaque to clients, inside them a type and the key of an object of that type."""

from __future__ import annotations

import base64
import binascii
import re

import strawberry

NO_KEY = 0
"""The key of nothing: what an id that is none of ours is read as, so that no object is found."""

_INSIDE = re.compile(r"([A-Z][A-Za-z]*):((?:0|[1-9][0-9]{0,17})(?:\.[1-9][0-9]{0,8})?)")


def encode(type_name: str, key: int | str) -> strawberry.ID:
    """The global id of an object."""
    inside = f"{type_name}:{key}".encode()
    return strawberry.ID(base64.urlsafe_b64encode(inside).decode().rstrip("="))


def decode(global_id: str) -> tuple[str, str] | None:
    """The type's name and the key, or None for what is no id of ours."""
    try:
        padded = global_id + "=" * (-len(global_id) % 4)
        inside = base64.b64decode(padded.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    found = _INSIDE.fullmatch(inside)
    return (found[1], found[2]) if found else None


def key_of(type_name: str, global_id: str) -> int:
    """The key of an object of this type; `NO_KEY` if the id is none of such an object."""
    found = decode(global_id)
    if found is None or found[0] != type_name or "." in found[1]:
        return NO_KEY
    return int(found[1])
