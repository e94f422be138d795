"""The migrations, and whether the database they make is the one the code counts on."""

from __future__ import annotations

import asyncio
import importlib
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from enum import Enum
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import asyncpg
import pytest
from aerich import Command
from tortoise import Tortoise
from tortoise.fields.data import CharEnumFieldInstance
from tortoise.fields.relational import ForeignKeyFieldInstance
from tortoise.models import Model

import migrations
from domain import db, message_stores
from domain.engines import Engines
from domain.errors import DatabaseUnavailable
from domain.ports import ReceiptState
from domain.states import HANDOVER_STATES, ROW_REJECTIONS, SEND_RESULTS
from tests.integration.world import World, eventually

MIGRATE = "import asyncio, sys; from domain.db import migrate; print(len(asyncio.run(migrate(sys.argv[1]))))"
NAMES = sorted(
    (path.stem for path in Path(next(iter(migrations.__path__))).glob("models/[0-9]*_*.py")),
    key=lambda name: int(name.partition("_")[0]),
)


@pytest.fixture
async def empty_url(engines: Engines) -> AsyncIterator[str]:
    """The URL of a database nobody has migrated."""
    name = f"empty_{uuid4().hex}"
    server = await asyncpg.connect(engines.database_url)
    try:
        await server.execute(f"CREATE DATABASE {name}")
        yield re.sub(r"/[^/?]*(\?|$)", rf"/{name}\1", engines.database_url, count=1)
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await server.close()


def modules() -> list[ModuleType]:
    return [importlib.import_module(f"migrations.models.{name}") for name in NAMES]


def models() -> list[type[Model]]:
    return [model for model in Tortoise.apps["models"].values() if model.__module__ == "domain.models"]


async def relations(connection: asyncpg.Connection[asyncpg.Record]) -> set[str]:
    rows = await connection.fetch(
        """
        SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace
        """
    )
    return {row["relname"] for row in rows}


# --- running them -------------------------------------------------------------------------------


async def test_several_processes_migrate_at_once(empty_url: str) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", MIGRATE, empty_url, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(4)
    ]
    outputs = await asyncio.gather(*(process.communicate() for process in processes))
    assert [process.returncode for process in processes] == [0] * 4
    assert sorted(int(output) for output, _ in outputs) == [0, 0, 0, len(NAMES)]
    async with db.connected(empty_url):
        assert await db.pending_migrations() == []


async def test_what_is_pending_is_named(empty_url: str) -> None:
    async with db.connected(empty_url):
        assert await db.pending_migrations() == NAMES
    await db.migrate(empty_url)
    async with db.connected(empty_url):
        await db.fetch("DELETE FROM aerich WHERE version = $1", f"{NAMES[-1]}.py")
        assert await db.pending_migrations() == NAMES[-1:]


async def test_a_migration_that_fails_leaves_the_lock_free(empty_url: str) -> None:
    connection = await asyncpg.connect(empty_url)
    try:
        await connection.execute("CREATE TABLE task (id INT)")
        with pytest.raises(Exception, match="already exists"):
            await db.migrate(empty_url)
        assert await relations(connection) == {"task", "_task"}
        await connection.execute("DROP TABLE task")
    finally:
        await connection.close()
    assert len(await db.migrate(empty_url)) == len(NAMES)


async def test_a_migration_that_must_wait_for_a_table_keeps_nobody_from_it(empty_url: str) -> None:
    """A backup reads for hours; who wants the same table is not to stand behind the migration as long."""
    await db.migrate(empty_url)
    connection, backup = await asyncpg.connect(empty_url), await asyncpg.connect(empty_url)
    since_tokens = 7
    try:
        for module in reversed(modules()[since_tokens:]):
            await connection.execute(await module.downgrade(None))
        await connection.execute("DELETE FROM aerich WHERE version !~ '^[0-6]_'")
        async with backup.transaction():
            await backup.fetch("SELECT FROM access_token")
            migrating = asyncio.create_task(db.migrate(empty_url))
            await eventually(
                lambda: connection.fetchval(
                    """
                    SELECT EXISTS (
                        SELECT FROM pg_locks JOIN pg_database AS d ON d.oid = database
                        WHERE d.datname = current_database() AND relation = 'access_token'::regclass
                          AND NOT granted
                    )
                    """
                )
            )
            async with asyncio.timeout(10):
                await connection.fetch("SELECT FROM access_token")
            assert not migrating.done()
        assert await migrating == [f"{name}.py" for name in NAMES[since_tokens:]]
    finally:
        await connection.close()
        await backup.close()


async def test_migrating_again_changes_nothing(world: World, connected: str) -> None:
    task_id = await world.create(["13800138000", "nobody"], after=timedelta(hours=1))
    before = await db.fetch("SELECT * FROM task")
    await Tortoise.close_connections()
    assert await db.migrate(connected) == []
    async with db.connected(connected):
        assert await db.fetch("SELECT * FROM task") == before
        await world.check(task_id)


