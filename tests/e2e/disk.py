"""Disks that are full whenever a test says so: writes to them then really end with ENOSPC."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from domain.engines.account import Account, engines_account, run_as
from domain.engines.layout import Kind, prepare
from domain.engines.postgresql import PostgreSQL
from domain.engines.software import environment
from tests.conftest import wait_until

LOOK_EVERY = 0.2


class Disk(StrEnum):
    """What lies there; the value is the name of the file that says it is full."""

    TABLES = "tables.full"
    """Tables and indexes: they can be written to, but not grow."""
    WAL = "wal.full"
    """The write-ahead log: nothing at all can be written to it, as where every write takes new space."""
    UPLOADS = "uploads.full"
    """Recipient files on their way through the API: nothing can be written to them."""


_SOURCE = Path(__file__).with_name("full_disk.c")


class FillableDisks:
    """The disks of all processes that run in `environment`."""

    def __init__(self, folder: Path) -> None:
        """Compile what stands between them and the system; anybody must be able to enter `folder`."""
        self._flags = folder / "flags"
        self._flags.mkdir(mode=0o755)
        library = folder / "full_disk.so"
        subprocess.run(
            ["cc", "-Wall", "-Werror", "-shared", "-fPIC", "-O1", "-o", library, _SOURCE, "-ldl"], check=True
        )
        library.chmod(0o755)
        self.environment = {"LD_PRELOAD": str(library), "DISK_FLAGS": str(self._flags)}

    def fill(self, disk: Disk) -> None:
        """Leave no room on this disk."""
        (self._flags / disk).touch()

    def make_room(self) -> None:
        """Leave room everywhere again."""
        for disk in Disk:
            (self._flags / disk).unlink(missing_ok=True)


@dataclass
class FillableServer:
    """A PostgreSQL on such disks, started again whenever it ends, as by the keeper."""

    server: PostgreSQL
    command: list[str]
    disks: FillableDisks
    account: Account | None
    starts: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _ending: threading.Event = field(default_factory=threading.Event)

    def make_room(self) -> None:
        """Leave room everywhere again, and wait until the server answers."""
        self.disks.make_room()
        wait_until(self.server.answers, 90)

    def said(self, words: str) -> int:
        """How often the server's log has these words."""
        return self.log.read_text(errors="replace").count(words)

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.server.layout.log(Kind.POSTGRESQL)

    def keep_running(self) -> None:
        """Start it, and start it again whenever it ends, until `end`."""
        while not self._ending.is_set():
            if self._process is None or self._process.poll() is not None:
                self._start()
            self._ending.wait(LOOK_EVERY)

    def end(self) -> None:
        """Stop it for good; to be called when `keep_running` has been told."""
        if self._process is not None:
            self._process.send_signal(self.server.stop_signals[0][0])
            self._process.wait(60)

    def _start(self) -> None:
        data = self.server.layout.data(Kind.POSTGRESQL)
        (data / "postmaster.pid").unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                cwd=data,
                env=environment() | self.disks.environment,
                **run_as(self.account),
            )
        self.starts += 1


@contextmanager
def fillable_postgresql(folder: Path) -> Iterator[FillableServer]:
    """A PostgreSQL in a folder that its user may enter."""
    account = engines_account()
    server = PostgreSQL(prepare(folder, account), account)
    running = FillableServer(server, server.prepare(lambda _: None), FillableDisks(folder), account)
    keeping = threading.Thread(target=running.keep_running)
    keeping.start()
    try:
        wait_until(server.answers, 90)
        yield running
    finally:
        running._ending.set()
        keeping.join()
        running.end()
