"""Reading tasks: one by its id, pages of an account's list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

import asyncpg

from domain import db, paging
from domain.errors import Blocker, BlockerCode, InvalidInput, RecipientSummary
from domain.paging import Key, Page
from domain.schedule import CANCEL_MARGIN
from domain.states import CancelReason, Encoding, Region, TaskStatus


@dataclass(frozen=True, slots=True)
class Counts:
    """A task's messages by result; they add up to `total`. `in_doubt` are among the unknown."""

    total: int
    waiting: int
    unknown: int
    delivered: int
    failed: int
    not_sent: int
    in_doubt: int

    @property
    def handed_over(self) -> int:
        """Messages that reached a gateway, or may have."""
        return self.unknown + self.delivered + self.failed


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task as it stood at one moment, with its counters summed."""

    id: int
    account_id: int
    name: str
    status: TaskStatus
    cancel_reason: CancelReason | None
    blockers: tuple[Blocker, ...]
    """Why it was canceled as NO_LONGER_ALLOWED."""
    application_id: int
    signature_id: int | None
    template_id: int
    resend_of_id: int | None
    """The task whose failed numbers these are."""
    region: Region
    text: str
    encoding: Encoding
    segments_per_message: int
    send_at: datetime
    created_at: datetime
    started_at: datetime | None
    sent_at: datetime | None
    finished_at: datetime | None
    messages_purged_at: datetime | None
    """Since when its messages and rejected rows are no longer kept."""
    revision: int
    counted: int
    """What the counters contribute to `revision`."""
    change_seq: int
    recipients: RecipientSummary
    counts: Counts
    currency: str
    """Of its prices, ISO 4217."""
    estimated_amount: Decimal
    """What it costs if every segment is charged."""
    read_at: datetime
    """The database's clock when this was read."""

    @property
    def cancel_deadline(self) -> datetime | None:
        """Until when it can be canceled; None unless it is scheduled."""
        return self.send_at - CANCEL_MARGIN if self.status is TaskStatus.SCHEDULED else None

    @property
    def can_cancel(self) -> bool:
        """Whether cancelTask would succeed at the moment this was read."""
        deadline = self.cancel_deadline
        return deadline is not None and self.read_at <= deadline

    @property
    def messages_per_second(self) -> float | None:
        """The mean rate of the hand-over so far; None before it began."""
        if self.started_at is None:
            return None
        elapsed = (self.sent_at or self.finished_at or self.read_at) - self.started_at
        return self.counts.handed_over / max(elapsed.total_seconds(), 0.001)

    @property
    def rate_moves(self) -> bool:
        """Whether its rate is another one at every moment, though nothing of it has changed."""
        return self.started_at is not None and (self.sent_at or self.finished_at) is None

    @property
    def estimated_finish_at(self) -> datetime | None:
        """When the last message will be handed over at the rate so far; None unless it is being sent."""
        rate = self.messages_per_second
        if self.status is not TaskStatus.SENDING or not rate:
            return None
        return self.read_at + timedelta(seconds=self.counts.waiting / rate)


class TaskOrderField(StrEnum):
    """What a list of tasks can be ordered by."""

    CREATED_AT = "CREATED_AT"
    SEND_AT = "SEND_AT"
    NAME = "NAME"


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks of an account to list; None means any."""

    name_contains: str | None = None
    status_in: Sequence[TaskStatus] | None = None
    application_id: int | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None

    def check(self) -> None:
        """Raise `InvalidInput` for a text that no name can have in it."""
        if self.name_contains is not None and not db.can_hold(self.name_contains):
            raise InvalidInput("No name has such characters.", "filter", "nameContains")

    def matches(self, task: TaskView) -> bool:
        """Whether a task would be in the list."""
        return (
            (self.name_contains is None or self.name_contains.casefold() in task.name.casefold())
            and (self.status_in is None or task.status in self.status_in)
            and (self.application_id is None or task.application_id == self.application_id)
            and (self.created_from is None or task.created_at >= self.created_from)
            and (self.created_to is None or task.created_at < self.created_to)
        )


_COLUMNS = """
    task.*, groupsms_now() AS read_at, counter.*
"""
_COUNTER = """
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(revision), 0)::bigint AS counted,
               coalesce(sum(unknown), 0)::int AS unknown, coalesce(sum(in_doubt), 0)::int AS in_doubt,
               coalesce(sum(delivered), 0)::int AS delivered, coalesce(sum(failed), 0)::int AS failed,
               coalesce(sum(not_sent), 0)::int AS not_sent
        FROM task_counter WHERE task_id = task.id
    ) AS counter
"""
# Each pair orders the list; the parameters say where the page begins.
_ORDER_COLUMNS = {
    TaskOrderField.CREATED_AT: ("created_at", "timestamptz"),
    TaskOrderField.SEND_AT: ("send_at", "timestamptz"),
    TaskOrderField.NAME: ("name", "text"),
}
_FILTER = """
    account_id = $1
    AND ($2::text IS NULL OR strpos(lower(name), lower($2)) > 0)
    AND ($3::text[] IS NULL OR status = ANY($3))
    AND ($4::bigint IS NULL OR application_id = $4)
    AND ($5::timestamptz IS NULL OR created_at >= $5)
    AND ($6::timestamptz IS NULL OR created_at < $6)
