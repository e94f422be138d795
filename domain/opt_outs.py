"""Numbers an account never texts: added, removed, listed, and handed to whoever reads recipient lists.

A number is on the list in its E.164 form. It is read by the rules for recipient lists; what either region's
applications could send to is taken, because the list is the account's. What neither takes can't be texted at
all, so leaving it out loses nobody's wish.

Rows of a recipient list with such a number are deleted at the import. A number that is added later is left
out when its message is about to be sent: see `domain.dispatch.claim`.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import asyncpg

from domain import audit, db, paging
from domain.access import Viewer
from domain.audit import AuditAction
from domain.errors import ErrorCode, InvalidInput, RecipientListError, RecipientSummary
from domain.masking import masked_number
from domain.paging import Page
from domain.recipient_file import (
    LIST_LIMIT,
    ReadLimits,
    RecipientFileError,
    Recipients,
    RejectedRow,
    read_recipients,
)
from domain.states import RowRejection

ROWS_SHOWN = 100
"""How many of the rows that hold no number are told."""


class OptOutSource(StrEnum):
    """Where a number on the list came from."""

    API = "API"
    FILE = "FILE"
    REPLY = "REPLY"


@dataclass(frozen=True, slots=True)
class OptOutView:
    """A number on the list."""

    number: str
    """E.164 with plus."""
    since: datetime
    source: OptOutSource


@dataclass(frozen=True, slots=True)
class Added:
    """What became of numbers that were to be added."""

    added: int
    """Those that were not on the list before."""
    invalid: int
    """Rows that hold no number any application could send to."""
    rejected: tuple[RejectedRow, ...]
    """The first of those, with their rows and texts."""


async def add_opt_outs(
    viewer: Viewer, numbers: Sequence[str], file: Path | None, limits: ReadLimits
) -> Added:
    """Put the numbers of a request, of a file, or of both on the account's list; being on it already is fine.

    Raises `InvalidInput` without any number, `RecipientListError` if the file can't be read or there is no
    number in either.
    """
    _check_list(numbers, required=file is None)
    given = await _read(numbers, limits)
    filed = await _read(file, limits) if file is not None else None
    lists = [each for each in (given, filed) if each is not None]
    rejected = [row for each in lists for row in each.rejected if row.reason is not RowRejection.DUPLICATE]
    if not any(each.numbers for each in lists):
        raise RecipientListError(
            "There is no number among these that an application could send to.",
            "numbers" if file is None else "file",
            code=ErrorCode.NO_VALID_NUMBERS,
            recipients=RecipientSummary(
                imported=0, invalid=len(rejected), duplicates=sum(each.duplicates for each in lists)
            ),
        )
    added = await _insert(viewer.account_id, given.numbers, filed.numbers if filed else array("q"))
    return Added(added, len(rejected), tuple(rejected[:ROWS_SHOWN]))


def _check_list(numbers: Sequence[str], *, required: bool) -> None:
    if len(numbers) > LIST_LIMIT or (required and not numbers):
        raise InvalidInput(f"Give 1 to {LIST_LIMIT:,} numbers here; upload a file for more.", "numbers")


async def _read(source: Path | Sequence[str], limits: ReadLimits) -> Recipients:
    try:
        return await read_recipients(source, region=None, limits=limits)
    except RecipientFileError as error:
        raise RecipientListError(error.message, "file", code=ErrorCode(error.code)) from error


async def _insert(account_id: int, given: array[int], filed: array[int]) -> int:
    """Store the numbers and have chunks that workers hold looked through again; returns how many are new."""
    # In one order everywhere, so that two who add the same numbers never deadlock.
    async with db.transaction() as conn:
        added: int = await conn.fetchval(
            """
            WITH added AS (
                INSERT INTO opt_out (account_id, number, source)
                SELECT DISTINCT ON (number) $1::bigint, number, source
                FROM (SELECT unnest($2::bigint[]) AS number, 'API' AS source
                      UNION ALL SELECT unnest($3::bigint[]), 'FILE') AS given
                ORDER BY number, source
                ON CONFLICT DO NOTHING
                RETURNING 1
            ) SELECT count(*) FROM added
            """,
            account_id,
            given,
            filed,
        )
        if added:
            await audit.record(conn, account_id, AuditAction.OPT_OUTS_ADDED, added=added)
    if added:
        await recheck_held_chunks(account_id)
    return added


async def insert_replied(conn: db.Connection, opted_out: Sequence[tuple[int, int]]) -> int:
    """Put numbers whose owners said so on the lists of accounts; returns how many are new.

    `opted_out` are accounts with a number each, without its plus. Once the transaction is committed
    `recheck_held_chunks` is due.
    """
    # In the same order as everywhere.
    added: int = await conn.fetchval(
        """
        WITH added AS (
            INSERT INTO opt_out (account_id, number, source)
            SELECT account_id, number, $3 FROM unnest($1::bigint[], $2::bigint[]) AS o (account_id, number)
            ORDER BY account_id, number
            ON CONFLICT DO NOTHING
            RETURNING 1
        ) SELECT count(*) FROM added
        """,
        [account_id for account_id, _ in opted_out],
        [number for _, number in opted_out],
        OptOutSource.REPLY.value,
    )
    return added


async def recheck_held_chunks(account_id: int, numbers: Sequence[int] | None = None) -> None:
    """Have workers give back what they hold of the account's tasks, so that it is looked through again.

    To be called after numbers were added and that is committed: a chunk that is claimed later is looked
    through by its claim. With a few `numbers`, only chunks that still have one of them to send are given
    back: most who reply were texted already, and a worker is not to be disturbed for each.
    """
    held = await db.fetch(
        """
        SELECT DISTINCT task.id FROM chunk JOIN task ON task.id = chunk.task_id
        WHERE task.account_id = $1 AND chunk.state = 1
        """,
        account_id,
    )
    if not held:
        return
    # Named as parameters, the tasks tell PostgreSQL which stores to look into.
    await db.fetch(
        """
        UPDATE chunk SET recheck = TRUE
        WHERE task_id = ANY($1::bigint[]) AND state = 1
          AND ($2::bigint[] IS NULL OR EXISTS (
              SELECT FROM message m
              WHERE m.task_id = chunk.task_id AND m.task_id = ANY($1::bigint[])
                AND m.position BETWEEN chunk.first AND chunk.last
                AND m.result = 0 AND m.number = ANY($2)
          ))
        """,
        [row["id"] for row in held],
        numbers,
    )


async def remove_opt_outs(viewer: Viewer, numbers: Sequence[str]) -> int:
    """Take numbers off the account's list, all of them or none; returns how many were on it.

    Raises `InvalidInput` if one of them is no number.
    """
    _check_list(numbers, required=True)
    read = await _read(numbers, ReadLimits())
    if wrong := [row for row in read.rejected if row.reason is not RowRejection.DUPLICATE]:
        raise InvalidInput(
            f"{len(wrong)} of these are no numbers, the first being number {wrong[0].row}: "
            f"{masked_number(wrong[0].value)}",
            "numbers",
        )
    async with db.transaction() as conn:
        removed: int = await conn.fetchval(
            """
            WITH removed AS (
                DELETE FROM opt_out o USING (
                    SELECT account_id, number FROM opt_out
                    WHERE account_id = $1 AND number = ANY($2::bigint[])
                    ORDER BY number FOR UPDATE
                ) AS found
                WHERE (o.account_id, o.number) = (found.account_id, found.number)
                RETURNING 1
            ) SELECT count(*) FROM removed
            """,
            viewer.account_id,
            read.numbers,
        )
        if removed:
            await audit.record(conn, viewer.account_id, AuditAction.OPT_OUTS_REMOVED, removed=removed)
    return removed


async def opted_out_numbers(account_id: int) -> array[int] | None:
    """All numbers on the account's list in ascending order, as `read_recipients` takes them; None if none."""
    packed: bytes | None = await db.fetchval(
        "SELECT string_agg(int8send(number), '' ORDER BY number) FROM opt_out WHERE account_id = $1",
        account_id,
    )
    if packed is None:
        return None
    numbers = array("q", packed)
    if sys.byteorder == "little":
        numbers.byteswap()  # the network's order is the other one
    return numbers


