"""Replies: whose they are, what an opt-out word does, and what the API shows of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from domain import db, dispatch, opt_outs, replies, resources
from domain.errors import InvalidInput
from domain.opt_outs import OptOutSource
from domain.ports import Reply
from domain.replies import ReplyFilter, ReplyView
from domain.settings import Settings
from domain.states import Region, TaskStatus
from tests.integration.dispatching import RecordingGateway, dispatching, each_once, is_at
from tests.integration.world import (
    GATEWAY,
    Materials,
    World,
    approved_template,
    eventually,
    phones,
    receipt,
    settlements,
)
from workers.announcer import Announcer
from workers.receipt_sink import StoredReceipts
from workers.smpp.clock import SystemClock

PHONE = "+8613800138000"
ABROAD = "+447400123456"
CHANNEL = "10690001"
"""The sender of every mainland signature in these worlds; that of their international ones is Acme."""
WORDS = Settings().opt_out_words


def sink(world: World, *, gateway: str = GATEWAY, words: tuple[str, ...] = WORDS) -> StoredReceipts:
    """What a worker gives to its gateway."""
    announcer = Announcer(world.bell, SystemClock())
    return StoredReceipts(gateway, shard=0, announcer=announcer, opt_out_words=words)


def reply(text: str = "Yes", number: str = PHONE, destination: str = CHANNEL) -> Reply:
    return Reply(number, destination, text, datetime.now(UTC))


async def seen(world: World, filter_: ReplyFilter | None = None) -> list[ReplyView]:
    """The replies that the world's account sees, newest first."""
    page = await replies.list_replies(world.viewer.account_id, filter_ or ReplyFilter(), first=100)
    return page.items


async def texts(world: World) -> list[str]:
    return [each.text for each in await seen(world)]


async def opted_out(world: World) -> list[tuple[str, OptOutSource]]:
    page = await opt_outs.list_opt_outs(world.viewer.account_id, first=100)
    return [(each.number, each.source) for each in page.items]


async def kept_for_nobody() -> list[str]:
    return [row["text"] for row in await db.fetch("SELECT text FROM reply WHERE account_id IS NULL")]


# --- whose it is ----------------------------------------------------------------------------------


async def test_a_reply_is_stored_for_the_account_of_its_sender(world: World) -> None:
    """Replies: a deliver_sm that is no receipt is a reply. It is stored."""
    came = reply("好的，谢谢")
    await sink(world).take([came])
    (found,) = await seen(world)
    assert found == ReplyView(
        id=found.id,
        number=PHONE,
        sender=CHANNEL,
        text="好的，谢谢",
        received_at=came.received_at,
        opted_out=False,
        application_id=world.mainland.application_id,
    )
    assert await opted_out(world) == []


@pytest.mark.parametrize("sender", ["Acme", "ACME", "acme"])
async def test_senders_are_compared_whatever_their_case(world: World, sender: str) -> None:
    await sink(world).take([reply("Yes", ABROAD, sender)])
    (found,) = await seen(world)
    assert (found.sender, found.application_id) == (sender, world.international.application_id)


@pytest.mark.parametrize("sender", ["10690001", "+10690001"])
async def test_senders_are_compared_without_plus(world: World, sender: str) -> None:
    await sink(world).take([reply(destination=sender)])
    assert await texts(world) == ["Yes"]


async def test_a_sender_that_is_only_a_tasks_any_more(world: World) -> None:
    task_id = await world.sent([ABROAD], materials=world.international)
    await db.fetch("UPDATE application SET sender_number = 'Other'")
    await sink(world).take([reply("stop", ABROAD, "Acme")])
    (found,) = await seen(world)
    assert (found.opted_out, found.application_id) == (True, world.international.application_id)
    assert await opted_out(world) == [(ABROAD, OptOutSource.REPLY)]
    assert (await world.read(task_id)).counts.total == 1


async def test_a_task_that_was_never_started_is_no_claim_to_a_sender(world: World) -> None:
    await world.create([ABROAD], materials=world.international, after=timedelta(hours=1))
    await db.fetch("UPDATE application SET sender_number = 'Other'")
    await sink(world).take([reply("Yes", ABROAD, "Acme")])
    assert (await texts(world), await kept_for_nobody()) == ([], ["Yes"])


async def test_the_application_is_the_one_that_sent_last_or_is_not_told(world: World) -> None:
    second = await resources.create_application(
        world.viewer,
        name="Second",
        region=Region.INTERNATIONAL,
        sender_number="ACME",
        gateway=GATEWAY,
        gateways=[GATEWAY],
    )
    await sink(world).take([reply("1", ABROAD, "Acme")])
    template_id = await approved_template(world.viewer, second.id, None, "Hello")
    await world.sent([ABROAD], materials=Materials(second.id, None, template_id))
    await sink(world).take([reply("2", ABROAD, "Acme")])
    await world.sent([ABROAD], materials=world.international)
    await sink(world).take([reply("3", ABROAD, "Acme")])
    assert [(each.text, each.application_id) for each in await seen(world)] == [
        ("3", world.international.application_id),
        ("2", second.id),
        ("1", None),
    ]


