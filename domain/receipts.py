"""Delivery receipts: stored, acknowledged by the gateway's adapter once that is committed, then applied.

A receipt and a segment belong together when gateway, id and number agree; carriers use ids again, so of
several messages the newest is meant, and none that was handed over long before or after. A receipt that comes
before its segment was settled waits in the inbox: whichever of the two is committed later finds the other.
What still fits nothing is looked into by `domain.strays`. Results only move forward: a final one stays,
whatever comes after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from domain import db, gateway_ids
from domain.billing import Tariff, tariff
from domain.db import Connection
from domain.failures import receipt_code
from domain.gateway_ids import IdForm
from domain.imports import COUNTER_SHARDS
from domain.ports import Receipt, ReceiptState
from domain.states import SEND_RESULTS, SendResult

KEPT_FOR = timedelta(days=7)
"""How long a receipt that fits nothing is kept."""
LATEST = timedelta(days=7)
"""How long after the hand-over a receipt is still taken for that message's: carriers use ids again."""
AHEAD = timedelta(minutes=15)
"""How much earlier than its segment's record a receipt may come: an answer is waited for at most 10 minutes,
and a lease runs on."""

LONGEST_TEXT = 255
"""Characters of an id, a state or a code that are kept: SMPP allows 64 for an id, an index page 2,700."""
_NO_SEGMENT = 256
"""Beyond any: what is no segment's number must match none."""

_STATES = tuple(ReceiptState)
"""The inbox stores a state as its position here."""


async def store(gateway: str, receipts: Sequence[Receipt]) -> list[int]:
    """Commit receipts to the inbox; when this returns they may be acknowledged. Returns their inbox ids."""
    if not receipts:
        return []
    rows = await db.fetch(
        """
        INSERT INTO receipt_inbox
            (gateway, gateway_message_id, number, state, status, error_code, received_at,
             submitted_at, sender, reference, segment, whole_message, same_id)
        SELECT $1,
               CASE WHEN f.form <> 'same' AND NOT r.same_id
                    THEN groupsms_id_as_submitted(r.id, f.form, f.capitals, f.width) ELSE r.id END,
               number, state, status, error_code, received_at, submitted_at, sender, reference, segment,
               whole_message, same_id
        FROM unnest($2::text[], $3::bigint[], $4::smallint[], $5::text[], $6::text[], $7::timestamptz[],
                    $8::timestamptz[], $9::text[], $10::int[], $11::smallint[], $12::bool[], $13::bool[])
            AS r (id, number, state, status, error_code, received_at,
                  submitted_at, sender, reference, segment, whole_message, same_id)
        LEFT JOIN gateway_id_form f ON f.gateway = $1
        RETURNING id
        """,
        gateway,
        *map(list, zip(*map(_row, receipts), strict=True)),
    )
    return [row["id"] for row in rows]


def _row(receipt: Receipt) -> tuple[object, ...]:
    return (
        _storable(receipt.gateway_message_id),
        _digits(receipt.number),
        _STATES.index(receipt.state),
        _storable(receipt.status),
        None if receipt.error_code is None else _storable(receipt.error_code),
        receipt.received_at,
        receipt.submitted_at,
        None if receipt.sender is None else _storable(receipt.sender),
        receipt.reference,
        None if receipt.segment is None else min(max(receipt.segment, 0), _NO_SEGMENT),
        receipt.whole_message,
        receipt.same_id,
    )


def _storable(text: str) -> str:
    """The text as PostgreSQL takes it: one that is odd or endless must not keep a batch unacknowledged."""
    return text[:LONGEST_TEXT].replace("\0", "\ufffd").encode(errors="replace").decode()


def _digits(number: str) -> int:
    """A number as it is stored; 0, which is nobody's, for what is no number at all."""
    digits = number.removeprefix("+")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else 0


async def apply_stored(inbox_ids: Sequence[int], shard: int) -> set[int]:
    """Apply receipts just stored, where their segment is known; returns the tasks changed.

    What is known by now came before them, also where the database's clock, set back since, says otherwise.
    """
    return await _apply(_THESE, list(inbox_ids), shard, ahead=LATEST)


async def apply_waiting(gateway_message_ids: Sequence[str], shard: int) -> set[int]:
    """Apply receipts that came before the segments with these ids were settled; returns the tasks changed."""
    return await _apply(_WITH_IDS, list(gateway_message_ids), shard)


async def apply_left_over(shard: int, limit: int = 1000) -> set[int]:
    """Apply receipts whose process died between storing and applying; returns the tasks changed."""
    return await _apply(_LEFT_OVER, limit, shard)


async def forget_unmatched() -> None:
    """Drop receipts that nothing has fitted for a week: `domain.strays` puts off none beyond that."""
    await db.fetch(
        """
        DELETE FROM receipt_inbox
        WHERE next_look <= groupsms_now() AND stored_at < groupsms_now() - $1::interval
        """,
        KEPT_FOR,
    )