"""


async def find_task(account_id: int, task_id: int) -> TaskView | None:
    """A task of this account, or None."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM task {_COUNTER} WHERE task.id = $1 AND task.account_id = $2",
        task_id,
        account_id,
    )
    return task_view(row) if row else None


async def find_tasks(account_id: int, task_ids: Sequence[int]) -> dict[int, TaskView]:
    """Those of the tasks that belong to this account, by id."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM task {_COUNTER} WHERE task.id = ANY($1) AND task.account_id = $2",
        list(task_ids),
        account_id,
    )
    return {row["id"]: task_view(row) for row in rows}


async def list_tasks(
    account_id: int,
    filter_: TaskFilter,
    *,
    order_by: TaskOrderField = TaskOrderField.CREATED_AT,
    descending: bool = True,
    first: int = 50,
    after: str | None = None,
) -> Page[TaskView]:
    """A page of the account's tasks.

    Raises `InvalidInput` for a page size out of range or a cursor of another list or order.
    """
    paging.check_size(first)
    filter_.check()
    column, sql_type = _ORDER_COLUMNS[order_by]
    kind = f"tasks:{order_by.value}:{'desc' if descending else 'asc'}"
    key = paging.decode_cursor(kind, after, (str, int))
    if key is not None and sql_type == "timestamptz":
        _check_moment(key[0])
    beyond, direction = ("<", "DESC") if descending else (">", "ASC")
    start = ""
    arguments = _filter_arguments(account_id, filter_)
    if key is not None:
        start = f"AND ({column}, id) {beyond} ($8::text::{sql_type}, $9::bigint)"
        arguments += key
    rows = await db.fetch(
        f"""
        SELECT {_COLUMNS} FROM (
            SELECT id AS listed_id FROM task WHERE {_FILTER} {start}
            ORDER BY {column} {direction}, id {direction} LIMIT $7
        ) AS page JOIN task ON task.id = page.listed_id {_COUNTER}
        ORDER BY task.{column} {direction}, task.id {direction}
        """,
        *arguments[:6],
        first + 1,
        *arguments[6:],
    )
    return paging.page_of(
        rows, first, kind, item=task_view, key=lambda row: _key(row, column), after=key is not None
    )


def _check_moment(written: str | int) -> None:
    """Raise `InvalidInput` for a cursor that is forged: we write a moment with its offset."""
    try:
        datetime.fromisoformat(str(written)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput("after is not a cursor of this list.", "after") from error


async def count_tasks(account_id: int, filter_: TaskFilter) -> int:
    """How many tasks the filter lets through. Raises `InvalidInput`."""
    filter_.check()
    count: int = await db.fetchval(
        f"SELECT count(*) FROM task WHERE {_FILTER}", *_filter_arguments(account_id, filter_)
    )
    return count


def _filter_arguments(account_id: int, filter_: TaskFilter) -> list[object]:
    return [
        account_id,
        filter_.name_contains,
        [status.value for status in filter_.status_in] if filter_.status_in is not None else None,
        filter_.application_id,
        filter_.created_from,
        filter_.created_to,
    ]


def _key(row: asyncpg.Record, column: str) -> Key:
    value = row[column]
    return [value.isoformat() if isinstance(value, datetime) else value, row["id"]]


def task_view(row: asyncpg.Record) -> TaskView:
    """A task from a row of `task` with its counters."""
    recipients = RecipientSummary(
        imported=row["imported"],
        invalid=row["invalid"],
        duplicates=row["duplicates"],
        opted_out=row["opted_out"],
    )
    return TaskView(
        id=row["id"],
        account_id=row["account_id"],
        name=row["name"],
        status=TaskStatus(row["status"]),
        cancel_reason=CancelReason(row["cancel_reason"]) if row["cancel_reason"] else None,
        blockers=_blockers(row["blockers"]),
        application_id=row["application_id"],
        signature_id=row["signature_id"],
        template_id=row["template_id"],
        resend_of_id=row["resend_of_id"],
        region=Region(row["region"]),
        text=row["text"],
        encoding=Encoding(row["encoding"]),
        segments_per_message=row["segments_per_message"],
        send_at=row["send_at"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        sent_at=row["sent_at"],
        finished_at=row["finished_at"],
        messages_purged_at=row["messages_purged_at"],
        revision=row["revision"] + row["counted"],
        counted=row["counted"],
        change_seq=row["change_seq"],
        recipients=recipients,
        counts=_counts(row),
        currency=row["currency"],
        estimated_amount=row["estimated_amount"],
        read_at=row["read_at"],
    )


def _blockers(written: str) -> tuple[Blocker, ...]:
    if written == "[]":
        return ()
    return tuple(
        Blocker(BlockerCode(blocker["code"]), blocker["message"], blocker["fix"])
        for blocker in json.loads(written)
    )


def _counts(row: asyncpg.Record) -> Counts:
    rest = row["imported"] - row["unknown"] - row["delivered"] - row["failed"] - row["not_sent"]
    waiting, not_sent = (0, rest) if row["rest_not_sent"] else (rest, 0)
    return Counts(
        total=row["imported"],
        waiting=waiting,
        unknown=row["unknown"],
        delivered=row["delivered"],
        failed=row["failed"],
        not_sent=row["not_sent"] + not_sent,
        in_doubt=row["in_doubt"],
    )
