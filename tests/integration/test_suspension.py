"""Applications suspended and resumed, reviews withdrawn, and what is associated with what."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from domain import associations, db, dispatch, resources, sweep, task_control, tasks
from domain.errors import BlockerCode, InvalidInput, NotFound, NotSelectable, Refused
from domain.states import CancelReason, Region, Role, TaskStatus
from tests.integration.api_client import serving
from tests.integration.api_operations import (
    ASSOCIATE,
    CREATE_APPLICATION,
    PAUSE_TASK,
    RESUME_TASK,
    SET_APPLICATION_SUSPENDED,
    do,
    refused,
)
from tests.integration.conftest import Travel
from tests.integration.dispatching import RecordingGateway, dispatching, each_once, handed_over, is_at
from tests.integration.world import GATEWAY, Materials, World, eventually, mainland, phones

HOUR = timedelta(hours=1)
DAY = 24 * HOUR


async def suspend(world: World, suspended: bool = True, *, application_id: int | None = None) -> None:
    await resources.set_application_suspended(
        world.viewer,
        application_id or world.mainland.application_id,
        suspended=suspended,
        doorbell=world.bell,
    )


async def pause(world: World, task_id: int) -> None:
    await task_control.pause_task(world.viewer, task_id, world.bell)


async def resume(world: World, task_id: int) -> None:
    await task_control.resume_task(world.viewer, task_id, world.bell)


async def statuses(world: World, *task_ids: int) -> list[TaskStatus]:
    return [(await world.check(task_id)).status for task_id in task_ids]


# --- suspension -----------------------------------------------------------------------------------


async def test_suspending_pauses_the_running_tasks_and_resuming_lets_just_those_go_on(world: World) -> None:
    """Rule "What a task needs": a suspended application pauses its running tasks."""
    running, also_running = await world.running(3), await world.running(2_000)
    paused = await world.running(3)
    await pause(world, paused)
    scheduled = await world.create(3, after=HOUR)
    sent = await world.sent(3)
    elsewhere = await world.running(["+34600000001"], materials=world.international)
    world.bell.changed.clear()
    await suspend(world)
    assert sorted(world.bell.changed) == [(world.viewer.account_id, t) for t in (running, also_running)]
    everything = (running, also_running, paused, scheduled, sent, elsewhere)
    P, S = TaskStatus.PAUSED, TaskStatus.SENDING  # noqa: N806
    assert await statuses(world, *everything) == [P, P, P, TaskStatus.SCHEDULED, TaskStatus.SENT, S]
    assert await dispatch.claim(also_running, uuid4()) is None
    await suspend(world)  # once more: nothing changes
    await suspend(world, suspended=False)
    assert await statuses(world, *everything) == [S, S, P, TaskStatus.SCHEDULED, TaskStatus.SENT, S]
    await resume(world, paused)
    assert (await world.check(paused)).status is S


async def test_what_was_stopped_or_paused_again_meanwhile_does_not_go_on(world: World) -> None:
    stopped, again = await world.running(3), await world.running(3)
    await suspend(world)
    await task_control.stop_task(world.viewer, stopped, world.bell)
    await suspend(world, suspended=False)
    await pause(world, again)
    # A pause by hand is not one by suspension, though it follows one.
    await suspend(world)
    await suspend(world, suspended=False)
    assert await statuses(world, stopped, again) == [TaskStatus.STOPPED, TaskStatus.PAUSED]


async def test_no_task_of_a_suspended_application_is_resumed(world: World) -> None:
    """Rule "What a task needs": whatever can't be chosen says why and what to do about it."""
    by_hand, by_suspension = await world.running(3), await world.running(3)
    await pause(world, by_hand)
    await suspend(world)
    for task_id in (by_hand, by_suspension):
        with pytest.raises(NotSelectable) as refusal:
            await resume(world, task_id)
        (blocker,) = refusal.value.blockers
        assert blocker.code is BlockerCode.APPLICATION_SUSPENDED
        assert "setApplicationSuspended" in blocker.fix
        assert (await world.check(task_id)).status is TaskStatus.PAUSED


async def test_after_a_suspension_tasks_have_24_hours(world: World, travel: Travel) -> None:
    task_id = await world.running(3)
    await suspend(world)
    await travel(50 * HOUR)
    await sweep.recover(world.bell, 0)
    assert (await world.check(task_id)).counts.waiting == 3
    await suspend(world, suspended=False)
    await travel(50 * HOUR + DAY - HOUR)
    await sweep.recover(world.bell, 0)
    await world.hand_over(await world.claim(task_id))
    assert (await world.advance(task_id)).counts.not_sent == 0


@pytest.mark.alone
async def test_a_worker_feels_a_suspension_within_a_second(world: World) -> None:
    task_id = await world.running(3_000)
    gateway = RecordingGateway(window=20)
    async with dispatching(world, gateway) as dispatcher:
        await eventually(handed_over(world, task_id, 100))
        await suspend(world)

        async def given_back() -> bool:
            return not await db.fetch("SELECT FROM chunk WHERE state = 1")

        await eventually(given_back, 1.0)
        task = await world.check(task_id)
        assert (task.status, task.counts.unknown) == (TaskStatus.PAUSED, len(gateway.reached))
        await suspend(world, suspended=False)
        dispatcher.look()
        await eventually(is_at(world, task_id, TaskStatus.SENT))
    each_once(phones(3_000), gateway.reached)


