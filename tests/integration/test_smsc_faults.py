"""The simulated message centre's answers to submit_sm and to binds, when its flags tell it to misbehave."""

import asyncio
import ssl
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.integration.esme import connected, submit
from tests.integration.message_centre import SimulatedCentre, simulated_centre, until
from tests.integration.test_cli import groupsms
from workers.smpp import pdu
from workers.smpp.pdu import Bind, Command, Status


async def bound_status(port: int, system_id: str = "groupsms") -> int:
    """How a new connection's bind is answered."""
    async with connected(port) as esme:
        esme.write(pdu.encode(Command.BIND_TRANSCEIVER, 0, 1, Bind(system_id, "x").encode()))
        return (await esme.answer(1)).command_status


def centre_took(centre: SimulatedCentre, steps: int) -> bool:
    """Whether it has taken so many steps."""
    return len(centre.events("step")) >= steps


async def taken(centre: SimulatedCentre, count: int) -> list[int]:
    """The sequence numbers of the submit_sm taken, once there are so many."""
    await until(lambda: len(centre.events("submit_sm")) >= count)
    return [event["sequence_number"] for event in centre.events("submit_sm")]


async def test_the_connection_drops_in_the_middle_of_a_window(tmp_path: Path) -> None:
    async with simulated_centre(tmp_path, "--drop-every", "5") as centre:
        async with connected(centre.port) as esme:
            await esme.bind()
            esme.write(*(submit(10 + at) for at in range(8)))
            await asyncio.wait_for(esme.gone.wait(), 5)
        assert await taken(centre, 8) == list(range(10, 18))
        assert esme.answered == [10, 11, 12, 13]

        async with connected(centre.port) as again:
            await again.bind()
            again.write(submit(20), submit(21))
            await asyncio.wait_for(again.gone.wait(), 5)
        assert again.answered == [20]
    assert all(event["command_status"] == 0 for event in centre.events("submit_sm"))
    assert [event["kind"] for event in centre.events("disconnect")] == ["transceiver", "transceiver"]


async def test_delayed_answers_die_with_their_connection(tmp_path: Path) -> None:
    flags = ("--drop-every", "5", "--response-delay", "30")
    async with (
        simulated_centre(tmp_path, *flags, "--step", "1submits response-delay=off") as centre,
        connected(centre.port) as esme,
    ):
        esme.write(pdu.encode(Command.BIND_TRANSCEIVER, 0, 1, Bind("groupsms", "x").encode()), submit(10))
        await until(lambda: centre.events("step"))
        esme.write(*(submit(11 + at) for at in range(4)))
        await asyncio.wait_for(esme.gone.wait(), 5)
    assert esme.answered == [11, 12, 13]


async def test_some_submits_are_never_answered(tmp_path: Path) -> None:
    async with simulated_centre(tmp_path, "--silent-every", "3") as centre, connected(centre.port) as esme:
        await esme.bind()
        esme.write(*(submit(10 + at) for at in range(9)), pdu.encode(Command.ENQUIRE_LINK, 0, 99))
        await esme.answer(99)
        assert esme.answered == [10, 11, 13, 14, 16, 17]
        assert [event["command_status"] for event in centre.events("submit_sm")] == [0] * 9


async def test_answers_come_late_and_out_of_order(tmp_path: Path) -> None:
    flags = ("--response-jitter", "0.3", "--receipt-delay", "60")
    async with simulated_centre(tmp_path, *flags) as centre, connected(centre.port) as esme:
        await esme.bind()
        esme.write(*(submit(10 + at) for at in range(50)))
        await until(lambda: len(esme.answered) == 50)

    assert sorted(esme.answered) == list(range(10, 60))
    assert esme.answered != sorted(esme.answered)


async def test_every_nth_is_refused_as_told(tmp_path: Path) -> None:
    flags = ("--refuse-every", "4:ESME_RMSGQFUL", "--refuse-every", "6:0x410")
    async with simulated_centre(tmp_path, *flags) as centre, connected(centre.port) as esme:
        await esme.bind()
        esme.write(*(submit(10 + at) for at in range(12)))
        await until(lambda: len(esme.answered) == 12)

    statuses = Counter(frame.command_status for frame in esme.of(Command.SUBMIT_SM_RESP))
    assert statuses == {0: 8, Status.ESME_RMSGQFUL: 3, 0x410: 1}


