"""Idempotency keys: the same key with the same request gives the first answer, and makes nothing twice.

A key is taken in a short transaction under a lease that is renewed while the request is worked on, and bound
to its answer in the very transaction that stores the task. Whoever comes meanwhile waits, holding no
connection; if the first one fails or dies, the next takes over.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import structlog

from domain import db
from domain.db import Connection
from domain.errors import Busy, InvalidInput, KeyReused

log = structlog.get_logger()

KEY_LENGTH = 255
LEASE = timedelta(seconds=15)
LIVES_ON = timedelta(hours=24)
"""How long after the send time a key is remembered."""
_LOOK_AGAIN = 0.1
"""Seconds between two looks at a key that somebody else holds."""

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key this request holds."""

    account_id: int
    key: str
    owner: UUID

    async def bind(self, conn: Connection, answer: Answer, send_at: datetime) -> None:
        """Store the answer; to be called in the transaction that stores what was made.

        Raises `Busy`, and the transaction must fail with it, if the lease ran out and somebody took over.
        """
        bound = await conn.fetchval(
            """
            UPDATE idempotency_key SET answer = $4, expires_at = $5
            WHERE account_id = $1 AND key = $2 AND owner = $3 AND answer IS NULL
            RETURNING key
            """,
            self.account_id,
            self.key,
            self.owner,
            json.dumps(answer),
            send_at + LIVES_ON,
        )
        if bound is None:
            raise Busy(
                "Another request with the same idempotency key took over; ask again.", "idempotencyKey"
            )

    async def release(self) -> None:
        """Give the key up, unless an answer is bound to it."""
        await db.fetch(
            """
            DELETE FROM idempotency_key
            WHERE account_id = $1 AND key = $2 AND owner = $3 AND answer IS NULL
            """,
            self.account_id,
            self.key,
            self.owner,
        )

    async def renew_for_ever(self) -> None:
        """Keep the lease from running out."""
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 3)
            try:
                await db.fetch(
                    """
                    UPDATE idempotency_key SET lease_until = groupsms_now() + $4
                    WHERE account_id = $1 AND key = $2 AND owner = $3 AND answer IS NULL
                    """,
                    self.account_id,
                    self.key,
                    self.owner,
                    LEASE,
                )
            except db.UNAVAILABLE as error:
                log.warning("idempotency_lease_not_renewed", error=str(error))


def check_key(key: str) -> None:
    """Raise `InvalidInput` for a key that cannot be one."""
    if not (1 <= len(key) <= KEY_LENGTH and db.can_hold(key)):
        raise InvalidInput(f"An idempotency key has 1 to {KEY_LENGTH} characters.", "idempotencyKey")


@asynccontextmanager
async def taken(account_id: int, key: str, request_hash: bytes) -> AsyncIterator[HeldKey | Answer]:
    """Hold the key for the block, or yield the answer it is bound to, waiting for it if need be.

    Raises `KeyReused` if the key was used with another request.
    """
    check_key(key)
    held = await _take(account_id, key, request_hash)
    if not isinstance(held, HeldKey):
        yield held
        return
    renewing = asyncio.create_task(held.renew_for_ever())
    try:
        yield held
    finally:
        renewing.cancel()
        await held.release()


async def _take(account_id: int, key: str, request_hash: bytes) -> HeldKey | Answer:
    owner = uuid4()
    while True:
        taken = await db.fetchval(
            """
            INSERT INTO idempotency_key AS k (account_id, key, request_hash, owner, lease_until)
            VALUES ($1, $2, $3, $4, groupsms_now() + $5)
            ON CONFLICT (account_id, key) DO UPDATE SET
                request_hash = excluded.request_hash, owner = excluded.owner,
                lease_until = excluded.lease_until, answer = NULL, expires_at = NULL
            WHERE k.answer IS NULL AND k.lease_until <= groupsms_now() OR k.expires_at <= groupsms_now()
            RETURNING owner
            """,
            account_id,
            key,
            request_hash,
            owner,
            LEASE,
        )
        if taken is not None:
            return HeldKey(account_id, key, owner)
        row = await db.fetchrow(
            "SELECT request_hash, answer FROM idempotency_key WHERE account_id = $1 AND key = $2",
            account_id,
            key,
        )
        if row is None:
            continue
        if row["request_hash"] != request_hash:
            raise KeyReused(
                "This idempotency key was used with another request. Take a new key, or repeat that request.",
                "idempotencyKey",
            )
        if row["answer"] is not None:
            answer: Answer = json.loads(row["answer"])
            return answer
        await asyncio.sleep(_LOOK_AGAIN)


async def follow_send_time(conn: Connection, account_id: int, task_id: int, send_at: datetime) -> None:
    """Let the key that made a task live until 24 hours after its new send time."""
    await conn.execute(
        """
        UPDATE idempotency_key SET expires_at = $3
        WHERE account_id = $1 AND (answer ->> 'task_id')::bigint = $2
        """,
        account_id,
        task_id,
        send_at + LIVES_ON,
    )


async def forget_expired() -> None:
    """Drop keys that are remembered no longer, and those whose request died."""
    await db.fetch(
        """
        DELETE FROM idempotency_key
        WHERE expires_at <= groupsms_now() OR answer IS NULL AND lease_until < groupsms_now() - $1::interval
        """,
        LIVES_ON,
    )