@dataclass(frozen=True, slots=True)
class _Which:
    """Receipts of the inbox to be applied, chosen by the parameter $1."""

    looked_at: str
    """A condition on the row `r` that they all meet, and few others: their days are searched for segments."""
    chosen: str = ""
    """A condition on the row `r` that just they meet, if that is another one."""


_THESE = _Which("r.id = ANY($1::bigint[])")
_WITH_IDS = _Which("r.gateway_message_id = ANY($1::text[])")
_LEFT_OVER = _Which(
    "r.next_look <= groupsms_now() AND $1::bigint > 0",
    """
    r.id IN (
        SELECT i.id
        FROM (
            SELECT * FROM receipt_inbox WHERE next_look <= groupsms_now()
            ORDER BY next_look LIMIT 10 * $1::bigint
        ) AS i
        JOIN segment s USING (gateway_message_id, gateway, number)
        WHERE s.submitted_at BETWEEN $6 AND $7
        LIMIT $1
    )
    """,
)


async def _apply(which: _Which, argument: object, shard: int, *, ahead: timedelta = AHEAD) -> set[int]:
    async with db.transaction() as conn:
        # Planned anew each time: a plan from when the day began would read all that has come to it since.
        days = await conn.fetchrow(
            f"""
            SELECT min(stored_at) - $2::interval AS since, max(stored_at) + $3::interval AS until,
                   set_config('plan_cache_mode', 'force_custom_plan', TRUE)
            FROM receipt_inbox r WHERE {which.looked_at}
            """,
            argument,
            LATEST,
            ahead,
        )
        if days is None or days["since"] is None:
            return set()
        matched = await conn.fetch(
            _MATCH.replace("{which}", which.chosen or which.looked_at),
            argument,
            LATEST,
            AHEAD,
            ahead,
            gateway_ids.COUNTED,
            days["since"],
            days["until"],
        )
        if not matched:
            return set()
        taken = await conn.fetch(
            "DELETE FROM receipt_inbox WHERE id = ANY($1::bigint[]) RETURNING id",
            [row["id"] for row in matched],
        )
        mine = {row["id"] for row in taken}
        matched = [row for row in matched if row["id"] in mine]
        await _note_forms(conn, matched)
        final = [row for row in matched if _STATES[row["state"]] is not _NOT_FINAL]
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
        verdicts = [_verdict(row, row, tariffs[row["task_id"]]) for row in final if not row["whole_message"]]
        whole = sorted((row for row in final if row["whole_message"]), key=lambda row: row["id"])
        for row, part in await _parts_of_whole(conn, whole):
            verdicts.append(_verdict(row, part, tariffs[row["task_id"]]))
        changed = await conn.fetch(
            _APPLY,
            *([verdict[column] for verdict in verdicts] for column in range(10)),
            shard % COUNTER_SHARDS,
            min(row["submitted_at"] for row in final),
            max(row["submitted_at"] for row in final),
        )
        return {row["task_id"] for row in changed}


# Locked in one order everywhere, so that two who apply receipts of the same messages never deadlock. $6 and
# $7 follow from what else is demanded: they tell PostgreSQL which days to look at.
_MATCH = """
    SELECT r.id, r.gateway, r.gateway_message_id, r.state, r.received_at, r.status, r.error_code,
           r.whole_message, s.task_id, s.position, s.index, s.submitted_at, s.number, s.charged,
           f.form IS NULL AND coalesce(f.same, 0) < $5::int AND NOT r.same_id
               AND s.result = 1 AND m.result = 1 AND m.handover = 1 AS shows_form
    FROM receipt_inbox r
    JOIN segment s USING (gateway_message_id, gateway, number)
    JOIN message m USING (task_id, position)
    LEFT JOIN gateway_id_form f ON f.gateway = r.gateway
    WHERE {which}
      AND (r.segment IS NULL OR r.segment = s.index)
      AND s.submitted_at BETWEEN r.stored_at - $2::interval AND r.stored_at + $4::interval
      AND s.submitted_at BETWEEN $6 AND $7
      AND NOT EXISTS (
          SELECT FROM segment AS likelier
          WHERE (likelier.gateway_message_id, likelier.gateway, likelier.number)
              = (s.gateway_message_id, s.gateway, s.number)
            AND likelier.submitted_at BETWEEN r.stored_at - $2::interval AND r.stored_at + $4::interval
            AND likelier.submitted_at BETWEEN $6 AND $7
            AND (likelier.submitted_at <= r.stored_at + $3::interval,
                 likelier.submitted_at, likelier.task_id, likelier.position)
              > (s.submitted_at <= r.stored_at + $3::interval, s.submitted_at, s.task_id, s.position)
      )
    ORDER BY s.task_id, s.position, s.index, r.id
    FOR NO KEY UPDATE OF m
"""


async def _note_forms(conn: Connection, matched: Sequence[asyncpg.Record]) -> None:
    """Note for gateways not yet known in this that ids agree as they are.

    What was in doubt has its id from a receipt, so it shows nothing.
    """
    agreeing: dict[str, list[str]] = {}
    for row in matched:
        if row["shows_form"] and gateway_ids.shows_its_form(row["gateway_message_id"]):
            agreeing.setdefault(row["gateway"], []).append(row["gateway_message_id"])
    for gateway, ids in sorted(agreeing.items()):
        await gateway_ids.note(conn, gateway, IdForm.SAME, ids)


