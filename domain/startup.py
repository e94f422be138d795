"""What every process of the service does first: settings, logging, engines, and a database that fits."""

import asyncio
import io
import logging
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import NamedTuple, TextIO

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import ExcInfo

from domain import db
from domain.engines import EngineError, acquire
from domain.engines.layout import Kind
from domain.errors import DatabaseUnavailable
from domain.masking import mask_event, masked
from domain.settings import Settings, SettingsError, load_settings, redacted
from domain.tracing import TracingError, add_trace_id

WRONG_SETTING = 2
"""Exit code: a setting is wrong, trying again won't help."""

FAILED = 1
"""Exit code: the world is not as it should be: a port in use, a database that can't be reached."""

CUT_SHORT = 3
"""Exit code: asked to stop, the process could not end all it had begun in the time it has for that.

A worker's messages under way become UNKNOWN, in doubt, when its leases run out; the API's requests under way
were cut off, and their clients know no more than that.
"""

INTERRUPTED = 130
"""Exit code: Ctrl-C, as shells count it."""


class StartupError(Exception):
    """The service can't start. The text is one line for whoever starts it."""


class StopSignal:
    """SIGTERM and SIGINT, heeded from the first moment of a process to its last.

    Until it is `ready`, one of them cancels the task that made this object; later it sets `asked`, for the
    process to end in good order. More of them change nothing: process managers send several without meaning
    more, and nothing good comes of haste.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._starting = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask)

    def ready(self) -> None:
        """There is something to end in good order from now on."""
        self._starting = None

    def _ask(self) -> None:
        if not self.asked.is_set():
            self.asked.set()
            if self._starting is not None:
                self._starting.cancel()


async def stoppable(main: Callable[[StopSignal], Awaitable[int]]) -> int:
    """Run a process that ends when asked; its exit code, which is 0 if it had not even started by then."""
    stop = StopSignal()
    try:
        return await main(stop)
    except asyncio.CancelledError:
        if not stop.asked.is_set():
            raise
        structlog.get_logger().info("stopped_while_starting")
        return 0


class Urls(NamedTuple):
    """Where this process finds its PostgreSQL and its Redis or Valkey."""

    database_url: str
    redis_url: str


@asynccontextmanager
async def service(settings: Settings) -> AsyncIterator[Urls]:
    """Hold the engines for the length of a process, with the database migrated.

    Embedded, the database is migrated here, however many processes start at once. A database of the
    operator's own is never changed by the way: if it is behind, `StartupError` says so. Raises
    `EngineError` when embedded engines don't start.
    """
    async with database(settings) as database_url:
        held = await asyncio.to_thread(acquire, settings, [Kind.VALKEY])
        try:
            yield Urls(database_url, held.redis_url)
        finally:
            await asyncio.to_thread(held.close)


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[str]:
    """`service` for what needs no Valkey: the URL of the migrated database."""
    held = await asyncio.to_thread(acquire, settings, [Kind.POSTGRESQL])
    try:
        if settings.database_url is None:
            await db.migrate(held.database_url)
        else:
            await _refuse_outdated(held.database_url)
        yield held.database_url
    finally:
        await asyncio.to_thread(held.close)


async def _refuse_outdated(database_url: str) -> None:
    try:
        async with db.connected(database_url, pool_size=1):
            pending = await db.pending_migrations()
    except DatabaseUnavailable as error:
        raise StartupError(unreachable(database_url, error)) from error
    if pending:
        raise StartupError(f"the database lacks the migrations {', '.join(pending)}: run `groupsms migrate`")


def unreachable(database_url: str, error: DatabaseUnavailable) -> str:
    """One line that says which database can't be reached and why, without its password."""
    reason = " ".join(str(error.__cause__ or error).split())
    return f"cannot connect to {redacted(database_url)} (GROUPSMS_DATABASE_URL): {reason}"


def run(main: Callable[[Settings], Coroutine[object, object, int]], *expected: type[Exception]) -> int:
    """`guarded` for a process that lives in an event loop."""
    return guarded(lambda settings: asyncio.run(main(settings)), *expected)


def guarded(main: Callable[[Settings], int], *expected: type[Exception]) -> int:
    """Run a process of the service, with settings read and logging set up, to its end; its exit code.

    A wrong setting, an engine that doesn't start, and the exceptions `expected` by the caller become
    one line on stderr. Any other exception is a defect and keeps its traceback.
    """
    ours = (StartupError, EngineError, DatabaseUnavailable, TracingError)
    failures: tuple[type[Exception], ...] = (*ours, *expected)
    try:
        settings = load_settings()
        configure_logging(settings.log_level)
        sys.excepthook = _masked_excepthook
        return main(settings)
    except SettingsError as error:
        return _give_up(error, WRONG_SETTING)
    except failures as error:
        return _give_up(error, FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED


def _give_up(error: Exception, code: int) -> int:
    sys.stderr.write(f"groupsms: {' '.join(str(error).split())}\n")
    return code


# Without the local variables, for tokens and numbers are among them.
_TRACEBACKS = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))


def _masked_traceback(to: TextIO, error: ExcInfo) -> None:
    text = io.StringIO()
    structlog.dev.plain_traceback(text, error)
    to.write(masked(text.getvalue()))


def _masked_excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(masked("".join(traceback.format_exception(kind, error, trace))))


def configure_logging(level: str) -> None:
    """Log to stderr from `level` on: readable on a terminal, else a JSON object a line.

    Libraries speak from WARNING on only, unless everything is asked for.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    terminal = sys.stderr.isatty()
    entry: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        add_trace_id,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering: list[structlog.typing.Processor] = (
        [
            mask_event,
            structlog.dev.ConsoleRenderer(exception_formatter=_masked_traceback),
        ]
        if terminal
        else [_TRACEBACKS, mask_event, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=entry,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.basicConfig(
        handlers=[handler], level=number if number <= logging.DEBUG else logging.WARNING, force=True
    )
    ours = logging.getLogger("groupsms")
    ours.setLevel(number)
    structlog.configure(
        processors=[*entry, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=lambda *_: ours,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=False,
    )
