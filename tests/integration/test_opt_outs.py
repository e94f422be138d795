"""Numbers an account never texts: the list, its effect on imports, and on what is about to be sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from domain import db, dispatch, message_reads, opt_outs, recovery, task_creation
from domain.errors import ErrorCode, InvalidInput, RecipientListError
from domain.message_reads import MessageFilter
from domain.opt_outs import Added, OptOutSource
from domain.recipient_file import LIST_LIMIT, RejectedRow
from domain.states import Role, RowRejection, SendResult, TaskStatus
from tests.integration.api_client import Api, Client, serving
from tests.integration.api_operations import (
    ADD_OPT_OUTS,
    CREATE_TASK,
    OPT_OUTS,
    REMOVE_OPT_OUTS,
    do,
    prepare,
    refused,
)
from tests.integration.dispatching import RecordingGateway, dispatching, each_once, is_at
from tests.integration.world import World, eventually, phones, settlements

ABROAD = "+447400123456"


async def add(world: World, *numbers: str, file: Path | None = None) -> Added:
    return await opt_outs.add_opt_outs(world.viewer, numbers, file, world.intake.limits)


async def listed(world: World) -> list[str]:
    page = await opt_outs.list_opt_outs(world.viewer.account_id, first=100)
    return [each.number for each in page.items]


# --- the list -------------------------------------------------------------------------------------


async def test_numbers_of_either_region_go_on_the_list(world: World) -> None:
    """Opt-outs: an account's list of numbers never to be texted, in E.164 whatever they were written like."""
    added = await add(world, "138-0013-8000", "13800138000", ABROAD, "x", "+861012345678")
    assert added == Added(
        added=2,
        invalid=2,
        rejected=(
            RejectedRow(4, "x", RowRejection.NOT_A_NUMBER),
            RejectedRow(5, "+861012345678", RowRejection.REGION_NOT_ALLOWED),
        ),
    )
    assert await listed(world) == [ABROAD, "+8613800138000"]


async def test_a_number_added_twice_keeps_its_place(world: World, tmp_path: Path) -> None:
    await add(world, "13800138000")
    (before,) = (await opt_outs.list_opt_outs(world.viewer.account_id)).items
    file = tmp_path / "numbers.txt"
    file.write_text("Phone\n13800138000\n13800138001\n")
    assert (await add(world, "13800138000", "13800138002", file=file)).added == 2
    first, second, third = (await opt_outs.list_opt_outs(world.viewer.account_id)).items
    assert first == before
    assert (second.number, second.source) == ("+8613800138001", OptOutSource.FILE)
    assert (third.number, third.source) == ("+8613800138002", OptOutSource.API)


@pytest.mark.parametrize("numbers", [[], ["13800138000"] * (LIST_LIMIT + 1)])
async def test_none_and_too_many_are_refused(world: World, numbers: list[str]) -> None:
    with pytest.raises(InvalidInput, match=r"1 to 10,000 numbers"):
        await add(world, *numbers)
    with pytest.raises(InvalidInput, match=r"1 to 10,000 numbers"):
        await opt_outs.remove_opt_outs(world.viewer, numbers)


async def test_a_list_without_any_number_is_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(RecipientListError) as caught:
        await add(world, "x", "y")
    assert (caught.value.code, caught.value.path) == (ErrorCode.NO_VALID_NUMBERS, ("numbers",))
    file = tmp_path / "numbers.txt"
    file.write_text("\n\n")
    with pytest.raises(RecipientListError) as caught:
        await add(world, file=file)
    assert (caught.value.code, caught.value.path) == (ErrorCode.FILE_UNREADABLE, ("file",))
    assert await listed(world) == []


async def test_removed_numbers_may_be_texted_again(world: World) -> None:
    await add(world, "13800138000", "13800138001", ABROAD)
    assert await opt_outs.remove_opt_outs(world.viewer, ["+8613800138000", ABROAD, "13800138009"]) == 2
    assert await listed(world) == ["+8613800138001"]
    task = await world.read(await world.create(["13800138000"]))
    assert task.recipients.imported == 1