_OPT_OUTS = """
    SELECT number, since, source FROM opt_out
    WHERE account_id = $1 AND ($2::bigint IS NULL OR number % $3 = $2)
"""


async def list_opt_outs(
    account_id: int, number_ends_with: str | None = None, *, first: int = 50, after: str | None = None
) -> Page[OptOutView]:
    """A page of the account's list, in the order of the numbers. Raises `InvalidInput`."""
    paging.check_size(first)
    key = paging.decode_cursor("optOuts", after, (int,))
    rows = await db.fetch(
        f"{_OPT_OUTS} AND number > $4 ORDER BY number LIMIT $5",
        account_id,
        *_ending(number_ends_with),
        key[0] if key else 0,
        first + 1,
    )
    return paging.page_of(
        rows, first, "optOuts", item=_view, key=lambda row: [row["number"]], after=key is not None
    )


async def count_opt_outs(account_id: int, number_ends_with: str | None = None) -> int:
    """How many numbers are on the account's list. Raises `InvalidInput`."""
    count: int = await db.fetchval(
        f"SELECT count(*) FROM ({_OPT_OUTS}) AS found", account_id, *_ending(number_ends_with)
    )
    return count


def _ending(digits: str | None) -> tuple[int | None, int | None]:
    if digits is None:
        return None, None
    if not (1 <= len(digits) <= 15 and digits.isascii() and digits.isdigit()):
        raise InvalidInput("numberEndsWith takes 1 to 15 digits.", "numberEndsWith")
    return int(digits), 10 ** len(digits)


def _view(row: asyncpg.Record) -> OptOutView:
    return OptOutView(f"+{row['number']}", row["since"], OptOutSource(row["source"]))
