"""`simulator://`: the same endings as the simulated message centre, without a network."""

import asyncio
from collections.abc import Sequence

import pytest

from domain.ports import (
    Handover,
    Inbound,
    Outcome,
    Receipt,
    ReceiptState,
    Reply,
    SegmentHandover,
    Submission,
)
from domain.segments import segment
from domain.states import Region
from workers.gateways import open_gateway
from workers.gateways.simulator import SimulatorGateway

SHORT = segment("Your parcel is here.", Region.INTERNATIONAL)
LONG = segment("x" * 400, Region.INTERNATIONAL)


class Inbox:
    def __init__(self, failures: int = 0) -> None:
        self.receipts: list[Receipt] = []
        self.replies: list[Reply] = []
        self.failures = failures
        self.calls = 0

    async def __call__(self, inbound: Sequence[Inbound]) -> None:
        self.calls += 1
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the database is away")
        self.receipts.extend(said for said in inbound if isinstance(said, Receipt))
        self.replies.extend(said for said in inbound if isinstance(said, Reply))


def message(ending: str) -> Submission:
    return Submission(SHORT, f"+861380013{ending}", "10690")


async def test_everything_is_taken_and_told() -> None:
    inbox = Inbox()
    gateway = open_gateway("default", "simulator://?window=500&delay=0.01&receipt_delay=0.01")
    assert (gateway.name, gateway.window) == ("default", 500)
    await gateway.start(inbox)
    await gateway.ready()

    futures = [gateway.submit(message(f"{ending:04d}")) for ending in range(1000, 2000)]
    handovers = [await future for future in futures]
    await gateway.close()

    ids = [handover.segments[0].gateway_message_id for handover in handovers]
    assert {handover.outcome for handover in handovers} == {Outcome.ACCEPTED}
    assert len(set(ids)) == 1000
    assert [receipt.gateway_message_id for receipt in inbox.receipts] == ids
    assert {receipt.state for receipt in inbox.receipts} == {ReceiptState.DELIVERED}
    assert inbox.calls < 1000, "receipts are given in batches"


async def test_each_segment_has_an_id_and_a_receipt() -> None:
    inbox = Inbox()
    gateway = open_gateway("default", "simulator://?delay=0&receipt_delay=0")
    await gateway.start(inbox)
    handover = await gateway.submit(Submission(LONG, "+8613800131234", ""))
    await gateway.close()

    ids = [each.gateway_message_id for each in handover.segments]
    assert len(set(ids)) == 3
    assert sorted(receipt.gateway_message_id for receipt in inbox.receipts) == sorted(filter(None, ids))


async def test_endings_decide_as_at_the_message_centre() -> None:
    inbox = Inbox()
    gateway = open_gateway("default", "simulator://?delay=0&receipt_delay=0.01")
    await gateway.start(inbox)
    endings = [*(f"{ending:04d}" for ending in range(1, 16)), "9901", "9902"]
    futures = {ending: gateway.submit(message(ending)) for ending in endings}
    said = {ending: await future for ending, future in futures.items()}
    await gateway.close()

    assert said.pop("0009") == Handover(Outcome.REFUSED, (SegmentHandover(None, "0x0000000B"),))
    assert said.pop("0010") == Handover(Outcome.REFUSED, (SegmentHandover(None, "0x00000410"),))
    assert said.pop("9901") == said.pop("9902") == Handover(Outcome.IN_DOUBT, (SegmentHandover(None),))
    assert {handover.outcome for handover in said.values()} == {Outcome.ACCEPTED}
    results = sorted((receipt.number[-4:], receipt.status, receipt.error_code) for receipt in inbox.receipts)
    assert results == [
        ("0001", "UNDELIV", "001"),
        ("0002", "EXPIRED", "027"),
        ("0003", "REJECTD", "008"),
        ("0004", "DELETED", "005"),
        ("0005", "UNDELIV", "BLACK"),
        ("0006", "UNDELIV", "MILIMIT"),
        ("0007", "REJECTD", "KEYWORD"),
        ("0011", "DELIVRD", "000"),
        ("0012", "DELIVRD", "000"),
        ("0013", "DELIVRD", "000"),
        ("0013", "ENROUTE", "000"),
        ("0014", "ACCEPTD", "000"),
        ("0015", "DELIVRD", "000"),
        ("0015", "DELIVRD", "000"),
        ("9901", "DELIVRD", "000"),
        ("9902", "DELIVRD", "000"),
    ]