async def test_a_database_of_the_first_release_is_brought_up_with_its_data(empty_url: str) -> None:
    connection = await asyncpg.connect(empty_url)
    try:
        await connection.execute(await modules()[0].upgrade(None))
        await connection.execute(
            f"""
            INSERT INTO aerich (version, app, content) VALUES ('{NAMES[0]}.py', 'models', '{{}}');
            INSERT INTO account (name, time_zone, currency) VALUES ('Acme', 'Europe/Madrid', 'EUR');
            INSERT INTO application (account_id, name, region, gateway)
                VALUES (1, 'Abroad', 'INTERNATIONAL', 'default');
            INSERT INTO template (account_id, name, type, content, status)
                VALUES (1, 'Offer', 'PROMOTION', 'Half price', 'APPROVED');
            INSERT INTO task (account_id, application_id, template_id, name, status, region, gateway, sender,
                              text, encoding, segments_per_message, send_at, deadline_at, created_at,
                              imported, invalid, duplicates, change_seq)
                VALUES (1, 1, 1, 'Old', 'SENT', 'INTERNATIONAL', 'default', '', 'Half price', 'GSM_7', 1,
                        now(), now(), now(), 1, 0, 0, 5);
            INSERT INTO message (task_id, position, number, result, handover)
                VALUES (1, 1, 34600000001, 1, 1);
            INSERT INTO segment (task_id, position, index, number, gateway, submitted_at, result)
                VALUES (1, 1, 1, 34600000001, 'default', now(), 1);
            INSERT INTO message (task_id, position, number, result, handover, error_code)
                VALUES (1, 2, 34600000002, 3, 1, 'BLACK'), (1, 3, 34600000003, 3, 1, NULL);
            INSERT INTO task_counter (task_id, shard, unknown) VALUES (1, 0, 1);
            """
        )
    finally:
        await connection.close()
    assert len(await db.migrate(empty_url)) == len(NAMES) - 1
    async with db.connected(empty_url):
        row = await db.fetchrow("SELECT * FROM task")
        assert row is not None
        assert (row["name"], row["created_seq"], row["sms_type"], row["currency"]) == (
            "Old",
            5,
            "PROMOTION",
            "EUR",
        )
        assert await db.fetchval("SELECT count(*) FROM message JOIN segment USING (task_id, position)") == 1
        failures = await db.fetch("SELECT error_code, messages FROM task_failure ORDER BY 1")
        assert [tuple(failure) for failure in failures] == [("", 1), ("BLACK", 1)]
        usage = await db.fetch("SELECT period, messages, segments FROM sending_usage ORDER BY 1")
        assert [tuple(each) for each in usage] == [("DAY", 1, 1), ("MONTH", 1, 1)]
        # What was there is the first store; the next task comes into another, and the first can be dropped.
        world = await World.make("Another")
        await world.check(await world.sent(2))
        await db.fetch("UPDATE task SET messages_purged_at = groupsms_now() WHERE name = 'Old'")
        assert await message_stores.drop_unneeded() == 1
        assert await db.fetchval("SELECT count(*) FROM message") == 2


async def test_each_step_back_undoes_its_step_and_the_last_leaves_nothing(empty_url: str) -> None:
    connection = await asyncpg.connect(empty_url)
    try:
        stages = [await relations(connection)]
        columns = [await all_columns(connection)]
        for module in modules():
            await connection.execute(await module.upgrade(None))
            stages.append(await relations(connection))
            columns.append(await all_columns(connection))
        for module in reversed(modules()):
            stages.pop()
            columns.pop()
            await connection.execute(await module.downgrade(None))
            assert await relations(connection) == stages[-1]
            assert await all_columns(connection) == columns[-1]
        assert stages == [set()]
    finally:
        await connection.close()


async def test_no_such_database_is_said_as_such(engines: Engines) -> None:
    url = re.sub(r"/[^/?]*(\?|$)", r"/nowhere\1", engines.database_url, count=1)
    with pytest.raises(DatabaseUnavailable, match="nowhere"):
        async with db.connected(url):
            pass


# --- what they make -----------------------------------------------------------------------------


async def all_columns(connection: asyncpg.Connection[asyncpg.Record]) -> set[tuple[str, str]]:
    rows = await connection.fetch(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
    )
    return {(row["table_name"], row["column_name"]) for row in rows}


async def columns_of(table: str) -> dict[str, tuple[str, bool]]:
    rows = await db.fetch(
        """
        SELECT attname, format_type(atttypid, atttypmod) AS type, NOT attnotnull AS optional FROM pg_attribute
        WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped
        """,
        table,
    )
    return {row["attname"]: (row["type"], row["optional"]) for row in rows}


