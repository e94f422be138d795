"""The side of those who use the embedded engines: hold a lock, see that a keeper runs, wait for it."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

import structlog

from domain.engines.account import NoAccountError, engines_account
from domain.engines.layout import EngineError, EngineState, Kind, Layout, Status, prepare
from domain.engines.locks import try_exclusive, try_shared
from domain.settings import PREFIX, Settings

WAIT_SECONDS = 90.0
"""How long a user waits for its engines: longer than a start after a crash may take."""

WATCH_SECONDS = 0.5
"""How often a user looks whether there still is a keeper."""

MOST_KEEPERS = 3
"""How many keepers a user starts before it believes that none will stay."""

_POLL_SECONDS = 0.03
_LOG_BYTES = 1024 * 1024

log = structlog.get_logger()


class Engines:
    """Where the engines of a process are, and the process's hold on the embedded ones among them."""

    def __init__(self, urls: Mapping[Kind, str], hold: "_Hold | None") -> None:
        self._urls = urls
        self._hold = hold

    @property
    def database_url(self) -> str:
        """Where PostgreSQL is."""
        return self._urls[Kind.POSTGRESQL]

    @property
    def redis_url(self) -> str:
        """Where Valkey, or the operator's Redis, is."""
        return self._urls[Kind.VALKEY]

    def close(self) -> None:
        """Let go of the embedded engines; without users they are stopped some seconds later."""
        if self._hold is not None:
            self._hold.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def acquire(settings: Settings, kinds: Collection[Kind] = tuple(Kind)) -> Engines:
    """Get hold of PostgreSQL and Valkey, or of one of them: those in the settings, else embedded ones.

    Blocks until they answer, for less than a second mostly. The hold lasts until `close` or the end
    of this process, and has a thread that replaces a keeper who was killed. Raises `EngineError`.
    """
    urls = {Kind.POSTGRESQL: settings.database_url, Kind.VALKEY: settings.redis_url}
    given = {kind: url for kind, url in urls.items() if kind in kinds and url is not None}
    needed = frozenset(kinds) - given.keys()
    if not needed:
        return Engines(given, None)
    hold = _Hold(settings.data_dir, needed)
    return Engines(given | hold.take(), hold)


@contextmanager
def engines(settings: Settings) -> Iterator[Engines]:
    """`acquire` for the length of a block."""
    with acquire(settings) as held:
        yield held


def wait_until_stopped(settings: Settings, seconds: float) -> bool:
    """Wait for the embedded engines, which nobody here uses any more, to have stopped.

    Returns False at once if another process still uses them, or if they have not stopped in so many seconds.
    """
    layout = Layout(settings.data_dir / "engines")
    if not layout.keeper_lock.exists():
        return True
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        lock = try_exclusive(layout.keeper_lock)
        if lock is not None:
            os.close(lock)
            return True
        if any(_in_use(layout.users_lock(kind)) for kind in Kind):
            return False
        time.sleep(_POLL_SECONDS)
    return False


def _in_use(users_lock: Path) -> bool:
    for attempt in (try_shared, try_exclusive):
        lock = attempt(users_lock)
        if lock is None:
            # Nobody can share it: the keeper has it. Nobody can have it alone: others share it.
            return attempt is try_exclusive
        os.close(lock)
    return False


