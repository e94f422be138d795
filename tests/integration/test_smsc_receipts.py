"""The simulated message centre's receipts and replies, and its journal."""

import asyncio
import logging
import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import smpplib.client

from tests.integration.esme import Esme, connected, submit
from tests.integration.message_centre import simulated_centre, until
from workers.smpp import pdu
from workers.smpp.pdu import Command, ShortMessage, Tag
from workers.smsc.parts import WHOLE, Part, part_of

SOON = ("--receipt-delay", "0.05")


def header(number: int, total: int = 3) -> dict[str, Any]:
    """A segment with an 8-bit reference in its header."""
    return {"short_message": bytes((5, 0, 3, 77, total, number)) + b"part", "esm_class": pdu.UDH_INDICATOR}


def sar(number: int, total: int = 3) -> dict[str, Any]:
    """A segment told by SAR parameters."""
    return {
        "tlvs": (
            (Tag.SAR_MSG_REF_NUM, b"\x12\x34"),
            (Tag.SAR_TOTAL_SEGMENTS, bytes((total,))),
            (Tag.SAR_SEGMENT_SEQNUM, bytes((number,))),
        )
    }


async def delivered(esme: Esme, count: int) -> list[ShortMessage]:
    """What was delivered, once it is so much; all of it is acknowledged."""
    await until(lambda: len(esme.of(Command.DELIVER_SM)) >= count)
    for frame in esme.of(Command.DELIVER_SM):
        esme.write(pdu.encode(Command.DELIVER_SM_RESP, 0, frame.sequence_number, b"\0"))
    return esme.delivered


def has_more_than(esme: Esme, count: int) -> bool:
    """Whether more than that was delivered to it."""
    return len(esme.delivered) > count


def ids(esme: Esme) -> list[str]:
    """The message ids of the submit_sm_resp, by sequence number."""
    answers = sorted(esme.of(Command.SUBMIT_SM_RESP), key=lambda frame: frame.sequence_number)
    return [pdu.c_string(frame.body) for frame in answers]


def id_in(receipt: ShortMessage) -> str:
    """The id in a receipt's text."""
    found = re.search(r"id:(\S*)", receipt.short_message.decode())
    return found[1] if found else ""


def receipted(receipt: ShortMessage) -> str:
    """The id in a receipt's parameter."""
    return pdu.c_string(receipt.tlv(Tag.RECEIPTED_MESSAGE_ID) or b"")


async def test_receipts_come_twice(tmp_path: Path) -> None:
    flags = (*SOON, "--receipt-copies", "2")
    async with simulated_centre(tmp_path, *flags) as centre, connected(centre.port) as esme:
        await esme.bind()
        esme.write(submit(10), submit(11))
        receipts = await delivered(esme, 4)

    assert Counter(map(id_in, receipts)) == dict.fromkeys(ids(esme), 2)


async def test_receipts_come_out_of_order(tmp_path: Path) -> None:
    flags = ("--receipt-delay", "0", "--receipt-jitter", "0.3")
    async with simulated_centre(tmp_path, *flags) as centre, connected(centre.port) as esme:
        await esme.bind()
        esme.write(*(submit(10 + at) for at in range(50)))
        receipts = await delivered(esme, 50)

    assert sorted(map(id_in, receipts)) == sorted(ids(esme))
    assert list(map(id_in, receipts)) != ids(esme)


async def test_receipts_come_before_the_answers(tmp_path: Path) -> None:
    async with simulated_centre(tmp_path, "--receipt-first") as centre, connected(centre.port) as esme:
        await esme.bind()
        esme.write(submit(10), submit(11))
        await until(lambda: len(esme.answered) == 2)

    kinds = [frame.command_id for frame in esme.received[1:]]
    assert kinds == [Command.DELIVER_SM, Command.SUBMIT_SM_RESP] * 2