async def test_with_one_that_is_no_number_none_is_removed(world: World) -> None:
    await add(world, "13800138000")
    with pytest.raises(InvalidInput, match=r"1 of these are no numbers.* number 2: x"):
        await opt_outs.remove_opt_outs(world.viewer, ["13800138000", "x"])
    assert await listed(world) == ["+8613800138000"]


async def test_pages_and_endings(world: World) -> None:
    await add(world, *phones(5), ABROAD)
    account_id = world.viewer.account_id
    first = await opt_outs.list_opt_outs(account_id, first=4)
    rest = await opt_outs.list_opt_outs(account_id, first=4, after=first.cursors[-1])
    assert [each.number for each in (*first.items, *rest.items)] == [ABROAD, *phones(5)]
    assert (first.has_next, first.has_previous) == (True, False)
    assert (rest.has_next, rest.has_previous) == (False, True)
    found = await opt_outs.list_opt_outs(account_id, "0003")
    assert [each.number for each in found.items] == [phones(4)[3]]
    assert await opt_outs.count_opt_outs(account_id) == 6
    assert await opt_outs.count_opt_outs(account_id, "0003") == 1
    for ending in ("+44", "१", "", "1" * 16):
        with pytest.raises(InvalidInput):
            await opt_outs.list_opt_outs(account_id, ending)


async def test_the_numbers_for_a_reader_of_lists(world: World) -> None:
    assert await opt_outs.opted_out_numbers(world.viewer.account_id) is None
    await add(world, "13800138001", ABROAD, "13800138000")
    found = await opt_outs.opted_out_numbers(world.viewer.account_id)
    assert found is not None
    assert found.tolist() == [447400123456, 8613800138000, 8613800138001]


# --- at the import --------------------------------------------------------------------------------


async def test_rows_on_the_list_are_rejected_at_import(world: World) -> None:
    """Opt-outs: rows on it are rejected as OPTED_OUT; rows = imported + invalid + duplicates + opted out."""
    await add(world, "13800138000")
    rival = await World.make("Rival")
    await opt_outs.add_opt_outs(rival.viewer, ["13800138001"], None, rival.intake.limits)
    rows = ["13800138000", "13800138001", "138 0013 8000", "13800138001", "x"]
    task = await world.check(await world.create(rows))
    summary = task.recipients
    assert (summary.imported, summary.opted_out, summary.duplicates, summary.invalid) == (1, 2, 1, 1)
    assert summary.rows == len(rows)
    assert "charged for the 4 message(s) deleted" in summary.message
    kept = await message_reads.list_rejected_rows(task.id, RowRejection.OPTED_OUT)
    assert [(each.row, each.value) for each in kept.items] == [(1, "13800138000"), (3, "138 0013 8000")]


async def test_a_task_of_opted_out_numbers_alone_is_not_created(world: World) -> None:
    """The recipient file: no valid number left, nothing is created."""
    await add(world, *phones(2))
    with pytest.raises(RecipientListError) as caught:
        await task_creation.create_task(world.viewer, world.order(2), world.intake, world.bell)
    assert caught.value.code is ErrorCode.NO_VALID_NUMBERS
    assert caught.value.recipients is not None
    assert caught.value.recipients.opted_out == 2
    assert await db.fetchval("SELECT count(*) FROM task") == 0


# --- when it is about to be sent ------------------------------------------------------------------


async def results(task_id: int) -> dict[str, list[str]]:
    found = await message_reads.list_messages(task_id, MessageFilter(), first=100)
    by_result: dict[str, list[str]] = {}
    for each in found.items:
        by_result.setdefault(each.result.value, []).append(each.number)
    return by_result


async def test_a_number_added_after_the_import_is_skipped_when_sent(world: World) -> None:
    """Opt-outs: skipped at send time if added later, counted as NOT_SENT."""
    task_id = await world.running(5)
    revision = (await world.check(task_id)).revision
    await add(world, *phones(2), "13900139000")
    claim = await world.claim(task_id)
    assert list(claim.numbers.values()) == phones(5)[2:]
    task = await world.check(task_id)
    assert (task.counts.not_sent, task.counts.waiting) == (2, 3)
    assert task.revision > revision
    await world.hand_over(claim)
    task = await world.advance(task_id)
    assert (task.status, task.counts.not_sent, task.counts.unknown) == (TaskStatus.SENT, 2, 3)
    assert await results(task_id) == {
        SendResult.NOT_SENT: phones(2),
        SendResult.UNKNOWN: phones(5)[2:],
    }
    segments = await message_reads.segments_of(task_id, range(1, 6))
    assert sorted(segments) == [3, 4, 5]


