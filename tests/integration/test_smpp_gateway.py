"""The SMPP gateway against the simulated message centre, a process of its own, over real TCP."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog

from domain.ports import (
    Gateway,
    Handover,
    Inbound,
    Outcome,
    Receipt,
    ReceiptState,
    SegmentHandover,
    Submission,
)
from domain.segments import segment
from domain.states import Region
from tests.integration.message_centre import simulated_centre, until
from workers.gateways import open_gateway

SHORT = segment("Your parcel is here.", Region.INTERNATIONAL)
CHINESE = segment("【顺丰】您的包裹已到达。", Region.CHINESE_MAINLAND)
LONG = segment("Ein langer Text mit Umlauten äöü und € dazu. " * 9, Region.INTERNATIONAL)
LONG_CHINESE = segment("您的包裹已到达。" * 20, Region.CHINESE_MAINLAND)
CREDENTIALS = ("--system-id", "groupsms", "--password", "secret")


class Inbox:
    """A sink that keeps what it gets; it raises as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.receipts: list[Receipt] = []
        self.batches: list[int] = []
        self.failures = failures

    async def __call__(self, inbound: Sequence[Inbound]) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the database is away")
        self.batches.append(len(inbound))
        self.receipts.extend(said for said in inbound if isinstance(said, Receipt))


@asynccontextmanager
async def started(url: str, inbox: Inbox) -> AsyncIterator[Gateway]:
    gateway = open_gateway("default", url)
    await gateway.start(inbox)
    try:
        yield gateway
    finally:
        await gateway.close()


async def ready(gateway: Gateway) -> None:
    async with asyncio.timeout(10):
        await gateway.ready()


async def handed_over(gateway: Gateway, submissions: Sequence[Submission]) -> list[Handover]:
    """Hand messages over as the dispatcher does: no more than a window at a time."""
    room = asyncio.Semaphore(gateway.window)

    async def hand_over(submission: Submission) -> Handover:
        async with room:
            return await gateway.submit(submission)

    async with asyncio.timeout(20):
        return await asyncio.gather(*map(hand_over, submissions))


def number(ending: int) -> str:
    return f"+861380013{ending:04d}"


async def test_a_thousand_messages_arrive_once_each_with_the_right_octets(tmp_path: Path) -> None:
    inbox = Inbox()
    numbers = [number(ending) for ending in range(1000, 2000)]
    async with (
        simulated_centre(tmp_path, *CREDENTIALS, "--receipt-delay", "0.05") as centre,
        started(centre.url("window=100"), inbox) as gateway,
    ):
        await ready(gateway)
        handovers = await handed_over(gateway, [Submission(SHORT, each, "10690") for each in numbers])
        await until(lambda: len(inbox.receipts) == 1000)
        await until(lambda: len(centre.events("acknowledged")) == 1000)
        submits = centre.events("submit_sm")

    assert {handover.outcome for handover in handovers} == {Outcome.ACCEPTED}
    assert sorted(f"+{submit['destination']}" for submit in submits) == numbers
    assert {submit["short_message"] for submit in submits} == {SHORT.text.encode().hex()}
    wanted = {
        "source": "10690",
        "source_ton": 3,
        "source_npi": 0,
        "destination_ton": 1,
        "destination_npi": 1,
        "data_coding": 0,
        "esm_class": 0,
        "registered_delivery": 1,
    }
    assert all(wanted.items() <= submit.items() for submit in submits)
    ids = {submit["message_id"]: f"+{submit['destination']}" for submit in submits}
    assert {handover.segments[0].gateway_message_id for handover in handovers} == ids.keys()
    assert {receipt.gateway_message_id: receipt.number for receipt in inbox.receipts} == ids
    assert {receipt.state for receipt in inbox.receipts} == {ReceiptState.DELIVERED}
    assert max(inbox.batches) > 1, "receipts are given in batches"


