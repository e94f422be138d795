"""Rule of resendFailed: a new task of just the numbers that failed for a reason that may pass, each once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from domain import db, dispatch, message_reads, opt_outs, resending, resources, task_orders, tasks
from domain.errors import (
    ErrorCode,
    InvalidInput,
    KeyReused,
    NotFound,
    NotSelectable,
    RecipientListError,
    Refused,
    SendTimeError,
)
from domain.message_reads import MessageFilter
from domain.ports import Outcome, ReceiptState
from domain.resending import Resend
from domain.states import Role, TaskStatus
from domain.task_creation import Created
from domain.task_orders import PreparedTask
from tests.integration.api_client import Api, serving
from tests.integration.api_operations import RESEND_FAILED, do, refused
from tests.integration.conftest import Travel
from tests.integration.world import World, phones, receipt, settlements

MAY_PASS = ["EXPIRED", "MILIMIT", "UNDELIV"]
LASTING = ["BLACK", "KEYWORD", "0x0000000B"]
CODES = [None, *MAY_PASS, *LASTING]
"""What became of each number in turn; the first was delivered."""


async def with_failures(world: World, codes: list[str | None] = CODES) -> int:
    task_id = await world.running(len(codes))
    while (claim := await dispatch.claim(task_id, uuid4())) is not None:
        await world.hand_over(claim)
        await world.receive(
            *(
                receipt(claim, position, ReceiptState.FAILED, error_code=code)
                if (code := codes[position - 1])
                else receipt(claim, position)
                for position in claim.numbers
            )
        )
    await world.advance(task_id)
    return task_id


async def resend(
    world: World,
    task_id: int,
    key: str | None = None,
    *,
    name: str = "Again",
    send_at: datetime | None = None,
) -> Created:
    wanted = Resend(task_id, name, send_at)
    return await resending.resend_failed(world.viewer, wanted, world.intake.prices, world.bell, key)


async def numbers_of(task_id: int) -> list[str]:
    page = await message_reads.list_messages(task_id, MessageFilter(), first=100)
    return [each.number for each in page.items]


async def tasks_stored() -> int:
    count: int = await db.fetchval("SELECT count(*) FROM task")
    return count


async def test_just_those_that_failed_for_a_reason_that_may_pass(world: World) -> None:
    task_id = await with_failures(world)
    created = await resend(world, task_id)
    task, before = await world.check(created.task_id), await world.read(task_id)
    assert await numbers_of(task.id) == phones(4)[1:]
    assert (task.resend_of_id, task.name, task.status) == (task_id, "Again", TaskStatus.SCHEDULED)
    assert (task.text, task.application_id, task.template_id) == (
        before.text,
        before.application_id,
        before.template_id,
    )
    assert (task.recipients.imported, task.recipients.deleted) == (3, 0)
    assert created.recipients.message == "3 phone number(s) imported."
    assert "SENT_RECENTLY" not in [warning.code.value for warning in created.warnings]
    assert world.bell.due[-1] == (task.id, task.send_at)
    assert (await world.check(task_id)).counts == before.counts


async def test_the_new_task_is_sent_like_any_other(world: World) -> None:
    created = await resend(world, await with_failures(world))
    assert await tasks.start_task(created.task_id, world.bell) is TaskStatus.SENDING
    claim = await world.claim(created.task_id)
    await world.hand_over(claim)
    await world.receive(*(receipt(claim, position) for position in claim.numbers))
    task = await world.advance(created.task_id)
    assert (task.status, task.counts.delivered) == (TaskStatus.COMPLETED, 3)


async def test_what_failed_again_is_resent_from_the_new_task(world: World) -> None:
    created = await resend(world, await with_failures(world))
    await tasks.start_task(created.task_id, world.bell)
    claim = await world.claim(created.task_id)
    await world.hand_over(claim)
    await world.receive(receipt(claim, 2, ReceiptState.FAILED, error_code="EXPIRED"))
    again = await resend(world, created.task_id)
    assert await numbers_of(again.task_id) == [phones(3)[2]]
    assert (await world.read(again.task_id)).resend_of_id == created.task_id


async def test_each_failed_message_is_resent_once(world: World) -> None:
    task_id = await with_failures(world)
    await resend(world, task_id)
    with pytest.raises(RecipientListError) as caught:
        await resend(world, task_id)
    assert (caught.value.code, caught.value.path) == (ErrorCode.NO_VALID_NUMBERS, ("taskId",))
    assert caught.value.message == (
        "Nothing is left to resend: of 6 failed numbers 3 were resent before, 3 failed for a reason that "
        "will not pass, 0 opted out."
    )
    assert await tasks_stored() == 2


async def test_what_fails_later_is_resent_by_asking_again(world: World) -> None:
    task_id = await world.running(3)
    claim = await world.claim(task_id)
    await world.hand_over(claim)
    await world.receive(receipt(claim, 1, ReceiptState.FAILED))
    assert await numbers_of((await resend(world, task_id)).task_id) == phones(1)
    await world.receive(receipt(claim, 3, ReceiptState.FAILED))
    assert await numbers_of((await resend(world, task_id)).task_id) == [phones(3)[2]]


async def test_however_many_ask_at_the_same_time(world: World) -> None:
    """Each failed message can be resent once, whoever asks how often at the same time."""
    task_id = await with_failures(world, ["EXPIRED"] * 300)
    answers = await asyncio.gather(*(resend(world, task_id) for _ in range(12)), return_exceptions=True)
    (created,) = [answer for answer in answers if isinstance(answer, Created)]
    assert sum(isinstance(answer, RecipientListError) for answer in answers) == 11
    assert created.recipients.imported == 300
    assert await tasks_stored() == 2
    assert await db.fetchval("SELECT count(*) FROM message WHERE task_id <> $1", task_id) == 300


async def test_one_that_was_taken_meanwhile_makes_it_look_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the store somebody else resends: nothing is sent twice, the rest is sent."""
    task_id = await with_failures(world, ["EXPIRED"] * 3)
    look = task_orders.work_out
    interfered = False

    async def work_out(*args: Any) -> PreparedTask:
        nonlocal interfered
        prepared = await look(*args)
        if not interfered:
            interfered = True
            await db.fetch("UPDATE message SET resent = TRUE WHERE task_id = $1 AND position = 2", task_id)
        return prepared

    monkeypatch.setattr(task_orders, "work_out", work_out)
    created = await resend(world, task_id)
    assert await numbers_of(created.task_id) == [phones(3)[0], phones(3)[2]]
    assert await tasks_stored() == 2


