"""Accounts and the bearer tokens that open them. A token is shown once; only its SHA-256 is stored."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import asyncpg

from domain import db
from domain.states import Role

TOKEN_PREFIX = "gsms_"  # noqa: S105 - lets secret scanners and people recognise a token


AT_THE_COMMAND_LINE = "groupsms token create"
"""Who made a token that nobody made over the API."""


@cache
def included(role: Role) -> frozenset[Role]:
    """The roles whose rights a role has: those before it, and itself."""
    ranks = list(Role)
    return frozenset(ranks[: ranks.index(role) + 1])


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
    token_id: int | None
    """None for a token of an identity provider."""
    expires_at: datetime | None
    subject: str | None = None
    """Whom an identity provider vouched for: its `sub`. None for a token of ours."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """What an identity provider says of the holder of a token that it has signed."""

    account_name: str
    role: Role
    subject: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Inquiry:
    """Whom a token speaks for, and whether counters of these tasks have moved."""

    token_hash: bytes
    task_ids: str = "{}"
    """Written as PostgreSQL writes an array."""
    vouched: Vouched | None = None
    """None: it is a token of ours."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The answer to an inquiry: who is asking, and how far things are at this moment."""

    viewer: Viewer
    place: int
    """The newest place in the account's change feed: see `domain.feed`."""
    counted: int
    """The sum of the counters' revisions of the tasks inquired about."""
    read_at: datetime
    """The database's clock."""


async def viewer_of(token: str) -> Viewer | None:
    """Whom a token speaks for; None if it is unknown, expired or revoked."""
    inquiry = Inquiry(hash_of(token))
    standing = (await standings([inquiry])).get(inquiry)
    return standing.viewer if standing else None


async def is_good(token_id: int) -> bool:
    """Whether a token has neither expired nor been revoked."""
    good: bool = await db.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM access_token
            WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > groupsms_now())
        )
        """,
        token_id,
    )
    return good


async def standings(inquiries: Collection[Inquiry]) -> dict[Inquiry, Standing]:
    """Answer many inquiries with one statement; nothing for a token that is unknown, expired or revoked.

    Those about tokens of an identity provider take a second one.
    """
    ours = [inquiry for inquiry in inquiries if inquiry.vouched is None]
    vouched = [inquiry for inquiry in inquiries if inquiry.vouched is not None]
    found: dict[Inquiry, Standing] = {}
    if ours:
        found |= await _standings_of_tokens(ours)
    if vouched:
        found |= await _standings_of_vouched(vouched)
    return found


async def _standings_of_tokens(inquiries: Sequence[Inquiry]) -> dict[Inquiry, Standing]:
    rows = await db.fetch(
        f"""
        SELECT asked.token_hash, asked.task_ids, {_STANDING},
               t.role, t.id AS token_id, t.expires_at, NULL AS subject
        FROM unnest($1::text[], $2::text[]) AS asked (token_hash, task_ids)
        JOIN access_token t ON t.token_hash = decode(asked.token_hash, 'hex')
        JOIN account a ON a.id = t.account_id
        WHERE t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > groupsms_now())
        """,
        # As text: about an array of bytea asyncpg would have to ask first, on each new connection.
        [inquiry.token_hash.hex() for inquiry in inquiries],
        [inquiry.task_ids for inquiry in inquiries],
    )
    return {Inquiry(bytes.fromhex(row["token_hash"]), row["task_ids"]): _standing(row) for row in rows}


async def _standings_of_vouched(inquiries: Sequence[Inquiry]) -> dict[Inquiry, Standing]:
    said = [inquiry.vouched for inquiry in inquiries if inquiry.vouched is not None]
    rows = await db.fetch(
        f"""
        SELECT asked.place, {_STANDING}, asked.role, NULL AS token_id, asked.expires_at, asked.subject
        FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[])
             WITH ORDINALITY AS asked (account_name, role, subject, expires_at, task_ids, place)
        JOIN account a ON a.name = asked.account_name
        WHERE asked.expires_at > groupsms_now()
        """,
        [each.account_name for each in said],
        [each.role.value for each in said],
        [each.subject for each in said],
        [each.expires_at for each in said],
        [inquiry.task_ids for inquiry in inquiries],
    )
    return {inquiries[row["place"] - 1]: _standing(row) for row in rows}


_STANDING = """
    a.id, a.name, a.time_zone, a.currency, a.change_seq, groupsms_now() AS read_at,
    (SELECT coalesce(sum(c.revision), 0)::bigint FROM task_counter c
     WHERE c.task_id = ANY(asked.task_ids::bigint[])) AS counted
"""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A token that is no longer good."""

    token_id: int
    revoked: bool
    """Otherwise it has expired."""


async def withdrawn(token_ids: Collection[int]) -> list[Withdrawn]:
    """Which of these tokens are no longer good; one statement, however many they are."""
    rows = await db.fetch(
        """
        SELECT asked.id, t.id IS NULL OR t.revoked_at IS NOT NULL AS revoked
        FROM unnest($1::bigint[]) AS asked (id)
        LEFT JOIN access_token t ON t.id = asked.id
        WHERE t.id IS NULL OR t.revoked_at IS NOT NULL OR t.expires_at <= groupsms_now()
        """,
        list(token_ids),
    )
    return [Withdrawn(row["id"], row["revoked"]) for row in rows]


def _standing(row: asyncpg.Record) -> Standing:
    viewer = Viewer(
        account_id=row["id"],
        account_name=row["name"],
        time_zone=row["time_zone"],
        currency=row["currency"],
        role=Role(row["role"]),
        token_id=row["token_id"],
        expires_at=row["expires_at"],
        subject=row["subject"],
    )
    return Standing(viewer, place=row["change_seq"], counted=row["counted"], read_at=row["read_at"])


def new_secret() -> str:
    """A token that nobody can guess."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def hash_of(token: str) -> bytes:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).digest()
