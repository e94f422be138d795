"""Handing messages over: chunks are claimed under a lease, marked before they go on the wire, and settled.

A chunk is a run of consecutive messages. Whoever holds its lease raises its high-water mark before sending
and settles what the gateway answered. What was marked and never settled when the lease runs out is in doubt:
it may have reached the gateway, so it becomes UNKNOWN and is never sent again.

Every statement that writes for a chunk demands the lease, by the database's clock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from domain import db, segment_days
from domain.billing import Tariff, tariff
from domain.imports import COUNTER_SHARDS
from domain.ports import Handover, Outcome
from domain.segments import Content, segment
from domain.states import SEND_RESULTS, Region, SendResult, SmsType

LEASE = timedelta(seconds=30)
"""How long a claimed chunk belongs to a worker that says nothing more."""

_UNKNOWN = SEND_RESULTS.index(SendResult.UNKNOWN)
_FAILED = SEND_RESULTS.index(SendResult.FAILED)


@dataclass(frozen=True, slots=True)
class Claim:
    """A chunk that this worker holds."""

    task_id: int
    index: int
    owner: UUID
    """This claim's alone."""
    content: Content
    sender: str
    tariff: Tariff
    numbers: dict[int, str]
    """Still to be sent: E.164 with plus, by position, in the order to be sent."""
    marked: int
    """Its high-water mark when it was claimed."""
    is_promotion: bool
    """Each number is to be sent only in its hours; see `domain.sending_hours`."""
    claimed_at: datetime
    """The database's clock at the claim."""
    signature: str | None = None
    """The name of its signature, if it has one."""
    external_template_id: str | None = None
    """What the gateway's platform calls its template."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What the gateway answered for one message."""

    position: int
    number: str
    handover: Handover


async def waiting_tasks(gateway: str) -> list[int]:
    """The running tasks of a gateway that have chunks nobody holds and that may be sent now, oldest first."""
    rows = await db.fetch(
        """
        SELECT id FROM task
        WHERE gateway = $1 AND status = 'SENDING' AND deadline_at > groupsms_now()
          AND EXISTS (
              SELECT FROM chunk
              WHERE task_id = task.id AND state = 0
                AND (wait_until IS NULL OR wait_until <= groupsms_now())
          )
        ORDER BY id
        """,
        gateway,
    )
    return [row["id"] for row in rows]


async def claim(task_id: int, owner: UUID) -> Claim | None:
    """Take the task's first free chunk, or None if there is none (any more).

    Messages to numbers that opted out since the import become NOT_SENT.

    `owner` is to be new for every call: a worker that loses a chunk and claims it again must not mistake the
    one lease for the other, and a claim whose answer was lost must run out.
    """
    chunk = await db.fetchrow(
        """
        WITH free AS (
            SELECT c.task_id, c.index
            FROM chunk c JOIN task t ON t.id = c.task_id
            WHERE c.task_id = $1 AND c.state = 0 AND t.status = 'SENDING' AND t.deadline_at > groupsms_now()
              AND (c.wait_until IS NULL OR c.wait_until <= groupsms_now())
            ORDER BY c.index LIMIT 1
            FOR NO KEY UPDATE OF c SKIP LOCKED
        )
        UPDATE chunk SET state = 1, owner = $2, lease_until = groupsms_now() + $3, wait_until = NULL,
                         recheck = FALSE
        FROM free JOIN task ON task.id = free.task_id
        WHERE chunk.task_id = free.task_id AND chunk.index = free.index
        RETURNING chunk.index, last, marked, returned, text, region, sender, sms_type, prices,
                  account_id, groupsms_now() AS claimed_at,
                  (SELECT name FROM signature WHERE id = task.signature_id) AS signature,
                  (SELECT external_id FROM template WHERE id = task.template_id) AS external_template_id
        """,
        task_id,
        owner,
        LEASE,
    )
    if chunk is None:
        return None
    # Read after the lease is committed: numbers added later find the chunk held, and have it rechecked.
    waiting = await db.fetch(
        """
        SELECT position, number,
               (SELECT EXISTS (SELECT FROM opt_out WHERE account_id = $5))
               AND EXISTS (SELECT FROM opt_out o WHERE o.account_id = $5 AND o.number = message.number)
                   AS opted_out
        FROM message
        WHERE task_id = $1 AND (position = ANY($2) OR position BETWEEN $3 AND $4) AND result = 0
        ORDER BY position
        """,
        task_id,
        chunk["returned"],
        chunk["marked"] + 1,
        chunk["last"],
        chunk["account_id"],
    )
    if opted_out := [row["position"] for row in waiting if row["opted_out"]]:
        await skip_opted_out(task_id, chunk["index"], owner, opted_out)
    return Claim(
        task_id=task_id,
        index=chunk["index"],
        owner=owner,
        content=segment(chunk["text"], Region(chunk["region"])),
        sender=chunk["sender"],
        tariff=tariff(chunk["region"], chunk["prices"]),
        numbers={row["position"]: f"+{row['number']}" for row in waiting if not row["opted_out"]},
        marked=chunk["marked"],
        is_promotion=SmsType(chunk["sms_type"]) is SmsType.PROMOTION,
        claimed_at=chunk["claimed_at"],
        signature=chunk["signature"],
        external_template_id=chunk["external_template_id"],
    )


