"""Reading what became of each number, and the rows of the list that were deleted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from domain import db, paging
from domain.errors import InvalidInput
from domain.paging import Page
from domain.recipient_file import RejectedRow
from domain.states import (
    HANDOVER_STATES,
    ROW_REJECTIONS,
    SEND_RESULTS,
    HandoverState,
    RowRejection,
    SendResult,
)


@dataclass(frozen=True, slots=True)
class MessageView:
    """One number's message."""

    task_id: int
    position: int
    number: str
    """E.164 with plus."""
    result: SendResult
    handover: HandoverState
    received_at: datetime | None
    error_code: str | None

    @property
    def sms_id(self) -> str:
        """What all segments of this message share, and no other message has."""
        return sms_id(self.task_id, self.position)


@dataclass(frozen=True, slots=True)
class SegmentView:
    """One segment of a message that was given to a gateway."""

    position: int
    index: int
    """From 1."""
    result: SendResult
    received_at: datetime | None
    gateway_message_id: str | None
    error_code: str | None


@dataclass(frozen=True, slots=True)
class RejectedRowView:
    """A row of the recipient list that was deleted."""

    row: int
    """The sheet's row, from 1."""
    value: str
    """The text as found."""
    reason: RowRejection


_CLOCKS_APART = timedelta(days=2)
"""How far a task's segments may seem to lie outside the time of its sending, if the clock was set back."""
_NOT_PURGED = "NOT EXISTS (SELECT FROM task WHERE id = $1 AND messages_purged_at IS NOT NULL)"


def sms_id(task_id: int, position: int) -> str:
    """16 hexadecimal digits: 10 for the task, 6 for the position of the number in it."""
    return f"{task_id:010X}{position:06X}"


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages of a task to list; None means any."""

    result_in: Sequence[SendResult] | None = None
    number_ends_with: str | None = None

    def check(self) -> None:
        """Raise `InvalidInput` unless `number_ends_with` has four digits or more."""
        digits = self.number_ends_with
        if digits is not None and not (4 <= len(digits) <= 15 and digits.isascii() and digits.isdigit()):
            raise InvalidInput("numberEndsWith takes 4 to 15 digits.", "filter", "numberEndsWith")


# A message of a task whose rest is never sent shows as NOT_SENT without having been rewritten.
_MESSAGES = """
    SELECT m.*, CASE WHEN m.result = 0 AND task.rest_not_sent THEN 4 ELSE m.result END AS shown_result
    FROM message m JOIN task ON task.id = m.task_id
    WHERE m.task_id = $1 AND task.messages_purged_at IS NULL
      AND ($2::smallint[] IS NULL
           OR CASE WHEN m.result = 0 AND task.rest_not_sent THEN 4 ELSE m.result END = ANY($2))
      AND ($3::bigint IS NULL OR m.number % $4 = $3)
"""


def _message_arguments(task_id: int, filter_: MessageFilter) -> list[object]:
    results = filter_.result_in
    ending = filter_.number_ends_with
    return [
        task_id,
        [SEND_RESULTS.index(result) for result in results] if results is not None else None,
        int(ending) if ending is not None else None,
        10 ** len(ending) if ending is not None else None,
    ]


async def list_messages(
    task_id: int, filter_: MessageFilter, *, first: int = 50, after: str | None = None
) -> Page[MessageView]:
    """A page of a task's messages, in the order of the recipient list.

    The caller has made sure that the task is the viewer's. Raises `InvalidInput`.
    """
    paging.check_size(first)
    filter_.check()
    key = paging.decode_cursor("messages", after, (int,))
    rows = await db.fetch(
        f"{_MESSAGES} AND m.position > $5 ORDER BY m.position LIMIT $6",
        *_message_arguments(task_id, filter_),
        key[0] if key else 0,
        first + 1,
    )
    return paging.page_of(
        rows, first, "messages", item=_message, key=lambda row: [row["position"]], after=key is not None
    )


async def count_messages(task_id: int, filter_: MessageFilter) -> int:
    """How many of a task's messages the filter lets through."""
    filter_.check()
    count: int = await db.fetchval(
        f"SELECT count(*) FROM ({_MESSAGES}) AS found", *_message_arguments(task_id, filter_)
    )
    return count


async def find_message(account_id: int, task_id: int, position: int) -> MessageView | None:
    """One message of a task of this account, or None."""
    row = await db.fetchrow(
        f"{_MESSAGES} AND m.position = $5 AND task.account_id = $6",
        *_message_arguments(task_id, MessageFilter()),
        position,
        account_id,
    )
    return _message(row) if row else None


