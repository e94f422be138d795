"""The way to PostgreSQL: one pool a process, used by the Tortoise models and by set-wise SQL alike."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import structlog
from aerich import Command
from asyncpg.pool import PoolConnectionProxy
from tortoise import Tortoise
from tortoise.backends.asyncpg.client import AsyncpgDBClient, TransactionWrapper
from tortoise.connection import get_connections
from tortoise.exceptions import ConfigurationError

import migrations
from domain.errors import DatabaseUnavailable

log = structlog.get_logger()

T = TypeVar("T")

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

POOL_SIZE = 16
UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # asyncpg meets the farewell of a server that closed an idle connection
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
"""What a statement may raise although nothing is wrong with it: worth trying again a little later."""
LOOK_AGAIN = 0.5
"""Seconds between two tries to read from a database that is away."""
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
MIGRATION_LOCK = 4_710_231
"""Key of the advisory lock that lets only one process migrate at a time."""
MIGRATION_WAITS = 500
"""Milliseconds a migration may wait for a table. Whoever wants that table waits behind it: long reads, such
as those of a backup, would bring the service to a stand. Less than PostgreSQL's deadlock_timeout of a
second, so that of a worker and a migration that wait for each other the migration gives way."""
MIGRATION_TRIES_AGAIN = 2.0
"""Seconds until it tries again."""


def tortoise_config(
    database_url: str, pool_size: int = POOL_SIZE, lock_timeout: int | None = None
) -> dict[str, Any]:
    """Tortoise's configuration for a `postgres://user:password@host:port/name` URL.

    A Unix socket is given as `?host=/directory`, TLS as `?sslmode=`, with `sslrootcert=` for one's own CA.
    `lock_timeout` is how many milliseconds a statement may wait for a lock (None: as the server says).
    Raises ValueError or OSError for a URL that cannot be used.
    """
    url = urlsplit(database_url)
    query = {key: values[-1] for key, values in parse_qs(url.query, strict_parsing=bool(url.query)).items()}
    credentials: dict[str, Any] = {
        "host": query.pop("host", None) or url.hostname or "localhost",
        "port": int(query.pop("port", None) or url.port or 5432),
        "user": unquote(url.username or "postgres"),
        "password": unquote(url.password) if url.password else None,
        "database": unquote(url.path.lstrip("/")) or "postgres",
        "minsize": 1,
        "maxsize": pool_size,
        "server_settings": {"timezone": "UTC", "application_name": "groupsms"},
        "init": _plan_for_the_arguments,
        "reset": _as_it_is,
        # Preparing a statement takes two more round trips.
        "max_cached_statement_lifetime": 0,
    }
    if lock_timeout is not None:
        credentials["server_settings"]["lock_timeout"] = str(lock_timeout)
    mode, certificate = query.pop("sslmode", None), query.pop("sslrootcert", None)
    if mode is not None:
        credentials["ssl"] = _tls(mode, certificate)
    if query:
        raise ValueError(f"the parameter {min(query)} is not known; host, port, sslmode and sslrootcert are")
    return {
        "connections": {
            "default": {"engine": "tortoise.backends.asyncpg", "credentials": credentials},
        },
        "apps": {
            "models": {"models": ["domain.models", "aerich.models"], "default_connection": "default"},
        },
        "use_tz": True,
        "timezone": "UTC",
    }


async def _plan_for_the_arguments(conn: Connection) -> None:
    """Have every statement planned for its arguments, so that it knows the one store that it is about.

    From the sixth time on PostgreSQL would also make a plan for any arguments, for which it locks every store
    there is, and all their indexes: with thousands of them that takes seconds, and a few connections at once
    run the server out of memory for locks.
    """
    await conn.execute("SET plan_cache_mode = force_custom_plan")


async def _as_it_is(_: Connection) -> None:
    """Reset nothing more on a connection that comes back to the pool; asyncpg has rolled back what was open.

    By default every statement is followed by another that undoes changes of the session. Ours stay, but
    for locks, which are given back, or are the migrations', which no pool outlives.
    """


def _tls(mode: str, certificate: str | None) -> str | ssl.SSLContext:
    if mode not in _SSL_MODES:
        raise ValueError(f"sslmode is one of {', '.join(_SSL_MODES)}")
    if mode not in {"verify-ca", "verify-full"}:
        return mode
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = mode == "verify-full"
    return context


@asynccontextmanager
async def connected(
    database_url: str, pool_size: int = POOL_SIZE, lock_timeout: int | None = None
) -> AsyncIterator[None]:
    """Keep the process's pool open.

    Raises `DatabaseUnavailable` if no connection can be made at the start.
    """
    try:
        config = tortoise_config(database_url, pool_size, lock_timeout)
    except (ValueError, OSError) as error:
        raise DatabaseUnavailable(f"cannot use the database's URL: {error}") from error
    await Tortoise.init(config=config, _enable_global_fallback=True)
    try:
        try:
            await fetchval("SELECT 1")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise DatabaseUnavailable(f"cannot connect to PostgreSQL: {error}") from error
        yield
    finally:
        await Tortoise.close_connections()


def _client() -> AsyncpgDBClient:
    return cast("AsyncpgDBClient", Tortoise.get_connection("default"))


class PoolUse(NamedTuple):
    """How many connections of the process's pool do what."""

    idle: int
    used: int
    limit: int