async def test_receipts_come_on_any_bind(tmp_path: Path) -> None:
    async with (
        simulated_centre(tmp_path, *SOON) as centre,
        connected(centre.port) as first,
        connected(centre.port) as second,
    ):
        await first.bind()
        await second.bind()
        for sequence, receiver in ((10, first), (11, second), (12, first), (13, second)):
            had = len(receiver.delivered)
            first.write(submit(sequence))
            await until(partial(has_more_than, receiver, had))


async def test_stray_receipts_fit_no_message(tmp_path: Path) -> None:
    flags = (*SOON, "--stray-every", "2")
    async with simulated_centre(tmp_path, *flags) as centre, connected(centre.port) as esme:
        await esme.bind()
        esme.write(submit(10, "8613800131234"), submit(11, "8613800135678"))
        receipts = await delivered(esme, 4)
        noted = [event["stray"] for event in centre.events("receipt")]

    first, second = ids(esme)
    said = [(id_in(receipt), receipt.source.digits) for receipt in receipts]
    (unknown,) = {message_id for message_id, _ in said} - {first, second}
    assert sorted(said) == sorted(
        [
            (first, "8613800131234"),
            (second, "8613800135678"),
            (unknown, "8613800135678"),
            (second, "8613800135679"),
        ]
    )
    assert noted.count(True) == 2


@pytest.mark.parametrize(
    ("flags", "answered", "written"),
    [
        ([], "ff", "ff"),
        (["--ids", "decimal"], "255", "255"),
        (["--receipt-ids", "decimal"], "ff", "255"),
        (["--ids", "decimal", "--receipt-ids", "hex-upper"], "255", "FF"),
    ],
)
async def test_ids_in_hex_or_decimal(tmp_path: Path, flags: list[str], answered: str, written: str) -> None:
    flags = [*SOON, "--first-id", "255", *flags]
    async with simulated_centre(tmp_path, *flags) as centre, connected(centre.port) as esme:
        await esme.bind()
        esme.write(submit(10))
        (receipt,) = await delivered(esme, 1)
        (event,) = centre.events("receipt")

    assert ids(esme) == [answered]
    assert id_in(receipt) == receipted(receipt) == written
    assert (event["message_id"], event["written_id"]) == (answered, written)


async def test_a_dialect_of_ones_own(tmp_path: Path) -> None:
    template = "STAT:{stat} ID:{id} Done_Date:{done:10} at {submitted:14} ERR:{err} TEXT:{text}"
    flags = (*SOON, "--receipt-text", template, "--receipt-form", "text", "--receipt-ucs2")
    async with simulated_centre(tmp_path, *flags) as centre, connected(centre.port) as esme:
        await esme.bind()
        esme.write(submit(10, "8613800130005"))
        (receipt,) = await delivered(esme, 1)

    assert receipt.data_coding == 8
    text = receipt.short_message.decode("utf-16-be")
    assert re.fullmatch(
        rf"STAT:UNDELIV ID:{ids(esme)[0]} Done_Date:\d{{10}} at 20\d{{12}} ERR:BLACK TEXT:Hello", text
    )
    assert receipt.tlvs == ()


async def test_parameters_alone_with_the_reference_echoed(tmp_path: Path) -> None:
    flags = (*SOON, "--receipt-form", "tlv", "--echo-reference")
    async with simulated_centre(tmp_path, *flags) as centre, connected(centre.port) as esme:
        await esme.bind()
        esme.write(submit(10, tlvs=((Tag.USER_MESSAGE_REFERENCE, b"\x0b\xb8"),)), submit(11))
        receipts = await delivered(esme, 2)

    assert [receipt.short_message for receipt in receipts] == [b"", b""]
    assert [receipted(receipt) for receipt in receipts] == ids(esme)
    assert [receipt.tlv(Tag.MESSAGE_STATE) for receipt in receipts] == [b"\2", b"\2"]
    assert [receipt.tlv(Tag.USER_MESSAGE_REFERENCE) for receipt in receipts] == [b"\x0b\xb8", None]


