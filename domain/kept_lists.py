"""Recipient lists kept after a preview, so that a file is uploaded once; in PostgreSQL, for all processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

from domain import db, spool
from domain.errors import NotFound

KEPT_FOR = timedelta(hours=1)


async def keep(account_id: int, source: Path | Sequence[str] | UUID) -> UUID:
    """Keep a list for an hour and return its id; one that is kept already stays for another hour."""
    if isinstance(source, UUID):
        await db.fetch(
            "UPDATE kept_list SET expires_at = groupsms_now() + $3 WHERE id = $1 AND account_id = $2",
            source,
            account_id,
            KEPT_FOR,
        )
        return source
    if isinstance(source, Path):
        content, is_file = await asyncio.to_thread(source.read_bytes), True
    else:
        content, is_file = json.dumps(list(source)).encode(), False
    kept = uuid4()
    await db.fetch(
        """
        INSERT INTO kept_list (id, account_id, content, is_file, expires_at)
        VALUES ($1, $2, $3, $4, groupsms_now() + $5)
        """,
        kept,
        account_id,
        content,
        is_file,
        KEPT_FOR,
    )
    return kept


@asynccontextmanager
async def opened(
    account_id: int, source: Path | Sequence[str] | UUID, folder: Path
) -> AsyncIterator[Path | Sequence[str]]:
    """A list as the reader takes it; a kept file lies in `folder` meanwhile.

    Raises `NotFound` if it was not kept, or no longer is.
    """
    if not isinstance(source, UUID):
        yield source
        return
    row = await db.fetchrow(
        """
        SELECT content, is_file FROM kept_list
        WHERE id = $1 AND account_id = $2 AND expires_at > groupsms_now()
        """,
        source,
        account_id,
    )
    if row is None:
        raise NotFound(
            "There is no such upload (any more): one is kept for an hour. Upload the file again.",
            "recipients",
            "uploadId",
        )
    if not row["is_file"]:
        yield json.loads(row["content"])
        return
    with spool.new_file(folder) as file:
        await asyncio.to_thread(file.write, row["content"])
        await asyncio.to_thread(file.flush)
        yield Path(file.name)


async def forget_expired() -> None:
    """Drop lists whose hour is over."""
    await db.fetch("DELETE FROM kept_list WHERE expires_at <= groupsms_now()")