async def checks_of(table: str) -> list[str]:
    rows = await db.fetch(
        "SELECT pg_get_constraintdef(oid) AS definition FROM pg_constraint "
        "WHERE conrelid = $1::text::regclass AND contype = 'c'",
        table,
    )
    return [row["definition"] for row in rows]


async def test_every_model_has_its_columns(connected: str) -> None:
    assert {model._meta.db_table for model in models()} >= {"account", "task", "template", "signature"}
    for model in models():
        expected = {
            field.source_field or name: (
                field.get_for_dialect("postgres", "SQL_TYPE"),
                "" if field.null or field.pk else "NOT NULL",
            )
            for name, field in model._meta.fields_map.items()
            if field.has_db_field
        }
        declared = ", ".join(f"{name} {kind} {rest}" for name, (kind, rest) in expected.items())
        await db.fetch(f"CREATE TABLE expected ({declared}, PRIMARY KEY ({model._meta.db_pk_column}))")
        assert await columns_of(model._meta.db_table) == await columns_of("expected"), model
        await db.fetch("DROP TABLE expected")


async def test_every_enum_column_takes_just_its_enums_values(connected: str) -> None:
    checked = 0
    for model in models():
        checks = await checks_of(model._meta.db_table)
        for name, field in model._meta.fields_map.items():
            if isinstance(field, CharEnumFieldInstance):
                assert values_of(field.enum_type) in [
                    frozenset(re.findall(r"'(\w+)'", check)) for check in checks if f"({name})" in check
                ], (model, name)
                checked += 1
    assert checked >= 8


def values_of(enum: type[Enum]) -> frozenset[str]:
    return frozenset(member.value for member in enum)


@pytest.mark.parametrize(
    ("table", "column", "bounds"),
    [
        ("message", "result", (0, len(SEND_RESULTS) - 1)),
        ("message", "handover", (0, len(HANDOVER_STATES) - 1)),
        ("rejected_row", "reason", (0, len(ROW_REJECTIONS) - 1)),
        ("receipt_inbox", "state", (0, len(ReceiptState) - 1)),
        ("chunk", "state", (0, 2)),
        ("segment", "result", (1, 3)),
    ],
)
async def test_states_stored_as_positions_are_bounded(
    connected: str, table: str, column: str, bounds: tuple[int, int]
) -> None:
    least, most = bounds
    assert f"CHECK ((({column} >= {least}) AND ({column} <= {most})))" in await checks_of(table)


async def test_what_a_status_implies_is_held_by_the_database(world: World) -> None:
    await world.running(1)
    for statement in (
        "UPDATE task SET status = 'CANCELED'",
        "UPDATE task SET cancel_reason = 'USER'",
        "UPDATE chunk SET state = 1",
        "UPDATE chunk SET owner = gen_random_uuid(), lease_until = now()",
        "UPDATE chunk SET marked = last + 1",
        "UPDATE task SET imported = 0",
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            await db.fetch(statement)


async def test_models_indexes_and_references_exist(connected: str) -> None:
    for model in models():
        table = model._meta.db_table
        rows = await db.fetch("SELECT indexdef FROM pg_indexes WHERE tablename = $1", table)
        found = {re.sub(r".*USING btree \((.*?)\).*", r"\1", row["indexdef"]) for row in rows}
        for index in model._meta.indexes:
            assert ", ".join(index.fields if hasattr(index, "fields") else index) in found, (model, index)
        unique = {
            re.sub(r".*USING btree \((.*?)\).*", r"\1", row["indexdef"])
            for row in rows
            if "UNIQUE" in row["indexdef"]
        }
        for names in model._meta.unique_together:
            assert ", ".join(model._meta.fields_db_projection.get(n, f"{n}_id") for n in names) in unique
        for name, field in model._meta.fields_map.items():
            if field.unique and not field.pk:
                assert name in unique
            if isinstance(field, ForeignKeyFieldInstance):
                assert (f"{name}_id", str(field.on_delete)) in await references_of(table), (model, name)


async def references_of(table: str) -> Iterable[tuple[str, str]]:
    rows = await db.fetch(
        "SELECT pg_get_constraintdef(oid) AS definition FROM pg_constraint "
        "WHERE conrelid = $1::text::regclass AND contype = 'f'",
        table,
    )
    pattern = re.compile(r"FOREIGN KEY \((\w+)\) REFERENCES .* ON DELETE (.*)")
    return [(found[1], found[2]) for row in rows if (found := pattern.match(row["definition"]))]


async def test_the_migrations_know_of_every_change_of_the_models(connected: str, tmp_path: Path) -> None:
    copy = tmp_path / "migrations"
    shutil.copytree(next(iter(migrations.__path__)), copy)
    command = Command(tortoise_config=db.tortoise_config(connected), app="models", location=str(copy))
    await command.init()
    assert await command.migrate("missing", no_input=True) == "", "a migration is missing: run aerich migrate"