async def test_an_answer_is_late_by_its_ending(tmp_path: Path) -> None:
    async with simulated_centre(tmp_path) as centre, connected(centre.port) as esme:
        await esme.bind()
        esme.write(submit(10, "8613800130020"), submit(11))
        await until(lambda: len(esme.answered) == 2)
        assert esme.answered == [11, 10]
        kinds = [frame.command_id for frame in esme.received if frame.sequence_number != 11]
        assert kinds.index(Command.DELIVER_SM) < kinds.index(Command.SUBMIT_SM_RESP)


async def test_binds_of_one_system_id_are_limited(tmp_path: Path) -> None:
    async with simulated_centre(tmp_path, "--max-binds", "2") as centre:
        async with connected(centre.port) as first, connected(centre.port) as second:
            await first.bind(Command.BIND_TRANSMITTER)
            await second.bind(Command.BIND_RECEIVER)
            assert await bound_status(centre.port) == Status.ESME_RALYBND
            assert await bound_status(centre.port, "other") == Status.ESME_ROK
        await until(lambda: len(centre.events("disconnect")) == 3)
        assert await bound_status(centre.port) == Status.ESME_ROK

    assert [(each["kind"], each["command_status"]) for each in centre.events("bind")[:3]] == [
        ("transmitter", 0),
        ("receiver", 0),
        ("transceiver", Status.ESME_RALYBND),
    ]


async def test_binds_are_refused_for_a_while(tmp_path: Path) -> None:
    async with simulated_centre(tmp_path, "--refuse-binds", "1.5") as centre:
        assert await bound_status(centre.port) == Status.ESME_RBINDFAIL
        async with asyncio.timeout(10):
            while await bound_status(centre.port) != Status.ESME_ROK:
                pass


async def test_a_silent_peer_is_let_go_and_a_busy_one_is_not(tmp_path: Path) -> None:
    async with (
        simulated_centre(tmp_path, "--idle-timeout", "0.6") as centre,
        connected(centre.port) as silent,
        connected(centre.port) as busy,
    ):
        await silent.bind()
        await busy.bind()
        sequence = 10
        while not silent.gone.is_set():
            sequence += 1
            busy.write(pdu.encode(Command.ENQUIRE_LINK, 0, sequence))
            await busy.answer(sequence)
        assert not busy.gone.is_set()
        assert sequence > 11


async def test_peers_are_unbound_every_so_often(tmp_path: Path) -> None:
    async with (
        simulated_centre(tmp_path, "--unbind-every", "0.2") as centre,
        connected(centre.port) as esme,
    ):
        await esme.bind()
        await until(lambda: esme.of(Command.UNBIND))
        esme.write(submit(10), pdu.encode(Command.UNBIND_RESP, 0, esme.of(Command.UNBIND)[0].sequence_number))
        await asyncio.wait_for(esme.gone.wait(), 5)
        assert esme.answered == [10]
        assert [event["by"] for event in centre.events("unbind")] == ["centre"]


async def test_it_goes_away_and_comes_back(tmp_path: Path) -> None:
    """After three submits, for a second; no connection is let in meanwhile."""
    async with simulated_centre(tmp_path, "--step", "3submits away=1") as centre:
        async with connected(centre.port) as esme:
            await esme.bind()
            esme.write(*(submit(10 + at) for at in range(4)))
            await asyncio.wait_for(esme.gone.wait(), 5)
        async with connected(centre.port) as meanwhile:
            await asyncio.wait_for(meanwhile.gone.wait(), 5)
        async with asyncio.timeout(10):
            while True:
                async with connected(centre.port) as later:
                    later.write(pdu.encode(Command.BIND_TRANSCEIVER, 0, 1, Bind("a", "b").encode()))
                    await until(lambda: later.received or later.gone.is_set())
                    if later.received:
                        break
        assert [event["what"] for event in centre.events("step")] == ["away=1"]