async def test_a_sender_that_the_gateway_chooses(world: World) -> None:
    """Applications without a sender of their own: their replies name whatever the carrier put there."""
    await db.fetch("UPDATE application SET sender_number = NULL")
    await sink(world).take([reply("STOP", ABROAD, "80808"), reply("STOP", PHONE, CHANNEL)])
    assert [(each.sender, each.number) for each in await seen(world)] == [
        (CHANNEL, PHONE),
        ("80808", ABROAD),
    ]
    assert await opted_out(world) == [(ABROAD, OptOutSource.REPLY), (PHONE, OptOutSource.REPLY)]


async def test_one_for_nobody_is_kept_and_told_of_without_number_or_text(world: World) -> None:
    with structlog.testing.capture_logs() as logs:
        await sink(world).take([reply("secret", destination="10690099"), reply("also", destination="")])
        await sink(world, gateway="other").take([reply("STOP")])
    assert sorted(await kept_for_nobody()) == ["STOP", "also", "secret"]
    assert (await texts(world), await opted_out(world)) == ([], [])
    assert [(each["event"], each["gateway"], each["count"], each["senders"]) for each in logs] == [
        ("replies_for_no_account", GATEWAY, 2, ["", "10690099"]),
        ("replies_for_no_account", "other", 1, [CHANNEL]),
    ]
    assert "secret" not in str(logs)
    assert PHONE not in str(logs)


# --- a sender that several accounts share ---------------------------------------------------------


async def test_an_opt_out_counts_for_everybody_with_that_sender(world: World) -> None:
    """Who said STOP is not texted with that sender again, whoever it was that texted last."""
    rival = await World.make("Rival")
    await world.sent([PHONE])
    await sink(world).take([reply("STOP")])
    for each in (world, rival):
        (found,) = await seen(each)
        assert (found.text, found.opted_out) == ("STOP", True)
        assert await opted_out(each) == [(PHONE, OptOutSource.REPLY)]


async def test_anything_else_is_seen_only_by_the_one_that_sent_lately(world: World) -> None:
    rival = await World.make("Rival")
    await sink(world).take([reply("before anybody sent")])
    await rival.sent([PHONE])
    await db.fetch("UPDATE task SET started_at = started_at - interval '31 days'")
    await sink(world).take([reply("when it is long ago")])
    await world.sent([PHONE])
    await sink(world).take([reply("for Acme")])
    await rival.sent([PHONE])
    await sink(world).take([reply("for one of the two")])
    assert (await texts(world), await texts(rival)) == (["for Acme"], [])
    assert len(await kept_for_nobody()) == 3


# --- numbers --------------------------------------------------------------------------------------


async def test_a_mainland_number_without_86_is_read_as_in_a_recipient_list(world: World) -> None:
    """The recipient file: 11 digits starting with 1 are a mainland number. Carriers write them so, too."""
    await sink(world).take([reply("TD", "+13800138000"), reply("Yes", "13800138001")])
    assert [each.number for each in await seen(world)] == ["+8613800138001", PHONE]
    assert await opted_out(world) == [(PHONE, OptOutSource.REPLY)]


async def test_eleven_digits_to_an_international_sender_are_north_american(world: World) -> None:
    await sink(world).take([reply("STOP", "+12025550123", "Acme")])
    assert await opted_out(world) == [("+12025550123", OptOutSource.REPLY)]


async def test_with_a_sender_of_both_regions_they_are_both(world: World) -> None:
    await db.fetch("UPDATE application SET sender_number = $1 WHERE region = 'INTERNATIONAL'", CHANNEL)
    await sink(world).take([reply("STOP", "+13800138000")])
    (found,) = await seen(world)
    assert (found.number, found.application_id) == ("+13800138000", None)
    assert [number for number, _ in await opted_out(world)] == ["+13800138000", PHONE]


@pytest.mark.parametrize("number", ["Vodafone", "", "+0447400", "+12", "+²²²²²²²²", "\0", "+" + "9" * 19])
async def test_what_is_no_number_is_kept_and_opts_nobody_out(world: World, number: str) -> None:
    await sink(world).take([reply("STOP", number, "Acme")])
    (found,) = await seen(world)
    assert (found.number, found.opted_out) == (number.replace("\0", "\ufffd"), False)
    assert await opted_out(world) == []


