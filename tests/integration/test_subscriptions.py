"""Following tasks over graphql-transport-ws."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from websockets.frames import CloseCode

from api.schema import following, global_ids
from api.schema.task_lists import change_cursor
from domain import db, feed, sweep, task_control, tasks
from domain.ports import ReceiptState
from tests.integration.api_client import Api, Client, Events, serving
from tests.integration.api_operations import CANCEL_TASK, DELETE_TASK, do
from tests.integration.world import World, eventually, receipt

HOURS = timedelta(hours=3)
TASK_UPDATED = """subscription ($id: ID!) { taskUpdated(id: $id) {
  status revision counts { total waiting unknown delivered failed notSent } progress { handedOver percent }
  application { name } template { content } } }"""
TASKS_CHANGED = """subscription ($since: String, $filter: TaskFilter) {
  tasksChanged(since: $since, filter: $filter) { cursor kind taskId task { id name status revision } } }"""
CURSOR = "{ tasks { changeCursor } }"


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(database_url, redis_url, tmp_path) as running:
        yield running


@pytest.fixture
async def world(api: Api) -> World:
    """The account of the clients here; what it does nobody is told of."""
    return await World.make("Acme")


@pytest.fixture
async def client(api: Api, world: World) -> Client:
    return await api.client()


@pytest.fixture(autouse=True)
def reread_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The world here rings no bell of the API's: what it changes is found by looking again."""
    monkeypatch.setattr(following, "REREAD_AFTER", 0.05)
    monkeypatch.setattr(following, "BETWEEN_READS", 0.02)


def task_key(task_id: int) -> str:
    return global_ids.encode("Task", task_id)


async def updated(events: Events) -> dict[str, Any]:
    found: dict[str, Any] = (await events.next())["taskUpdated"]
    counts = dict(found["counts"])
    assert counts.pop("total") == sum(counts.values())
    return found


async def changed(events: Events) -> dict[str, Any]:
    found: dict[str, Any] = (await events.next())["tasksChanged"]
    return found


async def cursor_of(client: Client) -> str:
    found: str = (await client.run(CURSOR))["tasks"]["changeCursor"]
    return found


# --- taskUpdated ----------------------------------------------------------------------------------


async def test_a_task_is_followed_to_its_end(client: Client, world: World) -> None:
    task_id = await world.create(2)
    async with client.subscribe(TASK_UPDATED, id=task_key(task_id)) as events:
        seen = [await updated(events)]
        assert seen[0]["status"] == "SCHEDULED"
        assert seen[0]["application"]["name"] == "Mainland"
        assert await tasks.start_task(task_id, world.bell)
        seen.append(await updated(events))
        assert seen[-1]["status"] == "SENDING"
        claim = await world.claim(task_id)
        await world.hand_over(claim)
        seen.append(await updated(events))
        assert seen[-1]["counts"]["unknown"] == 2
        assert seen[-1]["progress"] == {"handedOver": 2, "percent": 100}
        await world.receive(receipt(claim, 1), receipt(claim, 2, ReceiptState.FAILED))
        await world.advance(task_id)
        rest = [found["taskUpdated"] for found in await events.rest()]
    assert (rest[-1]["status"], rest[-1]["counts"]["delivered"], rest[-1]["counts"]["failed"]) == (
        "COMPLETED", 1, 1,
    )  # fmt: skip
    revisions = [found["revision"] for found in (*seen, *rest)]
    assert revisions == sorted(set(revisions))


async def test_a_task_that_has_ended_is_shown_once(client: Client, world: World) -> None:
    task_id = await world.create(1)
    await db.fetch(
        "UPDATE task SET status = 'CANCELED', cancel_reason = 'USER', rest_not_sent = TRUE WHERE id = $1",
        task_id,
    )
    async with client.subscribe(TASK_UPDATED, id=task_key(task_id)) as events:
        assert [found["taskUpdated"]["status"] for found in await events.rest()] == ["CANCELED"]


@pytest.mark.parametrize("pending", [False, True])
async def test_a_stopped_task_ends_when_nothing_is_pending(
    client: Client, world: World, pending: bool
) -> None:
    task_id = await world.running(1)
    claim = await world.claim(task_id)
    await world.hand_over(claim)
    if not pending:
        await world.receive(receipt(claim, 1))
    await task_control.stop_task(world.viewer, task_id, world.bell)
    async with client.subscribe(TASK_UPDATED, id=task_key(task_id)) as events:
        assert (await updated(events))["status"] == "STOPPED"
        if pending:
            await world.receive(receipt(claim, 1))
            assert (await updated(events))["counts"]["delivered"] == 1
        assert await events.rest() == []


async def test_deleting_a_watched_task_ends_the_stream(client: Client, world: World) -> None:
    task_id = await world.create(1)
    async with client.subscribe(TASK_UPDATED, id=task_key(task_id)) as events:
        await updated(events)
        await db.fetch("DELETE FROM task WHERE id = $1", task_id)
        assert await events.rest() == []


