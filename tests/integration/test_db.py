"""The pool under a server that ends connections."""

from __future__ import annotations

import subprocess
import sys

import pytest

from domain import db
from domain.errors import DatabaseUnavailable
from domain.models import Account

TERMINATE = """
import asyncio, sys, asyncpg
async def main():
    connection = await asyncpg.connect(sys.argv[1])
    await connection.execute("SELECT pg_terminate_backend($1, 5000)", int(sys.argv[2]))
    await connection.close()
asyncio.run(main())
"""


async def test_a_transaction_that_could_not_begin_leaves_the_task_able_to_go_on(database_url: str) -> None:
    """The server ends the pooled connection unnoticed: this process is kept from its event loop meanwhile."""
    async with db.connected(database_url, pool_size=1):
        for _ in range(3):
            pid = await db.fetchval("SELECT pg_backend_pid()")
            subprocess.run([sys.executable, "-c", TERMINATE, database_url, str(pid)], check=True)  # noqa: ASYNC221
            with pytest.raises(db.UNAVAILABLE):
                async with db.transaction():
                    pass
            async with db.transaction() as conn:
                assert await conn.fetchval("SELECT 1") == 1
                assert await Account.all().count() == 0


async def test_models_take_part_and_an_inner_transaction_is_a_savepoint(connected: str) -> None:
    async def failing() -> None:
        async with db.transaction():
            await Account.create(name="inner")
            raise KeyError

    async def failing_around() -> None:
        async with db.transaction():
            await Account.create(name="outer")
            with pytest.raises(KeyError):
                await failing()
            assert [account.name for account in await Account.all()] == ["outer"]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing_around()
    assert await Account.all().count() == 0


@pytest.mark.parametrize(
    "query", ["sslmode=bogus", "nonsense=1", "port=many", "sslmode=verify-full&sslrootcert=/no/such/file"]
)
async def test_a_url_that_cannot_be_used_is_one_clear_line(query: str) -> None:
    with pytest.raises(DatabaseUnavailable) as refused:
        async with db.connected(f"postgresql://user:secret@127.0.0.1:1/name?{query}"):
            pass
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)
