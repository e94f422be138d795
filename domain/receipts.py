"""Delivery receipts: stored, acknowledged by the gateway's adapter once that is committed, then applied.

A receipt and a segment belong together when gateway, id and number agree; carriers use ids again, so of
several messages the newest is meant. A receipt that comes before its segment was settled waits in the inbox:
whichever of the two is committed later finds the other. Results only move forward: a final one stays,
whatever comes after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import asyncpg

from domain import db
from domain.billing import Tariff, tariff
from domain.failures import receipt_code
from domain.imports import COUNTER_SHARDS
from domain.ports import Receipt, ReceiptState
from domain.states import SEND_RESULTS, SendResult

KEPT_FOR = timedelta(days=7)
"""How long a receipt that fits nothing is kept."""

_STATES = tuple(ReceiptState)
"""The inbox stores a state as its position here."""


async def store(gateway: str, receipts: Sequence[Receipt]) -> list[int]:
    """Commit receipts to the inbox; when this returns they may be acknowledged. Returns their inbox ids."""
    rows = await db.fetch(
        """
        INSERT INTO receipt_inbox
            (gateway, gateway_message_id, number, state, status, error_code, received_at)
        SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::smallint[], $5::text[], $6::text[],
                                 $7::timestamptz[])
        RETURNING id
        """,
        gateway,
        [_storable(receipt.gateway_message_id) for receipt in receipts],
        [_digits(receipt.number) for receipt in receipts],
        [_STATES.index(receipt.state) for receipt in receipts],
        [_storable(receipt.status) for receipt in receipts],
        [None if receipt.error_code is None else _storable(receipt.error_code) for receipt in receipts],
        [receipt.received_at for receipt in receipts],
    )
    return [row["id"] for row in rows]


def _storable(text: str) -> str:
    """The text without what PostgreSQL refuses: one odd octet must not keep a whole batch unacknowledged."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _digits(number: str) -> int:
    """A number as it is stored; 0, which is nobody's, for what is no number at all."""
    digits = number.removeprefix("+")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else 0


async def apply_stored(inbox_ids: Sequence[int], shard: int) -> set[int]:
    """Apply the receipts with these inbox ids where their segment is known; returns the tasks changed."""
    return await _apply("r.id = ANY($1::bigint[])", list(inbox_ids), shard)


async def apply_waiting(gateway_message_ids: Sequence[str], shard: int) -> set[int]:
    """Apply receipts that came before the segments with these ids were settled; returns the tasks changed."""
    return await _apply("r.gateway_message_id = ANY($1::text[])", list(gateway_message_ids), shard)


async def apply_left_over(shard: int, limit: int = 1000) -> set[int]:
    """Apply receipts whose process died between storing and applying; returns the tasks changed."""
    return await _apply(
        """r.id IN (
            SELECT i.id FROM receipt_inbox i JOIN segment s USING (gateway_message_id, gateway, number)
            ORDER BY i.id LIMIT $1
        )""",
        limit,
        shard,
    )


async def forget_unmatched() -> None:
    """Drop receipts that nothing has fitted for a week."""
    await db.fetch("DELETE FROM receipt_inbox WHERE stored_at < groupsms_now() - $1::interval", KEPT_FOR)


async def _apply(which: str, argument: object, shard: int) -> set[int]:
    async with db.transaction() as conn:
        # Locked in one order everywhere, so that two who apply receipts of the same messages never deadlock.
        matched = await conn.fetch(
            f"""
            SELECT r.id, s.task_id, s.position, s.index, s.number, s.charged,
                   r.state, r.received_at, r.status, r.error_code
            FROM receipt_inbox r
            JOIN segment s USING (gateway_message_id, gateway, number)
            JOIN message m USING (task_id, position)
            WHERE {which} AND NOT EXISTS (
                SELECT FROM segment AS later
                WHERE (later.gateway_message_id, later.gateway, later.number)
                    = (s.gateway_message_id, s.gateway, s.number)
                  AND (later.submitted_at, later.task_id, later.position)
                    > (s.submitted_at, s.task_id, s.position)
            )
            ORDER BY s.task_id, s.position, s.index, r.id
            FOR NO KEY UPDATE OF m
            """,
            argument,
        )
        if not matched:
            return set()
        taken = await conn.fetch(
            "DELETE FROM receipt_inbox WHERE id = ANY($1::bigint[]) RETURNING id",
            [row["id"] for row in matched],
        )
        mine = {row["id"] for row in taken}
        final = [row for row in matched if row["id"] in mine and _STATES[row["state"]] is not _NOT_FINAL]
        if not final:
            return set()
        # Whoever holds a counter may write the charges and failures of its shard.
        tasks = await conn.fetch(
            """
            SELECT task.id, task.region, task.prices
            FROM task_counter c JOIN task ON task.id = c.task_id
            WHERE c.task_id = ANY($1::bigint[]) AND c.shard = $2
            ORDER BY c.task_id FOR NO KEY UPDATE OF c
            """,
            [row["task_id"] for row in final],
            shard % COUNTER_SHARDS,
        )
        tariffs = {task["id"]: tariff(task["region"], task["prices"]) for task in tasks}
        verdicts = [_verdict(row, tariffs[row["task_id"]]) for row in final]
        changed = await conn.fetch(
            _APPLY,
            *([verdict[column] for verdict in verdicts] for column in range(9)),
            shard % COUNTER_SHARDS,
        )
        return {row["task_id"] for row in changed}


