"""Messages through Huawei Cloud's Message & SMS: what is asked of it, and what its answers come to."""

from __future__ import annotations

import asyncio
import json
import math
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from domain.ports import Gateway, Handover, Outcome, SegmentHandover, Submission
from domain.segments import segment
from domain.states import Region
from tests.integration.huawei_platform import (
    LONG_TEMPLATE,
    TEMPLATE,
    Answer,
    HuaweiPlatform,
    Posted,
    huawei_platform,
    said,
)
from tests.integration.message_centre import until
from tests.integration.test_smpp_tls import AUTHORITY, CERTIFICATES
from tests.integration.world import phones
from workers.gateways import open_gateway
from workers.gateways.huawei_api import Difficulty
from workers.gateways.huawei_url import plan

SHORT = segment("【测试公司】您的预约已确认。", Region.CHINESE_MAINLAND)
LONG = segment("【测试公司】" + "测试" * 70, Region.CHINESE_MAINLAND)
CALLBACK = "https://sms.example.com/callbacks/default?signature=abc"


@pytest.fixture
async def platform() -> AsyncIterator[HuaweiPlatform]:
    async with huawei_platform() as platform:
        yield platform


@asynccontextmanager
async def sending(platform: HuaweiPlatform, query: str = "", **keys: str) -> AsyncIterator[Gateway]:
    """A gateway to the platform, started and closed."""
    gateway = open_gateway("default", platform.url(query, **keys), own_address=lambda: CALLBACK)
    await gateway.start(_nothing_comes_in)
    try:
        yield gateway
    finally:
        await gateway.close()


async def _nothing_comes_in(_: object) -> None:
    raise AssertionError("the platform reports to the API")


def message(number: str, template: str | None = TEMPLATE) -> Submission:
    content = LONG if template == LONG_TEMPLATE else SHORT
    return Submission(content, number, "10690001", signature="测试公司", external_template_id=template)


async def handed(gateway: Gateway, *messages: Submission) -> list[Handover]:
    """What becomes of these messages, given at once."""
    async with asyncio.timeout(20):
        return list(await asyncio.gather(*(gateway.submit(each) for each in messages)))


async def outcomes(gateway: Gateway, *numbers: str) -> list[Outcome]:
    return [handover.outcome for handover in await handed(gateway, *map(message, numbers))]


