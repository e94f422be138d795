"""Storing a new task with all its numbers: one transaction, the numbers by COPY."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import structlog

from domain import db, feed, message_stores
from domain.binary_copy import message_rows
from domain.db import Connection
from domain.errors import RecipientSummary
from domain.pricing import PriceList
from domain.recipient_file import Recipients
from domain.schedule import OVERDUE_AFTER
from domain.segments import Content
from domain.selection import Choice
from domain.states import ROW_REJECTIONS

log = structlog.get_logger()

CHUNK_SIZE = 1000
"""Messages a worker claims at once, at most."""
CHUNKS_AT_LEAST = 8
"""A task is cut into about so many chunks, if it is not tiny, for so many workers to have a hand in it: one
that only one of them could send would get less than its share of the gateway."""
SMALLEST_CHUNK = 100
"""A chunk of fewer segments is not worth its claim."""
COUNTER_SHARDS = 4
"""Rows a task's counters are spread over."""


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task about to be stored."""

    account_id: int
    currency: str
    """ISO 4217."""
    name: str
    choice: Choice
    content: Content
    send_at: datetime
    price_list: PriceList
    """Kept with the task, so that its bill never changes under it."""
    estimated_amount: Decimal
    resend_of: int | None = None
    """The task whose failed numbers these are."""


async def insert_task(
    new: NewTask,
    recipients: Recipients,
    summary: RecipientSummary,
    *,
    also: Callable[[Connection, int], Awaitable[None]] | None = None,
) -> int:
    """Store the task, its numbers, its rejected rows and what dispatch needs; returns the task's id.

    `also` runs in the same transaction, with the task's id.
    """
    is_large = summary.rows >= message_stores.OWN_FROM
    own = await message_stores.own_store() if is_large else None
    async with db.transaction() as conn:
        task_id, store = await message_stores.admit(conn, own)
        await _insert_task_row(conn, task_id, new, summary)
        await conn.copy_to_table(
            store.messages,
            source=message_rows(task_id, recipients.numbers),
            columns=("task_id", "position", "number"),
            format="binary",
            freeze=store.is_new,  # nobody can look before the commit: no vacuum need say so later
        )
        await conn.copy_records_to_table(
            store.rejected_rows,
            records=_rejected(task_id, recipients),
            columns=("task_id", "row", "reason", "value"),
        )
        await _insert_chunks(conn, task_id, summary.imported, len(new.content.segments))
        if also is not None:
            await also(conn, task_id)
        if store.is_new:
            await message_stores.attach(conn, store)
        await feed.announce(conn, new.account_id, task_id)
    if not is_large:
        try:
            await message_stores.close_if_full(store)
        except db.UNAVAILABLE as error:  # the task is stored, and must not seem to have failed
            log.warning("store_not_closed", store=store.number, error=str(error) or type(error).__name__)
    return task_id


async def _insert_task_row(conn: Connection, task_id: int, new: NewTask, summary: RecipientSummary) -> None:
    choice = new.choice
    await conn.execute(
        """
        INSERT INTO task (
            id, account_id, name, status, application_id, signature_id, template_id, region, gateway, sender,
            text, encoding, segments_per_message, send_at, deadline_at, created_at,
            imported, invalid, duplicates, opted_out, sms_type, currency, prices, estimated_amount,
            resend_of_id
        ) VALUES (
            $23, $1, $2, 'SCHEDULED', $3, $4, $5, $6, $7, $8,
            $9, $10, $11, $12, $12::timestamptz + $13, groupsms_now(),
            $14, $15, $16, $17, $18, $19, $20, $21, $22
        )
        """,
        new.account_id,
        new.name,
        choice.application.id,
        choice.signature.id if choice.signature else None,
        choice.template.id,
        choice.application.region.value,
        choice.application.gateway,
        choice.sender,
        new.content.text,
        new.content.encoding.value,
        len(new.content.segments),
        new.send_at,
        OVERDUE_AFTER,
        summary.imported,
        summary.invalid,
        summary.duplicates,
        summary.opted_out,
        choice.template.type.value,
        new.currency,
        json.dumps(new.price_list.to_json()),
        new.estimated_amount,
        new.resend_of,
        task_id,
    )


def _rejected(task_id: int, recipients: Recipients) -> Iterator[tuple[int, int, int, str]]:
    return (
        (task_id, rejected.row, ROW_REJECTIONS.index(rejected.reason), rejected.value)
        for rejected in recipients.rejected
    )


async def _insert_chunks(conn: Connection, task_id: int, imported: int, segments: int) -> None:
    worth_it = -(-SMALLEST_CHUNK // segments)
    size = min(CHUNK_SIZE, max(worth_it, -(-imported // CHUNKS_AT_LEAST)))
    await conn.execute(
        """
        INSERT INTO chunk (task_id, index, first, last, marked)
        SELECT $1, i, i * $3 + 1, least((i + 1) * $3, $2), i * $3
        FROM generate_series(0, ($2 - 1) / $3) AS i
        """,
        task_id,
        imported,
        size,
    )
    await conn.execute(
        "INSERT INTO task_counter (task_id, shard) SELECT $1, s FROM generate_series(0, $2 - 1) AS s",
        task_id,
        COUNTER_SHARDS,
    )
