"""The demo's processes: started with their output in a file, stopped together, watched for an early end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console

from domain.settings import PREFIX

STARTED_WITHIN = 60.0
"""Seconds a process may take until it says that it is ready."""
STOPPED_WITHIN = 20.0
"""Seconds a process may take to end after SIGTERM; then it is killed."""


def shut_down_on_signal() -> asyncio.Future[None]:
    """A future that ends at SIGINT, at SIGTERM, and when the terminal is closed."""
    loop = asyncio.get_running_loop()
    stopping: asyncio.Future[None] = loop.create_future()

    def stop() -> None:
        if not stopping.done():
            stopping.set_result(None)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    return stopping


class Processes:
    """Runs modules of the service as processes of their own, for the length of a block."""

    def __init__(self, log_folder: Path, console: Console) -> None:
        self._log_folder = log_folder
        self._console = console
        self._running: list[asyncio.subprocess.Process] = []
        self._watchers: list[asyncio.Task[None]] = []
        self.failure: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Ends, saying what happened, when a process ends by itself."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        for process in reversed(self._running):
            await _stop(process)

    async def start(
        self,
        name: str,
        module: str,
        *arguments: str,
        until: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> str:
        """Start `python -m module`; its stderr goes to a file.

        With `until`, wait for a line on stdout that begins so, and return the rest of that line.
        """
        log_file = self._log_folder / f"{module}.log"
        with log_file.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", module, *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                # One port can't be that of them all.
                env={**_without_metrics_port(), **(environment or {})},
                # Ctrl-C reaches the demo alone, which stops the others in order.
                start_new_session=True,
            )  # fmt: skip
        self._running.append(process)
        said = await self._wait_for(name, process, until, log_file) if until else ""
        self._watchers.append(asyncio.create_task(self._watch(name, process, log_file)))
        self._console.print(f"[dim]started[/dim] {name}")
        return said

    async def _wait_for(
        self, name: str, process: asyncio.subprocess.Process, until: str, log_file: Path
    ) -> str:
        assert process.stdout is not None
        async with asyncio.timeout(STARTED_WITHIN):
            async for line in process.stdout:
                if line.decode().startswith(until):
                    return line.decode().removeprefix(until).strip()
        code = await process.wait()
        self._fail(name, code, log_file)
        await asyncio.Event().wait()  # the failure ends the demo
        return ""

    async def _watch(self, name: str, process: asyncio.subprocess.Process, log_file: Path) -> None:
        assert process.stdout is not None
        async for _ in process.stdout:
            continue  # or a full pipe would stop it
        self._fail(name, await process.wait(), log_file)

    def _fail(self, name: str, code: int, log_file: Path) -> None:
        if not self.failure.done():
            self.failure.set_result(f"the {name} ended with exit code {code}; its log: {log_file}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOPPED_WITHIN):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _without_metrics_port() -> dict[str, str]:
    """This process's environment, for several others on one machine."""
    return {name: value for name, value in os.environ.items() if name.upper() != f"{PREFIX}METRICS_PORT"}
