"""The simulated message centre as people start it: its command line, its binds, its receipts."""

import asyncio
import os
import pty
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.esme import connected, submit
from tests.integration.message_centre import simulated_centre, until
from workers.smpp import pdu
from workers.smpp.pdu import Bind, Command, Frame, ShortMessage, Status
from workers.smsc.__main__ import main
from workers.smsc.endings import ENDINGS

ROOT = Path(__file__).parents[2]


def test_the_help_tells_what_every_ending_does() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "workers.smsc", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout

    for ending in ENDINGS.values():
        assert f"...{ending.digits}  {ending.meaning}" in said
    assert "listening on HOST:PORT" in said
    assert said.startswith("Usage: groupsms smsc ")


def test_the_readme_is_true() -> None:
    """Its flags exist and are given right; the numbers it tells of are in the table."""
    readme = (ROOT / "README.md").read_text()
    section = readme.partition("## A message centre to try things against")[2].partition("\n## ")[0]
    flags = re.findall(r"`(--[^`]+)`", section) + re.findall(
        r"^groupsms smsc ([^&\n]+)", section, re.MULTILINE
    )
    assert len(flags) > 15
    for given in flags:
        arguments = shlex.split(given)
        if arguments[0] not in ("--help", "--script", "--journal"):
            assert main.make_context("smsc", arguments).params
    rows = re.findall(r"^\| ([0-9, to]+) \|", section, re.MULTILINE)
    told = {number for row in rows for number in re.findall("[0-9]{4}", row)} | {
        f"{n:04d}" for n in range(2, 7)
    }
    assert told == set(ENDINGS)


def test_the_progress_is_shown_on_a_terminal(tmp_path: Path) -> None:
    controlling, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "workers.smsc", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as client:
            bind = Bind("groupsms", "secret").encode()
            client.sendall(pdu.encode(Command.BIND_TRANSCEIVER, 0, 1, bind) + submit(10) + submit(11))
            seen = b""
            while b"submitted" not in seen:
                seen += os.read(controlling, 4096)
        process.terminate()
    os.close(terminal)
    os.close(controlling)

    assert re.search(rb"submitted 2 \(\d+/s\)  accepted 2  receipts 2", seen)


async def test_it_stops_at_once_with_binds_and_messages_about(tmp_path: Path) -> None:
    async with (
        simulated_centre(tmp_path, "--receipt-delay", "60", "--response-delay", "0.2") as centre,
        connected(centre.port) as esme,
    ):
        await esme.bind()
        esme.write(*(submit(10 + at) for at in range(50)))
        await until(lambda: len(centre.events("submit_sm")) == 50)

        assert await centre.terminate() == 0
        await asyncio.wait_for(esme.gone.wait(), 5)


async def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    async with simulated_centre(tmp_path) as centre:
        second = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "workers.smsc", "--port", str(centre.port)),
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        _, said = await asyncio.wait_for(second.communicate(), 10)

    assert second.returncode == 1
    assert said.decode().startswith("Error: ")
    assert said.decode().count("\n") == 1


@pytest.mark.parametrize(
    ("bind", "status"),
    [
        (Bind("groupsms", "secret"), Status.ESME_ROK),
        (Bind("groupsms", "wrong"), Status.ESME_RINVPASWD),
        (Bind("somebody", "secret"), Status.ESME_RINVSYSID),
    ],
)
async def test_credentials_are_checked(tmp_path: Path, bind: Bind, status: int) -> None:
    flags = ("--system-id", "groupsms", "--password", "secret")
    async with simulated_centre(tmp_path, *flags) as centre, connected(centre.port) as esme:
        esme.write(pdu.encode(Command.BIND_TRANSCEIVER, 0, 1, bind.encode()))

        assert (await esme.answer(1)).command_status == status
        if status:
            await asyncio.wait_for(esme.gone.wait(), 5)


