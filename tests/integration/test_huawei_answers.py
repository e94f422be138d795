"""What becomes of messages by the platform's answers: results, refusals, troubles, doubt."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable

import pytest
from structlog.testing import capture_logs

from domain.ports import Handover, Outcome, SegmentHandover
from tests.integration.huawei_platform import (
    Answer,
    HuaweiPlatform,
    Posted,
    huawei_platform,
    said,
)
from tests.integration.huawei_sending import (
    answering,
    handed,
    message,
    nothing_comes_in,
    outcomes,
    sending,
)
from tests.integration.test_smpp_tls import AUTHORITY, CERTIFICATES
from tests.integration.world import phones
from workers.gateways import open_gateway
from workers.gateways.huawei_api import Difficulty


@pytest.fixture
async def platform() -> AsyncIterator[HuaweiPlatform]:
    async with huawei_platform() as platform:
        yield platform


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
            await gateway.start(nothing_comes_in)
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
        await gateway.start(nothing_comes_in)
        assert await outcomes(gateway, *phones(1)) == [outcome]
        await gateway.close()

    assert len(platform.posted) == (outcome is Outcome.ACCEPTED)