# --- texts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "\0STOP now\0", "\ud83d half", "长" * 32_768, "\r\n", "\ufffd"])
async def test_any_text_is_stored(world: World, text: str) -> None:
    """PostgreSQL takes neither NUL nor half a surrogate pair: nothing of a batch is to be refused for it."""
    await sink(world).take([reply("first"), reply(text), reply("last", destination="\0")])
    assert await texts(world) == [text.replace("\0", "\ufffd").replace("\ud83d", "?"), "first"]
    assert await kept_for_nobody() == ["last"]


async def test_the_same_text_twice_is_two_replies(world: World) -> None:
    """Nothing tells a carrier's second delivery from a person who repeats himself, and none may be lost."""
    await sink(world).take([reply("1"), reply("1")])
    await sink(world).take([reply("1")])
    assert await texts(world) == ["1"] * 3


async def test_receipts_and_replies_come_together(world: World) -> None:
    task_id = await world.running([PHONE])
    claim = await world.claim(task_id)
    await world.hand_over(claim)
    taking = sink(world)
    await taking.take([reply("STOP"), receipt(claim, 1), reply("Yes")])
    await taking.apply()
    assert (await world.check(task_id)).counts.delivered == 1
    assert await texts(world) == ["Yes", "STOP"]


# --- opt-out words --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["STOP", "Unsubscribe!", "td", "Ｒ", "退订。", "拒收"])
async def test_an_opt_out_word_puts_the_number_on_the_list(world: World, text: str) -> None:
    """Replies: if it is an opt-out word, its number goes on the account's opt-out list."""
    await sink(world).take([reply(text)])
    (found,) = await seen(world)
    assert (found.text, found.opted_out) == (text, True)
    assert await opted_out(world) == [(PHONE, OptOutSource.REPLY)]


async def test_words_are_the_deployments(world: World) -> None:
    await sink(world, words=()).take([reply("STOP")])
    await sink(world, words=("baja",)).take([reply("STOP"), reply("Baja", "+8613800138001")])
    assert [number for number, _ in await opted_out(world)] == ["+8613800138001"]


async def test_a_number_that_is_on_the_list_stays_as_it_is(world: World) -> None:
    await opt_outs.add_opt_outs(world.viewer, [PHONE], None, world.intake.limits)
    with structlog.testing.capture_logs() as logs:
        await sink(world).take([reply("STOP"), reply("STOP", "+8613800138001"), reply("STOP")])
    assert await opted_out(world) == [
        (PHONE, OptOutSource.API),
        ("+8613800138001", OptOutSource.REPLY),
    ]
    assert [(each["event"], each["count"]) for each in logs] == [("numbers_opted_out", 1)]
    assert PHONE[5:] not in str(logs)


async def test_who_opted_out_by_a_reply_is_left_out_of_later_lists(world: World) -> None:
    await sink(world).take([reply("STOP")])
    task = await world.read(await world.create([PHONE, "13800138001"]))
    assert (task.recipients.imported, task.recipients.opted_out) == (1, 1)


async def test_a_chunk_that_is_held_is_looked_through_again(world: World) -> None:
    task_id = await world.running(3)
    claim = await world.claim(task_id)
    await sink(world).take([reply("STOP", phones(3)[1])])
    assert not await dispatch.mark(claim, 3, [])
    assert await dispatch.release(claim, 0, [])
    assert list((await world.claim(task_id)).numbers.values()) == [phones(3)[0], phones(3)[2]]


async def test_nobody_is_disturbed_for_a_number_that_was_texted_already(world: World) -> None:
    task_id = await world.running(3)
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 1, [])
    assert await dispatch.settle(claim, settlements(claim, [1]), shard=0)
    await sink(world).take(
        [reply("STOP", phones(1)[0]), reply("STOP", "+8613900139000"), reply("Yes", phones(3)[2])]
    )
    assert await dispatch.mark(claim, 3, [])


async def test_a_second_delivery_makes_up_for_a_worker_that_died_after_the_commit(world: World) -> None:
    """The number is on the list, and nobody was told: the reply was not acknowledged, so it comes again."""
    claim = await world.claim(await world.running(3))
    await db.fetch(
        "INSERT INTO opt_out (account_id, number, source) VALUES ($1, $2, 'REPLY')",
        world.viewer.account_id,
        int(phones(1)[0][1:]),
    )
    assert await dispatch.mark(claim, 0, [])
    await sink(world).take([reply("STOP", phones(1)[0])])
    assert not await dispatch.mark(claim, 3, [])


