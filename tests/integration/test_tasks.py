"""Creating, canceling, deleting and starting tasks."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from openpyxl import Workbook

from domain import db, message_reads, resources, sweep, task_creation, task_reads, tasks
from domain.errors import (
    BlockerCode,
    ErrorCode,
    InvalidInput,
    NotFound,
    NotSelectable,
    RecipientListError,
    Refused,
    SendTimeError,
    TooLate,
    WrongStatus,
)
from domain.message_reads import MessageFilter
from domain.states import CancelReason, Encoding, RowRejection, SendResult, SmsType, TaskStatus
from domain.task_orders import TaskOrder
from tests.integration.conftest import Travel
from tests.integration.world import LONG_TEXT, Bell, Materials, World, mainland, phones

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
TABLES = ("task", "message", "rejected_row", "chunk", "task_counter")

ROWS = ["138 0013-8000", "8613800138001", "+86 13800138002", "13800138000", "123", "8.6138E+12", "nobody"]


async def rows_left() -> int:
    counts = [await db.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES]
    return sum(counts)


async def create(world: World, order: TaskOrder) -> task_creation.Created:
    return await task_creation.create_task(world.viewer, order, world.intake, world.bell)


# --- create -------------------------------------------------------------------------------------


async def test_numbers_are_normalised_and_rejected_rows_kept(world: World) -> None:
    created = await create(world, world.order(ROWS))
    page = await message_reads.list_messages(created.task_id, MessageFilter())
    assert [message.number for message in page.items] == [
        "+8613800138000",
        "+8613800138001",
        "+8613800138002",
    ]
    rejected = await message_reads.list_rejected_rows(created.task_id, None)
    assert [(row.row, row.value, row.reason) for row in rejected.items] == [
        (4, "13800138000", RowRejection.DUPLICATE),
        (5, "123", RowRejection.WRONG_LENGTH),
        (6, "8.6138E+12", RowRejection.LOST_DIGITS),
        (7, "nobody", RowRejection.NOT_A_NUMBER),
    ]
    assert created.recipients.message == (
        "3 phone number(s) imported. Redundant and invalid numbers have been deleted. "
        "You will not be charged for the 4 message(s) deleted."
    )
    task = await world.check(created.task_id)
    assert task.recipients == created.recipients
    assert (task.recipients.rows, task.recipients.invalid, task.recipients.duplicates) == (7, 3, 1)


async def test_a_clean_list_says_only_how_many_were_imported(world: World) -> None:
    created = await create(world, world.order(2))
    assert created.recipients.message == "2 phone number(s) imported."


async def test_a_file_counts_rows_as_the_sheet_does(world: World, tmp_path: Path) -> None:
    book = Workbook()
    for value in ("手机号码", None, 13800138000.0, "bad", "13800138000"):
        book.active.append([value])  # type: ignore[union-attr]
    path = tmp_path / "numbers.xlsx"
    book.save(path)
    order = world.order(1)
    created = await create(
        world,
        TaskOrder("From a file", order.application_id, order.signature_id, order.template_id, path, None),
    )
    rejected = await message_reads.list_rejected_rows(created.task_id, None)
    assert [(row.row, row.reason) for row in rejected.items] == [
        (4, RowRejection.NOT_A_NUMBER),
        (5, RowRejection.DUPLICATE),
    ]


async def test_the_text_begins_with_the_signature(world: World) -> None:
    task = await world.read(await world.create(1))
    assert task.text == "【测试公司】您的预约已确认。"
    assert (task.encoding, task.segments_per_message) == (Encoding.UCS_2, 1)
    long = await world.read(await world.create(1, materials=await mainland(world.viewer, content=LONG_TEXT)))
    assert long.segments_per_message == 3
    abroad = await world.read(await world.create(["+34600000001"], materials=world.international))
    assert (abroad.text, abroad.encoding) == ("Your booking is confirmed.", Encoding.GSM_7)


@pytest.mark.parametrize(
    ("count", "chunks"), [(1, 1), (100, 1), (101, 2), (1_000, 8), (1_001, 8), (8_000, 8), (8_001, 9)]
)
async def test_chunks_cover_every_position_once(world: World, count: int, chunks: int) -> None:
    task_id = await world.create(count)
    rows = await db.fetch(
        """
        SELECT m.position, count(c.index) AS chunks
        FROM message m LEFT JOIN chunk c ON c.task_id = m.task_id AND m.position BETWEEN c.first AND c.last
        WHERE m.task_id = $1 GROUP BY 1 ORDER BY 1
        """,
        task_id,
    )
    assert [row["position"] for row in rows] == list(range(1, count + 1))
    assert {row["chunks"] for row in rows} == {1}
    bounds = await db.fetchrow(
        "SELECT min(first), max(last), count(*) FROM chunk WHERE task_id = $1", task_id
    )
    assert bounds is not None
    assert tuple(bounds) == (1, count, chunks)
    await world.check(task_id)


async def test_no_valid_number_creates_nothing(world: World) -> None:
    with pytest.raises(RecipientListError) as refused:
        await create(world, world.order(["123", "nobody"]))
    assert refused.value.message == (
        "Submission request failed. The recipient number file includes invalid phone numbers."
    )
    assert refused.value.code is ErrorCode.NO_VALID_NUMBERS
    assert refused.value.recipients is not None
    assert refused.value.recipients.invalid == 2
    assert await rows_left() == 0


async def test_everything_wrong_is_said_at_once(world: World) -> None:
    now: datetime = await db.fetchval("SELECT groupsms_now()")
    nowhere = Materials(10**9, 10**9, 10**9)
    with pytest.raises(Refused) as refused:
        await create(world, world.order([], materials=nowhere, send_at=now - SECOND, name="  "))
    assert {error.path: type(error) for error in refused.value.errors} == {
        ("name",): InvalidInput,
        ("recipients", "numbers"): InvalidInput,
        ("sendAt",): SendTimeError,
        ("applicationId",): NotFound,
        ("signatureId",): NotFound,
        ("templateId",): NotFound,
    }
    assert await rows_left() == 0
    assert world.bell.changed == []


async def test_every_blocker_comes_with_its_fix(world: World) -> None:
    await resources.review_signature(
        world.mainland.signature_id or 0, approve=False, note="No.", channel_number=None
    )
    await db.fetch("UPDATE signature SET channel_number = NULL")
    await resources.set_template_active(world.viewer, world.mainland.template_id, active=False)
    await db.fetch("UPDATE application SET suspended = TRUE")
    with pytest.raises(Refused) as refused:
        await create(world, world.order(1))
    found: dict[str, set[BlockerCode]] = {}
    for error in refused.value.errors:
        assert isinstance(error, NotSelectable)
        assert all(blocker.fix and blocker.message for blocker in error.blockers)
        found[error.path[0]] = {blocker.code for blocker in error.blockers}
    assert found == {
        "applicationId": {BlockerCode.APPLICATION_SUSPENDED},
        "signatureId": {BlockerCode.NOT_APPROVED, BlockerCode.NO_CHANNEL_NUMBER},
        "templateId": {BlockerCode.NOT_ACTIVE},
    }


async def test_another_accounts_materials_do_not_exist(world: World) -> None:
    other = await World.make("Other")
    with pytest.raises(Refused) as refused:
        await create(other, other.order(1, materials=world.mainland))
    assert {type(error) for error in refused.value.errors} == {NotFound}


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
async def test_a_name_no_database_can_hold_is_refused(world: World, name: str) -> None:
    with pytest.raises(Refused) as refused:
        await create(world, world.order(1, name=name))
    assert [error.path for error in refused.value.errors] == [("name",)]


async def test_rows_no_database_can_hold_are_kept_as_well_as_can_be(world: World) -> None:
    task_id = await world.create([*phones(1), "a\0b", "\ud800"])
    rejected = await message_reads.list_rejected_rows(task_id, None)
    assert [(row.row, row.value) for row in rejected.items] == [(2, "a\ufffdb"), (3, "\ufffd" * 3)]


@pytest.mark.parametrize("table", ["message", "rejected_row", "chunk", "task_counter", "account"])
async def test_a_failure_at_any_point_leaves_nothing(world: World, table: str) -> None:
    await world.create(1)  # into the same store, whose tables have the trigger then, too
    before, rung = await rows_left(), (list(world.bell.changed), list(world.bell.due))
    await db.fetch(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE disk_full USING MESSAGE = 'no space left'; END $$
        """
    )
    await db.fetch(
        f"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    with pytest.raises(asyncpg.DiskFullError):
        await create(world, world.order(ROWS))
    assert await rows_left() == before
    assert (world.bell.changed, world.bell.due) == rung


async def test_a_connection_that_dies_during_the_copy_leaves_nothing(world: World) -> None:
    await world.create(1)  # into the same store, whose tables have the trigger then, too
    before = await rows_left()
    # The backend ends itself in the middle of the COPY, after some rows are in.
    await db.fetch(
        """
        CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.position = 500 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
            RETURN NEW;
        END $$
        """
    )
    await db.fetch("CREATE TRIGGER die BEFORE INSERT ON message FOR EACH ROW EXECUTE FUNCTION die()")
    with pytest.raises(db.UNAVAILABLE):
        await create(world, world.order(1000))
    assert await rows_left() == before
    await db.fetch("DROP TRIGGER die ON message")
    await world.check(await world.create(1000))


async def test_requests_that_are_broken_off_leave_no_connection_behind(world: World) -> None:
    task_id = await world.create(1)

    async def work() -> None:
        while True:
            await tasks.advance_task(task_id, world.bell)

    for milliseconds in range(1, 21):
        requests = [asyncio.create_task(work()) for _ in range(db.POOL_SIZE)]
        await asyncio.wait(requests, timeout=milliseconds / 1000)
        for request in requests:
            request.cancel()
        await asyncio.wait(requests)
    async with asyncio.timeout(5), AsyncExitStack() as stack:
        for _ in range(db.POOL_SIZE):
            await stack.enter_async_context(db.connection())


async def test_after_the_commit_the_bell_is_rung(world: World) -> None:
    task_id = await world.create(1, after=HOUR)
    task = await world.read(task_id)
    assert world.bell.changed == [(world.viewer.account_id, task_id)]
    assert world.bell.due == [(task_id, task.send_at)]


# --- cancel, delete -----------------------------------------------------------------------------


@pytest.mark.parametrize(("margin", "in_time"), [(2 * SECOND, True), (timedelta(), False)])
async def test_cancelling_ends_five_minutes_before_to_the_second(
    world: World, travel: Travel, margin: timedelta, in_time: bool
) -> None:
    task_id = await world.create(3, after=2 * HOUR)
    deadline = (await world.read(task_id)).send_at - 5 * MINUTE
    await travel.to(deadline - margin)
    task = await world.read(task_id)
    assert (task.can_cancel, task.cancel_deadline) == (in_time, deadline)
    if in_time:
        await tasks.cancel_task(world.viewer, task_id, world.bell)
        task = await world.check(task_id)
        assert (task.status, task.cancel_reason) == (TaskStatus.CANCELED, CancelReason.USER)
        assert (task.counts.waiting, task.counts.not_sent) == (0, 3)
    else:
        with pytest.raises(TooLate) as refused:
            await tasks.cancel_task(world.viewer, task_id, world.bell)
        assert refused.value.deadline == deadline
        assert (await world.check(task_id)).status is TaskStatus.SCHEDULED


async def test_of_many_cancels_and_a_start_exactly_one_wins(world: World) -> None:
    for among in (0, 4, 16, 100, 200):
        task_id = await world.create(1, after=HOUR)
        gate = asyncio.Event()

        async def cancel(task_id: int = task_id, gate: asyncio.Event = gate) -> bool:
            await gate.wait()
            try:
                await tasks.cancel_task(world.viewer, task_id, world.bell)
            except (WrongStatus, TooLate):
                return False
            return True

        async def start(task_id: int = task_id, gate: asyncio.Event = gate) -> bool:
            await gate.wait()
            await db.fetch(
                "UPDATE task SET send_at = groupsms_now() WHERE id = $1 AND status = 'SCHEDULED'", task_id
            )
            return await tasks.start_task(task_id, world.bell) is TaskStatus.SENDING

        attempts = [asyncio.create_task(cancel()) for _ in range(200)]
        attempts.insert(among, asyncio.create_task(start()))
        gate.set()
        outcomes = await asyncio.gather(*attempts)
        assert sum(outcomes) == 1
        task = await world.check(task_id)
        assert task.status is (TaskStatus.SENDING if outcomes[among] else TaskStatus.CANCELED)
        assert task.revision == 2


async def test_only_a_scheduled_task_of_the_account_is_canceled(world: World) -> None:
    task_id = await world.running(1)
    with pytest.raises(WrongStatus) as refused:
        await tasks.cancel_task(world.viewer, task_id, world.bell)
    assert refused.value.status is TaskStatus.SENDING
    scheduled = await world.create(1, after=HOUR)
    other = await World.make("Other")
    for change in (tasks.cancel_task, tasks.delete_task):
        with pytest.raises(NotFound):
            await change(other.viewer, scheduled, other.bell)
    assert (await world.check(scheduled)).status is TaskStatus.SCHEDULED


async def test_only_a_canceled_task_is_deleted_and_its_rows_follow(world: World) -> None:
    kept = await world.create(ROWS, after=HOUR)
    task_id = await world.create(ROWS, after=HOUR)
    with pytest.raises(WrongStatus):
        await tasks.delete_task(world.viewer, task_id, world.bell)
    await tasks.cancel_task(world.viewer, task_id, world.bell)
    await tasks.delete_task(world.viewer, task_id, world.bell)
    assert await task_reads.find_task(world.viewer.account_id, task_id) is None
    with pytest.raises(NotFound):
        await tasks.delete_task(world.viewer, task_id, world.bell)
    await sweep.tidy()
    for table in TABLES[1:]:
        left = await db.fetch(f"SELECT DISTINCT task_id FROM {table}")
        assert [row["task_id"] for row in left] == [kept]
    tombstone = await db.fetchrow("SELECT * FROM task_tombstone WHERE task_id = $1", task_id)
    assert tombstone is not None
    assert tombstone["emptied_at"] is not None


async def test_a_deletion_is_not_done_while_another_sweep_still_removes_numbers(
    world: World, connected: str
) -> None:
    task_id = await world.create(10, after=HOUR)
    await tasks.cancel_task(world.viewer, task_id, world.bell)
    await tasks.delete_task(world.viewer, task_id, world.bell)
    other = await asyncpg.connect(connected)
    try:
        removing = other.transaction()
        await removing.start()
        await other.execute("DELETE FROM message WHERE task_id = $1", task_id)
        await sweep.tidy()
        await removing.rollback()  # the other sweep's machine died
    finally:
        await other.close()
    await sweep.tidy()
    assert await db.fetchval("SELECT count(*) FROM message") == 0
    assert await db.fetchval("SELECT count(*) FROM task_tombstone WHERE emptied_at IS NULL") == 0


# --- start --------------------------------------------------------------------------------------


async def test_nothing_starts_before_its_time(world: World) -> None:
    task_id = await world.create(1, after=HOUR)
    assert await tasks.start_task(task_id, world.bell) is None
    await sweep.start_due(world.bell)
    assert (await world.check(task_id)).status is TaskStatus.SCHEDULED


@pytest.mark.parametrize(
    ("late", "status"),
    [(24 * HOUR - 2 * SECOND, TaskStatus.SENDING), (24 * HOUR, TaskStatus.CANCELED)],
)
async def test_a_task_is_started_until_24_hours_late(
    world: World, travel: Travel, late: timedelta, status: TaskStatus
) -> None:
    task_id = await world.create(2, after=HOUR)
    await travel.to((await world.read(task_id)).send_at + late)
    await sweep.start_due(world.bell)
    task = await world.check(task_id)
    assert task.status is status
    if status is TaskStatus.CANCELED:
        assert task.cancel_reason is CancelReason.OVERDUE
        assert (task.counts.not_sent, task.counts.waiting) == (2, 0)
        page = await message_reads.list_messages(task_id, MessageFilter())
        assert {message.result for message in page.items} == {SendResult.NOT_SENT}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("UPDATE template SET active = FALSE", BlockerCode.NOT_ACTIVE),
        ("UPDATE template SET status = 'PENDING'", BlockerCode.NOT_APPROVED),
        ("UPDATE signature SET status = 'REJECTED'", BlockerCode.NOT_APPROVED),
        ("UPDATE application SET suspended = TRUE", BlockerCode.APPLICATION_SUSPENDED),
        ("DELETE FROM application_signature", BlockerCode.NOT_ASSOCIATED),
    ],
)
async def test_what_is_no_longer_allowed_is_canceled_with_its_blockers(
    world: World, change: str, code: BlockerCode
) -> None:
    task_id = await world.create(2)
    await db.fetch(change)
    assert await tasks.start_task(task_id, world.bell) is TaskStatus.CANCELED
    task = await world.check(task_id)
    assert (task.status, task.cancel_reason) == (TaskStatus.CANCELED, CancelReason.NO_LONGER_ALLOWED)
    assert [blocker.code for blocker in task.blockers] == [code]
    assert all(blocker.message and blocker.fix for blocker in task.blockers)
    assert task.counts.not_sent == 2


async def test_two_who_start_the_same_task_start_it_once(world: World) -> None:
    task_id = await world.create(1)
    bell = Bell()
    statuses = await asyncio.gather(*(tasks.start_task(task_id, bell) for _ in range(20)))
    assert [status for status in statuses if status] == [TaskStatus.SENDING]
    assert bell.changed == [(world.viewer.account_id, task_id)]
    assert (await world.check(task_id)).revision == 2


async def test_a_universal_template_may_be_too_long_with_its_signature(world: World) -> None:
    """Rule "What a task needs": text up to 500 characters with signature."""
    template = await resources.create_template(
        world.viewer,
        application_id=world.mainland.application_id,
        name="Long",
        sms_type=SmsType.NOTIFICATION,
        content="长" * 500,
        signature_id=None,
        universal=True,
        external_id=None,
    )
    await resources.review_template(template.id, approve=True, note=None)
    with pytest.raises(Refused) as refused:
        await create(world, replace(world.order(phones(1)), template_id=template.id))
    (error,) = refused.value.errors
    assert error.path == ("templateId",)
    assert "500 are allowed" in error.message
