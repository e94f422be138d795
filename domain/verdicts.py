"""What receipts make of the segments and messages of one task: decided in Python, written set by set.

Every statement finds its rows by their key, from positions handed to it as an array that the planner cannot
look into. No join is left to its estimates: for a task that has just been made they are far off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from domain.billing import Tariff
from domain.db import Connection
from domain.failures import receipt_code
from domain.ports import ReceiptState
from domain.states import HANDOVER_STATES, SEND_RESULTS, HandoverState, SendResult

_UNKNOWN = SEND_RESULTS.index(SendResult.UNKNOWN)
_DELIVERED = SEND_RESULTS.index(SendResult.DELIVERED)
_FAILED = SEND_RESULTS.index(SendResult.FAILED)
_CONFIRMED = HANDOVER_STATES.index(HandoverState.CONFIRMED)
_IN_DOUBT = HANDOVER_STATES.index(HandoverState.IN_DOUBT)
STATES = tuple(ReceiptState)
"""The inbox stores a state as its position here."""
_RESULT = {ReceiptState.DELIVERED: SendResult.DELIVERED, ReceiptState.FAILED: SendResult.FAILED}


class Row(Protocol):
    """A row of `domain.receipts._MATCH`."""

    def __getitem__(self, column: str, /) -> Any:
        """What stands in a column."""
        ...


@dataclass(slots=True)
class Part:
    """A segment, as it is and as the receipts leave it."""

    index: int
    number: int
    result: int
    received_at: datetime | None
    error_code: str | None
    charged: bool
    was_unknown: bool = field(init=False)

    def __post_init__(self) -> None:
        self.was_unknown = self.result == _UNKNOWN

    @property
    def moved(self) -> bool:
        """Whether a receipt has changed it."""
        return self.was_unknown and self.result != _UNKNOWN


@dataclass(slots=True)
class Message:
    """A message that is locked, with all its segments."""

    position: int
    result: int
    handover: int
    parts: list[Part]

    @property
    def confirmed(self) -> bool:
        """Whether its answer was stored and no receipt has settled it."""
        return self.result == _UNKNOWN and self.handover == _CONFIRMED

    @property
    def outcome(self) -> int:
        """Delivered when all its segments are, failed when one is."""
        if any(part.result == _FAILED for part in self.parts):
            return _FAILED
        return _DELIVERED if all(part.result == _DELIVERED for part in self.parts) else _UNKNOWN


async def locked(
    conn: Connection, task_id: int, positions: Iterable[int], since: datetime, until: datetime
) -> dict[int, Message]:
    """These messages, by position, locked until the transaction ends; handed over from `since` to `until`.

    In the order of their positions, so that two who apply receipts of the same ones never deadlock; and
    before their segments are read, so that of two receipts of one message the later one sees the other's.
    """
    wanted = sorted(set(positions))
    messages = {
        row["position"]: Message(row["position"], row["result"], row["handover"], [])
        for row in await conn.fetch(_LOCK, task_id, wanted)
    }
    for position, *segment in await conn.fetch(_PARTS, task_id, wanted, since, until):
        if position in messages:
            messages[position].parts.append(Part(*segment))
    return messages


_LOCK = """
SELECT position, result, handover FROM message
WHERE task_id = $1 AND position = ANY(ARRAY(SELECT unnest($2::int[])))
ORDER BY position FOR NO KEY UPDATE
"""
_PARTS = """
SELECT position, index, number, result, received_at, error_code, charged FROM segment
WHERE task_id = $1 AND position = ANY(ARRAY(SELECT unnest($2::int[]))) AND submitted_at BETWEEN $3 AND $4
ORDER BY position, index
"""


def decide(messages: Mapping[int, Message], receipts: Iterable[Row], tariff: Tariff) -> Counter[Decimal]:
    """Let receipts, in the order they are to count, move segments; the segments charged more, by unit price.

    The first final receipt of a segment counts. One for a whole message speaks for all its segments.
    """
    charges: Counter[Decimal] = Counter()
    for receipt in receipts:
        state = STATES[receipt["state"]]
        message = messages.get(receipt["position"])
        if message is None or state is ReceiptState.NOT_FINAL:
            continue
        for part in message.parts:
            if part.result != _UNKNOWN or not (receipt["whole_message"] or part.index == receipt["index"]):
                continue
            code = receipt_code(receipt["status"], receipt["error_code"])
            result = _RESULT[state]
            charged = tariff.charges_result(result, code)
            if charged is not part.charged:
                charges[tariff.unit_price(str(part.number))] += 1 if charged else -1
            part.result, part.received_at, part.charged = (
                SEND_RESULTS.index(result),
                receipt["received_at"],
                charged,
            )
            part.error_code = code if result is SendResult.FAILED else None
    return charges


async def record(
    conn: Connection,
    task_id: int,
    shard: int,
    messages: Iterable[Message],
    charges: Counter[Decimal],
    since: datetime,
    until: datetime,
) -> bool:
    """Write what `decide` has made of the messages, with counters and charges; whether anything changed.

    `since` and `until` are when the messages were handed over, as for `locked`.
    """
    moved = [(message, part) for message in messages for part in message.parts if part.moved]
    if not moved:
        return False
    await conn.execute(
        _MOVE,
        task_id,
        sorted({message.position for message, _ in moved}),
        since,
        until,
        [message.position * 256 + part.index for message, part in moved],
        [part.result for _, part in moved],
        [part.received_at for _, part in moved],
        [part.error_code for _, part in moved],
        [part.charged for _, part in moved],
    )
    touched = {message.position: message for message, _ in moved}
    settled = [m for m in touched.values() if m.result == _UNKNOWN and m.outcome != _UNKNOWN]
    outcomes = [message.outcome for message in settled]
    codes = [_code(message) for message in settled]
    if settled:
        await conn.execute(
            _SETTLE,
            task_id,
            [message.position for message in settled],
            outcomes,
            [max(p.received_at for p in message.parts if p.received_at) for message in settled],
            codes,
        )
    failures = Counter(
        code or "" for code, outcome in zip(codes, outcomes, strict=True) if outcome == _FAILED
    )
    await conn.execute(
        _COUNT,
        task_id,
        shard,
        len(settled),
        sum(message.handover == _IN_DOUBT for message in settled),
        outcomes.count(_DELIVERED),
        outcomes.count(_FAILED),
        [price for price, segments in charges.items() if segments],
        [segments for segments in charges.values() if segments],
        list(failures),
        list(failures.values()),
    )
    return True


def _code(message: Message) -> str | None:
    return min((part.error_code for part in message.parts if part.error_code is not None), default=None)


# Where a row's values stand in the arrays is found by bisection: width_bucket is the last key not above its
# own. All keys are in order, for the messages are.
_MOVE = """
UPDATE segment s SET
    result = ($6::smallint[])[width_bucket(s.position * 256::bigint + s.index, $5::bigint[])],
    received_at = ($7::timestamptz[])[width_bucket(s.position * 256::bigint + s.index, $5::bigint[])],
    error_code = ($8::text[])[width_bucket(s.position * 256::bigint + s.index, $5::bigint[])],
    charged = ($9::bool[])[width_bucket(s.position * 256::bigint + s.index, $5::bigint[])]