async def skip_opted_out(task_id: int, index: int, owner: UUID, positions: Sequence[int]) -> None:
    """Make these messages of a claimed chunk NOT_SENT; nothing happens if the lease is lost."""
    await db.fetch(
        """
        WITH lease AS (
            SELECT FROM chunk
            WHERE task_id = $1 AND index = $2 AND owner = $3 AND state = 1 AND lease_until > groupsms_now()
            FOR NO KEY UPDATE
        ), skipped AS (
            UPDATE message SET result = 4 FROM lease
            WHERE task_id = $1 AND position = ANY($4::int[]) AND result = 0
            RETURNING 1
        )
        UPDATE task_counter SET
            revision = revision + 1, not_sent = not_sent + (SELECT count(*) FROM skipped)
        WHERE task_id = $1 AND shard = $5 AND EXISTS (SELECT FROM skipped)
        """,
        task_id,
        index,
        owner,
        positions,
        index % COUNTER_SHARDS,
    )


async def mark(claim: Claim, marked: int, returned: Sequence[int]) -> datetime | None:
    """Record, before they go on the wire, that messages up to `marked` may reach the gateway.

    `returned` are those below that are known not to have reached it. Extends the lease. Returns the
    database's time; or None, and then nothing may be sent, if the lease is lost, the task is not running, its
    deadline has passed, or numbers opted out meanwhile, so that the chunk must be given back.
    """
    marked_at: datetime | None = await db.fetchval(
        """
        UPDATE chunk SET marked = $4, returned = $5, lease_until = groupsms_now() + $6
        FROM task
        WHERE chunk.task_id = $1 AND chunk.index = $2 AND chunk.owner = $3 AND chunk.state = 1
          AND chunk.lease_until > groupsms_now()
          AND NOT chunk.recheck
          AND task.id = $1 AND task.status = 'SENDING' AND task.deadline_at > groupsms_now()
        RETURNING groupsms_now()
        """,
        claim.task_id,
        claim.index,
        claim.owner,
        marked,
        list(returned),
        LEASE,
    )
    return marked_at


async def settle(claim: Claim, settlements: Sequence[Settlement], shard: int) -> bool:
    """Record what the gateway answered, with counters and charges, in one statement; extends the lease.

    Returns False, having written nothing, if the lease is lost. Settling twice is the same as once. Outcomes
    NOT_HANDED_OVER are not settled: they are sent again or given back.
    """
    arguments = _arguments(claim, settlements, shard)
    return await segment_days.on_its_day(lambda: db.fetchval(_SETTLE, *arguments)) is not None


# The charges and failures of a shard are written by whoever holds its counter, so that nobody deadlocks. Only
# segments of messages that this very statement settles are stored and charged. No join is left to the
# planner, which knows nothing of a task that has just been made: messages are found by their key, from an
# array it cannot look into, and `IS TRUE` has it hash what was settled.
_SETTLE = """
WITH lease AS (
    UPDATE chunk SET lease_until = groupsms_now() + $4
    FROM task
    WHERE chunk.task_id = $1 AND index = $2 AND owner = $3 AND state = 1 AND lease_until > groupsms_now()
      AND task.id = $1
    RETURNING task.gateway
), settled AS (
    UPDATE message SET
        result = CASE WHEN position = ANY($6::int[]) THEN 3 ELSE 1 END,
        handover = CASE WHEN position = ANY($8::int[]) THEN 2 ELSE 1 END,
        error_code = ($7::text[])[array_position($6::int[], position)]
    WHERE task_id = $1 AND position = ANY(ARRAY(SELECT unnest($5::int[]))) AND result = 0
      AND EXISTS (SELECT FROM lease)
    RETURNING position, result, handover, error_code
), segments AS MATERIALIZED (
    SELECT *
    FROM unnest($9::int[], $10::smallint[], $11::bigint[], $12::text[], $13::smallint[], $14::text[],
                $15::smallint[])
        AS s (position, index, number, gateway_message_id, result, error_code, price)
    WHERE (position IN (SELECT position FROM settled)) IS TRUE
), recorded AS (
    INSERT INTO segment (task_id, position, index, number, gateway, gateway_message_id, submitted_at, result,
                         error_code, charged)
    SELECT $1, position, index, number, (SELECT gateway FROM lease), gateway_message_id, groupsms_now(),
           result, error_code, price > 0
    FROM segments
), counted AS (
    UPDATE task_counter SET
        revision = revision + 1,
        unknown = unknown + (SELECT count(*) FROM settled WHERE result = 1),
        in_doubt = in_doubt + (SELECT count(*) FROM settled WHERE handover = 2),
        failed = failed + (SELECT count(*) FROM settled WHERE result = 3)
    WHERE task_id = $1 AND shard = $17 AND EXISTS (SELECT FROM lease)
    RETURNING task_id, shard
), charge AS (
    INSERT INTO task_charge (task_id, shard, unit_price, segments)
    SELECT counted.*, ($16::numeric[])[s.price], s.charged
    FROM counted CROSS JOIN (
        SELECT price, count(*) AS charged FROM segments WHERE price > 0 GROUP BY price
    ) AS s
    ON CONFLICT (task_id, shard, unit_price)
        DO UPDATE SET segments = task_charge.segments + excluded.segments
), failure AS (
    INSERT INTO task_failure (task_id, shard, error_code, messages)
    SELECT counted.*, coalesce(s.error_code, ''), s.messages
    FROM counted CROSS JOIN (
        SELECT error_code, count(*) AS messages FROM settled WHERE result = 3 GROUP BY error_code
    ) AS s
    ON CONFLICT (task_id, shard, error_code)
        DO UPDATE SET messages = task_failure.messages + excluded.messages
)
SELECT task_id FROM counted
"""


