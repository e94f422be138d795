"""Accounts and their first tokens, as the command line makes them."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain import audit, db
from domain.access import AT_THE_COMMAND_LINE, hash_of, new_secret
from domain.audit import AuditAction, AuditObject
from domain.errors import InvalidInput
from domain.names import name_errors
from domain.states import Role


async def create_account(name: str, *, time_zone: str | None = None, currency: str | None = None) -> bool:
    """Make an account, or set the time zone and the currency of the one there is; whether it is new.

    Raises `InvalidInput` for an unknown time zone, a currency that is not three letters, or an empty name.
    """
    check_account(name, time_zone, currency)
    async with db.transaction() as conn:
        _, is_new = await _settle_account(conn, name, time_zone, currency)
    return is_new


async def create_token(
    account_name: str,
    role: Role,
    *,
    name: str = "",
    time_zone: str | None = None,
    currency: str | None = None,
    expires_at: datetime | None = None,
) -> str:
    """Make a token of the account and return it; the account is made if need be.

    `name` is the token's. `time_zone` and `currency` are set on the account when given, also on one that
    exists. Raises `InvalidInput` for an unknown time zone, a currency that is not three letters, or a name
    that is none.
    """
    check_account(account_name, time_zone, currency)
    if name and (errors := name_errors("A token's name", name)):
        raise errors[0]
    token = new_secret()
    async with db.transaction() as conn:
        account_id, _ = await _settle_account(conn, account_name, time_zone, currency)
        token_id = await conn.fetchval(
            """
            INSERT INTO access_token (account_id, token_hash, role, name, created_by, expires_at)
            VALUES ($1, $2, $3, $4, $5, $6)
            RETURNING id
            """,
            account_id,
            hash_of(token),
            role.value,
            name.strip(),
            AT_THE_COMMAND_LINE,
            expires_at,
        )
        await audit.record(
            conn,
            account_id,
            AuditAction.TOKEN_CREATED,
            (AuditObject.TOKEN, token_id),
            role=role.value,
            expiresAt=expires_at,
        )
    return token


async def _settle_account(
    conn: db.Connection, name: str, time_zone: str | None, currency: str | None
) -> tuple[int, bool]:
    """The account's id, and whether it is new."""
    before = await conn.fetchrow("SELECT time_zone, currency FROM account WHERE name = $1 FOR UPDATE", name)
    account = await conn.fetchrow(
        """
        INSERT INTO account (name, time_zone, currency)
        VALUES ($1, coalesce($2, 'Asia/Shanghai'), coalesce($3, 'CNY'))
        ON CONFLICT (name) DO UPDATE
        SET time_zone = coalesce($2, account.time_zone), currency = coalesce($3, account.currency)
        RETURNING id, time_zone, currency, xmax = 0 AS is_new
        """,
        name,
        time_zone,
        currency,
    )
    assert account is not None, "it is there or made"
    if before is None or any(account[column] != value for column, value in before.items()):
        await audit.record(
            conn,
            account["id"],
            AuditAction.ACCOUNT_CREATED if account["is_new"] else AuditAction.ACCOUNT_CHANGED,
            (AuditObject.ACCOUNT, account["id"]),
            timeZone=time_zone,
            currency=currency,
        )
    return account["id"], account["is_new"]


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