WHERE s.task_id = $1 AND s.position = ANY(ARRAY(SELECT unnest($2::int[])))
  AND s.submitted_at BETWEEN $3 AND $4 AND s.result = 1
  AND ($5::bigint[])[width_bucket(s.position * 256::bigint + s.index, $5::bigint[])]
      = s.position * 256::bigint + s.index
"""
_SETTLE = """
UPDATE message m SET
    result = ($3::smallint[])[width_bucket(m.position, $2::int[])],
    handover = 1,
    received_at = ($4::timestamptz[])[width_bucket(m.position, $2::int[])],
    error_code = ($5::text[])[width_bucket(m.position, $2::int[])]
WHERE m.task_id = $1 AND m.position = ANY(ARRAY(SELECT unnest($2::int[]))) AND m.result = 1
"""
# Whoever holds a counter may write the charges and failures of its shard.
_COUNT = """
WITH counted AS (
    UPDATE task_counter SET
        revision = revision + 1,
        unknown = unknown - $3,
        in_doubt = in_doubt - $4,
        delivered = delivered + $5,
        failed = failed + $6
    WHERE task_id = $1 AND shard = $2
    RETURNING task_id, shard
), charged AS (
    INSERT INTO task_charge (task_id, shard, unit_price, segments)
    SELECT counted.*, c.* FROM counted CROSS JOIN unnest($7::numeric[], $8::int[]) AS c
    ON CONFLICT (task_id, shard, unit_price)
        DO UPDATE SET segments = task_charge.segments + excluded.segments
)
INSERT INTO task_failure (task_id, shard, error_code, messages)
SELECT counted.*, f.* FROM counted CROSS JOIN unnest($9::text[], $10::int[]) AS f
ON CONFLICT (task_id, shard, error_code)
    DO UPDATE SET messages = task_failure.messages + excluded.messages
"""