def answering(*answers: Answer) -> Callable[[Posted], Answer]:
    """Answer so, one after the other, the last for ever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


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


async def test_each_number_has_its_own_result(platform: HuaweiPlatform) -> None:
    fine, bad, busy = phones(3)
    platform.statuses = {bad: "E200030", busy: "E200015"}
    async with sending(platform) as gateway:
        accepted, refused, given_back = await handed(gateway, *map(message, (fine, bad, busy)))

    assert accepted.outcome is Outcome.ACCEPTED
    assert refused == Handover(Outcome.REFUSED, (SegmentHandover(None, "E200030"),))
    assert given_back.outcome is Outcome.NOT_HANDED_OVER
    assert given_back.retry_after > 0


def with_results(
    platform: HuaweiPlatform, change: Callable[[dict[str, object]], object]
) -> Callable[[Posted], Answer]:
    """The documented answer with something changed in each result."""

    def answer(posted: Posted) -> Answer:
        found = json.loads(platform.by_the_book(posted).body)
        found["result"] = [changed for result in found["result"] if (changed := change(result)) is not None]
        return Answer(200, json.dumps(found).encode())

    return answer


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (lambda result: {**result, "originTo": str(result["originTo"])[1:]}, Outcome.ACCEPTED),
        (lambda result: {**result, "total": 0}, Outcome.ACCEPTED),
        (lambda result: {**result, "total": "3"}, Outcome.ACCEPTED),
        (lambda result: {k: v for k, v in result.items() if k != "total"}, Outcome.ACCEPTED),
        (lambda result: {**result, "surprise": [1]}, Outcome.ACCEPTED),
        (lambda result: {**result, "originTo": "+8613900000000"}, Outcome.IN_DOUBT),
        (lambda result: {**result, "status": None}, Outcome.IN_DOUBT),
        (lambda _: None, Outcome.IN_DOUBT),
        (lambda _: "nonsense", Outcome.IN_DOUBT),
    ],
)
async def test_a_result_is_read_as_far_as_it_is_clear(
    platform: HuaweiPlatform, change: Callable[[dict[str, object]], object], outcome: Outcome
) -> None:
    platform.answer = with_results(platform, change)
    async with sending(platform) as gateway:
        (handover,) = await handed(gateway, message(phones(1)[0]))

    assert handover.outcome is outcome
    assert len(handover.segments) == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (said("E000510"), "E000510"),
        (said("E000503", "Parameter invalid.", 400), "E000503"),
        (said("E000000", "System error.", 400), "E000000"),
        (Answer(413), "HTTP 413"),
        (Answer(400, b"<html>"), "HTTP 400"),
    ],
)
async def test_what_is_wrong_with_the_request_fails_its_messages(
    platform: HuaweiPlatform, answer: Answer, code: str
) -> None:
    platform.answer = answering(answer)
    async with sending(platform) as gateway:
        handovers = await handed(gateway, *map(message, phones(2)))

    assert handovers == [Handover(Outcome.REFUSED, (SegmentHandover(None, code),))] * 2


@pytest.mark.parametrize(
    "answer",
    [
        said("E000102", "The app_key is invalid.", 400),
        said("E000112", "The subscriber status is frozen.", 403),
        said("E000620", "The app client ip is not in ip white list.", 403),
        said("E000629", "The package is used up."),
        said("E000103", "", 500),
        Answer(404),
        Answer(401),
        Answer(403, b'{"error_code": "APIGW.0301", "error_msg": "Incorrect authentication"}'),
        Answer(302, headers={"Location": "/elsewhere"}),
        Answer(429, headers={"Retry-After": "7"}),
        said("E200015"),
    ],
)
async def test_what_a_person_or_time_mends_is_tried_again_and_nothing_is_lost(
    platform: HuaweiPlatform, answer: Answer
) -> None:
    platform.answer = answering(answer, answer, answer)
    async with sending(platform) as gateway:
        first, second = await handed(gateway, *map(message, phones(2)))
        (meanwhile,) = await handed(gateway, message(phones(3)[2]))

    assert {handover.outcome for handover in (first, second, meanwhile)} == {Outcome.NOT_HANDED_OVER}
    assert min(first.retry_after, meanwhile.retry_after) > (6 if answer.status == 429 else 0.5)
    assert len(platform.posted) == 1


async def test_wrong_credentials_are_told_once_without_the_secret_and_do_not_hammer(
    platform: HuaweiPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.gateways.huawei_trouble.PAUSES", _short_pauses())
    with capture_logs() as logs:
        async with sending(platform, secret="wrong-secret") as gateway:
            for _ in range(4):
                async with asyncio.timeout(5):
                    await gateway.ready()
                assert set(await outcomes(gateway, *phones(50))) == {Outcome.NOT_HANDED_OVER}

    barred = [entry for entry in logs if entry["event"] == "gateway_bars_us"]
    assert [(entry["log_level"], entry["reason"]) for entry in barred] == [
        ("error", "E000104 not authorised")
    ]
    assert "wrong-secret" not in str(logs)
    # While it is known to take nothing, one small request at a time asks whether it does again.
    assert [len(posted.numbers) for posted in platform.posted] == [50, 10, 10, 10]


async def test_after_a_trouble_is_over_everything_goes_out_again(
    platform: HuaweiPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.gateways.huawei_trouble.PAUSES", _short_pauses())
    platform.answer = lambda posted: (
        Answer(429) if len(platform.posted) == 1 else platform.by_the_book(posted)
    )
    with capture_logs() as logs:
        async with sending(platform) as gateway:
            await handed(gateway, message(phones(1)[0]))
            async with asyncio.timeout(5):
                await gateway.ready()
            assert await outcomes(gateway, *phones(100)) == [Outcome.ACCEPTED] * 100

    assert [entry["event"] for entry in logs if entry["event"].startswith("gateway_")] == [
        "gateway_without_tls",
        "gateway_busy",
        "gateway_takes_messages_again",
    ]


def _short_pauses() -> object:
    return dict.fromkeys(Difficulty, (0.02, 0.05))


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<html>maintenance</html>"),
        Answer(200),
        said("000000", "Success"),
        Answer(200, b'{"code": "000000", "result": [{"originTo"'),
        Answer(408),
        Answer(500),
        said("E000000", "System error.", 500),
        Answer(502),
        Answer(503, headers={"Retry-After": "1"}),
        Answer(504, b'{"error_code": "APIGW.0201", "error_msg": "Backend timeout"}'),
        Answer(200, b'{"code": "000000"}', octets=5),
        Answer(200, octets=0),
        Answer(200, b"[" * 100_000),
        Answer(200, b" " * 5_000_000),
    ],
)
async def test_what_may_have_been_taken_is_in_doubt_and_never_sent_again(
    platform: HuaweiPlatform, answer: Answer
) -> None:
    platform.answer = answering(answer)
    async with sending(platform) as gateway:
        assert await outcomes(gateway, *phones(3)) == [Outcome.IN_DOUBT] * 3

    assert len(platform.posted) == 1


@pytest.mark.parametrize("answer", [Answer(502), Answer(200, b"<html>"), Answer(200, octets=0)])
async def test_while_answers_say_nothing_little_is_put_in_doubt(
    platform: HuaweiPlatform, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    monkeypatch.setattr("workers.gateways.huawei_trouble.PAUSES", _short_pauses())
    platform.answer = answering(answer)
    in_doubt = 0
    async with sending(platform) as gateway:
        for _ in range(3):
            async with asyncio.timeout(5):
                await gateway.ready()
            in_doubt += (await outcomes(gateway, *phones(100))).count(Outcome.IN_DOUBT)

    assert [len(posted.numbers) for posted in platform.posted] == [100, 10, 10]
    assert in_doubt == 120


async def test_no_answer_in_time_is_in_doubt(platform: HuaweiPlatform) -> None:
    platform.answer = answering(Answer(after=asyncio.Event()))
    async with sending(platform, "response_timeout=0.2") as gateway:
        assert await outcomes(gateway, *phones(2)) == [Outcome.IN_DOUBT] * 2

    assert len(platform.posted) == 1


async def test_a_platform_that_cannot_be_reached_got_nothing(platform: HuaweiPlatform) -> None:
    url, port = platform.url("connect_timeout=1"), platform.port
    with capture_logs() as logs:
        for address in (
            url.replace(str(port), "9"),
            url.replace("127.0.0.1", "no-such-host.invalid"),
            url.replace("huawei+http", "huawei"),  # a server that does not speak TLS
        ):
            gateway = open_gateway("default", address)
            await gateway.start(_nothing_comes_in)
            (handover,) = await handed(gateway, message(phones(1)[0]))
            await gateway.close()
            assert handover.outcome is Outcome.NOT_HANDED_OVER
            assert handover.retry_after > 0

    assert not platform.posted
    assert [entry["event"] for entry in logs].count("gateway_unreachable") == 3


@pytest.mark.parametrize(
    ("host", "authority", "outcome"),
    [
        ("localhost", f"ca={AUTHORITY}", Outcome.ACCEPTED),
        ("127.0.0.1", f"ca={AUTHORITY}", Outcome.NOT_HANDED_OVER),
        ("localhost", "", Outcome.NOT_HANDED_OVER),
    ],
)
async def test_the_platform_must_prove_who_it_is(host: str, authority: str, outcome: Outcome) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATES / "localhost.pem")
    async with huawei_platform(context) as platform:
        url = platform.url(authority).replace("huawei+http", "huawei").replace("127.0.0.1", host)
        gateway = open_gateway("default", url)
        await gateway.start(_nothing_comes_in)
        assert await outcomes(gateway, *phones(1)) == [outcome]
        await gateway.close()

    assert len(platform.posted) == (outcome is Outcome.ACCEPTED)


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
    await gateway.start(_nothing_comes_in)
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
    await gateway.start(_nothing_comes_in)
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