async def test_a_script_changes_what_it_does(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("""
        # first it refuses, then it recovers, then it says goodbye
        2submits  refuse-every=1:ESME_RTHROTTLED   # from the third on
        4submits  refuse-every=off
        5submits  unbind
    """)
    async with simulated_centre(tmp_path, "--script", str(script)) as centre, connected(centre.port) as esme:
        await esme.bind()
        for sequence in range(10, 15):
            esme.write(submit(sequence))
            await esme.answer(sequence)
            steps = {11: 1, 13: 2}.get(sequence, 0)
            await until(partial(centre_took, centre, steps))
        await until(lambda: esme.of(Command.UNBIND))

    statuses = [frame.command_status for frame in esme.of(Command.SUBMIT_SM_RESP)]
    assert statuses == [0, 0, Status.ESME_RTHROTTLED, Status.ESME_RTHROTTLED, 0]


async def test_it_obeys_its_standard_input(tmp_path: Path) -> None:
    async with simulated_centre(tmp_path) as centre, connected(centre.port) as esme:
        await esme.bind()
        centre.tell("refuse-every=1:0x410 receipt-copies=2\nnonsense\n\n\xff")
        centre.tell("receipt-first=on")
        await until(lambda: len(centre.events("step")) == 2)
        esme.write(submit(10))
        assert (await esme.answer(10)).command_status == 0x410
        centre.tell("drop")
        await asyncio.wait_for(esme.gone.wait(), 5)


async def test_a_rate_set_on_the_way_holds(tmp_path: Path) -> None:
    async with (
        simulated_centre(tmp_path, "--step", "1submits rate=5") as centre,
        connected(centre.port) as esme,
    ):
        await esme.bind()
        esme.write(submit(10))
        await until(lambda: centre.events("step"))
        esme.write(*(submit(11 + at) for at in range(20)))
        await until(lambda: len(esme.answered) == 21)

    statuses = Counter(frame.command_status for frame in esme.of(Command.SUBMIT_SM_RESP))
    assert statuses == {0: 6, Status.ESME_RTHROTTLED: 15}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--refuse-every", "5"], "is not like 50:ESME_RMSGQFUL"),
        (["--refuse-every", "5:ESME_ROK"], "is not like 50:ESME_RMSGQFUL"),
        (["--receipt-text", "{what}"], "{what} is not one of id,"),
        (["--receipt-text", "{done:11}"], "only submitted and done are 10, 12, 14 digits"),
        (["--receipt-text", "{"], "Single '{' encountered"),
        (["--ids", "octal"], "'octal' is not one of hex, hex-upper, decimal"),
        (["--step", "soon drop"], "does not begin with a moment"),
        (["--step", "5s"], "does not begin with a moment"),
        (["--step", "1.5submits drop"], "is no number of submits"),
        (["--step", "5s explode"], "is not drop, unbind or NAME=VALUE"),
        (["--step", "5s port=1"], "there is no 'port' to change"),
        (["--step", "5s rate=fast"], "'fast' is not a valid"),
        (["--step", "5s away=-1"], "-1.0 is not in the range"),
        (["--step", "5s receipt-first=maybe"], "receipt-first is on or off"),
        (["--tls-key", "/dev/null"], "--tls-key needs --tls-cert"),
        (["--script", "/nowhere"], "No such file or directory"),
        (["--tls-cert", "/dev/null"], "--tls-cert must name a PEM file"),
        (["--tls-cert", "/nowhere"], "--tls-cert or --tls-key can't be read (No such file"),
    ],
)
def test_a_wrong_flag_is_explained(flags: list[str], said: str) -> None:
    done = groupsms("smsc", "--port", "0", *flags)

    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


async def test_tls(tmp_path: Path) -> None:
    certificate = str(Path(__file__).parent / "files" / "localhost.pem")
    trust = ssl.create_default_context(cafile=certificate)
    async with (
        simulated_centre(tmp_path, "--tls-cert", certificate) as centre,
        connected(centre.port, trust) as esme,
    ):
        await esme.bind()
        esme.write(submit(10))
        assert (await esme.answer(10)).command_status == Status.ESME_ROK