async def _parts_of_whole(
    conn: Connection, rows: Sequence[asyncpg.Record]
) -> list[tuple[asyncpg.Record, asyncpg.Record]]:
    """Each receipt that speaks for a whole message, with each segment of that message."""
    if not rows:
        return []
    parts = await conn.fetch(
        """
        SELECT s.task_id, s.position, s.index, s.submitted_at, s.number, s.charged
        FROM unnest($1::bigint[], $2::int[], $3::timestamptz[]) AS m (task_id, position, submitted_at)
        JOIN segment s USING (task_id, position, submitted_at)
        WHERE s.submitted_at BETWEEN $4 AND $5
        ORDER BY s.task_id, s.position, s.index
        """,
        *map(list, zip(*{_handed_over(row) for row in rows}, strict=True)),
        min(row["submitted_at"] for row in rows),
        max(row["submitted_at"] for row in rows),
    )
    segments: dict[tuple[int, int], list[asyncpg.Record]] = {}
    for part in parts:
        segments.setdefault((part["task_id"], part["position"]), []).append(part)
    return [(row, part) for row in rows for part in segments[row["task_id"], row["position"]]]


def _handed_over(row: asyncpg.Record) -> tuple[int, int, datetime]:
    """A message and the moment it was handed over, which all its segments have."""
    return row["task_id"], row["position"], row["submitted_at"]


def _verdict(receipt: asyncpg.Record, part: asyncpg.Record, tariff: Tariff) -> tuple[object, ...]:
    """What a final receipt makes of a segment, if it is the first of it: the columns of `_APPLY`."""
    code = receipt_code(receipt["status"], receipt["error_code"])
    result = _RESULT[_STATES[receipt["state"]]]
    charged = tariff.charges_result(result, code)
    return (
        part["task_id"],
        part["position"],
        part["index"],
        part["submitted_at"],
        SEND_RESULTS.index(result),
        receipt["received_at"],
        code,
        charged,
        int(charged) - int(part["charged"]),
        tariff.unit_price(str(part["number"])),
    )


_NOT_FINAL = ReceiptState.NOT_FINAL
_RESULT = {ReceiptState.DELIVERED: SendResult.DELIVERED, ReceiptState.FAILED: SendResult.FAILED}

# The first final receipt of a segment counts; a message is delivered when all its segments are, and failed
# when one is. Only UNKNOWN messages move.
_APPLY = """
WITH receipt AS (
    SELECT DISTINCT ON (task_id, position, index) *
    FROM unnest($1::bigint[], $2::int[], $3::smallint[], $4::timestamptz[], $5::smallint[],
                $6::timestamptz[], $7::text[], $8::bool[], $9::int[], $10::numeric[])
        WITH ORDINALITY AS r (task_id, position, index, submitted_at, result, received_at, error_code,
                              charged, charge, unit_price, arrival)
    ORDER BY task_id, position, index, arrival
), moved AS (
    UPDATE segment s SET result = r.result, received_at = r.received_at,
                         error_code = CASE WHEN r.result = 3 THEN r.error_code END, charged = r.charged
    FROM receipt r
    WHERE s.task_id = r.task_id AND s.position = r.position AND s.index = r.index AND s.result = 1
      AND s.submitted_at = r.submitted_at AND s.submitted_at BETWEEN $12 AND $13
    RETURNING s.task_id, s.position, s.index, s.submitted_at, s.result, s.received_at, s.error_code,
              r.charge, r.unit_price
), outcome AS (
    SELECT task_id, position, max(result) AS worst, bool_and(result = 2) AS delivered,
           max(received_at) AS received_at, min(error_code) AS error_code
    FROM (
        SELECT task_id, position, index, result, received_at, error_code FROM moved
        UNION ALL
        SELECT s.task_id, s.position, s.index, s.result, s.received_at, s.error_code
        FROM segment s
        WHERE (s.task_id, s.position, s.submitted_at)
              IN (SELECT task_id, position, submitted_at FROM moved)
          AND s.submitted_at BETWEEN $12 AND $13
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
    FROM change WHERE c.task_id = change.task_id AND c.shard = $11
), charged AS (
    INSERT INTO task_charge (task_id, shard, unit_price, segments)
    SELECT task_id, $11, unit_price, sum(charge) FROM moved
    GROUP BY task_id, unit_price HAVING sum(charge) <> 0
    ON CONFLICT (task_id, shard, unit_price)
        DO UPDATE SET segments = task_charge.segments + excluded.segments
), blamed AS (
    INSERT INTO task_failure (task_id, shard, error_code, messages)
    SELECT task_id, $11, error_code, count(*) FROM settled WHERE result = 3
    GROUP BY task_id, error_code
    ON CONFLICT (task_id, shard, error_code)
        DO UPDATE SET messages = task_failure.messages + excluded.messages
)
SELECT DISTINCT task_id FROM moved
"""
