"""The process that runs the embedded engines for all who use them.

`python -m domain.engines.keeper DATA_DIR LOCK_FD`, started by the first user: LOCK_FD is an inherited
descriptor that holds the keeper's lock, so there is never a second keeper. It leaves the starter's
session at once, starts each engine that has users, restarts one that died, and stops it LINGER_SECONDS
after its last user is gone.
"""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import structlog

from domain.engines.account import engines_account
from domain.engines.layout import EngineError, EngineState, Layout, Status, prepare
from domain.engines.locks import try_exclusive
from domain.engines.postgresql import PostgreSQL
from domain.engines.server import Server
from domain.engines.valkey import Valkey

LINGER_SECONDS = 3.0
"""How long an engine outlives its last user: the next command soon after finds it running."""

TICK_SECONDS = 0.1
FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 10.0
STEADY_SECONDS = 30.0
"""An engine that ran this long has started well: after its next crash the waiting begins anew."""

log = structlog.get_logger()


class KeeperDismissedError(Exception):
    """The keeper itself was told to end."""


class Charge:
    """One engine in the keeper's care."""

    def __init__(self, server: Server, keeper: "Keeper") -> None:
        self.server = server
        self.state = EngineState(Status.OFF, "", server.url, None, time.time())
        self._keeper = keeper
        self._unused_since: float | None = None
        self._started_at = 0.0
        self._retry_at = 0.0
        self._retry_seconds = FIRST_RETRY_SECONDS

    @property
    def at_rest(self) -> bool:
        """Neither running nor wanted."""
        return not self.server.running() and self._unused_since is not None

    def tick(self) -> None:
        """Bring the engine one step nearer to what its users need."""
        now = time.monotonic()
        used = self._used()
        if used:
            self._unused_since = None
        elif self._unused_since is None:
            self._unused_since = now
        if self.state.status is Status.READY and not self.server.running():
            self._note(Status.STARTING, f"{self.server.title} ended by itself, restarting it")
            if now - self._started_at > STEADY_SECONDS:
                self._retry_seconds = FIRST_RETRY_SECONDS
        if self.server.running():
            if self._unused_since is not None and now - self._unused_since > LINGER_SECONDS:
                self._stop_unused()
        elif used and now >= self._retry_at:
            self._start()

    def stop(self) -> None:
        """End the engine whoever uses it."""
        if self.server.running() and self.state.status is not Status.STOPPING:
            self._note(Status.STOPPING, f"stopping {self.server.title}")
        self.server.stop()
        self._note(Status.OFF, "")

    def _used(self) -> bool:
        lock = try_exclusive(self._keeper.layout.users_lock(self.server.kind))
        if lock is not None:
            os.close(lock)
        return lock is None

    def _start(self) -> None:
        try:
            self.server.start(lambda step: self._note(Status.STARTING, step))
        except (EngineError, OSError) as error:
            self._note(Status.FAILED, str(error))
        else:
            self._started_at = time.monotonic()
            self._note(Status.READY, f"{self.server.title} answers")
        self._retry_at = time.monotonic() + self._retry_seconds
        self._retry_seconds = min(2 * self._retry_seconds, LAST_RETRY_SECONDS)

    def _stop_unused(self) -> None:
        # Held while the state changes: a user who comes before keeps the engine, one who comes after
        # reads that it is being stopped, waits, and gets it started anew.
        lock = try_exclusive(self._keeper.layout.users_lock(self.server.kind))
        if lock is None:
            return
        try:
            self._note(Status.STOPPING, f"nobody uses {self.server.title} any more, stopping it")
        finally:
            os.close(lock)
        self.stop()

    def _note(self, status: Status, step: str) -> None:
        self.state = EngineState(status, step, self.server.url, self.server.pid, time.time())
        if step:
            log.info("engine", engine=self.server.kind, status=status, step=step, pid=self.state.pid)
        self._keeper.publish()


class Keeper:
    """Both engines of one data directory."""

    def __init__(self, layout: Layout, lock: int) -> None:
        self.layout = layout
        self._lock = lock
        account = engines_account()
        self._charges = [Charge(server(layout, account), self) for server in (Valkey, PostgreSQL)]

    def publish(self) -> None:
        """Write down how the engines stand, for the users to read."""
        if self._in_place():
            self.layout.write_states({charge.server.kind: charge.state for charge in self._charges})

    def run(self) -> None:
        """Keep the engines until nobody needs any, or the data directory is gone."""
        try:
            while self._in_place():
                for charge in self._charges:
                    charge.tick()
                if all(charge.at_rest for charge in self._charges):
                    return
                time.sleep(TICK_SECONDS)
        finally:
            # A signal now would interrupt the stopping it asks for.
            _on_termination(signal.SIG_IGN)
            with contextlib.ExitStack() as all_of_them:
                for charge in self._charges:
                    all_of_them.callback(charge.stop)

    def _in_place(self) -> bool:
        """Whether the lock we hold is still the one others would find."""
        try:
            found = self.layout.keeper_lock.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(self._lock))


def main() -> None:
    """Keep the engines of the data directory named on the command line."""
    data_dir, lock = Path(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(lock, False)
    keeper = Keeper(prepare(data_dir, engines_account()), lock)
    keeper.publish()
    if os.fork() != 0:
        os._exit(0)  # the starter waits for this: from here on the keeper is nobody's child
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)  # for whoever wants to know whom to ask to end
    os.chdir("/")
    _on_termination(_terminate)
    log.info("keeper starts", pid=os.getpid(), data_dir=str(data_dir))
    try:
        keeper.run()
    except KeeperDismissedError:
        log.info("keeper was told to end")
    if not keeper.layout.sockets.is_relative_to(data_dir):
        keeper.layout.sockets.rmdir()
    log.info("keeper ends", pid=os.getpid())


def _on_termination(handler: object) -> None:
    for signal_ in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signal_, handler)  # type: ignore[arg-type]


def _terminate(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    raise KeeperDismissedError


if __name__ == "__main__":
    main()