async def test_a_stop_in_the_middle_of_a_task_is_honoured_by_all_workers(world: World) -> None:
    numbers = phones(2500)
    task_id = await world.running(numbers)
    gateways = [RecordingGateway(window=50), RecordingGateway(window=50)]
    for gateway in gateways:
        gateway.held.set()

    async def windows_are_full() -> bool:
        return all(len(gateway.under_way) == 50 for gateway in gateways)

    async with dispatching(world, gateways[0]), dispatching(world, gateways[1]):
        await eventually(windows_are_full)
        under_way = {each.number for gateway in gateways for each, _ in gateway.under_way}
        stopping = [number for number in numbers if number not in under_way][::200]
        await sink(world).take([reply("stop", number) for number in stopping])
        for gateway in gateways:
            gateway.let_go()
        await eventually(is_at(world, task_id, TaskStatus.SENT))
    reached = [number for gateway in gateways for number in gateway.reached]
    each_once([number for number in numbers if number not in stopping], reached)
    assert (await world.check(task_id)).counts.not_sent == len(stopping)


async def test_workers_that_store_the_same_at_once_never_deadlock(world: World) -> None:
    rival = await World.make("Rival")
    batch = [reply("STOP", number) for number in phones(40)]
    for _ in range(5):
        async with asyncio.timeout(20):
            await asyncio.gather(
                *(sink(world).take(each) for each in (batch, batch[::-1]) * 2),
                opt_outs.add_opt_outs(rival.viewer, phones(40)[::-1], None, rival.intake.limits),
                opt_outs.remove_opt_outs(rival.viewer, phones(40)),
            )
    assert [number for number, _ in await opted_out(world)] == phones(40)
    assert await replies.count_replies(world.viewer.account_id, ReplyFilter()) == 5 * 4 * 40


# --- reading --------------------------------------------------------------------------------------


async def test_pages_and_filters(world: World) -> None:
    for at, number in enumerate(phones(5)):
        await sink(world).take([reply("STOP" if at % 2 else str(at), number)])
    account_id = world.viewer.account_id
    first = await replies.list_replies(account_id, ReplyFilter(), first=3)
    await sink(world).take([reply("newer")])
    rest = await replies.list_replies(account_id, ReplyFilter(), first=3, after=first.cursors[-1])
    assert [each.text for each in (*first.items, *rest.items)] == ["4", "STOP", "2", "STOP", "0"]
    assert (first.has_next, first.has_previous, rest.has_next, rest.has_previous) == (
        True,
        False,
        False,
        True,
    )
    for filter_, expected in (
        (ReplyFilter(opted_out=True), ["STOP", "STOP"]),
        (ReplyFilter(opted_out=False), ["newer", "4", "2", "0"]),
        (ReplyFilter(number_ends_with="00000004"), ["4"]),
        (ReplyFilter(number_ends_with="4", opted_out=True), []),
    ):
        assert [each.text for each in await seen(world, filter_)] == expected
        assert await replies.count_replies(account_id, filter_) == len(expected)
    for ending in ("+86", "१", "", "1" * 16):
        with pytest.raises(InvalidInput):
            await seen(world, ReplyFilter(number_ends_with=ending))
    for wrong in ("x", (await opt_outs.list_opt_outs(account_id)).cursors[0]):
        with pytest.raises(InvalidInput):
            await replies.list_replies(account_id, ReplyFilter(), after=wrong)


async def test_a_page_is_read_from_its_index(world: World) -> None:
    await sink(world).take([reply()])
    async with db.transaction() as conn:
        await conn.execute("SET LOCAL enable_seqscan = off")
        plan = await conn.fetch(
            "EXPLAIN SELECT * FROM reply WHERE account_id = 1 AND id < 9 ORDER BY id DESC LIMIT 51"
        )
    assert "reply_of_account" in str(plan)
    assert "Sort" not in str(plan)


async def test_whose_a_sender_is_takes_no_search_through_all_tasks(world: World) -> None:
    """Not even for accounts that never sent with it."""
    task_id = await world.sent(1)
    (row,) = await db.fetch(
        "SELECT string_agg(column_name, ',') AS names FROM information_schema.columns "
        "WHERE table_name = 'task' AND column_name <> 'id'"
    )
    columns = row["names"]
    await db.fetch(
        f"INSERT INTO task ({columns}) SELECT {columns} FROM task, generate_series(1, 20000) WHERE id = $1",
        task_id,
    )
    await db.fetch(
        "INSERT INTO account (name, time_zone, currency) SELECT i, 'UTC', 'CNY' FROM generate_series(1, 50) i"
    )
    await db.fetch("ANALYZE account, task")
    plan = await db.fetch(f"EXPLAIN (ANALYZE, BUFFERS OFF) {replies._OWNERS}", GATEWAY, [CHANNEL])
    assert "task_by_sender" in str(plan)
    assert "task_pkey" not in str(plan)
