"""What receipts make of a message's segments."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from domain import verdicts
from domain.billing import Tariff
from domain.ports import ReceiptState
from domain.pricing import PriceList
from domain.states import SEND_RESULTS, Region, SendResult
from domain.verdicts import Message, Part

NOW = datetime(2026, 11, 22, tzinfo=UTC)
UNKNOWN, DELIVERED, FAILED = map(
    SEND_RESULTS.index, (SendResult.UNKNOWN, SendResult.DELIVERED, SendResult.FAILED)
)
PRICE = Decimal("0.05")


def message(segments: int = 1, *, charged: bool = False) -> Message:
    parts = [Part(index, 34610001000, UNKNOWN, None, None, charged) for index in range(1, segments + 1)]
    return Message(7, UNKNOWN, 1, parts)


def receipt(
    index: int, state: ReceiptState, code: str | None = None, *, whole: bool = False
) -> dict[str, Any]:
    return {
        "position": 7,
        "index": index,
        "state": verdicts.STATES.index(state),
        "status": "DELIVRD" if state is ReceiptState.DELIVERED else "UNDELIV",
        "error_code": code,
        "received_at": NOW,
        "whole_message": whole,
    }


def decided(
    about: Message, *receipts: dict[str, Any], region: Region = Region.CHINESE_MAINLAND
) -> Counter[Decimal]:
    return verdicts.decide({7: about}, receipts, Tariff(region, PriceList({"": PRICE})))


@pytest.mark.parametrize(
    ("states", "outcome"),
    [
        ([ReceiptState.DELIVERED, ReceiptState.DELIVERED], DELIVERED),
        ([ReceiptState.DELIVERED], UNKNOWN),
        ([ReceiptState.DELIVERED, ReceiptState.NOT_FINAL], UNKNOWN),
        ([ReceiptState.DELIVERED, ReceiptState.FAILED], FAILED),
        ([ReceiptState.FAILED], FAILED),
    ],
)
def test_a_message_is_delivered_when_all_its_segments_are(states: list[ReceiptState], outcome: int) -> None:
    long = message(2)
    decided(long, *(receipt(index, state) for index, state in enumerate(states, 1)))
    assert long.outcome == outcome


def test_the_first_final_receipt_of_a_segment_counts() -> None:
    short = message()
    charges = decided(
        short,
        receipt(1, ReceiptState.NOT_FINAL),
        receipt(1, ReceiptState.DELIVERED),
        receipt(1, ReceiptState.FAILED, "MILIMIT"),
    )
    (part,) = short.parts
    assert (part.result, part.error_code, part.charged, part.moved) == (DELIVERED, None, True, True)
    assert charges == {PRICE: 1}


def test_what_was_settled_before_does_not_move() -> None:
    settled = message()
    settled.parts[0] = Part(1, 34610001000, DELIVERED, NOW, None, charged=True)
    assert not decided(settled, receipt(1, ReceiptState.FAILED, "MILIMIT"))
    assert not settled.parts[0].moved


def test_a_receipt_of_a_whole_message_speaks_for_the_segments_nothing_else_was_said_of() -> None:
    long = message(3)
    charges = decided(
        long,
        receipt(2, ReceiptState.FAILED, "MILIMIT"),
        receipt(1, ReceiptState.DELIVERED, whole=True),
    )
    assert [part.result for part in long.parts] == [DELIVERED, FAILED, DELIVERED]
    assert charges == {PRICE: 2}


@pytest.mark.parametrize(("code", "charges"), [("0x0000000B", {PRICE: -1}), ("MILIMIT", {})])
def test_what_was_charged_at_the_hand_over_is_free_after_all_if_the_platform_refused_it(
    code: str, charges: dict[Decimal, int]
) -> None:
    international = message(charged=True)
    said = receipt(1, ReceiptState.FAILED, code)
    assert decided(international, said, region=Region.INTERNATIONAL) == charges
    assert international.parts[0].error_code == code
