"""Accounts and the bearer tokens that open them. A token is shown once; only its SHA-256 is stored."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain import db
from domain.errors import InvalidInput
from domain.states import Role

TOKEN_PREFIX = "gsms_"  # noqa: S105 - lets secret scanners and people recognise a token


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who is asking: an account, and what this token may do in it."""

    account_id: int
    account_name: str
    time_zone: str
    """IANA name."""
    currency: str
    """ISO 4217."""
    role: Role
    token_id: int
    expires_at: datetime | None


async def create_token(
    account_name: str,
    role: Role,
    *,
    time_zone: str | None = None,
    currency: str | None = None,
    expires_at: datetime | None = None,
) -> str:
    """Make a token of the account and return it; the account is made if need be.

    `time_zone` and `currency` are set on the account when given, also on one that exists.
    Raises `InvalidInput` for an unknown time zone, a currency that is not three letters, or an empty name.
    """
    check_account(account_name, time_zone, currency)
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    async with db.transaction() as conn:
        account_id = await conn.fetchval(
            """
            INSERT INTO account (name, time_zone, currency)
            VALUES ($1, coalesce($2, 'Asia/Shanghai'), coalesce($3, 'CNY'))
            ON CONFLICT (name) DO UPDATE
            SET time_zone = coalesce($2, account.time_zone), currency = coalesce($3, account.currency)
            RETURNING id
            """,
            account_name,
            time_zone,
            currency,
        )
        await conn.execute(
            "INSERT INTO access_token (account_id, token_hash, role, expires_at) VALUES ($1, $2, $3, $4)",
            account_id,
            _hash(token),
            role.value,
            expires_at,
        )
    return token


async def viewer_of(token: str) -> Viewer | None:
    """Whom a token speaks for; None if it is unknown, expired or revoked."""
    row = await db.fetchrow(
        """
        SELECT a.id, a.name, a.time_zone, a.currency, t.role, t.id AS token_id, t.expires_at
        FROM access_token t JOIN account a ON a.id = t.account_id
        WHERE t.token_hash = $1
          AND t.revoked_at IS NULL
          AND (t.expires_at IS NULL OR t.expires_at > groupsms_now())
        """,
        _hash(token),
    )
    if row is None:
        return None
    return Viewer(
        account_id=row["id"],
        account_name=row["name"],
        time_zone=row["time_zone"],
        currency=row["currency"],
        role=Role(row["role"]),
        token_id=row["token_id"],
        expires_at=row["expires_at"],
    )


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def check_account(name: str, time_zone: str | None, currency: str | None) -> None:
    """Raise `InvalidInput` for what cannot be an account's name, time zone or currency."""
    if not 1 <= len(name.strip()) <= 64:
        raise InvalidInput("An account's name has 1 to 64 characters.", "account")
    if time_zone is not None:
        try:
            ZoneInfo(time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise InvalidInput(
                f"{time_zone!r} is not an IANA time zone; write it like Europe/Madrid.", "time_zone"
            ) from error
    if currency is not None and not (len(currency) == 3 and currency.isascii() and currency.isupper()):
        raise InvalidInput(f"{currency!r} is not an ISO 4217 currency; write it like EUR.", "currency")