async def test_a_task_without_failures_has_nothing_to_resend(world: World) -> None:
    task_id = await world.sent(2)
    with pytest.raises(RecipientListError, match=r"^No number of this task has failed\.$"):
        await resend(world, task_id)


async def test_opted_out_numbers_are_left_out(world: World) -> None:
    """Opt-outs: an account's list of numbers never to be texted."""
    task_id = await with_failures(world, ["EXPIRED"] * 3)
    await opt_outs.add_opt_outs(world.viewer, phones(2), None, world.intake.limits)
    created = await resend(world, task_id)
    assert await numbers_of(created.task_id) == phones(3)[2:]
    with pytest.raises(RecipientListError, match=r"1 were resent before, 0 failed .*, 2 opted out"):
        await resend(world, task_id)


async def test_refused_by_the_gateway_at_once(world: World) -> None:
    task_id = await world.running(2)
    claim = await world.claim(task_id)
    assert await dispatch.mark(claim, 2, [])
    throttled = settlements(claim, [1], Outcome.REFUSED, "0x00000058")
    invalid = settlements(claim, [2], Outcome.REFUSED, "0x0000000B")
    assert await dispatch.settle(claim, [*throttled, *invalid], shard=0)
    assert await numbers_of((await resend(world, task_id)).task_id) == phones(1)


async def test_everything_that_is_wrong_is_told_at_once(world: World) -> None:
    """The rules of createTask hold: the selection, the name, the time."""
    task_id = await with_failures(world)
    assert world.mainland.template_id is not None
    await resources.set_template_active(world.viewer, world.mainland.template_id, active=False)
    yesterday = await db.fetchval("SELECT groupsms_now() - interval '1 day'")
    with pytest.raises(Refused) as caught:
        await resend(world, task_id, name=" ", send_at=yesterday)
    found = {type(error): error.path for error in caught.value.errors}
    assert found == {InvalidInput: ("name",), SendTimeError: ("sendAt",), NotSelectable: ("taskId",)}
    assert await tasks_stored() == 1
    assert await db.fetchval("SELECT count(*) FROM message WHERE resent") == 0


async def test_a_task_of_another_account_is_not_found(world: World) -> None:
    task_id = await with_failures(world)
    rival = await World.make("Rival")
    with pytest.raises(NotFound):
        await resend(rival, task_id)


async def test_scheduled_like_any_other(world: World, travel: Travel) -> None:
    task_id = await with_failures(world)
    send_at = await db.fetchval("SELECT groupsms_now() + interval '2 hours'")
    created = await resend(world, task_id, send_at=send_at)
    assert (await world.read(created.task_id)).send_at == send_at
    assert await tasks.start_task(created.task_id, world.bell) is None
    await travel(timedelta(hours=2, minutes=1))
    assert await tasks.start_task(created.task_id, world.bell) is TaskStatus.SENDING


async def test_under_an_idempotency_key(world: World) -> None:
    task_id = await with_failures(world)
    answers = await asyncio.gather(*(resend(world, task_id, "key") for _ in range(8)))
    assert len(set(answers)) == 1
    assert await resend(world, task_id, "key") == answers[0]
    assert await tasks_stored() == 2
    with pytest.raises(KeyReused):
        await resend(world, task_id, "key", name="Other")


async def test_a_resend_that_is_refused_leaves_its_key_free(world: World) -> None:
    task_id = await world.sent(1)
    with pytest.raises(RecipientListError):
        await resend(world, task_id, "key")
    assert await db.fetchval("SELECT count(*) FROM idempotency_key") == 0


# --- in the API -----------------------------------------------------------------------------------


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(database_url, redis_url, tmp_path) as running:
        yield running


async def test_resend_failed_in_the_api(api: Api) -> None:
    world = await World.make("Acme")
    await with_failures(world)
    client = await api.client(Role.SENDER)
    (first,) = (await client.run("{ tasks { nodes { id name resendOf { id } } } }"))["tasks"]["nodes"]
    assert first["resendOf"] is None
    wanted = {"taskId": first["id"], "name": "Again", "idempotencyKey": "one"}
    payload = await do(client, RESEND_FAILED, **wanted)
    task = payload["task"]
    assert task["resendOf"] == {"id": first["id"], "name": first["name"]}
    assert [each["number"] for each in task["messages"]["nodes"]] == phones(4)[1:]
    assert payload["message"] == "3 phone number(s) imported."
    assert (await do(client, RESEND_FAILED, **wanted))["task"]["id"] == task["id"]
    (error,) = await refused(client, RESEND_FAILED, taskId=first["id"], name="Once more")
    assert (error["code"], error["path"]) == ("NO_VALID_NUMBERS", ["input", "taskId"])
    (error,) = await refused(client, RESEND_FAILED, **{**wanted, "name": "Other"})
    assert error["code"] == "KEY_REUSED"