async def test_starting_and_suspending_at_once_never_both_slip_through(world: World) -> None:
    """Whichever comes first: the task is paused, or it is canceled; it never runs on."""
    for among in (0, 1, 2, 3, 4) * 5:
        made = [await world.create(1) for _ in range(4)]
        changes: list[Awaitable[object]] = [tasks.start_task(task_id, world.bell) for task_id in made]
        changes.insert(among, suspend(world))
        await asyncio.gather(*changes)
        for task_id in made:
            task = await world.check(task_id)
            assert task.status in (TaskStatus.PAUSED, TaskStatus.CANCELED)
            if task.status is TaskStatus.CANCELED:
                assert task.cancel_reason is CancelReason.NO_LONGER_ALLOWED
        await suspend(world, suspended=False)
        assert not await db.fetchval("SELECT count(*) FROM task WHERE status = 'PAUSED'")


async def test_resuming_and_suspending_at_once_never_both_slip_through(world: World) -> None:
    for _ in range(25):
        task_id = await world.running(1)
        await pause(world, task_id)

        async def try_to_resume(task_id: int = task_id) -> bool:
            try:
                await resume(world, task_id)
            except NotSelectable:
                return False
            return True

        resumed, _ = await asyncio.gather(try_to_resume(), suspend(world))
        assert (await world.check(task_id)).status is TaskStatus.PAUSED
        await suspend(world, suspended=False)
        # What had been resumed before the suspension goes on after it.
        assert (await world.check(task_id)).status is (TaskStatus.SENDING if resumed else TaskStatus.PAUSED)


async def test_many_who_suspend_and_resume_at_once_end_in_a_sound_state(world: World) -> None:
    made = [await world.running(1) for _ in range(5)]
    await asyncio.gather(*(suspend(world, suspended=bool(i % 2)) for i in range(60)))
    suspended = await db.fetchval(
        "SELECT suspended FROM application WHERE id = $1", world.mainland.application_id
    )
    expected = TaskStatus.PAUSED if suspended else TaskStatus.SENDING
    assert set(await statuses(world, *made)) == {expected}


async def test_another_accounts_application_is_not_suspended(world: World) -> None:
    other = await World.make("Other")
    with pytest.raises(NotFound):
        await suspend(other, application_id=world.mainland.application_id)
    assert not await db.fetchval("SELECT count(*) FROM application WHERE suspended")


# --- withdrawn between creation and sending -------------------------------------------------------


async def _withdraw_template(world: World) -> None:
    await resources.review_template(world.mainland.template_id, approve=False, note="No longer.")


async def _withdraw_signature(world: World) -> None:
    signature_id = world.mainland.signature_id or 0
    await resources.review_signature(signature_id, approve=False, note="No.", channel_number=None)


async def _deactivate(world: World) -> None:
    await resources.set_template_active(world.viewer, world.mainland.template_id, active=False)


WITHDRAWN: list[tuple[Callable[[World], Awaitable[None]], BlockerCode]] = [
    (_withdraw_template, BlockerCode.NOT_APPROVED),
    (_withdraw_signature, BlockerCode.NOT_APPROVED),
    (_deactivate, BlockerCode.NOT_ACTIVE),
    (suspend, BlockerCode.APPLICATION_SUSPENDED),
]


@pytest.mark.parametrize(("withdraw", "code"), WITHDRAWN)
async def test_what_is_withdrawn_before_its_time_cancels_a_task(
    world: World, travel: Travel, withdraw: Callable[[World], Awaitable[None]], code: BlockerCode
) -> None:
    """Rule "What a task needs": used again at the moment of sending; then NO_LONGER_ALLOWED."""
    task_id = await world.create(3, after=HOUR)
    await withdraw(world)
    await travel(HOUR + timedelta(seconds=1))
    await sweep.start_due(world.bell)
    task = await world.check(task_id)
    assert (task.status, task.cancel_reason) == (TaskStatus.CANCELED, CancelReason.NO_LONGER_ALLOWED)
    assert [blocker.code for blocker in task.blockers] == [code]
    assert task.counts.not_sent == 3


@pytest.mark.parametrize("withdraw", [_withdraw_template, _withdraw_signature, _deactivate])
async def test_what_is_withdrawn_while_sending_leaves_a_task_running(
    world: World, withdraw: Callable[[World], Awaitable[None]]
) -> None:
    """Rule "What a task needs": they are used at the moment of sending; only a suspension pauses."""
    task_id = await world.running(3)
    await withdraw(world)
    await world.hand_over(await world.claim(task_id))
    assert (await world.advance(task_id)).status is TaskStatus.SENT