async def test_endings_of_long_messages() -> None:
    inbox = Inbox()
    gateway = open_gateway("default", "simulator://?delay=0&receipt_delay=0")
    await gateway.start(inbox)
    partly, refused, once = [
        await gateway.submit(Submission(LONG, f"+861380013{ending}", "10690"))
        for ending in ("0023", "0024", "0025")
    ]
    await gateway.close()

    assert (partly.outcome, refused.outcome, once.outcome) == (
        Outcome.ACCEPTED,
        Outcome.REFUSED,
        Outcome.ACCEPTED,
    )
    assert [each.error_code for each in refused.segments] == [None, None, "0x00000045"]
    statuses = {each.gateway_message_id: each.status for each in inbox.receipts}
    assert statuses == {
        **{each.gateway_message_id: "DELIVRD" for each in partly.segments[:2]},
        partly.segments[2].gateway_message_id: "UNDELIV",
        **{each.gateway_message_id: "DELIVRD" for each in refused.segments[:2]},
        once.segments[2].gateway_message_id: "DELIVRD",
    }
    assert [each.whole_message for each in inbox.receipts].count(True) == 1


async def test_endings_that_reply_or_take_their_time() -> None:
    inbox = Inbox()
    gateway = open_gateway("default", "simulator://?delay=0&receipt_delay=0")
    await gateway.start(inbox)
    slow, late = gateway.submit(message("0019")), gateway.submit(message("0016"))
    early, stop = gateway.submit(message("0020")), gateway.submit(message("0021"))
    async with asyncio.timeout(5):
        await asyncio.gather(late, early, stop)
        while not inbox.replies:  # noqa: ASYNC110 - the sink is what is watched
            await asyncio.sleep(0.01)
    assert not slow.done()
    assert [each.number[-4:] for each in inbox.receipts] == ["0020", "0021"]
    assert [(each.number, each.destination, each.text) for each in inbox.replies] == [
        ("+8613800130021", "10690", "STOP")
    ]
    await gateway.close()

    assert (await slow).outcome is Outcome.ACCEPTED
    assert {each.number[-4:] for each in inbox.receipts} == {"0016", "0019", "0020", "0021"}


async def test_receipts_survive_a_sink_that_fails() -> None:
    inbox = Inbox(failures=1)
    gateway = open_gateway("default", "simulator://?delay=0&receipt_delay=0")
    await gateway.start(inbox)
    await gateway.submit(message("1234"))
    async with asyncio.timeout(5):
        while not inbox.receipts:  # noqa: ASYNC110 - the sink is what is watched
            await asyncio.sleep(0.01)
    await gateway.close()

    assert (inbox.calls, len(inbox.receipts)) == (2, 1)


async def test_nothing_is_taken_before_the_start_and_after_the_end() -> None:
    gateway = SimulatorGateway("default")
    before = await gateway.submit(message("1234"))
    await gateway.start(Inbox())
    await gateway.close()
    after = await gateway.submit(message("1234"))

    assert before.outcome is after.outcome is Outcome.NOT_HANDED_OVER


@pytest.mark.parametrize("url", ["simulator://host", "simulator://u:p@", "simulator://?rate=1", "simulator:"])
def test_a_wrong_url_is_one_clear_line(url: str) -> None:
    with pytest.raises(ValueError, match=r"^gateway default: [^\n]+$"):
        open_gateway("default", url)
