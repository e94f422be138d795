"""One engine's server process: start it, hear how it is, stop it, and clear up after a crash."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import psutil

from domain.engines.account import Account, run_as
from domain.engines.layout import EngineError, Kind, Layout
from domain.engines.software import environment

START_SECONDS = 60.0
"""How long a server may take until it answers; recovery after a crash is part of it."""

LOG_BYTES = 5 * 1024 * 1024
"""A log longer than this is set aside at the next start; one older log is kept."""

_POLL_SECONDS = 0.02


class Server(ABC):
    """A server the keeper runs. All calls block and come from the keeper's one thread."""

    kind: Kind
    title: str
    stop_signals: ClassVar[Sequence[tuple[signal.Signals, float]]]
    """What to send to end it, mildest first, each with the seconds it gets to take effect."""

    def __init__(self, layout: Layout, account: Account | None) -> None:
        self.layout = layout
        self.account = account
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients reach it, the same after every restart."""

    @abstractmethod
    def prepare(self, report: Callable[[str], None]) -> list[str]:
        """Make the data ready; the command that starts the server."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether a client would be served now."""

    @abstractmethod
    def is_ours(self, command_line: list[str]) -> bool:
        """Whether a process with this command line is (part of) the server of this data directory."""

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process is not None and self.running() else None

    def running(self) -> bool:
        """Whether the server process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self, report: Callable[[str], None]) -> None:
        """Start the server and wait until it answers.

        `report` is told each step. Raises `EngineError` if it doesn't come up.
        """
        self._end_leftovers()
        self._rotate_log()
        command = self.prepare(report)
        report(f"starting {self.title}")
        with self.layout.log(self.kind).open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.layout.data(self.kind),
                env=environment(),
                preexec_fn=_ending_with_parent(self.stop_signals[0][0]),  # noqa: PLW1509 - we have one thread
                **run_as(self.account),
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if not self.running():
                raise EngineError(f"{self.title} did not start: {self._last_words()}")
            if time.monotonic() > deadline:
                self.stop()
                raise EngineError(
                    f"{self.title} did not answer within {START_SECONDS:.0f} s: {self._last_words()}"
                )
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End the server, mildly at first; returns when it is gone."""
        process = self._process
        if process is None:
            return
        for signal_, patience in self.stop_signals:
            process.send_signal(signal_)
            try:
                process.wait(patience)
                break
            except subprocess.TimeoutExpired:
                continue
        process.wait()
        self._process = None

    def run(self, command: list[str | Path], *, failing: str) -> str:
        """Run one of the engine's own programs to its end; its output.

        Raises `EngineError` beginning with `failing` when it fails.
        """
        try:
            done: subprocess.CompletedProcess[str] = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
                cwd=self.layout.root,
                env=environment(),
                **run_as(self.account),
            )
        except OSError as error:
            raise EngineError(f"{failing}: {error.strerror}") from error
        if done.returncode != 0:
            raise EngineError(f"{failing}: {_gist(done.stderr) or f'exit code {done.returncode}'}")
        return done.stdout

    def own(self, path: Path) -> None:
        """Hand a file or directory to the account the server runs as."""
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)

    def _end_leftovers(self) -> None:
        """End servers of this data directory that a killed keeper left behind."""
        for signal_, patience in self.stop_signals:
            left = self._leftovers()
            if not left:
                return
            for process in left:
                try:
                    process.send_signal(signal_)
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(left, patience)
        if left := self._leftovers():
            raise EngineError(f"{self.title} of a former run does not end: process {left[0].pid}")

    def _leftovers(self) -> list[psutil.Process]:
        return [
            process
            for process in psutil.process_iter(["cmdline", "status"])
            if process.info["status"] != psutil.STATUS_ZOMBIE and self.is_ours(process.info["cmdline"] or [])
        ]

    def _rotate_log(self) -> None:
        log = self.layout.log(self.kind)
        if log.exists() and log.stat().st_size > LOG_BYTES:
            shutil.move(log, log.with_name(f"{log.name}.old"))

    def _last_words(self) -> str:
        log = self.layout.log(self.kind)
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            text = file.read().decode(errors="replace")
        return f"{_gist(text) or 'it said nothing'} (log: {log})"


def _gist(text: str) -> str:
    """The line of a server's output that says most about why it ended."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in reversed(lines):
        if any(word in line for word in ("FATAL", "PANIC", "error:", "ERROR", "rror ")):
            return line
    return lines[-1] if lines else ""


def _ending_with_parent(signal_: signal.Signals) -> Callable[[], None] | None:
    """Make Linux send the child this signal when the keeper dies, so that none is left without one.

    Elsewhere a server that lost its keeper is ended by the next keeper of its data directory.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    pr_set_pdeathsig = 1
    keeper = os.getpid()

    def arrange() -> None:
        prctl(pr_set_pdeathsig, int(signal_), 0, 0, 0)
        if os.getppid() != keeper:  # it died before the arrangement was made
            os._exit(1)

    return arrange