async def segments_of(task_id: int, positions: Sequence[int]) -> dict[int, list[SegmentView]]:
    """The segments of some messages of a task, by position; nothing for what was not handed over."""
    days = await db.fetchrow(
        """
        SELECT started_at - $2::interval AS since, coalesce(sent_at + $2::interval, 'infinity') AS until
        FROM task WHERE id = $1 AND started_at IS NOT NULL
        """,
        task_id,
        _CLOCKS_APART,
    )
    if days is None:
        return {}
    rows = await db.fetch(
        """
        SELECT position, index, result, received_at, gateway_message_id, error_code
        FROM segment WHERE task_id = $1 AND position = ANY($2::int[]) AND submitted_at BETWEEN $3 AND $4
        ORDER BY position, index
        """,
        task_id,
        list(positions),
        *days,
    )
    found: dict[int, list[SegmentView]] = {}
    for row in rows:
        found.setdefault(row["position"], []).append(_segment(row))
    return found


async def list_rejected_rows(
    task_id: int, reason: RowRejection | None, *, first: int = 50, after: str | None = None
) -> Page[RejectedRowView]:
    """A page of the rows that were deleted from a task's list, in the order of the sheet.

    The caller has made sure that the task is the viewer's. Raises `InvalidInput`.
    """
    paging.check_size(first)
    key = paging.decode_cursor("rejectedRows", after, (int,))
    rows = await db.fetch(
        f"""
        SELECT row, value, reason FROM rejected_row
        WHERE task_id = $1 AND ($2::smallint IS NULL OR reason = $2) AND row > $3 AND {_NOT_PURGED}
        ORDER BY row LIMIT $4
        """,
        task_id,
        ROW_REJECTIONS.index(reason) if reason is not None else None,
        key[0] if key else 0,
        first + 1,
    )
    return paging.page_of(
        rows, first, "rejectedRows", item=_rejected_row, key=lambda row: [row["row"]], after=key is not None
    )


async def count_rejected_rows(task_id: int, reason: RowRejection | None) -> int:
    """How many rows were deleted from a task's list, for this reason or any."""
    count: int = await db.fetchval(
        f"""
        SELECT count(*) FROM rejected_row
        WHERE task_id = $1 AND ($2::smallint IS NULL OR reason = $2) AND {_NOT_PURGED}
        """,
        task_id,
        ROW_REJECTIONS.index(reason) if reason is not None else None,
    )
    return count


async def failed_numbers(task_id: int, at_a_time: int) -> AsyncGenerator[list[tuple[str, str]], None]:
    """The numbers of a task that failed, E.164 with plus, each with its error code, in the list's order.

    They are read so many at a time. No connection is held between two pages: whoever takes them may be slow.
    """
    async for rows in _pages(
        """
        SELECT position AS key, number, error_code FROM message
        WHERE task_id = $1 AND result = 3 AND position > $2 ORDER BY position LIMIT $3
        """,
        task_id,
        at_a_time,
    ):
        yield [(f"+{row['number']}", row["error_code"] or "") for row in rows]


async def rejected_rows(task_id: int, at_a_time: int) -> AsyncGenerator[list[RejectedRow], None]:
    """All rows that were deleted from a task's list, in the order of the sheet, read as `failed_numbers`."""
    async for rows in _pages(
        """
        SELECT row AS key, value, reason FROM rejected_row
        WHERE task_id = $1 AND row > $2 ORDER BY row LIMIT $3
        """,
        task_id,
        at_a_time,
    ):
        yield [RejectedRow(row["key"], row["value"], ROW_REJECTIONS[row["reason"]]) for row in rows]


async def _pages(query: str, task_id: int, at_a_time: int) -> AsyncGenerator[list[asyncpg.Record], None]:
    last = 0
    while rows := await db.fetch(query, task_id, last, at_a_time):
        yield rows
        if len(rows) < at_a_time:
            return
        last = rows[-1]["key"]


def _message(row: asyncpg.Record) -> MessageView:
    return MessageView(
        task_id=row["task_id"],
        position=row["position"],
        number=f"+{row['number']}",
        result=SEND_RESULTS[row["shown_result"]],
        handover=HANDOVER_STATES[row["handover"]],
        received_at=row["received_at"],
        error_code=row["error_code"],
    )


def _segment(row: asyncpg.Record) -> SegmentView:
    return SegmentView(
        position=row["position"],
        index=row["index"],
        result=SEND_RESULTS[row["result"]],
        received_at=row["received_at"],
        gateway_message_id=row["gateway_message_id"],
        error_code=row["error_code"],
    )


def _rejected_row(row: asyncpg.Record) -> RejectedRowView:
    return RejectedRowView(row=row["row"], value=row["value"], reason=ROW_REJECTIONS[row["reason"]])