class _Hold:
    """A process's locks on the engines it needs, and the thread that sees to their keeper."""

    def __init__(self, data_dir: Path, kinds: frozenset[Kind]) -> None:
        self._data_dir = data_dir
        self._kinds = kinds
        self._locks: list[int] = []
        self._released = threading.Event()
        self._watch = threading.Thread(target=self._see_to_keeper, name="engines", daemon=True)
        try:
            self._layout = prepare(data_dir, engines_account())
        except NoAccountError as error:
            raise EngineError(str(error)) from error

    def take(self) -> dict[Kind, str]:
        """Lock, and wait until every engine needed answers; their URLs."""
        deadline = time.monotonic() + WAIT_SECONDS
        try:
            for kind in sorted(self._kinds):
                self._locks.append(self._shared(kind, deadline))
            urls = self._wait(deadline)
        except BaseException:
            self.release()
            raise
        self._watch.start()
        return urls

    def release(self) -> None:
        """Free the locks; may be called twice."""
        self._released.set()
        if self._watch.is_alive():
            self._watch.join()
        while self._locks:
            os.close(self._locks.pop())

    def _shared(self, kind: Kind, deadline: float) -> int:
        path = self._layout.users_lock(kind)
        while True:
            try:
                lock = try_shared(path)
            except OSError as error:
                raise EngineError(f"cannot lock {path}: {error.strerror}") from error
            if lock is not None:
                return lock
            if time.monotonic() > deadline:
                raise EngineError(f"{path} stays locked by another process")
            time.sleep(_POLL_SECONDS)  # the keeper is looking, or just noting that it stops

    def _wait(self, deadline: float) -> dict[Kind, str]:
        began = time.time()
        started = 0
        said: set[str] = set()
        while True:
            if _start_keeper_if_none(self._layout, self._data_dir):
                started += 1
                if started > MOST_KEEPERS:
                    raise EngineError(
                        f"the keeper of the embedded engines ends at once (log: {self._layout.keeper_log})"
                    )
            states = {
                kind: state for kind, state in self._layout.read_states().items() if kind in self._kinds
            }
            for state in states.values():
                _follow(state, began, said)
            if len(states) == len(self._kinds) and all(map(_usable, states.values())):
                return {kind: state.url for kind, state in states.items()}
            if time.monotonic() > deadline:
                where = self._layout.keeper_log
                raise EngineError(f"no answer of the embedded engines in {WAIT_SECONDS:.0f} s (log: {where})")
            time.sleep(_POLL_SECONDS)

    def _see_to_keeper(self) -> None:
        while not self._released.wait(WATCH_SECONDS):
            try:
                if self._layout.root.exists() and _start_keeper_if_none(self._layout, self._data_dir):
                    log.warning("the keeper of the embedded engines was gone: started another")
            except EngineError as error:
                log.error("cannot start a keeper for the embedded engines", error=str(error))  # noqa: TRY400
                self._released.wait(10 * WATCH_SECONDS)


def _follow(state: EngineState, began: float, said: set[str]) -> None:
    """Pass on what the keeper does for us. Raises `EngineError` for a failure since we came."""
    if state.at < began or state.step in said:
        return
    said.add(state.step)
    if state.status is Status.FAILED:
        raise EngineError(state.step)
    if state.status is Status.STARTING:
        log.info(state.step)


def _usable(state: EngineState) -> bool:
    if state.status is not Status.READY:
        return False
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            client.connect(_socket_path(state.url))
    except OSError:
        return False
    return True


def _socket_path(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return parts.path
    query = parse_qs(parts.query)
    return f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"


def _start_keeper_if_none(layout: Layout, data_dir: Path) -> bool:
    """Whether there was no keeper and we started one.

    The keeper inherits the lock we took, so that at no moment two of them can believe to be alone.
    """
    try:
        lock = try_exclusive(layout.keeper_lock)
        if lock is None:
            return False
        try:
            _start_keeper(layout, data_dir, lock)
        finally:
            os.close(lock)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        reason = f"{error.strerror}{where}"
        raise EngineError(f"cannot start the keeper of the embedded engines: {reason}") from error
    return True


def _start_keeper(layout: Layout, data_dir: Path, lock: int) -> None:
    if layout.keeper_log.exists() and layout.keeper_log.stat().st_size > _LOG_BYTES:
        layout.keeper_log.replace(layout.keeper_log.with_name("keeper.log.old"))
    unset = (PREFIX, "PG")
    with layout.keeper_log.open("ab") as keeper_log:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "domain.engines.keeper", str(data_dir), str(lock)],
            stdin=subprocess.DEVNULL,
            stdout=keeper_log,
            stderr=keeper_log,
            pass_fds=[lock],
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if not name.upper().startswith(unset)},
            check=False,
        )
    if done.returncode != 0:
        last = layout.keeper_log.read_text(errors="replace").strip().splitlines()[-1:]
        raise EngineError(f"cannot start the keeper of the embedded engines: {' '.join(last)}")
