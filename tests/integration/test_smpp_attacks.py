"""Message centres that misbehave: whatever they send, the gateway survives it and says what is certain."""

import asyncio
import random
import struct
from collections.abc import Callable, Sequence

import pytest
import structlog

from domain.ports import Handover, Inbound, Outcome, Receipt, Submission
from domain.segments import segment
from domain.states import Region
from tests.integration.message_centre import (
    ScriptedCentre,
    Visitor,
    answer_bind,
    is_submit,
    scripted_centre,
    submit_resp,
    until,
)
from workers.gateways import open_gateway
from workers.smpp import pdu
from workers.smpp.clock import SystemClock
from workers.smpp.pdu import Address, Bind, Command, Frame, ShortMessage, Status
from workers.smpp.session import BindRefused, Lease, SessionOptions, Unanswered, open_session

MESSAGE = Submission(segment("Your parcel is here.", Region.INTERNATIONAL), "+8613800131234", "10690")
RECEIPT_TEXT = (
    b"id:7 sub:001 dlvrd:001 submit date:2611221200 done date:2611221200 stat:DELIVRD err:000 text:"
)
UNKNOWN_TLVS = struct.pack(">HH3s", 0x1400, 3, b"abc") + struct.pack(">HH", 0x3FFF, 0)


def deliver(sequence: int, text: bytes = RECEIPT_TEXT, tlvs: bytes = b"") -> bytes:
    message = ShortMessage(
        Address(1, 1, "8613800131234"), Address(3, 0, "10690"), text, esm_class=pdu.DELIVERY_RECEIPT
    )
    return pdu.encode(Command.DELIVER_SM, 0, sequence, message.encode() + tlvs)


class Sent:
    """One message handed to a gateway, what became of it, and the receipts that came."""

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []

    async def sink(self, inbound: Sequence[Inbound]) -> None:
        self.receipts.extend(said for said in inbound if isinstance(said, Receipt))

    async def over(self, centre: ScriptedCentre, settled: Callable[[], object] | None = None) -> Handover:
        gateway = open_gateway("default", f"smpp://u:p@127.0.0.1:{centre.port}?response_timeout=1")
        async with asyncio.timeout(15):
            await gateway.start(self.sink)
            try:
                await gateway.ready()
                handover = await gateway.submit(MESSAGE)
                if settled is not None:
                    await until(settled)
            finally:
                for visitor in centre.visitors:
                    visitor.close()
                await gateway.close(within=1)
        return handover


# --- answers to a submit_sm ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "outcome", "error_code"),
    [
        (lambda frame: submit_resp(frame, "x") + UNKNOWN_TLVS, Outcome.ACCEPTED, None),
        (lambda frame: resp(frame, b""), Outcome.ACCEPTED, None),
        (lambda frame: resp(frame, b"no-end"), Outcome.ACCEPTED, None),
        (lambda frame: resp(frame, b"\xff\xfe\0"), Outcome.ACCEPTED, None),
        (lambda frame: resp(frame, b"x" * 60_000 + b"\0"), Outcome.ACCEPTED, None),
        (lambda frame: resp(frame, b"", 0x0410), Outcome.REFUSED, "0x00000410"),
        (lambda frame: resp(frame, b"", 0xFFFFFFFF), Outcome.REFUSED, "0xFFFFFFFF"),
        (lambda frame: resp(frame, b"id\0", Status.ESME_RSYSERR), Outcome.REFUSED, "0x00000008"),
        (
            lambda frame: pdu.encode(Command.GENERIC_NACK, Status.ESME_RINVCMDLEN, frame.sequence_number),
            Outcome.REFUSED,
            "0x00000002",
        ),
        (lambda frame: resp(frame, b"id\0", sequence=frame.sequence_number + 1), Outcome.IN_DOUBT, None),
        (lambda frame: resp(frame, b"id\0", sequence=0), Outcome.IN_DOUBT, None),
        (lambda frame: pdu.encode(Command.GENERIC_NACK, 0, frame.sequence_number), Outcome.IN_DOUBT, None),
        (lambda frame: pdu.encode(Command.DELIVER_SM_RESP, 0, frame.sequence_number), Outcome.IN_DOUBT, None),
        (lambda _: struct.pack(">IIII", 15, 0, 0, 0), Outcome.IN_DOUBT, None),
        (lambda _: struct.pack(">IIII", 0xFFFFFFFF, 0, 0, 0), Outcome.IN_DOUBT, None),
        (lambda _: b"\0", Outcome.IN_DOUBT, None),
        (lambda _: b"", Outcome.IN_DOUBT, None),
    ],
)
async def test_whatever_answers_a_submit_it_comes_to_something(
    answer: Callable[[Frame], bytes], outcome: Outcome, error_code: str | None
) -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            octets = answer(frame)
            # A length that grew by parameters has to be told.
            visitor.write(with_length(octets) if octets.endswith(UNKNOWN_TLVS) else octets)

    async with scripted_centre(script) as centre:
        handover = await Sent().over(centre)

        assert sum(len(each.of(Command.SUBMIT_SM)) for each in centre.visitors) == 1, "never sent again"
    assert (handover.outcome, handover.segments[0].error_code) == (outcome, error_code)