async def test_a_canceled_and_deleted_task_shows_its_last_state(client: Client, world: World) -> None:
    task_id = await world.create(1, after=HOURS)
    async with client.subscribe(TASK_UPDATED, id=task_key(task_id)) as events:
        await updated(events)
        await tasks.cancel_task(world.viewer, task_id, world.bell)
        assert (await updated(events))["status"] == "CANCELED"
        await tasks.delete_task(world.viewer, task_id, world.bell)
        assert await events.rest() == []


@pytest.mark.parametrize(
    "wrong", ["", "garbage", global_ids.encode("Task", 999), global_ids.encode("Template", 1)]
)
async def test_what_is_no_task_cannot_be_followed(client: Client, wrong: str) -> None:
    async with client.subscribe(TASK_UPDATED, id=wrong) as events:
        assert await events.refusal() == ("BAD_USER_INPUT", "There is no such task.")


async def test_a_slow_reader_gets_the_newest_state(client: Client, world: World) -> None:
    task_id = await world.running(1)
    async with client.subscribe(TASK_UPDATED, id=task_key(task_id)) as events:
        first = await updated(events)
        for _ in range(50):
            await db.fetch("UPDATE task SET revision = revision + 1 WHERE id = $1", task_id)
        while (found := await updated(events))["revision"] < first["revision"] + 50:
            assert found["revision"] > first["revision"]


async def test_many_changes_are_a_few_events(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "BETWEEN_READS", 0.25)
    task_id = await world.running(1)
    async with client.subscribe(TASK_UPDATED, id=task_key(task_id)) as events:
        first = await updated(events)
        began = asyncio.get_running_loop().time()
        for _ in range(40):
            await db.fetch("UPDATE task SET revision = revision + 1 WHERE id = $1", task_id)
        told = 1
        while (await updated(events))["revision"] < first["revision"] + 40:
            told += 1
        took = asyncio.get_running_loop().time() - began
    assert told <= 1 + took / 0.25


# --- tasksChanged ---------------------------------------------------------------------------------


async def test_changes_as_they_come(client: Client, world: World) -> None:
    older = await world.create(1, name="Older")
    cursor = await cursor_of(client)
    async with client.subscribe(TASKS_CHANGED, since=cursor) as events:
        newer = await world.create(1, name="Newer", after=HOURS)
        change = await changed(events)
        assert (change["kind"], change["taskId"]) == ("CREATED", task_key(newer))
        assert change["task"]["name"] == "Newer"
        await tasks.start_task(older, world.bell)
        change = await changed(events)
        assert (change["kind"], change["task"]["id"], change["task"]["status"]) == (
            "UPDATED", task_key(older), "SENDING",
        )  # fmt: skip
        await tasks.cancel_task(world.viewer, newer, world.bell)
        assert (await changed(events))["kind"] == "UPDATED"
        await tasks.delete_task(world.viewer, newer, world.bell)
        change = await changed(events)
        assert (change["kind"], change["taskId"], change["task"]) == ("DELETED", task_key(newer), None)


async def test_without_a_cursor_it_begins_now(client: Client, world: World) -> None:
    await world.create(1, name="Before")
    async with client.subscribe(TASKS_CHANGED) as events:
        # Nothing tells when a subscription has begun: go on until one change is seen.
        while True:
            await world.create(1, name="After")
            try:
                async with asyncio.timeout(1):
                    change = await changed(events)
                break
            except TimeoutError:
                continue
        assert (change["kind"], change["task"]["name"]) == ("CREATED", "After")


async def test_whoever_was_away_misses_nothing(client: Client, world: World) -> None:
    updated_one = await world.create(1, name="Updated")
    gone = await world.create(1, name="Gone", after=HOURS)
    async with client.subscribe(TASKS_CHANGED, since=await cursor_of(client)) as events:
        seen = await world.create(1, name="Seen")
        cursor = (await changed(events))["cursor"]
    await tasks.cancel_task(world.viewer, gone, world.bell)
    await tasks.delete_task(world.viewer, gone, world.bell)
    new = await world.create(1, name="New")
    await tasks.start_task(new, world.bell)
    await tasks.start_task(updated_one, world.bell)
    both = await world.create(1, name="Came and went", after=HOURS)
    await tasks.cancel_task(world.viewer, both, world.bell)
    await tasks.delete_task(world.viewer, both, world.bell)
    async with client.subscribe(TASKS_CHANGED, since=cursor) as events:
        missed = [await changed(events) for _ in range(4)]
    assert [(change["kind"], change["taskId"]) for change in missed] == [
        ("DELETED", task_key(gone)),
        ("CREATED", task_key(new)),
        ("UPDATED", task_key(updated_one)),
        ("DELETED", task_key(both)),
    ]
    assert missed[1]["task"]["status"] == "SENDING"
    assert task_key(seen) not in {change["taskId"] for change in missed}
    async with client.subscribe(TASKS_CHANGED, since=missed[2]["cursor"]) as events:
        assert (await changed(events))["taskId"] == task_key(both)


