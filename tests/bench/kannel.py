"""Kannel, the SMS gateway in C that is used most, as a peer: the same messages to the same message centre.

mtbatch hands them to bearerbox, which sends them and awaits their delivery reports. What it does is less than
what is compared with it: the reports it awaits are in memory only, and it keeps no result of a number.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import httpx

from tests.bench.stage import stopwatch
from tests.e2e.line import free_port

PROGRAMS = ("bearerbox", "mtbatch")
HOW_TO_INSTALL = "Kannel is not there to be measured beside: apt-get install kannel kannel-extras"
DONE_WITHIN = 300.0
"""Seconds."""

CONFIGURATION = """
group = core
admin-port = {admin}
admin-password = bench
status-password = bench
admin-allow-ip = "127.0.0.1"
smsbox-port = {boxes}
box-allow-ip = "127.0.0.1"
dlr-storage = internal
{store}log-file = "{folder}/bearerbox.log"
log-level = 3

group = smsc
smsc = smpp
smsc-id = bench
host = {host}
port = {port}
transceiver-mode = true
smsc-username = kannel
smsc-password = secret
system-type = ""
max-pending-submits = {window}
source-addr-autodetect = yes

group = smsbox
bearerbox-host = 127.0.0.1

group = sms-service
keyword = default
max-messages = 0
"""
"""The last two groups are never used, but bearerbox does not start without them."""
NOWHERE = "http://127.0.0.1:1/"
"""mtbatch asks for no report without an address to hand it on to. Nothing does here."""


def is_installed() -> bool:
    """Whether the programs are there."""
    return all(map(shutil.which, PROGRAMS))


async def rate(
    folder: Path, centre: str, numbers: Sequence[str], text: str, window: int, *, durable: bool
) -> float:
    """Messages a second that Kannel sends to the centre at host:port, until it has all their reports.

    If it is to be `durable`, a message it was given outlives it (a file each, written without fsync); else
    messages are in memory only.
    """
    content, receivers = folder / "kannel-text", folder / "kannel-numbers"
    content.write_text(text)
    receivers.write_text("".join(f"{number.removeprefix('+')}\n" for number in numbers))
    async with _bearerbox(folder, centre, window, durable=durable) as (boxes, status):
        with stopwatch() as sending:
            batch = await _started(
                *("mtbatch", "-v", "4", "-b", "127.0.0.1", "-p", str(boxes), "-i", "bench", "-f", "Shop"),
                *("-D", "3", "-u", NOWHERE, content, receivers),
            )
            try:
                async with asyncio.timeout(DONE_WITHIN):
                    while await _reports(status) < len(numbers):  # noqa: ASYNC110 - another process
                        await asyncio.sleep(0.05)
            finally:
                await _ended(batch)
    return len(numbers) / sending[0]


@asynccontextmanager
async def _bearerbox(
    folder: Path, centre: str, window: int, *, durable: bool
) -> AsyncIterator[tuple[int, str]]:
    """A bearerbox bound to the centre: its port for boxes, and where it shows its status."""
    host, _, port = centre.rpartition(":")
    admin, boxes = free_port(), free_port()
    configuration, spool = folder / "kannel.conf", folder / "kannel-spool"
    spool.mkdir(exist_ok=True)
    store = f'store-type = spool\nstore-location = "{spool}"\n' if durable else ""
    configuration.write_text(
        CONFIGURATION.format(
            admin=admin, boxes=boxes, folder=folder, host=host, port=port, window=window, store=store
        )
    )
    status = f"http://127.0.0.1:{admin}/status.xml?password=bench"
    bearerbox = await _started("bearerbox", "-v", "4", configuration)
    try:
        async with asyncio.timeout(30):
            while not await _is_bound(status):  # noqa: ASYNC110 - another process rings no event
                await asyncio.sleep(0.1)
        yield boxes, status
    finally:
        await _ended(bearerbox)


async def _started(*command: str | Path) -> asyncio.subprocess.Process:
    quiet = asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(10):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _is_bound(status: str) -> bool:
    try:
        state = await _status(status)
    except httpx.TransportError:
        return False
    return any((each.text or "").startswith("online") for each in state.iterfind("smscs/smsc/status"))


async def _reports(status: str) -> int:
    """How many delivery reports have come."""
    return int((await _status(status)).findtext("dlr/received/total", "0"))


async def _status(url: str) -> ET.Element:
    async with httpx.AsyncClient() as client:
        answer = await client.get(url)
    return ET.fromstring(answer.text)