async def test_long_texts_reassemble_at_the_phone(tmp_path: Path) -> None:
    inbox = Inbox()
    async with (
        simulated_centre(tmp_path, "--receipt-delay", "0.05") as centre,
        started(centre.url(), inbox) as gateway,
    ):
        await ready(gateway)
        for content in (LONG, LONG_CHINESE, LONG):
            assert len(content.segments) == 3
            (handover,) = await handed_over(gateway, [Submission(content, number(1234), "+4915112345678")])
            assert handover.outcome is Outcome.ACCEPTED
            assert len({each.gateway_message_id for each in handover.segments}) == 3
        await until(lambda: len(inbox.receipts) == 9)
        submits = centre.events("submit_sm")

    references = []
    for start, content, data_coding in ((0, LONG, 0), (3, LONG_CHINESE, 8), (6, LONG, 0)):
        parts = submits[start : start + 3]
        octets = [bytes.fromhex(part["short_message"]) for part in parts]
        assert {(part["esm_class"], part["data_coding"], part["source_ton"]) for part in parts} == {
            (0x40, data_coding, 1)
        }
        assert [(part[:3], part[4], part[5]) for part in octets] == [
            (b"\x05\x00\x03", 3, 1 + at) for at in range(3)
        ]
        assert len({part[3] for part in octets}) == 1, "one reference for all segments"
        references.append(octets[0][3])
        joined = b"".join(part[6:] for part in octets)
        if data_coding == 8:
            assert joined.decode("utf-16-be") == content.text
            assert all(len(part) <= 140 for part in octets)
        else:
            assert (
                joined.replace(b"\x1be", "€".encode())
                .replace(b"\x7b", "ä".encode())
                .replace(b"\x7c", "ö".encode())
                .replace(b"\x7e", "ü".encode())
                .decode()
                == content.text
            )
            assert all(len(part) <= 6 + 153 for part in octets)
    assert references == [(references[0] + at) % 256 for at in range(3)], "counted for the pair"


async def test_a_chinese_text_is_ucs2_with_an_alphanumeric_sender(tmp_path: Path) -> None:
    async with simulated_centre(tmp_path) as centre, started(centre.url(), Inbox()) as gateway:
        await ready(gateway)
        await handed_over(gateway, [Submission(CHINESE, number(1234), "SF Express")])
        (submit,) = centre.events("submit_sm")

    assert bytes.fromhex(submit["short_message"]).decode("utf-16-be") == CHINESE.text
    assert (submit["data_coding"], submit["source"], submit["source_ton"], submit["source_npi"]) == (
        8,
        "SF Express",
        5,
        0,
    )


async def test_endings_decide_refusals_and_receipts(tmp_path: Path) -> None:
    inbox = Inbox()
    async with (
        simulated_centre(tmp_path, "--receipt-delay", "0.05") as centre,
        started(centre.url("window=50"), inbox) as gateway,
    ):
        await ready(gateway)
        handovers = await handed_over(
            gateway, [Submission(SHORT, number(ending), "10690") for ending in range(1, 16)]
        )
        await until(lambda: len(inbox.receipts) == 14)
        submits = Counter(submit["destination"] for submit in centre.events("submit_sm"))

    said = {
        f"{ending:04d}": (handover.outcome, handover.segments[0].error_code)
        for ending, handover in enumerate(handovers, 1)
    }
    assert said.pop("0009") == (Outcome.REFUSED, "0x0000000B")
    assert said.pop("0010") == (Outcome.REFUSED, "0x00000410")
    assert set(said.values()) == {(Outcome.ACCEPTED, None)}
    results = {(each.number[-4:], each.status, each.error_code, each.state) for each in inbox.receipts}
    failed, delivered, open_ = ReceiptState.FAILED, ReceiptState.DELIVERED, ReceiptState.NOT_FINAL
    assert results == {
        ("0001", "UNDELIV", "001", failed),
        ("0002", "EXPIRED", "027", failed),
        ("0003", "REJECTD", "008", failed),
        ("0004", "DELETED", "005", failed),
        ("0005", "UNDELIV", "BLACK", failed),
        ("0006", "UNDELIV", "MILIMIT", failed),
        ("0007", "REJECTD", "KEYWORD", failed),
        ("0011", "DELIVRD", "000", delivered),
        ("0012", "DELIVRD", "000", delivered),
        ("0013", "ENROUTE", "000", open_),
        ("0013", "DELIVRD", "000", delivered),
        ("0014", "ACCEPTD", "000", open_),
        ("0015", "DELIVRD", "000", delivered),
    }
    assert {destination[-4:] for destination, times in submits.items() if times != 1} == {"0011", "0012"}


async def test_a_throttled_segment_alone_is_tried_again_with_its_reference(tmp_path: Path) -> None:
    """At 2 submits in any second, the third segment is throttled until the second has passed."""
    async with simulated_centre(tmp_path, "--rate", "2") as centre, started(centre.url(), Inbox()) as gateway:
        await ready(gateway)
        (handover,) = await handed_over(gateway, [Submission(LONG, number(1234), "10690")])
        submits = centre.events("submit_sm")

    taken = [submit for submit in submits if submit["command_status"] == 0]
    throttled = [submit for submit in submits if submit["command_status"] == 0x58]
    assert handover.outcome is Outcome.ACCEPTED
    assert [each.gateway_message_id for each in handover.segments] == [each["message_id"] for each in taken]
    assert [bytes.fromhex(each["short_message"])[5] for each in taken] == [1, 2, 3]
    assert throttled
    assert {each["short_message"] for each in throttled} == {taken[2]["short_message"]}