def resp(frame: Frame, body: bytes, status: int = 0, sequence: int | None = None) -> bytes:
    number = frame.sequence_number if sequence is None else sequence
    return pdu.encode(Command.SUBMIT_SM_RESP, status, number, body)


def with_length(octets: bytes) -> bytes:
    return struct.pack(">I", len(octets)) + octets[4:]


async def test_an_unbind_of_the_centre_puts_in_doubt_what_it_did_not_answer() -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            visitor.write(pdu.encode(Command.UNBIND, 0, 1))

    async with scripted_centre(script) as centre:
        handover = await Sent().over(centre, lambda: centre.visitors[0].of(Command.UNBIND_RESP))

        assert [len(each.of(Command.SUBMIT_SM)) for each in centre.visitors][:1] == [1]
    assert handover.outcome is Outcome.IN_DOUBT


async def test_a_centre_may_answer_what_is_in_flight_after_its_unbind() -> None:
    answering: list[asyncio.Task[None]] = []

    async def answer_late(visitor: Visitor, frame: Frame) -> None:
        await asyncio.sleep(0.2)
        visitor.write(submit_resp(frame, "x"))

    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            visitor.write(pdu.encode(Command.UNBIND, 0, 77))
            answering.append(asyncio.create_task(answer_late(visitor, frame)))

    async with scripted_centre(script) as centre:
        handover = await Sent().over(centre, lambda: centre.visitors[0].of(Command.UNBIND_RESP))

        assert [frame.sequence_number for frame in centre.visitors[0].of(Command.UNBIND_RESP)] == [77]
    assert handover.outcome is Outcome.ACCEPTED


async def test_answers_and_receipts_arrive_however_the_reads_fall() -> None:
    """A response, a receipt before it, requests and nonsense, cut anywhere."""
    choice = random.Random(4)
    writing: list[asyncio.Task[None]] = []

    async def in_pieces(visitor: Visitor, octets: bytes) -> None:
        while octets:
            size = choice.randint(1, 9)
            visitor.write(octets[:size])
            octets = octets[size:]
            await asyncio.sleep(0)

    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            pdus = (
                deliver(5, tlvs=UNKNOWN_TLVS),
                pdu.encode(Command.ENQUIRE_LINK, 0, 6),
                pdu.encode(0x00000999, 0, 7, b"?"),
                pdu.encode(Command.SUBMIT_SM_RESP, 0, 99, b"nobody asked\0"),
                submit_resp(frame, "right"),
            )
            writing.append(asyncio.create_task(in_pieces(visitor, b"".join(pdus))))

    sent = Sent()
    async with scripted_centre(script) as centre:
        handover = await sent.over(centre, lambda: centre.visitors[0].of(Command.DELIVER_SM_RESP))
        answers = [frame.command_id for frame in centre.visitors[0].received[2:]]

    assert handover.segments[0].gateway_message_id == "right"
    assert [receipt.gateway_message_id for receipt in sent.receipts] == ["7"]
    assert {Command.ENQUIRE_LINK_RESP, Command.GENERIC_NACK, Command.DELIVER_SM_RESP} <= set(answers)


async def test_a_receipt_with_an_odd_state_does_not_end_the_bind() -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            visitor.write(deliver(5, b"id:7 stat:\xb2"), deliver(6), submit_resp(frame, "x"))

    sent = Sent()
    async with scripted_centre(script) as centre:
        handover = await sent.over(centre, lambda: len(centre.visitors[0].of(Command.DELIVER_SM_RESP)) == 2)

        assert len(centre.visitors) == 1
    assert handover.outcome is Outcome.ACCEPTED
    assert [receipt.status for receipt in sent.receipts] == ["\xb2", "DELIVRD"]


async def test_what_a_session_says_names_its_gateway() -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            visitor.write(pdu.encode(0x00000999, 0, 7), submit_resp(frame, "x"))

    async with scripted_centre(script) as centre:
        with structlog.testing.capture_logs() as logs:
            await Sent().over(centre)

    (said,) = [entry for entry in logs if entry["event"] == "smpp_unknown_command"]
    assert (said["gateway"], said["port"]) == ("default", centre.port)


