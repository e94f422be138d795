"""SMPP with peers we did not write.

smpplib and smpp34 are clients of our message centre; smpp34 is a message centre for our gateway.
"""

import asyncio
import logging
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
import smpp34
import smpplib.client
import smpplib.consts
import smpplib.exceptions
import smpplib.gsm

from domain.ports import Inbound, Outcome, Receipt, ReceiptState, Submission
from domain.segments import segment
from domain.states import Region
from tests.integration.message_centre import simulated_centre, until
from workers.gateways import open_gateway
from workers.smpp.pdu import Status

TEXT = "Long enough for two segments, with an extension € character. " * 4
NUMBER = "8613800131234"


def send_with_smpplib(port: int, password: str) -> tuple[list[str], list[dict[str, str]]]:
    """Bind, send a long text, wait for its receipts; returns the ids and what the receipts said."""
    ids: list[str] = []
    receipts: list[dict[str, str]] = []

    def keep_receipt(pdu: object, **_: object) -> int:
        text = pdu.short_message.decode()  # type: ignore[attr-defined]
        fields = dict(field.split(":", 1) for field in text.split() if ":" in field)
        receipts.append({**fields, "receipted": pdu.receipted_message_id.decode()})  # type: ignore[attr-defined]
        return 0

    client = smpplib.client.Client("127.0.0.1", port, timeout=5, allow_unknown_opt_params=True)
    client.set_message_sent_handler(lambda pdu: ids.append(pdu.message_id.decode()))
    client.set_message_received_handler(keep_receipt)
    with client:
        client.connect()
        client.bind_transceiver(system_id="groupsms", password=password)
        parts, coding, msg_type = smpplib.gsm.make_parts(TEXT)
        for part in parts:
            client.send_message(
                source_addr="10690",
                destination_addr=NUMBER,
                short_message=part,
                data_coding=coding,
                esm_class=msg_type,
                registered_delivery=True,
            )
        while len(ids) < len(parts) or len(receipts) < len(parts):
            client.read_once(auto_send_enquire_link=False)
    return ids, receipts


async def test_smpplib_sends_to_our_centre_and_gets_its_receipts(tmp_path: Path) -> None:
    async with simulated_centre(tmp_path, "--password", "secret", "--receipt-delay", "0.05") as centre:
        ids, receipts = await asyncio.to_thread(send_with_smpplib, centre.port, "secret")
        await until(lambda: len(centre.events("acknowledged")) == 2)
        submits = centre.events("submit_sm")

    assert ids == [submit["message_id"] for submit in submits]
    assert len(ids) == 2
    assert [(each["id"], each["receipted"], each["stat"]) for each in receipts] == [
        (message_id, message_id, "DELIVRD") for message_id in ids
    ]


async def test_smpplib_is_refused_with_a_wrong_password(tmp_path: Path) -> None:
    async with simulated_centre(tmp_path, "--password", "secret") as centre:
        with pytest.raises(smpplib.exceptions.PDUError, match="Invalid Password"):
            await asyncio.to_thread(send_with_smpplib, centre.port, "wrong")


async def test_smpp34_sends_to_our_centre_and_gets_its_receipts(tmp_path: Path) -> None:
    async with simulated_centre(tmp_path, "--receipt-delay", "0.05") as centre, asyncio.timeout(10):
        client = smpp34.Client("127.0.0.1", centre.port, "groupsms", "secret")
        session = await client.connect()
        answers = [
            await session.submit_sm(
                NUMBER, f"Hello {at}".encode(), source_addr="10690", registered_delivery=1
            )
            for at in range(20)
        ]
        refused = await session.submit_sm("8613800130009", b"Hello", source_addr="10690")
        receipts = [await session.next() for _ in range(20)]
        await session.unbind()
        await client.stop()
        submits = centre.events("submit_sm")

    assert [answer.message_id for answer in answers] == [submit["message_id"] for submit in submits[:20]]
    assert refused.command_status == Status.ESME_RINVDSTADR
    assert {
        receipt.tlvs[0].as_string() for receipt in receipts if isinstance(receipt, smpp34.DeliverSmEvent)
    } == {answer.message_id for answer in answers}


async def test_our_gateway_sends_to_smpp34s_server(unused_port: int) -> None:
    received: list[Receipt] = []
    submitted: list[bytes] = []

    async def sink(inbound: Sequence[Inbound]) -> None:
        received.extend(said for said in inbound if isinstance(said, Receipt))

    server = smpp34.Server("127.0.0.1", unused_port, system_id="smpp34")
    await server.start()

    async def serve() -> None:
        """Refuse the third message; send a receipt for the first, in text only."""
        esme = None
        while not isinstance(event := await server.next(), smpp34.Unbound):
            if isinstance(event, smpp34.Esme):
                esme = event
                continue
            submitted.append(event.short_message)
            if len(submitted) == 3:
                event.reject(Status.ESME_RINVDSTADR)
                continue
            event.accept(f"s34-{len(submitted)}")
            if len(submitted) == 1 and esme is not None:
                answer = await esme.deliver_sm(
                    "10690",
                    b"stat:UNDELIV err:12 id:s34-1",
                    source_addr=event.destination_addr,
                    esm_class=4,
                )
                assert answer.is_success

    serving = asyncio.create_task(serve())
    gateway = open_gateway("default", f"smpp://groupsms:secret@127.0.0.1:{unused_port}?window=1")
    content = segment("Grüße aus Köln", Region.INTERNATIONAL)
    async with asyncio.timeout(10):
        await gateway.start(sink)
        await gateway.ready()
        handovers = [await gateway.submit(Submission(content, f"+{NUMBER}", "10690")) for _ in range(3)]
        await until(lambda: received)
        await gateway.close()
        await serving
        await server.stop()

    assert [handover.outcome for handover in handovers] == [
        Outcome.ACCEPTED,
        Outcome.ACCEPTED,
        Outcome.REFUSED,
    ]
    assert [handover.segments[0].gateway_message_id for handover in handovers] == ["s34-1", "s34-2", None]
    assert set(submitted) == {b"Gr\x7e\x1ee aus K\x7cln"}
    (receipt,) = received
    assert (receipt.gateway_message_id, receipt.number, receipt.state, receipt.error_code) == (
        "s34-1",
        f"+{NUMBER}",
        ReceiptState.FAILED,
        "12",
    )


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(autouse=True)
def quiet_smpplib() -> None:
    logging.getLogger("smpp").setLevel(logging.ERROR)