@pytest.mark.parametrize(("what", "bearing"), [("first", [10, 14, 11]), ("last", [12, 14, 15])])
async def test_one_receipt_for_a_message(tmp_path: Path, what: str, bearing: list[int]) -> None:
    flags = (*SOON, "--receipts-for", what)
    async with simulated_centre(tmp_path, *flags) as centre, connected(centre.port) as esme:
        await esme.bind()
        esme.write(submit(10, **header(1)), submit(11, **sar(1, 2)), submit(12, **header(3)))
        esme.write(submit(13, **header(2)), submit(14))
        receipts = await delivered(esme, 2)
        esme.write(submit(15, **sar(2, 2)))
        receipts = await delivered(esme, 3)

    by_sequence = dict(zip(range(10, 16), ids(esme), strict=True))
    assert [id_in(receipt) for receipt in receipts] == [by_sequence[at] for at in bearing]


async def test_the_endings_of_long_messages(tmp_path: Path) -> None:
    """0023: the last segment fails; 0024: it is refused; 0025: one receipt for all."""
    async with simulated_centre(tmp_path, *SOON) as centre, connected(centre.port) as esme:
        await esme.bind()
        for at, ending in enumerate(("0023", "0024", "0025")):
            esme.write(
                *(submit(10 * at + n, f"861380013{ending}", **header(n)) for n in range(1, 4)),
            )
        await delivered(esme, 6)
        statuses = [event["command_status"] for event in centre.events("submit_sm")]
        submitted = [event["message_id"] for event in centre.events("submit_sm")]
        said = [(each["message_id"], each["stat"]) for each in centre.events("receipt")]

    assert statuses == [0, 0, 0, 0, 0, 0x45, 0, 0, 0]
    assert said == [
        (submitted[0], "DELIVRD"),
        (submitted[1], "DELIVRD"),
        (submitted[2], "UNDELIV"),
        (submitted[3], "DELIVRD"),
        (submitted[4], "DELIVRD"),
        (submitted[8], "DELIVRD"),
    ]


async def test_endings_of_receipts_that_stand_out(tmp_path: Path) -> None:
    """0026: a vendor's word, with the parameter that is nearest; 0027: going back; 0016 is late."""
    async with simulated_centre(tmp_path, *SOON) as centre, connected(centre.port) as esme:
        await esme.bind()
        esme.write(submit(9, "8613800130016"), submit(10, "8613800130026"), submit(11, "8613800130027"))
        receipts = await delivered(esme, 3)

    states = [receipt.tlv(Tag.MESSAGE_STATE) for receipt in receipts]
    assert states == [b"\5", b"\2", b"\1"]
    assert b"stat:MK:0001 err:001" in receipts[0].short_message


async def test_phones_reply(tmp_path: Path) -> None:
    flags = (*SOON, "--resend-after", "0.1")
    async with simulated_centre(tmp_path, *flags) as centre, connected(centre.port) as esme:
        await esme.bind()
        esme.write(submit(10, "8613800130021", receipt=0), submit(11, "8613800130022", receipt=0))
        await until(lambda: [event["attempt"] for event in centre.events("reply")].count(2) == 2)
        replies = await delivered(esme, 2)
        await until(lambda: centre.events("reply_acknowledged"))

    said = {(each.source.digits, each.destination.digits, each.short_message) for each in replies}
    assert said == {("8613800130021", "10690", b"STOP"), ("8613800130022", "10690", b"hello")}
    assert {each.esm_class for each in replies} == {0}
    assert not centre.events("receipt")