@pytest.mark.alone
async def test_what_a_throttling_centre_allows_is_used_and_gets_everything_once(tmp_path: Path) -> None:
    """The centre takes 200 in any second and answers within a millisecond; the gateway knows no rate."""
    numbers = [number(ending) for ending in range(2000, 3800)]
    async with (
        simulated_centre(tmp_path, "--rate", "200") as centre,
        started(centre.url("window=50"), Inbox()) as gateway,
    ):
        await ready(gateway)
        handovers = await handed_over(gateway, [Submission(SHORT, each, "10690") for each in numbers])
        submits = centre.events("submit_sm")
        assert 150 < gateway.rate < 300

    taken = [submit for submit in submits if submit["command_status"] == 0]
    assert {handover.outcome for handover in handovers} == {Outcome.ACCEPTED}
    assert sorted(f"+{submit['destination']}" for submit in taken) == numbers
    steady = submits[0]["time"] + 3
    in_time = [submit for submit in taken if submit["time"] >= steady]
    throttled = [submit for submit in submits if submit["command_status"] and submit["time"] >= steady]
    assert len(in_time) / (in_time[-1]["time"] - steady) > 0.8 * 200
    assert len(throttled) < 0.05 * len(in_time)
    assert len(submits) - len(taken) < 150, "nor does it hammer while it finds the rate"


@pytest.mark.alone
async def test_the_rate_holds_in_every_second(tmp_path: Path) -> None:
    numbers = [number(ending) for ending in range(2000, 2220)]
    async with (
        simulated_centre(tmp_path) as centre,
        started(centre.url("window=100&rate=100"), Inbox()) as gateway,
    ):
        await ready(gateway)
        await handed_over(gateway, [Submission(SHORT, each, "10690") for each in numbers])
        times = sorted(submit["time"] for submit in centre.events("submit_sm"))

    assert len(times) == 220
    busiest = max(sum(start <= at < start + 1.0 for at in times) for start in times)
    assert busiest <= 100
    assert (len(times) - 1) / (times[-1] - times[0]) > 90


async def test_what_was_in_flight_when_the_centre_died_is_in_doubt_and_never_sent_again(
    tmp_path: Path,
) -> None:
    inbox = Inbox()
    silent = [Submission(SHORT, number(9901), f"sender{at}") for at in range(10)]
    queued = [Submission(SHORT, number(3000 + at), "10690") for at in range(5)]
    async with simulated_centre(tmp_path) as centre, started(centre.url("window=10"), inbox) as gateway:
        await ready(gateway)
        futures = [gateway.submit(each) for each in silent + queued]
        await until(lambda: len(centre.events("submit_sm")) == 10)
        await centre.kill()
        in_doubt = [await future for future in futures]
        away = await gateway.submit(Submission(SHORT, number(4000), "10690"))

        async with simulated_centre(tmp_path, port=centre.port) as revived:
            await ready(gateway)
            again = await gateway.submit(Submission(SHORT, number(5000), "10690"))
            submits = revived.events("submit_sm")

    assert [each.outcome for each in in_doubt] == [Outcome.IN_DOUBT] * 10 + [Outcome.NOT_HANDED_OVER] * 5
    assert away.outcome is Outcome.NOT_HANDED_OVER
    assert away.retry_after > 0
    assert again.outcome is Outcome.ACCEPTED
    assert [submit["destination"][-4:] for submit in submits] == ["9901"] * 10 + ["5000"]


async def test_a_message_that_is_never_answered_is_in_doubt_and_its_receipt_still_comes(
    tmp_path: Path,
) -> None:
    inbox = Inbox()
    async with (
        simulated_centre(tmp_path, "--receipt-delay", "0.1") as centre,
        started(centre.url("response_timeout=0.5"), inbox) as gateway,
    ):
        await ready(gateway)
        silent, answered = await handed_over(
            gateway, [Submission(SHORT, number(9901), "10690"), Submission(SHORT, number(1234), "10690")]
        )
        await until(lambda: len(inbox.receipts) == 2)
        submits = centre.events("submit_sm")

    assert silent == Handover(Outcome.IN_DOUBT, (SegmentHandover(None),))
    assert answered.outcome is Outcome.ACCEPTED
    assert len(submits) == 2
    assert {receipt.number for receipt in inbox.receipts} == {number(9901), number(1234)}


async def test_a_receipt_is_acknowledged_only_when_the_sink_has_it(tmp_path: Path) -> None:
    inbox = Inbox(failures=1)
    async with (
        simulated_centre(tmp_path, "--receipt-delay", "0.05", "--resend-after", "1.2") as centre,
        started(centre.url(), inbox) as gateway,
    ):
        await ready(gateway)
        await handed_over(gateway, [Submission(SHORT, number(1234), "10690")])
        await until(lambda: inbox.receipts)
        await until(lambda: len(centre.events("acknowledged")) == 2)
        attempts = [event["attempt"] for event in centre.events("receipt")]
        answers = [event["command_status"] for event in centre.events("acknowledged")]

    assert len(inbox.receipts) == 1
    assert attempts == [1, 2]
    assert answers == [0x64, 0]


