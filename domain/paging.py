"""Keyset paging: a cursor holds the values of the row it stands at; pages stay put while rows are added."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, overload

from domain import db
from domain.errors import InvalidInput

MAX_PAGE = 100

T = TypeVar("T")
R = TypeVar("R")
Key = list[str | int]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some consecutive items of a list, each with its cursor."""

    items: list[T]
    cursors: Sequence[str]
    has_next: bool
    has_previous: bool


class _Cursors(Sequence[str]):
    """The cursors of rows, each written when it is asked for: most answers show one or none."""

    def __init__(self, kind: str, rows: Sequence[R], key: Callable[[R], Key]) -> None:
        self._kind = kind
        self._rows = rows
        self._key = key

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return _Cursors(self._kind, self._rows[index], self._key)
        return encode_cursor(self._kind, self._key(self._rows[index]))


def check_size(first: int) -> int:
    """Return `first`, or raise `InvalidInput` if it is not 1 to 100."""
    if not 1 <= first <= MAX_PAGE:
        raise InvalidInput(f"first must be 1 to {MAX_PAGE}.", "first")
    return first


def encode_cursor(kind: str, key: Key) -> str:
    """An opaque cursor; `kind` names the list and its order, so that a cursor of another one is noticed."""
    return (
        base64.urlsafe_b64encode(json.dumps([kind, *key], separators=(",", ":")).encode())
        .decode()
        .rstrip("=")
    )


def decode_cursor(
    kind: str, cursor: str | None, types: Sequence[type], *, refusal: InvalidInput | None = None
) -> Key | None:
    """The key inside a cursor, or None if there is no cursor.

    Raises `refusal`, or an `InvalidInput` that speaks of `after`, for what is not a cursor of this list and
    order.
    """
    if cursor is None:
        return None
    refusal = refusal or InvalidInput(
        "after is not a cursor of this list in this order; take one from its pageInfo.", "after"
    )
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise refusal from error
    if not isinstance(found, list) or [type(part) for part in found] != [str, *types] or found[0] != kind:
        raise refusal
    if not all(_fits(part) for part in found):
        raise refusal
    return found[1:]


def _fits(part: str | int) -> bool:
    """Whether PostgreSQL could have given it to us: a cursor may be forged."""
    return db.can_hold(part) if isinstance(part, str) else abs(part) < 2**63


def page_of(
    rows: Sequence[R], first: int, kind: str, *, item: Callable[[R], T], key: Callable[[R], Key], after: bool
) -> Page[T]:
    """Make a page of up to `first` items from `first` + 1 rows asked for."""
    shown = rows[:first]
    return Page(
        items=[item(row) for row in shown],
        cursors=_Cursors(kind, shown, key),
        has_next=len(rows) > first,
        has_previous=after,
    )
