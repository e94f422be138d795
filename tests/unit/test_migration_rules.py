"""The rules of `.deploy/operations.md` for migrations, as far as the text of a migration shows them."""

from __future__ import annotations

import asyncio
import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest
from tortoise import BaseDBAsyncClient

import migrations

RELEASED = 6
"""The newest migration of the release before: what came until then is as it is."""
FORBIDDEN = {
    r"\bALTER\s+(COLUMN\s+)?\w+\s+(SET\s+DATA\s+)?TYPE\b": "rewrites the table: add a column",
    r"\bSET\s+NOT\s+NULL\b": "scans the table under a lock: add a CHECK that is NOT VALID",
    r"\bDROP\s+COLUMN\b": "the version before still reads it: drop it a release later",
    r"\bRENAME\s+(COLUMN|TO)\b": "the version before knows the old name: add, and drop a release later",
    r"\bVACUUM\s+FULL\b|\bCLUSTER\b": "rewrites the table",
    r"\bADD\s+(COLUMN\s+)?(?!CONSTRAINT)\w+[^;,]*\bDEFAULT\s+(random|gen_random_uuid|clock_timestamp)\b": (
        "a volatile default rewrites the table"
    ),
    r"\bADD\s+(COLUMN\s+)?(?!CONSTRAINT)\w+\s+(?![^;,]*\bDEFAULT\b)[^;,]*\bNOT\s+NULL\b": (
        "the version before writes no value for it: give it a default"
    ),
}
EXCEPTIONS = {
    (8, "RENAME TO"): "a partitioned table takes the old one in, under its old name, in the same transaction",
}
"""By number of migration and words found, with the reason why it does no harm."""


def numbered() -> list[tuple[int, ModuleType]]:
    names = (path.stem for path in Path(next(iter(migrations.__path__))).glob("models/[0-9]*_*.py"))
    found = [
        (int(name.partition("_")[0]), importlib.import_module(f"migrations.models.{name}")) for name in names
    ]
    return sorted(found, key=lambda each: each[0])


def forbidden_in(sql: str) -> list[tuple[str, str]]:
    """What of a migration's statements is against the rules: the words, and why."""
    bare = re.sub(r"--[^\n]*", "", sql)
    return [
        (" ".join(match[0].upper().split()), why)
        for pattern, why in FORBIDDEN.items()
        for match in re.finditer(pattern, bare, re.IGNORECASE)
    ]


@pytest.mark.parametrize(("number", "module"), [each for each in numbered() if each[0] > RELEASED])
def test_a_migration_leaves_the_version_before_at_work(number: int, module: ModuleType) -> None:
    sql = asyncio.run(module.upgrade(cast("BaseDBAsyncClient", None)))
    against = [(word, why) for word, why in forbidden_in(sql) if (number, word) not in EXCEPTIONS]
    assert not against


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE task ALTER COLUMN name TYPE text",
        "ALTER TABLE task ALTER name SET NOT NULL",
        "ALTER TABLE task DROP COLUMN name",
        "ALTER TABLE task RENAME COLUMN name TO title",
        "ALTER TABLE task RENAME TO job",
        "ALTER TABLE task ADD key uuid DEFAULT gen_random_uuid()",
        "ALTER TABLE task ADD COLUMN size INT NOT NULL",
    ],
)
def test_what_is_forbidden_is_found(statement: str) -> None:
    assert forbidden_in(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE task ADD COLUMN size INT NOT NULL DEFAULT 0",
        "ALTER TABLE task ADD size INT, ADD colour TEXT",
        "CREATE TABLE job (id BIGSERIAL NOT NULL PRIMARY KEY)",
        "ALTER TABLE task ADD CONSTRAINT sane CHECK (size > 0) NOT VALID",
    ],
)
def test_what_is_allowed_is_not(statement: str) -> None:
    assert not forbidden_in(statement)
