"""Rule "Money": what a task costs is the exact sum over its segments, whatever comes when.

And `failureReasons`: messages that failed, counted by their code.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from uuid import uuid4

import pytest

from domain import access, accounts, billing, db, dispatch, receipts, recovery
from domain.billing import Charges
from domain.dispatch import Claim, Settlement
from domain.failure_codes import FailureCause
from domain.ports import Handover, Outcome, Receipt, ReceiptState, SegmentHandover
from domain.pricing import parse_prices
from domain.states import Region, Role, TaskStatus
from tests.integration.api_client import serving
from tests.integration.api_operations import CREATE_TASK, do, prepare
from tests.integration.conftest import Travel
from tests.integration.world import (
    GATEWAY,
    Materials,
    World,
    gateway_id,
    international,
    mainland,
    phones,
    receipt,
    settlements,
)

DELIVERED, FAILED, NOT_FINAL = ReceiptState.DELIVERED, ReceiptState.FAILED, ReceiptState.NOT_FINAL

PRICES = """
{"CNY": {"CHINESE_MAINLAND": {"*": {"86": "0.045", "86170": "0.0625"}},
         "INTERNATIONAL": {"*": {"44": "0.31", "447": "0.28000001", "1": "0.06"}}}}
"""
REFUSED = "0x0000000B"
PLATFORM = "E200027"


@dataclass(frozen=True)
class Event:
    """What a receipt of one segment says."""

    segment: int
    state: ReceiptState
    code: str | None = None


EVENTS = [
    Event(1, DELIVERED),
    Event(1, FAILED, "BLACK"),
    Event(1, FAILED, PLATFORM),
    Event(2, DELIVERED),
    Event(2, FAILED, "MK:0001"),
    Event(2, FAILED, PLATFORM),
    Event(2, NOT_FINAL),
]
ANSWERS: list[tuple[Outcome, str]] = [
    (Outcome.ACCEPTED, "ii"),
    (Outcome.REFUSED, "rr"),
    (Outcome.REFUSED, "ir"),
    (Outcome.IN_DOUBT, "??"),
    (Outcome.IN_DOUBT, "i?"),
]
"""Of each segment: the gateway gave it an id, refused it, or never answered."""
SCRIPTS = list(product(ANSWERS, product(EVENTS, repeat=3)))
"""Everything that can become of a message of two segments in four steps."""


@dataclass
class Ledger:
    """What is to be charged, worked out message by message from what the gateway said."""

    region: Region
    prices: list[tuple[str, Decimal]]
    numbers: dict[int, str]
    _segments: dict[tuple[int, int], tuple[bool, bool]] = field(default_factory=dict)
    """Whether it has an id, and whether it is charged."""
    _final: set[tuple[int, int]] = field(default_factory=set)

    def answered(self, position: int, outcome: Outcome, parts: str) -> None:
        """The gateway's answer is stored."""
        for index, part in enumerate(parts, start=1):
            taken = part == "i"
            charged = taken and self.region is Region.INTERNATIONAL and outcome is not Outcome.IN_DOUBT
            self._segments[position, index] = taken, charged

    def received(self, position: int, event: Event) -> None:
        """A receipt is applied."""
        key = position, event.segment
        taken, _ = self._segments[key]
        if not taken or event.state is NOT_FINAL or key in self._final:
            return
        self._final.add(key)
        if self.region is Region.INTERNATIONAL:
            self._segments[key] = taken, event.code != PLATFORM
        else:
            self._segments[key] = taken, event.state is DELIVERED

    def charged(self) -> set[tuple[int, int]]:
        """The segments that are charged."""
        return {key for key, (_, charged) in self._segments.items() if charged}

    def charges(self) -> Charges:
        """What they come to."""
        charged = self.charged()
        prices = (self._price(self.numbers[position]) for position, _ in charged)
        return Charges(len(charged), sum(prices, Decimal(0)))

    def _price(self, number: str) -> Decimal:
        fitting = [(len(prefix), price) for prefix, price in self.prices if number[1:].startswith(prefix)]
        return max(fitting)[1] if fitting else Decimal(0)


async def bill(task_id: int) -> Charges:
    return (await billing.find_charges([task_id])).get(task_id, Charges())


async def check(world: World, task_id: int, ledger: Ledger) -> None:
    """Hold the bill against the ledger, and the reasons against the messages."""
    rows = await db.fetch("SELECT position, index FROM segment WHERE task_id = $1 AND charged", task_id)
    assert {(row["position"], row["index"]) for row in rows} == ledger.charged()
    assert await bill(task_id) == ledger.charges()
    assert await reasons(task_id) == await grouped(task_id)
    await world.check(task_id)