def pool_use() -> PoolUse | None:
    """What the pool's connections do at the moment; None while there is no pool."""
    if not Tortoise.is_inited():
        return None
    try:
        pool = _client()._pool  # noqa: SLF001 - there is no other way to it
    except ConfigurationError:  # it was closed
        return None
    if pool is None:
        return None
    idle = pool.get_idle_size()
    return PoolUse(idle, pool.get_size() - idle, pool.get_max_size())


@asynccontextmanager
async def connection() -> AsyncIterator[Connection]:
    """A connection of the pool, outside any transaction."""
    async with _client().acquire_connection() as conn:
        yield conn


@asynccontextmanager
async def transaction() -> AsyncIterator[Connection]:
    """A transaction; model calls inside it take part, and one inside another is a savepoint.

    No tasks may be spawned inside. Not Tortoise's own: when its BEGIN fails, the task that asked for it is
    left with a dead connection for ever.
    """
    client = _client()
    if isinstance(client, TransactionWrapper):
        async with client._connection.transaction():  # noqa: SLF001 - COPY and RETURNING need asyncpg itself
            yield client._connection  # noqa: SLF001
        return
    async with client.acquire_connection() as conn, conn.transaction():
        wrapper = TransactionWrapper(client)
        wrapper._connection = conn  # noqa: SLF001
        token = get_connections().set("default", wrapper)
        try:
            yield conn
        finally:
            get_connections().reset(token)


async def fetch(sql: str, *args: object) -> list[asyncpg.Record]:
    """The rows of one statement, in a transaction of its own."""
    async with connection() as conn:
        return await conn.fetch(sql, *args)


async def fetchrow(sql: str, *args: object) -> asyncpg.Record | None:
    """The first row of one statement, or None."""
    async with connection() as conn:
        return await conn.fetchrow(sql, *args)


async def fetchval(sql: str, *args: object) -> Any:
    """The first column of the first row, or None."""
    async with connection() as conn:
        return await conn.fetchval(sql, *args)


async def patiently(read: Callable[[], Awaitable[T]]) -> T:
    """What `read` returns, tried again for as long as the database is away; it is to change nothing."""
    while True:
        try:
            return await read()
        except UNAVAILABLE:
            await asyncio.sleep(LOOK_AGAIN)


def can_hold(text: str) -> bool:
    """Whether PostgreSQL can store a text: one without NUL and without half a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


async def migrate(database_url: str) -> list[str]:
    """Bring the database up to the newest migration; returns the names of those applied.

    Safe to run from many processes at once: an advisory lock lets one at a time through. While others use a
    table that a migration must have for itself, it is tried again, for as long as that takes.
    """
    async with connected(database_url, 2, MIGRATION_WAITS), connection() as lock:
        await lock.execute("SET lock_timeout = 0")
        await lock.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
        try:
            pending = await pending_migrations()
            command = _aerich(tortoise_config(database_url, 2, MIGRATION_WAITS))
            await command.init()
            await _upgrade(command)
            return [f"{name}.py" for name in pending]
        finally:
            await lock.execute("SELECT pg_advisory_unlock($1)", MIGRATION_LOCK)


async def _upgrade(command: Command) -> None:
    # Each migration is a transaction: what was done stays, and what gave way begins anew.
    while True:
        try:
            await command.upgrade(run_in_transaction=True)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            log.warning("migration_waits", reason=str(error).partition("\n")[0])
            await asyncio.sleep(MIGRATION_TRIES_AGAIN)
        else:
            return


async def pending_migrations() -> list[str]:
    """The names of the migrations this database has not seen, oldest first; needs `connected`."""
    files = (_migrations_folder() / "models").glob("[0-9]*_*.py")
    names = sorted((path.stem for path in files), key=lambda name: int(name.partition("_")[0]))
    if not await fetchval("SELECT to_regclass('aerich')"):
        return names
    applied = {row["version"].removesuffix(".py") for row in await fetch("SELECT version FROM aerich")}
    return [name for name in names if name not in applied]


def _migrations_folder() -> Path:
    return Path(next(iter(migrations.__path__)))


def _aerich(config: dict[str, Any]) -> Command:
    return Command(tortoise_config=config, app="models", location=str(_migrations_folder()))


TORTOISE = tortoise_config("postgres://postgres@localhost/groupsms")
"""For the aerich command line, which only needs the models."""