async def test_a_task_all_of_whose_numbers_opted_out_ends(world: World) -> None:
    task_id = await world.running(3)
    await add(world, *phones(3))
    claim = await world.claim(task_id)
    assert claim.numbers == {}
    assert await dispatch.finish(claim)
    task = await world.advance(task_id)
    assert (task.status, task.counts.not_sent) == (TaskStatus.COMPLETED, 3)


async def test_lists_of_other_accounts_change_nothing(world: World) -> None:
    rival = await World.make("Rival")
    await opt_outs.add_opt_outs(rival.viewer, phones(3), None, rival.intake.limits)
    task_id = await world.running(3)
    assert len((await world.claim(task_id)).numbers) == 3


async def test_a_chunk_that_is_held_is_given_back_and_looked_through(world: World) -> None:
    """Opt-outs hold within a window of what a worker holds already, not only from the next chunk on."""
    task_id = await world.running(5)
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 2, [])
    assert await dispatch.settle(claim, settlements(claim, [1, 2]), shard=0)
    await add(world, *phones(4))
    assert not await dispatch.mark(claim, 5, [])
    assert await dispatch.release(claim, 2, [])
    again = await world.claim(task_id)
    assert again.numbers == {5: phones(5)[4]}
    task = await world.check(task_id)
    assert (task.counts.unknown, task.counts.not_sent, task.counts.waiting) == (2, 2, 1)
    await world.hand_over(again)
    assert (await world.advance(task_id)).status is TaskStatus.SENT


async def test_what_was_returned_is_looked_through_too(world: World) -> None:
    task_id = await world.running(4)
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 4, [])
    assert await dispatch.settle(claim, settlements(claim, [2, 4]), shard=0)
    assert await dispatch.release(claim, 4, [1, 3])
    await add(world, phones(1)[0])
    again = await world.claim(task_id)
    assert again.numbers == {3: phones(4)[2]}
    # A crash now: the number that opted out is in nobody's doubt.
    await db.fetch("UPDATE chunk SET lease_until = groupsms_now() - interval '1 second'")
    assert await recovery.recover_lapsed() == [task_id]
    assert (await world.check(task_id)).counts.not_sent == 1


async def test_adding_what_is_there_disturbs_nobody(world: World) -> None:
    await add(world, "13900139000")
    claim = await world.claim(await world.running(2))
    await add(world, "13900139000")
    assert await dispatch.mark(claim, 2, [])


async def test_a_claim_whose_lease_ran_out_skips_nothing(world: World) -> None:
    task_id = await world.running(2)
    claim = await world.claim(task_id)
    await db.fetch("UPDATE chunk SET lease_until = groupsms_now() - interval '1 second'")
    await add(world, *phones(2))
    await dispatch.skip_opted_out(task_id, claim.index, uuid4(), [1, 2])
    await dispatch.skip_opted_out(task_id, claim.index, claim.owner, [1, 2])
    assert (await world.check(task_id)).counts.waiting == 2


async def test_a_claim_at_the_very_moment_either_leaves_it_out_or_must_be_given_back(world: World) -> None:
    task_id = await world.running(60)
    for number in phones(59):
        claim, _ = await asyncio.gather(dispatch.claim(task_id, uuid4()), add(world, number))
        assert claim is not None
        if number in claim.numbers.values():
            assert not await dispatch.mark(claim, claim.marked, [])
        assert await dispatch.release(claim, claim.marked, [])
    assert list((await world.claim(task_id)).numbers.values()) == phones(60)[59:]
    assert (await world.check(task_id)).counts.not_sent == 59


