"""Where messages and rejected rows are kept: in stores, each a pair of tables that is dropped whole.

The tables `message` and `rejected_row` are partitioned by the task's id. A store is a range of ids: a large
task has one of its own, the others share one until that is a day old, or full. So its numbers go at one
stroke, however many they are, and a statement that names its task reads and writes two small tables, however
many messages there are in all.

A new store's tables are made, filled, and only then made part of the whole by the import itself: nobody waits
for it. A store is taken apart once none of its tasks is kept any more, without a lock that others would feel.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from domain import db
from domain.db import Connection
from domain.partitions import detach

TASKS = 10_000
"""Ids of tasks that belong to a store."""
OWN_FROM = 100_000
"""Numbers from which a task has a store of its own."""
FULL = 256 * 1024 * 1024
"""Octets of messages (some two million) after which a shared store takes in no further tasks."""
OPEN_FOR = timedelta(days=1)
"""How long a shared store takes in tasks: those of about one age go together."""
ROWS_AT_ONCE = 10_000
"""Rows that are removed in one transaction, where a store is not dropped whole."""
_TABLES = {"message": "position", "rejected_row": "row"}
"""With what tells the rows of a task apart."""
# A page's messages are updated at one stroke: for all to stay on it (HOT) as much must be free as is taken.
# Then the key doesn't grow with each update, and the table ends up smaller than if it was filled to 75.
_FILL = {"message": " WITH (fillfactor = 50)", "rejected_row": ""}
_LOCK = 4_710_234
"""Key of the advisory lock that lets only one process detach at a time, for a table allows no more."""


@dataclass(frozen=True, slots=True)
class Store:
    """Where the messages of a task that is being imported go."""

    number: int
    is_new: bool
    """Made in this transaction: to be attached at its end."""

    @property
    def messages(self) -> str:
        """The table of its messages."""
        return f"message_{self.number}"

    @property
    def rejected_rows(self) -> str:
        """The table of its rejected rows."""
        return f"rejected_row_{self.number}"


async def own_store() -> int:
    """The number of a store for one large task; to be drawn before its transaction begins."""
    number: int = await db.fetchval("SELECT groupsms_own_store($1)", TASKS)
    return number


async def admit(conn: Connection, own: int | None = None) -> tuple[int, Store]:
    """An id for a new task, and its store, which stays at least until the transaction's end.

    `own` is the number of a store for it alone.
    """
    if own is not None and await _make(conn, own, shared=False):
        return own * TASKS + 1, Store(own, is_new=True)
    while True:
        row = await conn.fetchrow(
            """
            WITH drawn AS MATERIALIZED (SELECT nextval('task_id_seq') AS id)
            SELECT drawn.id, store.number
            FROM drawn LEFT JOIN LATERAL (
                SELECT number FROM message_store
                WHERE number = drawn.id / $1 AND shared AND dropping_at IS NULL FOR KEY SHARE
            ) AS store ON TRUE
            """,
            TASKS,
        )
        assert row is not None, "a sequence always gives a number"
        if row["number"] is not None:
            return row["id"], Store(row["number"], is_new=False)
        if await _make(conn, row["id"] // TASKS, shared=True):
            return row["id"], Store(row["id"] // TASKS, is_new=True)
        # Somebody else has just made it, or it is another's own: the next id may be of one that is open.


async def _make(conn: Connection, number: int, *, shared: bool) -> bool:
    """Make a store's tables, not yet part of the whole; returns False if there is such a store."""
    first, end = number * TASKS, (number + 1) * TASKS
    made = await conn.fetchval(
        """
        INSERT INTO message_store (number, first_task, end_task, shared) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING RETURNING number
        """,
        number,
        first,
        end,
        shared,
    )
    if made is None:
        return False
    for table in _TABLES:
        # The check lets it be attached without being read.
        await conn.execute(
            f"""
            CREATE TABLE {table}_{number} (
                LIKE {table} INCLUDING ALL,
                CONSTRAINT of_store CHECK (task_id >= {first} AND task_id < {end})
            ){_FILL[table]}
            """
        )
    return True


async def attach(conn: Connection, store: Store) -> None:
    """Make a new store part of the whole, once it is filled.

    Imports that do this wait for each other until their commits, nobody else does.
    """
    first, end = store.number * TASKS, (store.number + 1) * TASKS
    for table in _TABLES:
        part = f"{table}_{store.number}"
        await conn.execute(
            f"ALTER TABLE {table} ATTACH PARTITION {part} FOR VALUES FROM ({first}) TO ({end});"
            f"ALTER TABLE {part} DROP CONSTRAINT of_store"
        )


