"""Messages through Huawei Cloud's Message & SMS: what is asked of it, when, and by which address."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from domain.ports import Handover, Outcome, SegmentHandover
from tests.integration.huawei_platform import (
    LONG_TEMPLATE,
    TEMPLATE,
    Answer,
    HuaweiPlatform,
    huawei_platform,
)
from tests.integration.huawei_sending import (
    CALLBACK,
    answering,
    handed,
    message,
    nothing_comes_in,
    outcomes,
    sending,
)
from tests.integration.message_centre import until
from tests.integration.world import phones
from workers.gateways import open_gateway
from workers.gateways.huawei_url import plan


@pytest.fixture
async def platform() -> AsyncIterator[HuaweiPlatform]:
    async with huawei_platform() as platform:
        yield platform


async def test_one_request_carries_what_the_documents_ask_for(platform: HuaweiPlatform) -> None:
    numbers = phones(3)
    async with sending(platform) as gateway:
        handovers = await handed(gateway, *map(message, numbers))

    (posted,) = platform.posted
    sender, _, seconds = posted.form.pop("extend").partition("@")
    assert sender == "10690001"
    assert time.time() - 20 < int(seconds) <= time.time()
    assert posted.form == {
        "from": "10690001",
        "to": ",".join(numbers),
        "templateId": TEMPLATE,
        "signature": "测试公司",
        "statusCallback": CALLBACK,
    }
    assert [handover.outcome for handover in handovers] == [Outcome.ACCEPTED] * 3
    assert [handover.segments for handover in handovers] == [
        (SegmentHandover(platform.ids[number]),) for number in numbers
    ]


async def test_no_request_has_more_than_500_numbers_and_none_has_one_twice(platform: HuaweiPlatform) -> None:
    numbers = [*phones(3), *phones(1200)]
    async with sending(platform, "window=2000") as gateway:
        assert await outcomes(gateway, *numbers) == [Outcome.ACCEPTED] * 1203

    assert sorted(platform.reached) == sorted(numbers)
    assert all(len(set(posted.numbers)) == len(posted.numbers) <= 500 for posted in platform.posted)
    assert len(platform.posted) <= 4


async def test_what_differs_in_sender_signature_or_template_goes_out_apart(platform: HuaweiPlatform) -> None:
    first, second, third, fourth = (message(number) for number in phones(4))
    async with sending(platform) as gateway:
        handovers = await handed(
            gateway,
            first,
            replace(second, sender="10690002"),
            replace(third, signature=None),
            replace(fourth, external_template_id=LONG_TEMPLATE),
        )

    assert [handover.outcome for handover in handovers] == [Outcome.ACCEPTED] * 4
    asked = {posted.numbers[0]: posted.form for posted in platform.posted}
    assert len(asked) == len(platform.posted) == 4
    assert asked[second.number]["from"] == "10690002"
    assert "signature" not in asked[third.number]
    assert asked[fourth.number]["templateId"] == LONG_TEMPLATE


async def test_a_long_message_has_as_many_segments_as_the_platform_says_all_with_one_id(
    platform: HuaweiPlatform,
) -> None:
    (number,) = phones(1)
    async with sending(platform) as gateway:
        # Our text would be one segment; the platform sends its own, of three.
        (handover,) = await handed(gateway, replace(message(number), external_template_id=LONG_TEMPLATE))

    assert handover == Handover(Outcome.ACCEPTED, (SegmentHandover(platform.ids[number]),) * 3)


async def test_without_a_template_id_nothing_is_asked_for(platform: HuaweiPlatform) -> None:
    async with sending(platform) as gateway:
        (handover,) = await handed(gateway, message(phones(1)[0], None))

    assert handover == Handover(Outcome.REFUSED, (SegmentHandover(None, "NO_EXTERNAL_ID"),))
    assert not platform.posted


async def test_nothing_is_sent_after_the_moment_a_message_names(platform: HuaweiPlatform) -> None:
    async with sending(platform) as gateway:
        over = replace(message(phones(1)[0]), not_after=time.clock_gettime(time.CLOCK_BOOTTIME))
        late = replace(message(phones(2)[1]), begin_by=time.clock_gettime(time.CLOCK_BOOTTIME))
        first, second = await handed(gateway, over, late)

    assert {first.outcome, second.outcome} == {Outcome.NOT_HANDED_OVER}
    assert not platform.posted


async def test_what_waits_for_its_turn_by_the_rate_is_not_sent_after_its_moment(
    platform: HuaweiPlatform,
) -> None:
    first, second = map(message, phones(2))
    async with sending(platform, "rate=0.1") as gateway:
        await handed(gateway, first)
        soon = time.clock_gettime(time.CLOCK_BOOTTIME) + 0.3
        (handover,) = await handed(gateway, replace(second, not_after=soon))

    assert handover.outcome is Outcome.NOT_HANDED_OVER
    assert platform.reached == [first.number]


async def test_closing_waits_for_answers_under_way(platform: HuaweiPlatform) -> None:
    answered = asyncio.Event()
    platform.answer = lambda posted: replace(platform.by_the_book(posted), after=answered)
    gateway = open_gateway("default", platform.url("connections=1"))
    await gateway.start(nothing_comes_in)
    under_way = gateway.submit(message(phones(1)[0]))
    await until(lambda: platform.posted)
    in_line = gateway.submit(message(phones(2)[1]))
    closing = asyncio.create_task(gateway.close())
    assert (await in_line).outcome is Outcome.NOT_HANDED_OVER
    answered.set()

    await closing
    assert under_way.result().outcome is Outcome.ACCEPTED
    (after,) = await handed(gateway, message(phones(3)[2]))
    assert after.outcome is Outcome.NOT_HANDED_OVER


async def test_closing_does_not_wait_for_ever(platform: HuaweiPlatform) -> None:
    platform.answer = answering(Answer(after=asyncio.Event()))
    gateway = open_gateway("default", platform.url())
    await gateway.start(nothing_comes_in)
    under_way = gateway.submit(message(phones(1)[0]))
    await until(lambda: platform.posted)

    await gateway.close(0.05)
    assert under_way.result().outcome is Outcome.IN_DOUBT


@pytest.mark.alone
async def test_never_more_than_the_rate_in_any_second_and_most_of_it_used(platform: HuaweiPlatform) -> None:
    rate, seconds = 200, 3.0
    async with sending(platform, f"rate={rate}") as gateway:
        assert gateway.rate == rate
        asked: list[asyncio.Future[Handover]] = []
        numbers = iter(phones(10_000))
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            await gateway.ready()
            asked += [gateway.submit(message(next(numbers))) for _ in range(rate // 2)]
            await asyncio.sleep(0)
        await asyncio.gather(*asked)

    at = [posted.at for posted in platform.posted for _ in posted.numbers]
    assert len(at) >= 0.9 * rate * seconds
    assert all(sum(start <= moment < start + 1 for moment in at) <= rate for start in at)


@pytest.mark.parametrize(
    "rate", [0.5, 1, 3, 19.5, 20, 21, 50, 99, 100, 300, 500, 777, 900, 1000, 5000, 12_345]
)
def test_a_rate_is_spread_over_requests_that_never_exceed_it_and_use_most_of_it(rate: float) -> None:
    spread = plan(rate)
    whole_requests = math.ceil(spread.requests_a_second) if rate >= 20 else spread.requests_a_second
    assert 0.95 * rate <= whole_requests * spread.segments <= rate
    assert 1 <= spread.segments <= 500


async def test_segments_count_against_the_rate(platform: HuaweiPlatform) -> None:
    async with sending(platform, "rate=30") as gateway:
        began = time.monotonic()
        handovers = await handed(gateway, *(message(number, LONG_TEMPLATE) for number in phones(10)))
        took = time.monotonic() - began

    assert {handover.outcome for handover in handovers} == {Outcome.ACCEPTED}
    assert [len(posted.numbers) for posted in platform.posted] == [5, 5]
    assert took > 0.45


async def test_the_callback_of_the_url_goes_before_our_own(platform: HuaweiPlatform) -> None:
    async with sending(platform, "callback=https%3A%2F%2Frelay.example.com%2Fhw") as gateway:
        await handed(gateway, message(phones(1)[0]))
    async with sending(platform, "callback=") as gateway:
        await handed(gateway, message(phones(2)[1]))

    assert [posted.form.get("statusCallback") for posted in platform.posted] == [
        "https://relay.example.com/hw",
        None,
    ]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("huawei://key@host", "no app_secret"),
        ("huawei://:s3cr3t@host", "no app_key"),
        ("huawei://key:s3cr3t@", "no host"),
        ("huawei://key:s3cr3t@host?system_type=x", "unknown parameter"),
        ("huawei://key:s3cr3t@host?callback=example.com", "callback must be"),
        ("huawei://key:s3cr3t@host?ca=/nowhere", "ca must name a file"),
        (f"huawei://key:s3cr3t@host?ca={__file__}", "ca must name a file"),
        ("huawei://key:s3cr3t%22@host", "without quotes"),
        ("huawei+https://key:s3cr3t@host", "must begin with"),
    ],
)
def test_a_wrong_url_is_told_without_the_secret(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        open_gateway("default", url)
    assert "s3cr3t" not in str(refused.value)


def test_a_callback_nobody_can_reach_is_warned_of() -> None:
    with capture_logs() as logs:
        open_gateway("default", "huawei://k:s@host", own_address=lambda: "http://127.0.0.1:8000/callbacks/x")
        open_gateway("default", "huawei://k:s@host", own_address=lambda: CALLBACK)
    assert [entry["event"] for entry in logs] == ["callback_not_reachable"]
