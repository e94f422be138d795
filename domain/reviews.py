"""What waits for an operator's decision, in all accounts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

import asyncpg

from domain import db, paging
from domain.paging import Page

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Reviewed(StrEnum):
    """What operators decide about, as the API names it."""

    SIGNATURE = "Signature"
    TEMPLATE = "Template"


@dataclass(frozen=True, slots=True)
class PendingReview:
    """A signature or template that nobody has decided about, and whose it is."""

    kind: Reviewed
    id: int
    created_at: datetime
    account_id: int
    account_name: str
    time_zone: str
    currency: str


async def list_pending(*, first: int = 50, after: str | None = None) -> Page[PendingReview]:
    """A page of what waits, in all accounts, the oldest first. Raises `InvalidInput`."""
    paging.check_size(first)
    key = paging.decode_cursor("pending-reviews", after, (int, str, int))
    since = _EPOCH + timedelta(microseconds=_bounded(key[0])) if key else None
    rows = await db.fetch(
        f"""
        SELECT found.kind, found.id, found.created_at, a.id AS account_id, a.name AS account_name,
               a.time_zone, a.currency
        FROM ({_pending_of("signature", Reviewed.SIGNATURE)}
              UNION ALL {_pending_of("template", Reviewed.TEMPLATE)}) AS found
        JOIN account a ON a.id = found.account_id
        ORDER BY found.created_at, found.kind COLLATE "C", found.id LIMIT $4
        """,
        since,
        key[1] if key else None,
        key[2] if key else None,
        first + 1,
    )
    return paging.page_of(
        rows,
        first,
        "pending-reviews",
        item=_pending,
        key=lambda row: [(row["created_at"] - _EPOCH) // timedelta(microseconds=1), row["kind"], row["id"]],
        after=key is not None,
    )


def _pending_of(table: str, kind: Reviewed) -> str:
    return f"""
        (SELECT '{kind}'::text AS kind, id, created_at, account_id FROM {table}
         WHERE status = 'PENDING'
           AND ($1::timestamptz IS NULL OR created_at >= $1
                AND (created_at, '{kind}'::text COLLATE "C", id) > ($1, $2::text, $3::bigint))
         ORDER BY created_at, id LIMIT $4)
    """


def _bounded(microseconds: str | int) -> int:
    """A cursor may be forged: what no moment has is read as the last or first there are."""
    return max(min(int(microseconds), 2**57), 0)


def _pending(row: asyncpg.Record) -> PendingReview:
    return PendingReview(**{**dict(row), "kind": Reviewed(row["kind"])})


async def count_pending() -> int:
    """How many wait, in all accounts."""
    count: int = await db.fetchval(
        """
        SELECT (SELECT count(*) FROM signature WHERE status = 'PENDING')
             + (SELECT count(*) FROM template WHERE status = 'PENDING')
        """
    )
    return count