async def test_what_is_approved_again_in_time_is_sent(world: World, travel: Travel) -> None:
    task_id = await world.create(3, after=HOUR)
    await _withdraw_template(world)
    await suspend(world)
    await resources.review_template(world.mainland.template_id, approve=True, note=None)
    await suspend(world, suspended=False)
    await travel(HOUR + timedelta(seconds=1))
    assert await tasks.start_task(task_id, world.bell) is TaskStatus.SENDING


# --- associations ---------------------------------------------------------------------------------


async def another_application(world: World, region: Region = Region.CHINESE_MAINLAND) -> int:
    application = await resources.create_application(
        world.viewer,
        name="Another",
        region=region,
        sender_number=None,
        gateway=GATEWAY,
        gateways=[GATEWAY],
    )
    return int(application.id)


async def test_a_signature_and_a_template_are_used_by_another_application(world: World) -> None:
    """Rule "What a task needs": associated with the application."""
    application_id = await another_application(world)
    materials = Materials(application_id, world.mainland.signature_id, world.mainland.template_id)
    with pytest.raises(Refused) as refusal:
        await world.create(1, materials=materials)
    found = {b.code for e in refusal.value.errors if isinstance(e, NotSelectable) for b in e.blockers}
    assert found == {BlockerCode.NOT_ASSOCIATED}
    await asyncio.gather(
        *(
            associations.associate(
                world.viewer,
                application_id,
                signature_id=materials.signature_id,
                template_id=materials.template_id,
            )
            for _ in range(10)
        )
    )
    await world.running(1, materials=materials)
    await world.running(1)  # the first application uses them still


async def test_what_cannot_be_associated(world: World) -> None:
    abroad = await another_application(world, Region.INTERNATIONAL)
    here = await another_application(world)
    other = await World.make("Other")
    theirs = await mainland(other.viewer)
    signature_id, template_id = world.mainland.signature_id, world.mainland.template_id
    nothing: tuple[int | None, int | None] = (None, None)
    for application_id, (signature, template), expected in (
        (abroad, (signature_id, template_id), {"signatureId": InvalidInput, "templateId": InvalidInput}),
        (here, (None, world.international.template_id), {"templateId": InvalidInput}),
        (here, nothing, {"signatureId": InvalidInput}),
        (here, (theirs.signature_id, theirs.template_id), {"signatureId": NotFound, "templateId": NotFound}),
        (theirs.application_id, (signature_id, None), {"applicationId": NotFound}),
        (10**9, (10**9, 10**9), {"applicationId": NotFound, "signatureId": NotFound, "templateId": NotFound}),
    ):
        with pytest.raises(Refused) as refusal:
            await associations.associate(
                world.viewer, application_id, signature_id=signature, template_id=template
            )
        assert {error.path[0]: type(error) for error in refusal.value.errors} == expected
    assert await db.fetchval("SELECT count(*) FROM application_signature") == 3
    assert await db.fetchval("SELECT count(*) FROM application_template") == 5


# --- in the API -----------------------------------------------------------------------------------


async def test_suspension_by_mutation(
    world: World, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    await world.running(3)
    async with serving(database_url, redis_url, tmp_path) as api:
        manager = await api.client(Role.MANAGER)
        found = await manager.run("{ tasks { nodes { id application { id } } } }")
        (task,) = found["tasks"]["nodes"]
        application_id = task["application"]["id"]
        payload = await do(manager, SET_APPLICATION_SUSPENDED, id=application_id, suspended=True)
        assert payload["application"] == {"id": application_id, "suspended": True}
        (error,) = await refused(manager, RESUME_TASK, id=task["id"])
        assert (error["code"], error["path"]) == ("NOT_SELECTABLE", ["input", "id"])
        assert [blocker["code"] for blocker in error["blockers"]] == ["APPLICATION_SUSPENDED"]
        await do(manager, SET_APPLICATION_SUSPENDED, id=application_id, suspended=False)
        assert (await do(manager, PAUSE_TASK, id=task["id"]))["task"]["status"] == "PAUSED"
        assert (await do(manager, RESUME_TASK, id=task["id"]))["left"] == 3


async def test_association_by_mutation(
    world: World, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with serving(database_url, redis_url, tmp_path) as api:
        manager = await api.client(Role.MANAGER)
        application = (await do(manager, CREATE_APPLICATION, name="New", region="CHINESE_MAINLAND"))[
            "application"
        ]
        lists = """query ($id: ID!) { application(id: $id) {
          signatures { nodes { id } } templates { nodes { id blockers { code } } } } }"""
        before = (await manager.run(lists, id=application["id"]))["application"]
        signature_id = before["signatures"]["nodes"][0]["id"]
        template_id = before["templates"]["nodes"][0]["id"]
        payload = await do(
            manager,
            ASSOCIATE,
            applicationId=application["id"],
            signatureId=signature_id,
            templateId=template_id,
        )
        after = payload["application"]
        (selectable,) = [node for node in after["signatures"]["nodes"] if node["selectable"]]
        assert selectable["id"] == signature_id
        assert [node["id"] for node in after["templates"]["nodes"] if node["selectable"]] == [template_id]
        (error,) = await refused(manager, ASSOCIATE, applicationId=application["id"])
        assert (error["code"], error["path"]) == ("INVALID", ["input", "signatureId"])