def _arguments(claim: Claim, settlements: Sequence[Settlement], shard: int) -> tuple[object, ...]:
    """The parameters of `_SETTLE`, positions in order."""
    settlements = sorted(settlements, key=lambda settlement: settlement.position)
    refused = [s for s in settlements if s.handover.outcome is Outcome.REFUSED]
    prices: dict[Decimal, int] = {}
    return (
        claim.task_id,
        claim.index,
        claim.owner,
        LEASE,
        [s.position for s in settlements],
        [s.position for s in refused],
        [next((p.error_code for p in s.handover.segments if p.error_code), None) for s in refused],
        [s.position for s in settlements if s.handover.outcome is Outcome.IN_DOUBT],
        *_segment_columns(settlements, claim.tariff, prices),
        list(prices),
        shard % COUNTER_SHARDS,
    )


def _segment_columns(
    settlements: Sequence[Settlement], tariff: Tariff, prices: dict[Decimal, int]
) -> list[list[object]]:
    """Position, index, number, gateway's id, result, error code, place of the price: a list for each.

    A price's place is in `prices`, to which it is added, from 1; 0 is for segments that are not charged.
    """
    rows: list[tuple[object, ...]] = []
    for settlement in settlements:
        digits = settlement.number[1:]
        number, price = int(digits), tariff.unit_price(digits)
        for index, part in enumerate(settlement.handover.segments, start=1):
            charged = tariff.charges_handover(settlement.handover.outcome, part)
            rows.append(
                (
                    settlement.position,
                    index,
                    number,
                    part.gateway_message_id,
                    _FAILED if part.error_code else _UNKNOWN,
                    part.error_code,
                    prices.setdefault(price, len(prices) + 1) if charged else 0,
                )
            )
    return [[row[column] for row in rows] for column in range(7)]


async def finish(claim: Claim) -> bool:
    """Declare every message of the chunk settled; returns False if the lease is lost."""
    row = await db.fetchval(
        """
        UPDATE chunk SET state = 2, marked = last, owner = NULL, lease_until = NULL, returned = '{}'
        WHERE task_id = $1 AND index = $2 AND owner = $3 AND state = 1 AND lease_until > groupsms_now()
        RETURNING index
        """,
        claim.task_id,
        claim.index,
        claim.owner,
    )
    return row is not None


async def release(
    claim: Claim, marked: int, returned: Sequence[int], wait_until: datetime | None = None
) -> bool:
    """Give a chunk back with nothing of it in flight; returns False if the lease is lost.

    `marked` is the last mark the worker knows to be stored: a later one may have been committed without its
    knowing, but nothing was sent then. `returned` are those up to it that never got through. Nobody claims
    the chunk before `wait_until`.
    """
    row = await db.fetchval(
        """
        UPDATE chunk
        SET state = 0, owner = NULL, lease_until = NULL, marked = $4, returned = $5, wait_until = $6
        WHERE task_id = $1 AND index = $2 AND owner = $3 AND state = 1 AND lease_until > groupsms_now()
        RETURNING index
        """,
        claim.task_id,
        claim.index,
        claim.owner,
        marked,
        list(returned),
        wait_until,
    )
    return row is not None


async def renew(owners: Collection[UUID]) -> set[UUID]:
    """Extend the leases of these claims; returns the owners of those that are still held."""
    rows = await db.fetch(
        """
        UPDATE chunk SET lease_until = groupsms_now() + $2
        WHERE owner = ANY($1::uuid[]) AND state = 1 AND lease_until > groupsms_now()
        RETURNING owner
        """,
        list(owners),
        LEASE,
    )
    return {row["owner"] for row in rows}