async def test_what_is_out_of_place_is_answered_with_its_error(tmp_path: Path) -> None:
    async with simulated_centre(tmp_path) as centre, connected(centre.port) as esme:
        esme.write(submit(5), pdu.encode(0x00010203, 0, 6))
        assert (await esme.answer(5)).command_status == Status.ESME_RINVBNDSTS
        assert await esme.answer(6) == Frame(Command.GENERIC_NACK, Status.ESME_RINVCMDID, 6, b"")
        await esme.bind()
        esme.write(
            pdu.encode(Command.BIND_TRANSMITTER, 0, 7, Bind("a", "b").encode()),
            pdu.encode(Command.SUBMIT_SM, 0, 8, b"\0\1\1unterminated"),
            pdu.encode(Command.ENQUIRE_LINK, 0, 9),
        )
        assert (await esme.answer(7)).command_status == Status.ESME_RALYBND
        assert (await esme.answer(8)).command_status == Status.ESME_RINVMSGLEN
        assert (await esme.answer(9)).command_id == Command.ENQUIRE_LINK_RESP
        esme.write(b"\0\0\0\1" + b"\0" * 12)
        await asyncio.wait_for(esme.gone.wait(), 5)

    assert esme.received[-1] == Frame(Command.GENERIC_NACK, Status.ESME_RINVCMDLEN, 0, b"")
    assert not centre.events("submit_sm")


async def test_receipts_go_to_the_receiver_not_to_the_transmitter(tmp_path: Path) -> None:
    async with (
        simulated_centre(tmp_path, "--receipt-delay", "0.05") as centre,
        connected(centre.port) as transmitter,
        connected(centre.port) as receiver,
    ):
        await transmitter.bind(Command.BIND_TRANSMITTER)
        await receiver.bind(Command.BIND_RECEIVER)
        receiver.write(submit(5))
        assert (await receiver.answer(5)).command_status == Status.ESME_RINVBNDSTS
        transmitter.write(submit(6), submit(7, receipt=0), submit(8, "8613800130001", receipt=2))
        await until(lambda: len([f for f in receiver.received if f.command_id == Command.DELIVER_SM]) == 2)

    receipts = [
        ShortMessage.decode(frame.body)
        for frame in receiver.received
        if frame.command_id == Command.DELIVER_SM
    ]
    assert [(each.source.digits, each.destination.digits, each.esm_class) for each in receipts] == [
        ("8613800131234", "10690", 4),
        ("8613800130001", "10690", 4),
    ]
    assert not any(frame.command_id == Command.DELIVER_SM for frame in transmitter.received)


async def test_a_receipt_is_sent_until_it_is_acknowledged(tmp_path: Path) -> None:
    flags = ("--receipt-delay", "0", "--resend-after", "0.1")
    async with simulated_centre(tmp_path, *flags) as centre, connected(centre.port) as esme:
        await esme.bind()
        esme.write(submit(50))
        await until(lambda: len(centre.events("receipt")) >= 3)  # silence
        latest = max(f.sequence_number for f in esme.received if f.command_id == Command.DELIVER_SM)
        esme.write(pdu.encode(Command.DELIVER_SM_RESP, Status.ESME_RX_T_APPN, latest, b"\0"))
        await until(lambda: len(centre.events("receipt")) >= 5)  # not now
        await until(lambda: centre.events("acknowledged"))

    assert len({event["message_id"] for event in centre.events("receipt")}) == 1


async def test_an_acknowledged_receipt_is_not_sent_again(tmp_path: Path) -> None:
    flags = ("--receipt-delay", "0", "--resend-after", "0.1")
    async with simulated_centre(tmp_path, *flags) as centre, connected(centre.port) as esme:
        await esme.bind()
        esme.write(submit(50, "8613800130015"), submit(51, "8613800130008"))
        await until(lambda: len([f for f in esme.received if f.command_id == Command.DELIVER_SM]) == 2)
        for frame in [f for f in esme.received if f.command_id == Command.DELIVER_SM]:
            esme.write(pdu.encode(Command.DELIVER_SM_RESP, 0, frame.sequence_number, b"\0"))
        await until(lambda: len(centre.events("acknowledged")) == 2)
        # Another message's second sending marks the time in which a third of these would have come.
        esme.write(submit(52))
        await until(lambda: [event["attempt"] for event in centre.events("receipt")].count(2))

    attempts = [(event["destination"][-4:], event["attempt"]) for event in centre.events("receipt")]
    assert attempts == [("0015", 1), ("0015", 1), ("1234", 1), ("1234", 2)]


async def test_a_connection_dropped_in_place_of_the_answer(tmp_path: Path) -> None:
    async with simulated_centre(tmp_path) as centre, connected(centre.port) as esme:
        await esme.bind()
        esme.write(submit(5, "8613800139902"))
        await asyncio.wait_for(esme.gone.wait(), 5)

    assert [event["command_status"] for event in centre.events("submit_sm")] == [0]
