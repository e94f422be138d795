"""Delivery receipts: stored, acknowledged by the gateway's adapter once that is committed, then applied.

A receipt and a segment belong together when gateway, id and number agree; carriers use ids again, so of
several messages the newest is meant, and none that was handed over long before or after. A receipt that comes
before its segment was settled waits in the inbox: whichever of the two is committed later finds the other.
What still fits nothing is looked into by `domain.strays`. Results only move forward: a final one stays,
whatever comes after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from domain import db, gateway_ids, verdicts
from domain.billing import Tariff, tariff
from domain.db import Connection
from domain.gateway_ids import IdForm
from domain.imports import COUNTER_SHARDS
from domain.ports import Receipt
from domain.verdicts import Message

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
        verdicts.STATES.index(receipt.state),
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
    if text.isascii() and len(text) <= LONGEST_TEXT and "\0" not in text:
        return text
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


# The planner is not to look into the arrays: it would weigh each of their elements.
_THESE = _Which("r.id = ANY(ARRAY(SELECT unnest($1::bigint[])))")
_WITH_IDS = _Which("r.gateway_message_id = ANY(ARRAY(SELECT unnest($1::text[])))")
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
    of_task: dict[int, list[asyncpg.Record]] = {}
    for row in await _matched(which, argument, ahead):
        of_task.setdefault(row["task_id"], []).append(row)
    if not of_task:
        return set()
    tasks = await db.fetch(
        "SELECT id, region, prices FROM task WHERE id = ANY($1::bigint[]) ORDER BY id", list(of_task)
    )
    return {
        task["id"]
        for task in tasks
        if await _apply_to_task(
            task["id"], of_task[task["id"]], tariff(task["region"], task["prices"]), shard % COUNTER_SHARDS
        )
    }


async def _matched(which: _Which, argument: object, ahead: timedelta) -> list[asyncpg.Record]:
    """Receipts of the inbox, each with the segments it may be about: several only where they share an id."""
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
            return []
        return await conn.fetch(
            _MATCH.replace("{which}", which.chosen or which.looked_at),
            argument,
            LATEST,
            AHEAD,
            ahead,
            gateway_ids.COUNTED,
            days["since"],
            days["until"],
        )


async def _apply_to_task(task_id: int, matched: Sequence[asyncpg.Record], prices: Tariff, shard: int) -> bool:
    """Apply receipts, unless somebody else has meanwhile; whether they changed anything."""
    handed_over = [row["submitted_at"] for row in matched]
    since, until = min(handed_over), max(handed_over)
    async with db.transaction() as conn:
        positions = (row["position"] for row in matched)
        messages = await verdicts.locked(conn, task_id, positions, since, until)
        taken = await conn.fetch(
            "DELETE FROM receipt_inbox WHERE id = ANY(ARRAY(SELECT unnest($1::bigint[]))) RETURNING id",
            [row["id"] for row in matched],
        )
        mine = {row["id"] for row in taken}
        matched = [row for row in matched if row["id"] in mine]
        await _note_forms(conn, [row for row in matched if _shows_form(row, messages)])
        matched.sort(key=_precedence)
        charges = verdicts.decide(messages, matched, prices)
        return await verdicts.record(conn, task_id, shard, messages.values(), charges, since, until)


def _precedence(row: asyncpg.Record) -> tuple[bool, int]:
    """What was said of a single segment counts before what was said of its whole message."""
    return row["whole_message"], row["id"]


def _shows_form(row: asyncpg.Record, messages: Mapping[int, Message]) -> bool:
    message = messages.get(row["position"])
    return row["may_show_form"] and message is not None and message.confirmed


# FETCH keeps it to an index probe a receipt, where the planner, which knows nothing of the segments of this
# minute, would read whole tables. $6 and $7 follow from what else is demanded: they tell
# PostgreSQL which days to look at.
_MATCH = """
    SELECT r.id, r.gateway, r.gateway_message_id, r.state, r.received_at, r.status, r.error_code,
           r.whole_message, s.task_id, s.position, s.index, s.submitted_at,
           f.form IS NULL AND coalesce(f.same, 0) < $5::int AND NOT r.same_id AND s.result = 1
               AS may_show_form
    FROM receipt_inbox r
    CROSS JOIN LATERAL (
        SELECT task_id, position, index, submitted_at, result FROM segment
        WHERE gateway_message_id = r.gateway_message_id AND gateway = r.gateway AND number = r.number
          AND submitted_at BETWEEN r.stored_at - $2::interval AND r.stored_at + $4::interval
          AND submitted_at BETWEEN $6 AND $7
        ORDER BY submitted_at <= r.stored_at + $3::interval DESC,
                 submitted_at DESC, task_id DESC, position DESC
        FETCH FIRST ROW WITH TIES
    ) AS s
    LEFT JOIN gateway_id_form f ON f.gateway = r.gateway
    WHERE {which} AND (r.segment IS NULL OR r.segment = s.index)
"""


async def _note_forms(conn: Connection, matched: Sequence[asyncpg.Record]) -> None:
    """Note for gateways not yet known in this that ids agree as they are.

    What was in doubt has its id from a receipt, so it shows nothing.
    """
    agreeing: dict[str, list[str]] = {}
    for row in matched:
        if gateway_ids.shows_its_form(row["gateway_message_id"]):
            agreeing.setdefault(row["gateway"], []).append(row["gateway_message_id"])
    for gateway, ids in sorted(agreeing.items()):
        await gateway_ids.note(conn, gateway, IdForm.SAME, ids)