async def test_a_long_absence_is_replayed_in_batches(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_BATCH", 3)
    cursor = await cursor_of(client)
    made = [await world.create(1) for _ in range(8)]
    async with client.subscribe(TASKS_CHANGED, since=cursor) as events:
        found = [await changed(events) for _ in made]
    assert [change["taskId"] for change in found] == [task_key(task_id) for task_id in made]
    assert {change["kind"] for change in found} == {"CREATED"}


async def test_a_filter_lets_through_what_matches_or_was_told_of(client: Client, world: World) -> None:
    cursor = await cursor_of(client)
    other = await world.create(1, name="Other", after=HOURS)
    wanted = await world.create(1, name="Wanted", after=HOURS)
    chosen = {"nameContains": "want", "statusIn": ["SCHEDULED"]}
    async with client.subscribe(TASKS_CHANGED, since=cursor, filter=chosen) as events:
        assert (await changed(events))["taskId"] == task_key(wanted)
        await tasks.cancel_task(world.viewer, other, world.bell)
        await tasks.cancel_task(world.viewer, wanted, world.bell)
        change = await changed(events)
        assert (change["taskId"], change["kind"], change["task"]["status"]) == (
            task_key(wanted), "UPDATED", "CANCELED",
        )  # fmt: skip
        await tasks.delete_task(world.viewer, other, world.bell)
        change = await changed(events)
        assert (change["taskId"], change["kind"]) == (task_key(other), "DELETED")


async def test_cursors_that_lead_nowhere(client: Client, world: World) -> None:
    account = world.viewer.account_id
    place = await feed.newest_place(account)
    for wrong, part in (
        ("garbage", "`since` is not a cursor of this account's changes"),
        ("", "`since` is not a cursor of this account's changes"),
        (change_cursor(account, place + 1), "ahead of every change"),
        (change_cursor(account + 1, place), "not a cursor of this account"),
    ):
        async with client.subscribe(TASKS_CHANGED, since=wrong) as events:
            code, message = await events.refusal()
            assert code == "BAD_USER_INPUT"
            assert part in message


async def test_a_cursor_from_before_forgotten_deletions_is_refused(client: Client, world: World) -> None:
    old = await cursor_of(client)
    task_id = await world.create(1, after=HOURS)
    await tasks.cancel_task(world.viewer, task_id, world.bell)
    await tasks.delete_task(world.viewer, task_id, world.bell)
    await sweep.tidy()
    async with client.subscribe(TASKS_CHANGED, since=old) as events:
        assert (await changed(events))["kind"] == "DELETED"
    await feed.forget_deletions(0)
    async with client.subscribe(TASKS_CHANGED, since=old) as events:
        code, message = await events.refusal()
        assert code == "BAD_USER_INPUT"
        assert "Fetch `tasks` again" in message
    fresh = await cursor_of(client)
    await world.create(1)
    async with client.subscribe(TASKS_CHANGED, since=fresh) as events:
        assert (await changed(events))["kind"] == "CREATED"


# --- through Redis, between processes -------------------------------------------------------------


async def test_a_change_made_through_another_api_is_hinted_at(
    api: Api, client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "REREAD_AFTER", 60.0)
    task_id = await world.create(1, after=HOURS)
    async with (
        api.another(client.token) as elsewhere,
        client.subscribe(TASK_UPDATED, id=task_key(task_id)) as one,
        client.subscribe(TASKS_CHANGED, since=await cursor_of(client)) as all_of_them,
    ):
        assert (await updated(one))["status"] == "SCHEDULED"
        await do(elsewhere, CANCEL_TASK, id=task_key(task_id))
        assert (await updated(one))["status"] == "CANCELED"
        assert (await changed(all_of_them))["task"]["status"] == "CANCELED"
        await do(elsewhere, DELETE_TASK, id=task_key(task_id))
        assert (await changed(all_of_them))["kind"] == "DELETED"


async def test_a_socket_that_is_closed_for_two_reasons_at_once_is_no_failure(
    api: Api, client: Client
) -> None:
    with capture_logs() as logged:
        async with client.socket() as socket:
            assert (await socket.receive())["type"] == "connection_ack"
            connection = socket.connection
            connection.protocol.send_binary(b"no operation")
            connection.protocol.send_text(b"no UTF-8: \xff")
            connection.transport.write(b"".join(connection.protocol.data_to_send()))
            assert await socket.close_code() == CloseCode.INVALID_DATA

        async def is_over() -> bool:
            return any(entry["event"] == "request" for entry in logged)

        await eventually(is_over)
    assert not [entry for entry in logged if entry["log_level"] == "error"]