@pytest.mark.parametrize("body", [b"", b"\0", b"\xff" * 40, deliver(5)[16:-1]])
async def test_an_unreadable_deliver_sm_is_answered_and_the_bind_goes_on(body: bytes) -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            visitor.write(pdu.encode(Command.DELIVER_SM, 0, 5, body), deliver(6), submit_resp(frame, "x"))

    sent = Sent()
    async with scripted_centre(script) as centre:
        handover = await sent.over(centre, lambda: len(centre.visitors[0].of(Command.DELIVER_SM_RESP)) == 2)
        answers = {
            frame.sequence_number: frame.command_status
            for frame in centre.visitors[0].of(Command.DELIVER_SM_RESP)
        }

    assert handover.outcome is Outcome.ACCEPTED
    assert answers == {5: Status.ESME_RX_P_APPN, 6: Status.ESME_ROK}
    assert len(sent.receipts) == 1


# --- around the bind -----------------------------------------------------------------------------


async def bind_to(script: Callable[[Visitor, Frame], None], lease: Lease | None = None) -> None:
    async with scripted_centre(script) as centre:
        session = await open_session(
            "127.0.0.1",
            centre.port,
            Bind("u", "p"),
            SessionOptions(response_timeout=2),
            SystemClock(),
            lambda session, frame: session.acknowledge(frame.sequence_number),
            lambda _: None,
            lease=lease,
        )
        session.disconnect()
        await session.closed


async def test_a_bind_response_may_have_parameters_and_come_in_pieces_among_others() -> None:
    tasks: list[asyncio.Task[None]] = []

    async def slowly(visitor: Visitor, octets: bytes) -> None:
        for octet in octets:
            visitor.write(bytes((octet,)))
            await asyncio.sleep(0)

    def script(visitor: Visitor, frame: Frame) -> None:
        if frame.command_id == Command.BIND_TRANSCEIVER:
            body = b"centre\0" + struct.pack(">HHB", 0x0210, 1, 0x34) + UNKNOWN_TLVS
            octets = (
                pdu.encode(Command.ENQUIRE_LINK, 0, 1)
                + pdu.encode(Command.BIND_TRANSCEIVER_RESP, 0, frame.sequence_number, body)
                + deliver(2)
            )
            tasks.append(asyncio.create_task(slowly(visitor, octets)))

    await bind_to(script)


async def test_an_empty_bind_response_is_one() -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        if frame.command_id == Command.BIND_TRANSCEIVER:
            visitor.write(pdu.encode(Command.BIND_TRANSCEIVER_RESP, 0, frame.sequence_number))

    await bind_to(script)


@pytest.mark.parametrize("status", [Status.ESME_ROK, Status.ESME_RINVCMDID])
async def test_a_generic_nack_to_a_bind_is_a_refusal(status: int) -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        visitor.write(pdu.encode(Command.GENERIC_NACK, status, frame.sequence_number))

    with pytest.raises(BindRefused):
        await bind_to(script)


async def test_a_gateway_binds_again_when_it_is_unbound_right_behind_the_bind() -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if frame.command_id == Command.BIND_TRANSCEIVER and len(centre.visitors) == 1:
            visitor.write(pdu.encode(Command.UNBIND, 0, 1))
        if is_submit(frame):
            visitor.write(submit_resp(frame, "x"))

    async with scripted_centre(script) as centre:
        await until_bound_twice(centre)


async def until_bound_twice(centre: ScriptedCentre) -> None:
    gateway = open_gateway("default", f"smpp://u:p@127.0.0.1:{centre.port}")
    await gateway.start(Sent().sink)
    try:
        await until(lambda: len(centre.visitors) == 2)
        async with asyncio.timeout(5):
            await gateway.ready()
            assert (await gateway.submit(MESSAGE)).outcome is Outcome.ACCEPTED
    finally:
        for visitor in centre.visitors:
            visitor.close()
        await gateway.close(within=1)


# --- the lease -----------------------------------------------------------------------------------


async def test_nothing_is_written_once_the_lease_is_over() -> None:
    """Also not what was given to the session before: the process may have been frozen in between."""
    lease = Lease()
    async with scripted_centre() as centre:
        session = await open_session(
            "127.0.0.1",
            centre.port,
            Bind("u", "p"),
            SessionOptions(),
            SystemClock(),
            lambda session, frame: session.acknowledge(frame.sequence_number),
            lambda _: None,
            lease=lease,
        )
        future = session.request(Command.SUBMIT_SM, b"body")
        lease.ends = SystemClock().monotonic()
        assert await future is Unanswered.DISCONNECTED
        await session.closed
        await centre.visitor.gone.wait()

        assert [frame.command_id for frame in centre.visitor.received] == [Command.BIND_TRANSCEIVER]