def _verdict(row: asyncpg.Record, tariff: Tariff) -> tuple[object, ...]:
    """What a final receipt makes of its segment, if it is the first of it: the columns of `_APPLY`."""
    code = receipt_code(row["status"], row["error_code"])
    result = _RESULT[_STATES[row["state"]]]
    charged = tariff.charges_result(result, code)
    return (
        row["task_id"],
        row["position"],
        row["index"],
        SEND_RESULTS.index(result),
        row["received_at"],
        code,
        charged,
        int(charged) - int(row["charged"]),
        tariff.unit_price(str(row["number"])),
    )


_NOT_FINAL = ReceiptState.NOT_FINAL
_RESULT = {ReceiptState.DELIVERED: SendResult.DELIVERED, ReceiptState.FAILED: SendResult.FAILED}

# The first final receipt of a segment counts; a message is delivered when all its segments are, and failed
# when one is. Only UNKNOWN messages move.
_APPLY = """
WITH receipt AS (
    SELECT DISTINCT ON (task_id, position, index) *
    FROM unnest($1::bigint[], $2::int[], $3::smallint[], $4::smallint[], $5::timestamptz[], $6::text[],
                $7::bool[], $8::int[], $9::numeric[])
        WITH ORDINALITY AS r (task_id, position, index, result, received_at, error_code, charged, charge,
                              unit_price, arrival)
    ORDER BY task_id, position, index, arrival
), moved AS (
    UPDATE segment s SET result = r.result, received_at = r.received_at,
                         error_code = CASE WHEN r.result = 3 THEN r.error_code END, charged = r.charged
    FROM receipt r
    WHERE s.task_id = r.task_id AND s.position = r.position AND s.index = r.index AND s.result = 1
    RETURNING s.task_id, s.position, s.index, s.result, s.received_at, s.error_code, r.charge, r.unit_price
), outcome AS (
    SELECT task_id, position, max(result) AS worst, bool_and(result = 2) AS delivered,
           max(received_at) AS received_at, min(error_code) AS error_code
    FROM (
        SELECT task_id, position, index, result, received_at, error_code FROM moved
        UNION ALL
        SELECT s.task_id, s.position, s.index, s.result, s.received_at, s.error_code
        FROM segment s
        WHERE (s.task_id, s.position) IN (SELECT task_id, position FROM moved)
          AND NOT EXISTS (SELECT FROM moved v WHERE (v.task_id, v.position, v.index)
                                                  = (s.task_id, s.position, s.index))
    ) AS parts
    GROUP BY task_id, position
), settled AS (
    UPDATE message m SET
        result = CASE WHEN o.worst = 3 THEN 3 ELSE 2 END,
        handover = 1,
        received_at = o.received_at,
        error_code = CASE WHEN o.worst = 3 THEN o.error_code END
    FROM outcome o
    JOIN message before ON before.task_id = o.task_id AND before.position = o.position
    WHERE m.task_id = o.task_id AND m.position = o.position AND m.result = 1 AND (o.worst = 3 OR o.delivered)
    RETURNING m.task_id, m.result, m.error_code, before.handover
), change AS (
    SELECT task_id,
           count(result) AS unknown,
           count(*) FILTER (WHERE handover = 2) AS in_doubt,
           count(*) FILTER (WHERE result = 2) AS delivered,
           count(*) FILTER (WHERE result = 3) AS failed
    FROM (SELECT DISTINCT task_id FROM moved) AS touched LEFT JOIN settled USING (task_id)
    GROUP BY task_id
), counted AS (
    UPDATE task_counter c SET
        revision = c.revision + 1,
        unknown = c.unknown - change.unknown,
        in_doubt = c.in_doubt - change.in_doubt,
        delivered = c.delivered + change.delivered,
        failed = c.failed + change.failed
    FROM change WHERE c.task_id = change.task_id AND c.shard = $10
), charged AS (
    INSERT INTO task_charge (task_id, shard, unit_price, segments)
    SELECT task_id, $10, unit_price, sum(charge) FROM moved
    GROUP BY task_id, unit_price HAVING sum(charge) <> 0
    ON CONFLICT (task_id, shard, unit_price)
        DO UPDATE SET segments = task_charge.segments + excluded.segments
), blamed AS (
    INSERT INTO task_failure (task_id, shard, error_code, messages)
    SELECT task_id, $10, error_code, count(*) FROM settled WHERE result = 3
    GROUP BY task_id, error_code
    ON CONFLICT (task_id, shard, error_code)
        DO UPDATE SET messages = task_failure.messages + excluded.messages
)
SELECT DISTINCT task_id FROM moved
"""
