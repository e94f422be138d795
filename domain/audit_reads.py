"""Reading the audit log of an account, newest first."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from domain import db, paging
from domain.audit import ActorKind, AuditAction, AuditObject
from domain.errors import InvalidInput
from domain.paging import Page
from domain.states import Role


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries to list; what is left out lets all through."""

    actions: tuple[AuditAction, ...] | None = None
    subject: tuple[str, int] | None = None
    """The object they are about: its type and its key."""
    actor_kinds: tuple[ActorKind, ...] | None = None
    token_id: int | None = None
    actor_name: str | None = None
    """The subject of an identity provider, or the login at a command line."""
    since: datetime | None = None
    """The first moment."""
    until: datetime | None = None
    """The moment before which."""

    def check(self) -> None:
        """Raise `InvalidInput` for a text that no name can have in it."""
        if self.actor_name is not None and not db.can_hold(self.actor_name):
            raise InvalidInput("No name has such characters.", "filter", "actorName")


@dataclass(frozen=True, slots=True)
class AuditEntryView:
    """One entry of the log."""

    id: int
    at: datetime
    action: AuditAction
    subject: tuple[AuditObject, int] | None
    details: dict[str, str]
    actor_kind: ActorKind
    token_id: int | None
    actor_name: str | None
    role: Role | None
    client_address: str
    user_agent: str
    request_id: str


_ENTRIES = """
    SELECT * FROM audit_entry
    WHERE account_id = $1
      AND ($2::text[] IS NULL OR action = ANY($2))
      AND ($3::text IS NULL OR (object_type, object_id) = ($3, $4::bigint))
      AND ($5::text[] IS NULL OR actor_kind = ANY($5))
      AND ($6::bigint IS NULL OR actor_id = $6)
      AND ($7::text IS NULL OR actor_name = $7)
      AND ($8::timestamptz IS NULL OR at >= $8)
      AND ($9::timestamptz IS NULL OR at < $9)
"""


async def list_entries(
    account_id: int, chosen: AuditFilter = AuditFilter(), *, first: int = 50, after: str | None = None
) -> Page[AuditEntryView]:
    """A page of the account's log. Raises `InvalidInput`."""
    paging.check_size(first)
    chosen.check()
    key = paging.decode_cursor("auditLog", after, (int,))
    rows = await db.fetch(
        f"{_ENTRIES} AND ($10::bigint IS NULL OR id < $10) ORDER BY id DESC LIMIT $11",
        *_conditions(account_id, chosen),
        key[0] if key else None,
        first + 1,
    )
    return paging.page_of(
        rows, first, "auditLog", item=_view, key=lambda row: [row["id"]], after=key is not None
    )


async def count_entries(account_id: int, chosen: AuditFilter = AuditFilter()) -> int:
    """How many entries there are."""
    count: int = await db.fetchval(
        f"SELECT count(*) FROM ({_ENTRIES}) AS found", *_conditions(account_id, chosen)
    )
    return count


async def find_entry(account_id: int, entry_id: int) -> AuditEntryView | None:
    """An entry of the account's log."""
    row = await db.fetchrow(
        "SELECT * FROM audit_entry WHERE account_id = $1 AND id = $2", account_id, entry_id
    )
    return _view(row) if row else None


def _conditions(account_id: int, chosen: AuditFilter) -> tuple[object, ...]:
    type_name, key = chosen.subject or (None, None)
    return (
        account_id,
        None if chosen.actions is None else [action.value for action in chosen.actions],
        type_name,
        key,
        None if chosen.actor_kinds is None else [kind.value for kind in chosen.actor_kinds],
        chosen.token_id,
        chosen.actor_name,
        chosen.since,
        chosen.until,
    )


def _view(row: asyncpg.Record) -> AuditEntryView:
    return AuditEntryView(
        id=row["id"],
        at=row["at"],
        action=AuditAction(row["action"]),
        subject=(AuditObject(row["object_type"]), row["object_id"]) if row["object_type"] else None,
        details=json.loads(row["details"]),
        actor_kind=ActorKind(row["actor_kind"]),
        token_id=row["actor_id"],
        actor_name=row["actor_name"],
        role=Role(row["role"]) if row["role"] else None,
        client_address=row["client_address"],
        user_agent=row["user_agent"],
        request_id=row["request_id"],
    )
