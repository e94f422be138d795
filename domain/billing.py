"""What a task costs: which segments are charged, at what price, and reading the sums.

Source: "Money" in the guide. A segment to the Chinese mainland is charged when it is delivered. An
international one is charged when the gateway accepts it; what its platform refuses afterwards is free after
all. A segment that may or may not have reached the gateway costs nothing until a receipt proves that it did.

Every segment says whether it is charged (`segment.charged`), and whichever statement changes that changes
`task_charge` with it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from domain import db, failures
from domain.failures import Failure
from domain.ports import Outcome, SegmentHandover
from domain.pricing import PriceList
from domain.states import Region, SendResult

_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Tariff:
    """By what rule and at what prices a task is charged: those of the moment it was made."""

    region: Region
    price_list: PriceList

    def unit_price(self, digits: str) -> Decimal:
        """Of a segment to this number (E.164 digits, no plus sign); zero if it has no price."""
        return self.price_list.price(digits) or _NOTHING

    def charges_handover(self, outcome: Outcome, part: SegmentHandover) -> bool:
        """Whether a segment is charged as soon as the gateway has answered so for it and its message."""
        if self.region is Region.CHINESE_MAINLAND or outcome is Outcome.IN_DOUBT:
            return False
        return outcome is Outcome.ACCEPTED or part.gateway_message_id is not None

    def charges_result(self, result: SendResult, code: str) -> bool:
        """Whether a segment is charged that came to this; `code` says why, if it failed."""
        return result is SendResult.DELIVERED or failures.is_billed(code, self.region)


@lru_cache(maxsize=256)
def tariff(region: str, prices: str) -> Tariff:
    """The tariff of a task from its columns of these names. Most tasks have the same, so a few are kept."""
    return Tariff(Region(region), PriceList.from_json(json.loads(prices)))


@dataclass(frozen=True, slots=True)
class Charges:
    """What a task has cost so far."""

    segments: int = 0
    """Charged, those without a price too."""
    amount: Decimal = _NOTHING
    """The exact sum, in the task's currency."""


@dataclass(frozen=True, slots=True)
class FailureReason:
    """A code with which messages of a task failed."""

    failure: Failure
    count: int
    """Messages."""


async def find_charges(task_ids: Sequence[int]) -> dict[int, Charges]:
    """What these tasks have cost, by id; nothing for a task of which nothing is charged."""
    rows = await db.fetch(
        """
        SELECT task_id, sum(segments)::bigint AS segments, sum(segments * unit_price) AS amount
        FROM task_charge WHERE task_id = ANY($1::bigint[]) GROUP BY task_id
        """,
        list(task_ids),
    )
    return {row["task_id"]: Charges(row["segments"], row["amount"]) for row in rows}


async def find_failure_reasons(task_ids: Sequence[int]) -> dict[int, list[FailureReason]]:
    """Why messages of these tasks failed, by the task's id, the most frequent code first."""
    rows = await db.fetch(
        """
        SELECT f.task_id, task.region, f.error_code, sum(f.messages)::int AS messages
        FROM task_failure f JOIN task ON task.id = f.task_id
        WHERE f.task_id = ANY($1::bigint[])
        GROUP BY f.task_id, task.region, f.error_code
        ORDER BY f.task_id, messages DESC, f.error_code
        """,
        list(task_ids),
    )
    found: dict[int, list[FailureReason]] = {}
    for row in rows:
        reason = FailureReason(failures.explain(row["error_code"], Region(row["region"])), row["messages"])
        found.setdefault(row["task_id"], []).append(reason)
    return found