async def reasons(task_id: int) -> list[tuple[str, int]]:
    found = await billing.find_failure_reasons([task_id])
    return [(reason.failure.code, reason.count) for reason in found.get(task_id, [])]


async def grouped(task_id: int) -> list[tuple[str, int]]:
    rows = await db.fetch(
        """
        SELECT error_code, count(*) FROM message WHERE task_id = $1 AND result = 3
        GROUP BY error_code ORDER BY count(*) DESC, error_code
        """,
        task_id,
    )
    return [(row["error_code"], row["count"]) for row in rows]


def answer(claim: Claim, position: int, outcome: Outcome, parts: str) -> Settlement:
    """What the gateway said of a message, segment by segment."""
    return Settlement(
        position,
        claim.numbers[position],
        Handover(
            outcome,
            tuple(
                SegmentHandover(
                    gateway_id(claim.task_id, position, index) if part == "i" else None,
                    REFUSED if part == "r" else None,
                )
                for index, part in enumerate(parts, start=1)
            ),
        ),
    )


def report(claim: Claim, position: int, event: Event) -> Receipt:
    return receipt(claim, position, event.state, segment=event.segment, error_code=event.code)


def abroad(count: int) -> list[str]:
    """Numbers of two prices in one country, of another country, and of one without a price."""
    kinds = ("+447911{:06}", "+442079{:06}", "+1212555{:04}", "+34600{:06}")
    return [kinds[index % 4].format(index // 4) for index in range(count)]


def at_home(count: int) -> list[str]:
    """Mainland numbers of two prices."""
    return [
        number.replace("138", "170", 1) if index % 2 else number for index, number in enumerate(phones(count))
    ]


async def materials_of(world: World, region: Region) -> Materials:
    """What makes messages of two segments."""
    if region is Region.CHINESE_MAINLAND:
        return await mainland(world.viewer, content="测" * 100)
    return await international(world.viewer, content="a" * 200)


@pytest.fixture
def priced(world: World) -> World:
    """A world with prices."""
    world.intake = replace(world.intake, prices=parse_prices(PRICES))
    return world


def ledger_of(region: Region, numbers: Sequence[str]) -> Ledger:
    prices = parse_prices(PRICES)["CNY"].lists.items()
    found = next(price_list for (of, _), price_list in prices if of is region)
    return Ledger(region, list(found.prices.items()), dict(enumerate(numbers, start=1)))


def batches(items: Sequence[tuple[int, Event]], size: int) -> Iterator[Sequence[tuple[int, Event]]]:
    return (items[start : start + size] for start in range(0, len(items), size))


# --- everything that can happen to a message ----------------------------------------------------


@pytest.mark.parametrize("region", Region)
async def test_the_bill_is_the_sum_over_the_segments_at_every_step(
    priced: World, travel: Travel, region: Region
) -> None:
    """Rule "Money", for every answer and every sequence of three receipts, the early ones too."""
    count = len(SCRIPTS)
    numbers = at_home(count) if region is Region.CHINESE_MAINLAND else abroad(count)
    task_id = await priced.running(numbers, materials=await materials_of(priced, region))
    ledger = ledger_of(region, numbers)
    early = {position for position in ledger.numbers if position % 3 == 0}
    claims: dict[int, Claim] = {}
    while (claim := await dispatch.claim(task_id, uuid4())) is not None:
        claims |= dict.fromkeys(claim.numbers, claim)
        await hand_over(claim, early, ledger)
        await check(priced, task_id, ledger)
    assert len(claims) == count
    await priced.advance(task_id)

    source = random.Random(7)
    for step in range(3):
        events = [
            (position, SCRIPTS[position - 1][1][each])
            for position in sorted(claims)
            for each in steps_at_once(step, position, early)
        ]
        again = [(position, SCRIPTS[position - 1][1][max(0, step - 1)]) for position in (5, 6, 700)]
        source.shuffle(events)
        for batch in batches(events + again, 600):
            reports = (report(claims[position], position, event) for position, event in batch)
            await priced.receive(*reports, shard=source.randrange(8))
            for position, event in batch:
                ledger.received(position, event)
            await check(priced, task_id, ledger)
        if step == 0:
            await travel(timedelta(hours=73))
            assert (await priced.advance(task_id)).status is TaskStatus.COMPLETED


def steps_at_once(step: int, position: int, early: set[int]) -> list[int]:
    """Which receipts of a message come in this step: of every other message, the last two together."""
    if step == 0:
        return [] if position in early else [0]
    if position % 2:
        return [step]
    return [1, 2] if step == 1 else []


async def hand_over(claim: Claim, early: set[int], ledger: Ledger) -> None:
    """Settle a chunk in two halves, each of them twice; the first receipts of some came before."""
    positions = list(claim.numbers)
    assert await dispatch.mark(claim, positions[-1], [])
    first = {position: SCRIPTS[position - 1][1][0] for position in positions if position in early}
    reports = [report(claim, position, event) for position, event in first.items()]
    stored = await receipts.store(GATEWAY, reports)
    assert await receipts.apply_stored(stored, 0) == set()
    for half in (positions[::2], positions[1::2]):
        answers = [answer(claim, position, *SCRIPTS[position - 1][0]) for position in half]
        for shard in (1, 6):
            assert await dispatch.settle(claim, answers, shard)
        ids = [part.gateway_message_id for s in answers for part in s.handover.segments]
        await receipts.apply_waiting([each for each in ids if each is not None], 2)
        for position in half:
            ledger.answered(position, *SCRIPTS[position - 1][0])
            if position in first:
                ledger.received(position, first[position])
    assert await dispatch.finish(claim)


async def test_what_a_crash_put_in_doubt_costs_nothing(priced: World, travel: Travel) -> None:
    """Rule "Life of a task": it costs nothing until a receipt proves it."""
    claim = await priced.claim(await priced.running(abroad(8), materials=priced.international))
    assert await dispatch.mark(claim, 6, [5])
    assert await dispatch.settle(claim, settlements(claim, [1]), 0)
    await travel(dispatch.LEASE + timedelta(seconds=1))
    assert await recovery.recover_lapsed() == [claim.task_id]
    assert (await priced.check(claim.task_id)).counts.in_doubt == 4
    assert await bill(claim.task_id) == Charges(1, Decimal("0.28000001"))
    # The worker that lost its lease charges nothing, either.
    assert not await dispatch.settle(claim, settlements(claim, range(1, 7)), 0)
    assert await bill(claim.task_id) == Charges(1, Decimal("0.28000001"))


# --- prices -------------------------------------------------------------------------------------


async def test_a_task_keeps_the_prices_it_was_made_with(priced: World) -> None:
    old = await priced.running(abroad(4), materials=priced.international)
    priced.intake = replace(
        priced.intake, prices=parse_prices('{"CNY": {"INTERNATIONAL": {"*": "1"}}, "EUR": {}}')
    )
    new = await priced.running(abroad(4), materials=priced.international)
    for task_id in (old, new):
        await priced.hand_over(await priced.claim(task_id))
    assert await bill(old) == Charges(4, Decimal("0.65000001"))
    assert await bill(new) == Charges(4, Decimal(4))


async def test_a_task_without_prices_counts_its_segments_and_costs_nothing(world: World) -> None:
    """Rule "Money": a country without a price counts as zero."""
    task_id = await world.sent(abroad(3), materials=await materials_of(world, Region.INTERNATIONAL))
    assert await bill(task_id) == Charges(6, Decimal(0))
    assert (await world.read(task_id)).estimated_amount == 0


async def test_an_account_pays_in_its_own_currency(priced: World) -> None:
    token = await accounts.create_token("Overseas", Role.MANAGER, currency="EUR")
    viewer = await access.viewer_of(token)
    assert viewer is not None
    made_from = await international(viewer)
    other = replace(priced, viewer=viewer, international=made_from, _seen={})
    task_id = await other.sent(abroad(4), materials=made_from)
    assert (await other.read(task_id)).currency == "EUR"
    assert await bill(task_id) == Charges(4, Decimal(0))


@pytest.mark.parametrize("region", Region)
async def test_the_estimate_is_the_amount_when_everything_arrives(priced: World, region: Region) -> None:
    numbers = at_home(9) if region is Region.CHINESE_MAINLAND else abroad(9)
    task_id = await priced.running(numbers, materials=await materials_of(priced, region))
    estimated = (await priced.read(task_id)).estimated_amount
    assert estimated > 0
    claim = await priced.claim(task_id)
    await priced.hand_over(claim)
    await priced.receive(
        *(receipt(claim, position, segment=index) for position in claim.numbers for index in (1, 2))
    )
    assert await bill(task_id) == Charges(18, estimated)


# --- at the same moment -------------------------------------------------------------------------


@pytest.mark.usefixtures("long_chunks")
async def test_many_who_settle_and_apply_at_once_add_up(priced: World) -> None:
    """Every segment is accepted in one shard, and half of them refused in another."""
    made_from = await materials_of(priced, Region.INTERNATIONAL)
    task_ids = [await priced.running(abroad(120), materials=made_from) for _ in range(3)]
    claims = [await priced.claim(task_id) for task_id in task_ids]
    for claim in claims:
        assert await dispatch.mark(claim, 120, [])
    source = random.Random(3)

    async def settle(claim: Claim) -> None:
        for start in range(1, 121, 20):
            answers = settlements(claim, range(start, start + 20))
            assert await dispatch.settle(claim, answers, 1)
            await receipts.apply_waiting(
                [gateway_id(claim.task_id, p, 1) for p in range(start, start + 20)], 1
            )

    async def apply(shard: int) -> None:
        said = [
            report(claim, position, Event(1, FAILED, PLATFORM if position % 2 else "BLACK"))
            for claim in claims
            for position in claim.numbers
        ]
        source.shuffle(said)
        for start in range(0, len(said), 60):
            await priced.receive(*said[start : start + 60], shard=shard)

    await asyncio.gather(*map(settle, claims), *map(apply, (1, 1, 2, 3)))
    while await receipts.apply_left_over(0):
        continue
    for task_id in task_ids:
        ledger = ledger_of(Region.INTERNATIONAL, abroad(120))
        for position in range(1, 121):
            ledger.answered(position, Outcome.ACCEPTED, "ii")
            ledger.received(position, Event(1, FAILED, PLATFORM if position % 2 else "BLACK"))
        await check(priced, task_id, ledger)
        assert await reasons(task_id) == [("BLACK", 60), (PLATFORM, 60)]


# --- in the API ---------------------------------------------------------------------------------

BILLS = """{ tasks { nodes { name
  billing { segments billableSegments estimatedAmount amount currency }
  failureReasons { code cause count billed mayPass advice } } } }"""


async def test_bills_and_reasons_in_the_api(database_url: str, redis_url: str, tmp_path: Path) -> None:
    async with serving(database_url, redis_url, tmp_path, prices=PRICES) as api:
        client = await api.client(Role.OPERATOR)
        made_from = await prepare(client)
        for name, count in (("Small", 1), ("Large", 5)):
            await do(client, CREATE_TASK, name=name, recipients={"numbers": phones(count)}, **made_from)
        found = {task["name"]: task for task in (await client.run(BILLS))["tasks"]["nodes"]}
        unsent = {"billableSegments": 0, "amount": "0", "currency": "CNY"}
        assert found["Small"] == {
            "name": "Small",
            "billing": {"segments": 1, "estimatedAmount": "0.045", **unsent},
            "failureReasons": [],
        }
        assert found["Large"]["billing"] == {"segments": 5, "estimatedAmount": "0.225", **unsent}

        await settle_and_report()
        found = {task["name"]: task for task in (await client.run(BILLS))["tasks"]["nodes"]}
        assert found["Small"]["billing"]["amount"] == "0"
        assert found["Large"]["billing"] == {
            "segments": 5,
            "billableSegments": 2,
            "estimatedAmount": "0.225",
            "amount": "0.09",
            "currency": "CNY",
        }
        black, unknown = found["Large"]["failureReasons"]
        assert black.pop("advice")
        assert black == {"code": "BLACK", "cause": "BLOCKED", "count": 2, "billed": False, "mayPass": False}
        assert (unknown["code"], unknown["cause"], unknown["count"]) == (
            "WHATEVER",
            FailureCause.OTHER.value,
            1,
        )


async def settle_and_report() -> None:
    """Of the larger task, two messages are delivered and three fail."""
    task_id: int = await db.fetchval("UPDATE task SET status = 'SENDING' WHERE name = 'Large' RETURNING id")
    claim = await dispatch.claim(task_id, uuid4())
    assert claim is not None
    assert await dispatch.mark(claim, 5, [])
    assert await dispatch.settle(claim, settlements(claim, range(1, 6)), 0)
    said = {1: "DELIVRD", 2: "DELIVRD", 3: "BLACK", 4: "WHATEVER", 5: "BLACK"}
    reports = [
        replace(
            receipt(claim, position, FAILED if position > 2 else DELIVERED), status=status, error_code=None
        )
        for position, status in said.items()
    ]
    await receipts.apply_stored(await receipts.store(GATEWAY, reports), 3)


async def test_reasons_are_listed_most_frequent_first(world: World) -> None:
    claim = await world.claim(await world.running(12))
    await world.hand_over(claim)
    codes = ["KEYWORD"] + ["MILIMIT"] * 5 + ["BLACK"] * 3 + ["EXPIRED"] * 3
    for shard, (position, code) in enumerate(zip(claim.numbers, codes, strict=True)):
        await world.receive(report(claim, position, Event(1, FAILED, code)), shard=shard)
    assert await reasons(claim.task_id) == [("MILIMIT", 5), ("BLACK", 3), ("EXPIRED", 3), ("KEYWORD", 1)]
    assert Counter(dict(await grouped(claim.task_id))) == Counter(dict(await reasons(claim.task_id)))
