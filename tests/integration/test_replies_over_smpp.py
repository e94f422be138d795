"""Replies from the wire to the database: read, stored, and only then acknowledged; opt-outs in mid-task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from domain import db, opt_outs, replies
from domain.ports import Gateway
from domain.replies import ReplyFilter
from domain.settings import Settings
from domain.states import TaskStatus
from tests.integration.dispatching import is_at
from tests.integration.message_centre import (
    ScriptedCentre,
    Visitor,
    answer_bind,
    is_submit,
    scripted_centre,
    submit_resp,
    until,
)
from tests.integration.world import GATEWAY, World, eventually, phones
from workers.announcer import Announcer
from workers.dispatcher import Dispatcher
from workers.gateways import open_gateway
from workers.receipt_sink import StoredReceipts
from workers.smpp import pdu
from workers.smpp.clock import SystemClock
from workers.smpp.pdu import Address, Command, Frame, ShortMessage, Status, Tag

PHONE = "+8613800138000"
CHANNEL = "10690001"


def deliver_sm(
    sequence: int,
    octets: bytes = b"STOP",
    *,
    number: str = PHONE,
    data_coding: int = 0,
    esm_class: int = 0,
    payload: bool = False,
) -> bytes:
    """A reply as a message centre writes it."""
    message = ShortMessage(
        Address(1, 1, number.removeprefix("+")),
        Address(3, 0, CHANNEL),
        b"" if payload else octets,
        esm_class=esm_class,
        data_coding=data_coding,
        tlvs=((Tag.MESSAGE_PAYLOAD, octets),) if payload else (),
    )
    return pdu.encode(Command.DELIVER_SM, 0, sequence, message.encode())


def answers(visitor: Visitor) -> dict[int, int]:
    """How deliver_sm were answered: the status by sequence number."""
    return {
        frame.sequence_number: frame.command_status
        for frame in visitor.received
        if frame.command_id == Command.DELIVER_SM_RESP
    }


def sink(world: World) -> StoredReceipts:
    announcer = Announcer(world.bell, SystemClock())
    return StoredReceipts(GATEWAY, shard=0, announcer=announcer, opt_out_words=Settings().opt_out_words)


@asynccontextmanager
async def bound(world: World, centre: ScriptedCentre, query: str = "") -> AsyncIterator[Gateway]:
    """A gateway with a bind to the centre, whose replies go to the database."""
    gateway = open_gateway(GATEWAY, f"smpp://groupsms:secret@127.0.0.1:{centre.port}?{query}")
    await gateway.start(sink(world).take)
    try:
        async with asyncio.timeout(10):
            await gateway.ready()
        yield gateway
    finally:
        await gateway.close()


async def texts(world: World) -> list[str]:
    """What the account sees, oldest first."""
    page = await replies.list_replies(world.viewer.account_id, ReplyFilter(), first=100)
    return [each.text for each in reversed(page.items)]


async def opted_out(world: World) -> list[str]:
    return [each.number for each in (await opt_outs.list_opt_outs(world.viewer.account_id)).items]


# --- what may come --------------------------------------------------------------------------------

PART = bytes.fromhex("0500032a0201")


async def test_replies_of_any_kind_are_stored_and_acknowledged(world: World) -> None:
    """Replies: a deliver_sm that is no receipt is stored, acknowledged."""
    came: list[tuple[bytes, str]] = [
        (deliver_sm(1, b"Hola, se\x7dor \x00 10 \x1be"), "Hola, señor @ 10 €"),
        (deliver_sm(2, "Señor".encode("latin-1"), data_coding=3), "Señor"),
        (deliver_sm(3, "好的👍".encode("utf-16-be"), data_coding=8), "好的👍"),
        (deliver_sm(4, PART + "第一".encode("utf-16-be"), data_coding=8, esm_class=0x40), "第一"),
        (deliver_sm(5, b""), ""),
        (deliver_sm(6, b"\xff\xfe\x00\x01\x02", data_coding=4), "\xff\xfe\ufffd\x01\x02"),
        (deliver_sm(7, b"\0a\0\0\0b", data_coding=8), "a\ufffdb"),
        (deliver_sm(8, b"\0\0\0", data_coding=3), "\ufffd\ufffd\ufffd"),
        (deliver_sm(9, "长".encode("utf-16-be") * 32_767, data_coding=8, payload=True), "长" * 32_767),
        (deliver_sm(10, b"\xd8\x3d", data_coding=8), "\ufffd"),
        (deliver_sm(11, b"\x05\x00", esm_class=0x40), ""),
    ]
    async with scripted_centre() as centre, bound(world, centre):
        centre.visitor.write(*(octets for octets, _ in came))
        await until(lambda: len(answers(centre.visitor)) == len(came))
        assert set(answers(centre.visitor).values()) == {Status.ESME_ROK}
    assert await texts(world) == [text for _, text in came]


@pytest.mark.parametrize(
    ("query", "octets", "data_coding"),
    [
        ("", b"Stop.", 0),
        ("", b"STOP\0", 0),
        ("", "退订。".encode("utf-16-be"), 8),
        ("", "\ufeffＳＴＯＰ\0".encode("utf-16-be"), 8),
        ("alphabet=latin1", b"stop!", 0),
        ("alphabet=gsm7-packed", bytes.fromhex("53ea130a"), 0),
    ],
)
async def test_an_opt_out_word_in_any_alphabet(
    world: World, query: str, octets: bytes, data_coding: int
) -> None:
    async with scripted_centre() as centre, bound(world, centre, query):
        centre.visitor.write(deliver_sm(1, octets, data_coding=data_coding))
        await until(lambda: answers(centre.visitor))
        assert await opted_out(world) == [PHONE]


# --- acknowledged only after the commit -----------------------------------------------------------


async def test_what_could_not_be_stored_is_asked_for_again_and_stored_once(world: World) -> None:
    async with scripted_centre() as centre, bound(world, centre):
        await db.fetch("ALTER TABLE reply RENAME TO away")
        centre.visitor.write(deliver_sm(1))
        await until(lambda: answers(centre.visitor))
        assert answers(centre.visitor) == {1: Status.ESME_RX_T_APPN}
        assert await opted_out(world) == []
        await db.fetch("ALTER TABLE away RENAME TO reply")
        centre.visitor.write(deliver_sm(2))
        await until(lambda: 2 in answers(centre.visitor))
        assert answers(centre.visitor)[2] == Status.ESME_ROK
    assert (await texts(world), await opted_out(world)) == (["STOP"], [PHONE])


async def test_nothing_is_acknowledged_before_the_commit(world: World) -> None:
    async with scripted_centre() as centre, bound(world, centre):
        async with db.transaction() as conn:
            await conn.execute("LOCK TABLE opt_out IN EXCLUSIVE MODE")
            centre.visitor.write(deliver_sm(1))
            await eventually(lambda: waiting_for_a_lock(conn))
            assert answers(centre.visitor) == {}
            assert await conn.fetchval("SELECT count(*) FROM reply") == 0
        await until(lambda: answers(centre.visitor))
        assert await texts(world) == ["STOP"]


async def waiting_for_a_lock(conn: db.Connection) -> bool:
    waiting: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'opt_out'::regclass)"
    )
    return waiting


# --- in the middle of a task ----------------------------------------------------------------------


async def test_a_stop_while_a_task_is_running_keeps_it_from_texting_that_number(world: World) -> None:
    """Replies: once the reply is acknowledged, nothing more goes to its number."""
    numbers = phones(1500)
    stopping = [numbers[-1], numbers[1100], numbers[700]]
    task_id = await world.running(numbers)
    held: list[Frame] = []
    released = asyncio.Event()
    answered_at: list[int] = []

    def script(visitor: Visitor, frame: Frame) -> None:
        answer_bind(visitor, frame)
        if is_submit(frame):
            if released.is_set():
                visitor.write(submit_resp(frame, f"id{frame.sequence_number}"))
                return
            held.append(frame)
            if len(held) == 20:  # the window: nothing more comes until these are answered
                visitor.write(*(deliver_sm(at, number=each) for at, each in enumerate(stopping, 1)))
        elif frame.command_id == Command.DELIVER_SM_RESP and len(answers(visitor)) == len(stopping):
            answered_at.append(len(visitor.of(Command.SUBMIT_SM)))
            released.set()
            visitor.write(*(submit_resp(each, f"id{each.sequence_number}") for each in held))

    async with scripted_centre(script) as centre, bound(world, centre, "window=20") as gateway:
        announcer = Announcer(world.bell, SystemClock())
        dispatcher = Dispatcher(
            gateway, shard=1, clock=SystemClock(), announcer=announcer, on_settled=sink(world).settled
        )
        running = asyncio.create_task(dispatcher.run())
        await eventually(is_at(world, task_id, TaskStatus.SENDING))
        await eventually(lambda: handed_over(task_id, 1497), 30)
        dispatcher.stop()
        async with asyncio.timeout(10):
            await running
        submits = centre.visitor.of(Command.SUBMIT_SM)
    reached = sorted(f"+{ShortMessage.decode(frame.body).destination.digits}" for frame in submits)
    assert answered_at == [20]
    assert reached == [number for number in numbers if number not in stopping]
    task = await world.check(task_id)
    assert (task.counts.not_sent, task.counts.unknown) == (3, 1497)


async def handed_over(task_id: int, count: int) -> bool:
    done: int = await db.fetchval("SELECT count(*) FROM message WHERE task_id = $1 AND handover = 1", task_id)
    return done == count
