"""The bearer tokens of an account, as its managers see them: made, listed, revoked, and when they were used.

Nobody makes or revokes a token with more rights than their own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from domain import access, audit, db, paging
from domain.access import Viewer, included
from domain.audit import AuditAction, AuditObject
from domain.errors import InvalidInput, NotFound, Refused, UserError
from domain.names import name_errors
from domain.paging import Page
from domain.states import Role

CREATED_BY_LENGTH = 255
"""Characters that are kept of who made a token."""

_COLUMNS = "id, name, role, created_at, created_by, expires_at, revoked_at, last_used_at"


@dataclass(frozen=True, slots=True)
class AccessTokenView:
    """A token, without its secret: that is not kept."""

    id: int
    name: str
    role: Role
    created_at: datetime
    created_by: str
    """The name of the token that made it, an identity provider's subject, or the command."""
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    """To the minute; None if it has not been used since that is noted."""


async def create_token(
    viewer: Viewer, *, name: str, role: Role, expires_at: datetime | None
) -> tuple[AccessTokenView, str]:
    """Make a token of the viewer's account; returns it and its secret, which is told this once.

    Raises `Refused` for a name that is none, a role above the viewer's own, or an expiry that has passed.
    """
    errors: list[UserError] = name_errors("A token's name", name)
    if role not in included(viewer.role):
        errors.append(
            InvalidInput(
                f"Your role is {viewer.role.value}: a token can't have more rights than that.", "role"
            )
        )
    if errors:
        raise Refused(errors)
    secret = access.new_secret()
    async with db.transaction() as conn:
        row = await conn.fetchrow(
            f"""
            INSERT INTO access_token (account_id, token_hash, role, name, created_at, created_by, expires_at)
            SELECT $1, $2, $3, $4, groupsms_now(),
                   left(coalesce($6, (SELECT name FROM access_token WHERE id = $5), ''), {CREATED_BY_LENGTH}),
                   $7
            WHERE $7::timestamptz IS NULL OR $7 > groupsms_now()
            RETURNING {_COLUMNS}
            """,
            viewer.account_id,
            access.hash_of(secret),
            role.value,
            name.strip(),
            viewer.token_id,
            viewer.subject,
            expires_at,
        )
        if row is None:
            raise Refused([InvalidInput("expiresAt has passed already.", "expiresAt")])
        await audit.record(
            conn,
            viewer.account_id,
            AuditAction.TOKEN_CREATED,
            (AuditObject.TOKEN, row["id"]),
            role=role.value,
            expiresAt=expires_at,
        )
    return _view(row), secret


async def revoke_token(account_id: int, token_id: int, *, by: Role) -> AccessTokenView:
    """Refuse a token of the account from now on; one that was revoked before stays as it is.

    Raises `NotFound`, or `InvalidInput` for a token with more rights than the role of whoever revokes it.
    """
    async with db.transaction() as conn:
        row = await conn.fetchrow(
            f"""
            UPDATE access_token SET revoked_at = groupsms_now()
            WHERE id = $1 AND account_id = $2 AND role = ANY($3::text[]) AND revoked_at IS NULL
            RETURNING {_COLUMNS}
            """,
            token_id,
            account_id,
            [role.value for role in included(by)],
        )
        if row is not None:
            await audit.record(conn, account_id, AuditAction.TOKEN_REVOKED, (AuditObject.TOKEN, token_id))
            return _view(row)
    found = await find_token(account_id, token_id)
    if found is None:
        raise NotFound("There is no such token.", "id")
    if found.role not in included(by):
        raise InvalidInput(
            f"Your role is {by.value}: a token with the role {found.role.value} can't be revoked with it.",
            "id",
        )
    return found


async def find_token(account_id: int, token_id: int) -> AccessTokenView | None:
    """A token of this account, also one that has expired or was revoked."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM access_token WHERE id = $1 AND account_id = $2", token_id, account_id
    )
    return _view(row) if row else None


async def list_tokens(account_id: int, *, first: int = 50, after: str | None = None) -> Page[AccessTokenView]:
    """A page of the account's tokens, newest first, also of those that are no longer good.

    Raises `InvalidInput`.
    """
    paging.check_size(first)
    key = paging.decode_cursor("tokens", after, (int,))
    rows = await db.fetch(
        f"""
        SELECT {_COLUMNS} FROM access_token
        WHERE account_id = $1 AND ($2::bigint IS NULL OR id < $2)
        ORDER BY id DESC LIMIT $3
        """,
        account_id,
        key[0] if key else None,
        first + 1,
    )
    return paging.page_of(
        rows, first, "tokens", item=_view, key=lambda row: [row["id"]], after=key is not None
    )


async def count_tokens(account_id: int) -> int:
    """How many tokens the account has, with those that are no longer good."""
    count: int = await db.fetchval("SELECT count(*) FROM access_token WHERE account_id = $1", account_id)
    return count


async def note_use(token_ids: Collection[int]) -> None:
    """Note that these tokens are in use: once a minute for each, whichever processes say so.

    A row that somebody else is changing is left to them.
    """
    await db.fetch(
        """
        UPDATE access_token SET last_used_at = groupsms_now()
        FROM (
            SELECT id FROM access_token
            WHERE id = ANY($1::bigint[])
              AND (last_used_at IS NULL OR last_used_at <= groupsms_now() - interval '1 minute')
            ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
        ) AS due
        WHERE access_token.id = due.id
        """,
        list(token_ids),
    )


def _view(row: asyncpg.Record) -> AccessTokenView:
    return AccessTokenView(**{**dict(row), "role": Role(row["role"])})