async def test_the_journal_tells_what_was_submitted(tmp_path: Path) -> None:
    async with simulated_centre(tmp_path, "--alphabet", "gsm7-packed") as centre:
        async with connected(centre.port) as esme:
            await esme.bind()
            # "hello" in septets; the same behind a header of 7 octets, which needs no fill bits.
            packed = bytes.fromhex("e8329bfd06")
            wide = bytes((6, 8, 4, 0x12, 0x34, 2, 1))
            esme.write(
                submit(10, short_message=packed),
                submit(11, short_message=wide + packed, esm_class=pdu.UDH_INDICATOR),
                submit(12, short_message="你好".encode("utf-16-be"), data_coding=8, **sar(2)),
                submit(13, short_message=b"", tlvs=((Tag.MESSAGE_PAYLOAD, b"Gr\xfc\xdfe"),), data_coding=3),
            )
            await until(lambda: len(esme.answered) == 4)
            esme.write(pdu.encode(Command.UNBIND, 0, 90))
            await asyncio.wait_for(esme.gone.wait(), 5)
        await until(lambda: centre.events("disconnect"))
        events = centre.events("submit_sm")

    told = [(each["text"], each["reference"], each["segments"], each["segment"]) for each in events]
    assert told == [
        ("hello", None, 1, 1),
        ("hello", 0x1234, 2, 1),
        ("你好", 0x1234, 3, 2),
        ("Grüße", None, 1, 1),
    ]
    assert events[2]["tlvs"] == {"0x020C": "1234", "0x020E": "03", "0x020F": "02"}
    assert events[3]["tlvs"] == {"0x0424": "4772fcdf65"}
    assert sorted(each["at"] for each in events) == [each["at"] for each in events]
    (bind,), (unbind,), (gone,) = (centre.events(kind) for kind in ("bind", "unbind", "disconnect"))
    assert (bind["system_id"], bind["kind"], bind["command_status"]) == ("groupsms", "transceiver", 0)
    assert (unbind["by"], unbind["connection"], gone["connection"]) == ("peer", 1, 1)
    assert {each["connection"] for each in events} == {1}


@pytest.mark.parametrize(
    ("octets", "part"),
    [
        (b"\x05\x00\x03\x07\x03\x02text", Part(7, 3, 2)),
        (b"\x06\x08\x04\x01\x07\x03\x02text", Part(263, 3, 2)),
        (b"\x0a\x05\x02\x00\x00\x99\x00\x00\x03\x07\x03", WHOLE),  # a header that ends too early
        (b"\x09\x05\x02\x00\x00\x00\x03\x07\x02\x01text", Part(7, 2, 1)),  # behind another element
        (b"\x04\x00\x03\x07\x03\x02", WHOLE),
        (b"", WHOLE),
    ],
)
def test_the_header_tells_which_segment_it_is(octets: bytes, part: Part) -> None:
    nobody = pdu.Address(0, 0, "")

    assert part_of(ShortMessage(nobody, nobody, octets, esm_class=pdu.UDH_INDICATOR)) == part


async def test_smpplib_understands_receipts_and_replies(tmp_path: Path) -> None:
    """A client that we did not write: decimal ids in answers, hex ones in receipts, then a reply."""
    flags = (*SOON, "--first-id", "4096", "--ids", "decimal", "--receipt-ids", "hex")
    logging.getLogger("smpp").setLevel(logging.ERROR)

    def send(port: int) -> tuple[list[bytes], list[tuple[bytes, bytes | None]]]:
        answered: list[bytes] = []
        said: list[tuple[bytes, bytes | None]] = []

        def keep(pdu: object, **_: object) -> int:
            text = pdu.short_message  # type: ignore[attr-defined]
            said.append((text, pdu.receipted_message_id))  # type: ignore[attr-defined]
            return 0

        client = smpplib.client.Client("127.0.0.1", port, timeout=5, allow_unknown_opt_params=True)
        client.set_message_sent_handler(lambda pdu: answered.append(pdu.message_id))
        client.set_message_received_handler(keep)
        with client:
            client.connect()
            client.bind_transceiver(system_id="groupsms", password="any")
            client.send_message(
                source_addr="10690",
                destination_addr="8613800130021",
                short_message=b"Hello",
                registered_delivery=True,
            )
            while len(said) < 2:
                client.read_once(auto_send_enquire_link=False)
        return answered, said

    async with simulated_centre(tmp_path, *flags) as centre:
        answered, said = await asyncio.to_thread(send, centre.port)

    assert answered == [b"4096"]
    assert [about for _, about in said] == [b"1000", None]
    assert [text.split()[0] for text, _ in said] == [b"id:1000", b"STOP"]
