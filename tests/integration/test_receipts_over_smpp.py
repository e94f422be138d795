"""Receipts on their way from a message centre to GraphQL: on other binds, at other workers, and in doubt."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from secrets import token_hex

import pytest

import workers.main
from domain import db, strays
from domain.engines import Engines
from domain.states import TaskStatus
from tests.integration.api_client import Api, Client, serving
from tests.integration.dispatching import handed_over, is_at, worker
from tests.integration.message_centre import (
    Visitor,
    answer_bind,
    is_submit,
    scripted_centre,
    simulated_centre,
    submit_resp,
)
from tests.integration.world import LONG_TEXT, World, eventually, mainland, phones
from workers.smpp import pdu
from workers.smpp.pdu import Command, Frame, ShortMessage, Tag

SILENT, DROPPED = "+8613800009901", "+8613800009902"
"""Taken and delivered; the centre never answers, or drops the connection."""
MESSAGES = """{ tasks { nodes { counts { delivered inDoubt } messages { nodes {
  number result handover segments { gatewayMessageId result } } } } } }"""


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(database_url, redis_url, tmp_path) as running:
        yield running


@pytest.fixture
async def world(api: Api) -> World:
    """The account of the clients here."""
    return await World.make("Acme")


@pytest.fixture
async def client(api: Api, world: World) -> Client:
    return await api.client()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fits nothing is looked into at once and often."""
    monkeypatch.setattr(strays, "PATIENCE", timedelta(seconds=0.2))
    monkeypatch.setattr(workers.main, "RECOVER_EVERY", 0.1)


async def test_receipts_reach_whichever_worker_is_there(
    world: World, engines: Engines, redis_url: str, tmp_path: Path
) -> None:
    task_id = await world.running(phones(50, first=1000))
    async with simulated_centre(tmp_path, "--receipt-delay", "1") as centre:
        async with worker(engines, redis_url, centre.url()):
            await eventually(handed_over(world, task_id, 50))
        assert (await world.check(task_id)).counts.unknown == 50
        async with worker(engines, redis_url, centre.url()):
            await eventually(is_at(world, task_id, TaskStatus.COMPLETED))
    assert (await world.check(task_id)).counts.delivered == 50


async def test_receipts_come_on_binds_that_sent_nothing(
    world: World, engines: Engines, redis_url: str, tmp_path: Path
) -> None:
    task_id = await world.create(phones(400, first=1000))
    async with (
        simulated_centre(tmp_path, "--receipt-delay", "0.1") as centre,
        worker(engines, redis_url, centre.url("binds=2&mode=pair")),
        worker(engines, redis_url, centre.url("binds=2&mode=pair")),
    ):
        await eventually(is_at(world, task_id, TaskStatus.COMPLETED))
        binds = {event["connection"]: event["kind"] for event in centre.events("bind")}
        sent_on = {event["connection"] for event in centre.events("submit_sm")}
    assert (await world.check(task_id)).counts.delivered == 400
    assert {binds[connection] for connection in sent_on} == {"transmitter"}
    assert sorted(binds.values()) == ["receiver"] * 2 + ["transmitter"] * 2


async def test_ids_too_long_for_an_index_are_stored_and_found(
    world: World, engines: Engines, redis_url: str
) -> None:
    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            message, endless = ShortMessage.decode(frame.body), token_hex(5000)
            tlvs = ((Tag.RECEIPTED_MESSAGE_ID, f"{endless}\0".encode()), (Tag.MESSAGE_STATE, b"\2"))
            receipt = ShortMessage(
                message.destination, message.source, b"", esm_class=pdu.DELIVERY_RECEIPT, tlvs=tlvs
            )
            deliver = pdu.encode(Command.DELIVER_SM, 0, frame.sequence_number, receipt.encode())
            visitor.write(submit_resp(frame, endless), deliver)

    task_id = await world.running(phones(3, first=1000))
    async with (
        scripted_centre(script) as centre,
        worker(engines, redis_url, f"smpp://u:p@127.0.0.1:{centre.port}?response_timeout=5"),
    ):
        await eventually(is_at(world, task_id, TaskStatus.COMPLETED))
    assert (await world.check(task_id)).counts.delivered == 3


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("number", [SILENT, DROPPED])
@pytest.mark.parametrize("flags", [[], ["--echo-reference"], ["--receipt-ids", "decimal"]])
async def test_a_message_in_doubt_is_settled_and_shown_as_such(
    world: World,
    client: Client,
    engines: Engines,
    redis_url: str,
    tmp_path: Path,
    number: str,
    flags: list[str],
) -> None:
    task_id = await world.running([number])
    async with (
        simulated_centre(tmp_path, "--receipt-delay", "1", *flags) as centre,
        worker(engines, redis_url, centre.url("response_timeout=0.3")),
    ):
        await eventually(in_doubt(world, task_id, 1))
        await eventually(is_at(world, task_id, TaskStatus.COMPLETED))
        assert len(centre.events("submit_sm")) == 1
    (task,) = (await client.run(MESSAGES))["tasks"]["nodes"]
    assert task["counts"] == {"delivered": 1, "inDoubt": 0}
    (message,) = task["messages"]["nodes"]
    assert (message["number"], message["result"], message["handover"]) == (number, "DELIVERED", "CONFIRMED")
    (segment,) = message["segments"]
    assert segment["gatewayMessageId"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("query", ["", "&long_text=sar", "&long_text=payload"])
async def test_a_long_message_in_doubt_is_settled(
    world: World, engines: Engines, redis_url: str, tmp_path: Path, query: str
) -> None:
    task_id = await world.running([SILENT], materials=await mainland(world.viewer, content=LONG_TEXT))
    async with (
        simulated_centre(tmp_path, "--receipt-delay", "1") as centre,
        worker(engines, redis_url, centre.url(f"response_timeout=0.3{query}")),
    ):
        await eventually(in_doubt(world, task_id, 1))
        await eventually(is_at(world, task_id, TaskStatus.COMPLETED))
    assert (await world.check(task_id)).counts.delivered == 1


@pytest.mark.usefixtures("impatient")
async def test_two_to_one_number_are_told_apart_by_the_echoed_reference(
    world: World, engines: Engines, redis_url: str, tmp_path: Path
) -> None:
    task_ids = [await world.running([SILENT]) for _ in range(2)]
    async with (
        simulated_centre(tmp_path, "--receipt-delay", "1", "--echo-reference") as centre,
        worker(engines, redis_url, centre.url("response_timeout=0.3")),
    ):
        for task_id in task_ids:
            await eventually(is_at(world, task_id, TaskStatus.COMPLETED))
        given = {event["tlvs"]["0x0204"]: event["message_id"] for event in centre.events("submit_sm")}
    rows = await db.fetch("SELECT gateway_message_id AS id FROM segment ORDER BY task_id")
    assert {row["id"] for row in rows} == set(given.values())
    assert len(given) == 2


def in_doubt(world: World, task_id: int, count: int) -> Callable[[], Awaitable[bool]]:
    """A condition: so many of the task's messages are in doubt."""

    async def check() -> bool:
        return (await world.read(task_id)).counts.in_doubt == count

    return check