async def test_a_worker_leaves_out_what_opts_out_while_it_sends(world: World) -> None:
    """Opt-outs: skipped at send time if added later, also in chunks that a worker holds by then."""
    numbers = phones(2500)
    task_id = await world.running(numbers)
    gateway = RecordingGateway(window=50)
    gateway.held.set()

    async def window_is_full() -> bool:
        return len(gateway.under_way) == 50

    async with dispatching(world, gateway):
        await eventually(window_is_full)
        too_late, *in_time = [numbers[0], numbers[900], numbers[1500], numbers[2400]]
        await add(world, too_late, *in_time)
        gateway.let_go()
        await eventually(is_at(world, task_id, TaskStatus.SENT))
    each_once([number for number in numbers if number not in in_time], gateway.reached)
    task = await world.check(task_id)
    assert (task.counts.not_sent, task.counts.unknown) == (3, 2497)
    assert await found_by(task_id, SendResult.NOT_SENT) == in_time


async def found_by(task_id: int, result: SendResult) -> list[str]:
    page = await message_reads.list_messages(task_id, MessageFilter(result_in=[result]), first=100)
    return [each.number for each in page.items]


# --- in the API -----------------------------------------------------------------------------------


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(database_url, redis_url, tmp_path) as running:
        yield running


async def upload(client: Client, content: bytes) -> dict[str, Any]:
    parts: dict[str, tuple[str | None, str | bytes]] = {
        "operations": (None, json.dumps({"query": ADD_OPT_OUTS, "variables": {"input": {"file": None}}})),
        "map": (None, json.dumps({"0": ["variables.input.file"]})),
        "0": ("numbers.txt", content),
    }
    headers = {**client.headers, "Apollo-Require-Preflight": "true"}
    response = await client.http.post(f"{client.url}/graphql", files=parts, headers=headers)
    found: dict[str, Any] = response.json()["data"]["addOptOuts"]
    return found


async def test_the_list_in_the_api(api: Api) -> None:
    client = await api.client(Role.MANAGER)
    payload = await do(client, ADD_OPT_OUTS, numbers=["13800138000", "0044 7400 123456"])
    assert (payload["added"], payload["invalid"]) == (1, 1)
    assert payload["rejectedRows"] == [
        {"row": 2, "value": "0044 7400 123456", "reason": "WRONG_LENGTH", "suggestion": ABROAD}
    ]
    payload = await upload(client, b"13800138001\n13800138002\n")
    assert (payload["added"], payload["errors"]) == (2, [])
    page = (await client.run(OPT_OUTS, first=2))["optOuts"]
    assert [(each["number"], each["source"]) for each in page["nodes"]] == [
        ("+8613800138000", "API"),
        ("+8613800138001", "FILE"),
    ]
    assert (page["totalCount"], page["pageInfo"]["hasNextPage"]) == (3, True)
    page = (await client.run(OPT_OUTS, after=page["pageInfo"]["endCursor"]))["optOuts"]
    assert [each["number"] for each in page["nodes"]] == ["+8613800138002"]
    page = (await client.run(OPT_OUTS, ending="8001"))["optOuts"]
    assert ([each["number"] for each in page["nodes"]], page["totalCount"]) == (["+8613800138001"], 1)
    assert (await do(client, REMOVE_OPT_OUTS, numbers=["13800138001"]))["removed"] == 1
    assert (await client.refusal(OPT_OUTS, ending="x"))[0] == "BAD_USER_INPUT"
    outsider = await api.client(Role.OPERATOR, "Rival")
    assert (await outsider.run(OPT_OUTS))["optOuts"]["totalCount"] == 0
    assert (await do(outsider, REMOVE_OPT_OUTS, numbers=["13800138000"]))["removed"] == 0


async def test_a_task_shows_the_rows_that_opted_out(api: Api) -> None:
    client = await api.client(Role.OPERATOR)
    await do(client, ADD_OPT_OUTS, numbers=["13800138000"])
    order = {"name": "T", **await prepare(client)}
    recipients = {"numbers": ["13800138000", "13800138001"]}
    task = (await do(client, CREATE_TASK, **order, recipients=recipients))["task"]
    assert task["recipients"]["optedOut"] == 1
    assert task["rejectedRows"]["nodes"] == [
        {"row": 1, "value": "13800138000", "reason": "OPTED_OUT", "suggestion": None}
    ]
    (error,) = await refused(client, CREATE_TASK, **order, recipients={"numbers": ["13800138000"]})
    assert (error["code"], error["__typename"]) == ("NO_VALID_NUMBERS", "RecipientFileError")