async def test_receipts_wait_for_a_bind_that_is_away(tmp_path: Path) -> None:
    inbox, later = Inbox(), Inbox()
    async with simulated_centre(tmp_path, "--receipt-delay", "0.3") as centre:
        async with started(centre.url(), inbox) as gateway:
            await ready(gateway)
            await handed_over(gateway, [Submission(SHORT, number(1234), "10690")])
        async with started(centre.url(system_id="somebody-else"), Inbox()) as stranger:
            await ready(stranger)
            assert not centre.events("receipt")
            async with started(centre.url(), later):
                await until(lambda: later.receipts)

    assert not inbox.receipts
    assert [receipt.number for receipt in later.receipts] == [number(1234)]


async def test_refused_credentials_are_said_once_and_not_hammered(tmp_path: Path) -> None:
    async with simulated_centre(tmp_path, *CREDENTIALS) as centre:
        with structlog.testing.capture_logs() as logs:
            async with started(centre.url(password="wr0ng-1"), Inbox()) as gateway:
                await until(lambda: any(entry["event"] == "smpp_credentials_refused" for entry in logs))
                refused = await gateway.submit(Submission(SHORT, number(1234), "10690"))

    said = [entry for entry in logs if entry["event"] == "smpp_credentials_refused"]
    assert len(said) == 1
    assert "ESME_RINVPASWD (0x0000000E)" in said[0]["reason"]
    assert refused.outcome is Outcome.NOT_HANDED_OVER
    assert refused.retry_after > 30
    assert not any("wr0ng-1" in str(entry) for entry in logs)


async def test_closing_gives_back_what_was_not_begun(tmp_path: Path) -> None:
    async with simulated_centre(tmp_path, "--response-delay", "0.3") as centre:
        gateway = open_gateway("default", centre.url("window=2"))
        await gateway.start(Inbox())
        await ready(gateway)
        futures = [gateway.submit(Submission(SHORT, number(6000 + at), "10690")) for at in range(4)]
        await gateway.close()
        after = await gateway.submit(Submission(SHORT, number(7000), "10690"))
        submits = centre.events("submit_sm")

    assert [(await future).outcome for future in futures] == (
        [Outcome.ACCEPTED] * 2 + [Outcome.NOT_HANDED_OVER] * 2
    )
    assert after.outcome is Outcome.NOT_HANDED_OVER
    assert len(submits) == 2


async def test_what_waits_too_long_is_given_back(tmp_path: Path) -> None:
    async with (
        simulated_centre(tmp_path) as centre,
        started(centre.url("window=10&rate=1&hold=0.5"), Inbox()) as gateway,
    ):
        await ready(gateway)
        futures = [gateway.submit(Submission(SHORT, number(6000 + at), "10690")) for at in range(4)]
        outcomes = [(await future).outcome for future in futures]
        sent = len(centre.events("submit_sm"))

    assert outcomes[0] is Outcome.ACCEPTED
    assert outcomes[-1] is Outcome.NOT_HANDED_OVER
    assert sent == outcomes.count(Outcome.ACCEPTED)


async def test_a_sender_that_cannot_travel_is_refused_here(tmp_path: Path) -> None:
    async with simulated_centre(tmp_path) as centre, started(centre.url(), Inbox()) as gateway:
        await ready(gateway)
        handover = await gateway.submit(Submission(LONG, number(1234), "顺丰速运"))

        assert handover == Handover(Outcome.REFUSED, (SegmentHandover(None, "0x0000000A"),) * 3)
        assert not centre.events("submit_sm")


async def test_nothing_is_written_after_its_time(tmp_path: Path) -> None:
    async with (
        simulated_centre(tmp_path) as centre,
        started(centre.url("window=10&rate=2"), Inbox()) as gateway,
    ):
        await ready(gateway)
        now = time.monotonic()
        times = (now + 60, now - 1, now + 0.1, now + 60)
        futures = [
            gateway.submit(Submission(SHORT, number(6000 + at), "10690", not_after))
            for at, not_after in enumerate(times)
        ]
        outcomes = [(await future).outcome for future in futures]
        reached = [submit["destination"][-4:] for submit in centre.events("submit_sm")]

    assert outcomes == [
        Outcome.ACCEPTED,
        Outcome.NOT_HANDED_OVER,
        Outcome.NOT_HANDED_OVER,
        Outcome.ACCEPTED,
    ]
    assert reached == ["6000", "6003"]
