"""`groupsms demo`: the whole line at work on one machine, from a file of numbers to delivered messages."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

from rich.console import Console

from api.demo.processes import Processes, shut_down_on_signal
from api.demo.sample import SAMPLE, write_sample
from api.demo.service_client import ServiceClient
from api.demo.story import Shortfall, Story
from domain import accounts, db, engines, startup
from domain.settings import PREFIX, Settings
from domain.states import Role

ACCOUNT = "demo"
SYSTEM_ID, PASSWORD = "demo", "secret"
ENGINES_STOP_WITHIN = 30.0
"""Seconds the embedded engines may take to stop after their last user."""

console = Console(highlight=False)


def run(settings: Settings, once: bool) -> int:
    """Show the line at work, and with `once` stop everything again; returns the exit code."""
    try:
        code = asyncio.run(_run(settings, once))
    except Shortfall as shortfall:
        console.print(f"[red]The demo fell short:[/red] {shortfall}")
        code = 1
    return code


async def _run(settings: Settings, once: bool) -> int:
    stopping = shut_down_on_signal()
    try:
        async with startup.service(settings) as urls:
            await _serve(settings, urls.database_url, stopping, once)
    finally:
        await asyncio.to_thread(engines.wait_until_stopped, settings, ENGINES_STOP_WITHIN)
    return 0


async def _serve(settings: Settings, database_url: str, stopping: asyncio.Future[None], once: bool) -> None:
    files = settings.data_dir / "demo"
    files.mkdir(parents=True, exist_ok=True)
    async with Processes(files, console) as processes, db.connected(database_url, pool_size=2):
        showing = asyncio.create_task(_show(settings, processes, files))
        await _first_of(showing, stopping, processes.failure)
        if showing.done():
            await showing
            if not once:
                console.print("Still serving; press Ctrl-C to stop.")
                await _first_of(stopping, processes.failure)
        through = showing.done()
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
        if processes.failure.done():
            raise Shortfall(processes.failure.result())
        if once and not through:
            raise Shortfall("it was stopped before the messages were through")


async def _show(settings: Settings, processes: Processes, files: Path) -> None:
    port = _free_port(settings.host, settings.port)
    if port != settings.port:
        console.print(f"Port {settings.port} is in use; the demo takes {port}.")
    centre = await processes.start(
        "message centre", "workers.smsc", "--port", "0", "--system-id", SYSTEM_ID, "--password", PASSWORD,
        "--journal", str(files / "message-centre.jsonl"), until="listening on ",
    )  # fmt: skip
    environment = {
        f"{PREFIX}PORT": str(port),
        f"{PREFIX}GATEWAYS__DEFAULT": f"smpp://{SYSTEM_ID}:{PASSWORD}@{centre}?window=50",
    }
    if port != settings.port:
        environment[f"{PREFIX}PUBLIC_URL"] = f"http://{settings.host}:{port}"
    await processes.start("API", "api", until="GraphiQL: ", environment=environment)
    await processes.start("worker", "workers", environment=environment)
    token = await accounts.create_token(ACCOUNT, Role.OPERATOR, time_zone="Asia/Shanghai", currency="CNY")
    sample = write_sample(files / "recipients.xlsx")
    async with ServiceClient(f"http://{settings.host}:{port}", token) as client:
        await Story(client, console, files).tell(sample, SAMPLE)
    console.print(f"\nGraphiQL  http://{settings.host}:{port}/graphql#token={token}", soft_wrap=True)
    console.print(f"Token     {token}", soft_wrap=True)


async def _first_of(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def _free_port(host: str, wanted: int) -> int:
    """The port wanted, or any other one if that is in use."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise Shortfall(f"no free port on {host}")
