"""Message centres for tests: our simulated one as a process, and a scripted one that does exactly as told."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from ssl import SSLContext
from typing import Any

from workers.smpp import pdu
from workers.smpp.pdu import Command, Frame, Splitter

PATIENCE = 10.0
"""Seconds until a condition that does not come true fails the test."""


async def until(condition: Callable[[], object], timeout: float = PATIENCE) -> None:
    """Return when the condition holds. Raises TimeoutError."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - files and other processes ring no event
            await asyncio.sleep(0.01)


class SimulatedCentre:
    """`python -m workers.smsc` as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, journal: Path) -> None:
        self.process = process
        self.port = port
        self._journal = journal

    def url(self, query: str = "", system_id: str = "groupsms", password: str = "secret") -> str:
        """The URL of a gateway to it."""
        return f"smpp://{system_id}:{password}@127.0.0.1:{self.port}?{query}"

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What its journal has of that kind, oldest first."""
        lines = self._journal.read_text().splitlines() if self._journal.exists() else []
        return [event for line in lines if (event := json.loads(line))["event"] == kind]

    def tell(self, what: str) -> None:
        """Have it do something now, such as `away=5` or `rate=50`; the step is in its journal then."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what}\n".encode())

    async def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        await self.process.wait()

    async def terminate(self) -> int:
        """Ask it to stop; return its exit code."""
        self.process.terminate()
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()


@asynccontextmanager
async def simulated_centre(tmp_path: Path, *flags: str, port: int = 0) -> AsyncIterator[SimulatedCentre]:
    """Start a simulated message centre and stop it afterwards. Its journal outlives it in `tmp_path`."""
    journal = tmp_path / "journal.jsonl"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "workers.smsc", "--port", str(port), "--journal", str(journal), "--commands", *flags),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("listening on 127.0.0.1:"), line
        yield SimulatedCentre(process, int(line.rpartition(":")[2]), journal)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


class Visitor:
    """One connection to a `ScriptedCentre`: every PDU that came in, and a way to write any octets."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.received: list[Frame] = []
        self.gone = asyncio.Event()
        self._writer = writer

    def write(self, *pdus: bytes) -> None:
        """Write octets, all in one."""
        self._writer.write(b"".join(pdus))

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()

    def of(self, command_id: int) -> list[Frame]:
        """The PDUs received that have this command_id."""
        return [frame for frame in self.received if frame.command_id == command_id]


Script = Callable[[Visitor, Frame], None]


def answer_bind(visitor: Visitor, frame: Frame) -> None:
    """The least a script has to do."""
    if frame.command_id in pdu.BINDS:
        response = frame.command_id | pdu.RESPONSE_BIT
        visitor.write(pdu.encode(response, 0, frame.sequence_number, b"centre\0"))


class ScriptedCentre:
    """A server that does what a test says on every PDU; `visitors` are its connections, oldest first."""

    def __init__(self, port: int, visitors: list[Visitor]) -> None:
        self.port = port
        self.visitors = visitors

    @property
    def visitor(self) -> Visitor:
        """The latest connection."""
        return self.visitors[-1]


@asynccontextmanager
async def scripted_centre(
    script: Script = answer_bind, tls: SSLContext | None = None
) -> AsyncIterator[ScriptedCentre]:
    """Serve on loopback, with `tls` over TLS; `script` is called for every PDU that comes in."""
    visitors: list[Visitor] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visitor = Visitor(writer)
        visitors.append(visitor)
        splitter = Splitter()
        try:
            while data := await reader.read(65536):
                for frame in splitter.feed(data):
                    visitor.received.append(frame)
                    script(visitor, frame)
        except ConnectionError:
            return
        finally:
            visitor.gone.set()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield ScriptedCentre(server.sockets[0].getsockname()[1], visitors)
    finally:
        for visitor in visitors:
            visitor.close()
        server.close()
        await server.wait_closed()
        await asyncio.gather(*(visitor.gone.wait() for visitor in visitors))


def is_submit(frame: Frame) -> bool:
    """Whether it is a submit_sm."""
    return frame.command_id == Command.SUBMIT_SM


def submit_resp(frame: Frame, message_id: str = "", status: int = 0) -> bytes:
    """The answer to a submit_sm."""
    body = message_id.encode() + b"\0" if status == 0 else b""
    return pdu.encode(Command.SUBMIT_SM_RESP, status, frame.sequence_number, body)