async def close_if_full(store: Store) -> None:
    """Let no further tasks come to a store that is large."""
    if await db.fetchval("SELECT pg_relation_size(to_regclass($1)) >= $2", store.messages, FULL):
        await db.fetch("SELECT groupsms_close_store($1, $2)", store.number, TASKS)


async def close_old() -> None:
    """Let no further tasks come to a shared store that is a day old."""
    await db.fetch(
        """
        SELECT groupsms_close_store(number, $1) FROM message_store CROSS JOIN task_id_seq
        WHERE number = last_value / $1 AND opened_at < groupsms_now() - $2::interval
        """,
        TASKS,
        OPEN_FOR,
    )


async def drop_unneeded() -> int:
    """Drop the stores none of whose tasks is kept; returns how many.

    One process does at a time; for any other there is nothing to do meanwhile. It may die at any point: the
    next one goes on.
    """
    async with db.connection() as conn:
        if not await conn.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            return 0
        try:
            unneeded = await conn.fetch(f"SELECT number FROM message_store WHERE {_UNNEEDED}")
            return sum([await _drop(conn, row["number"]) for row in unneeded])
        finally:
            await conn.execute("SELECT pg_advisory_unlock($1)", _LOCK)


# The id drawn last is at the end of what is closed, at least.
_UNNEEDED = """
    (dropping_at IS NOT NULL
     OR (end_task <= (SELECT last_value FROM task_id_seq)
         AND NOT EXISTS (
             SELECT FROM task WHERE id >= first_task AND id < end_task AND messages_purged_at IS NULL
         )))
"""


async def deleted_among_kept() -> list[int]:
    """Deleted tasks whose rows have to be removed one by one, for others share their store."""
    rows = await db.fetch(
        f"""
        SELECT task_id FROM task_tombstone
        WHERE emptied_at IS NULL AND NOT EXISTS (
            SELECT FROM message_store WHERE task_id >= first_task AND task_id < end_task AND {_UNNEEDED}
        )
        """
    )
    return [row["task_id"] for row in rows]


async def purged_among_kept(since: timedelta) -> list[int]:
    """Tasks purged that long ago whose rows are still there, for others share their store."""
    rows = await db.fetch(
        f"""
        SELECT task.id FROM message_store JOIN task ON task.id >= first_task AND task.id < end_task
        WHERE shared AND NOT {_UNNEEDED} AND messages_purged_at < groupsms_now() - $1::interval
        """,
        since,
    )
    return [row["id"] for row in rows]


async def remove_rows(task_id: int) -> None:
    """Remove a task's messages and rejected rows, some at a time."""
    for table, key in _TABLES.items():
        while await db.fetchval(
            f"""
            WITH batch AS (
                DELETE FROM {table} WHERE task_id = $1 AND {key} IN (
                    SELECT {key} FROM {table} WHERE task_id = $1 ORDER BY {key} LIMIT $2
                    FOR UPDATE SKIP LOCKED
                ) RETURNING 1
            ) SELECT count(*) > 0 FROM batch
            """,
            task_id,
            ROWS_AT_ONCE,
        ):
            continue


async def _drop(conn: Connection, number: int) -> bool:
    if not await _condemn(conn, number):
        return False
    for table in _TABLES:
        await detach(conn, table, f"{table}_{number}")
    async with conn.transaction():
        for table in _TABLES:
            await conn.execute(f"DROP TABLE IF EXISTS {table}_{number}")
        await conn.execute(
            """
            WITH dropped AS (
                DELETE FROM message_store WHERE number = $1 RETURNING first_task, end_task
            )
            UPDATE task_tombstone SET emptied_at = groupsms_now()
            FROM dropped WHERE task_id >= first_task AND task_id < end_task AND emptied_at IS NULL
            """,
            number,
        )
    return True


async def _condemn(conn: Connection, number: int) -> bool:
    """Let nobody import into a store any more, unless somebody is, or one of its tasks is kept."""
    async with conn.transaction():
        # An import holds it until its task can be seen: so look for tasks once it is locked.
        if not await conn.fetch("SELECT FROM message_store WHERE number = $1 FOR UPDATE SKIP LOCKED", number):
            return False
        condemned = await conn.fetch(
            f"""
            UPDATE message_store SET dropping_at = coalesce(dropping_at, groupsms_now())
            WHERE number = $1 AND {_UNNEEDED} RETURNING number
            """,
            number,
        )
    return bool(condemned)
