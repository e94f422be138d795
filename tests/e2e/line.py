"""The whole service as real processes: message centre, APIs and workers on one database and one Valkey."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api.demo.service_client import ServiceClient
from domain import accounts, db
from domain.states import Role


@dataclass
class Child:
    """A process of the line and where its stderr goes."""

    process: asyncio.subprocess.Process
    log: Path

    def tell(self, what: str) -> None:
        """Have a message centre do something now, such as `away=5` or `rate=50`."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what}\n".encode())

    def entries(self) -> list[dict[str, Any]]:
        """What it has logged so far: all but lines that are no JSON, such as another program's."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    async def stop(self, number: signal.Signals = signal.SIGTERM, within: float = 20) -> int:
        """Send it a signal and wait for its end; its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(within):
            return await self.process.wait()


@dataclass
class Line:
    """Starts processes that share a database and a Valkey; remembers them all."""

    database_url: str
    redis_url: str
    folder: Path
    gateway: str = "simulator://"
    token: str = ""
    children: list[Child] = field(default_factory=list)
    clients: list[ServiceClient] = field(default_factory=list)
    _journal: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """What was read of the journal, by kind of event: up to the octet `_journal_read`."""
    _journal_read: int = 0
    _reading: threading.Lock = field(default_factory=threading.Lock)

    @property
    def journal_file(self) -> Path:
        """What reached the message centre."""
        return self.folder / "message-centre.jsonl"

    async def start(
        self, module: str, *arguments: str, until: str = "", **settings: str
    ) -> tuple[Child, str]:
        """Start a module; with `until`, wait for a line on stdout that begins so and return its rest."""
        log = self.folder / f"{module}-{len(self.children)}.log"
        environment = {
            **os.environ,
            "GROUPSMS_DATABASE_URL": self.database_url,
            "GROUPSMS_REDIS_URL": self.redis_url,
            "GROUPSMS_DATA_DIR": str(self.folder),
            "GROUPSMS_GATEWAYS__DEFAULT": self.gateway,
            **settings,
        }
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", module, *arguments,
                env=environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=stderr,
            )  # fmt: skip
        child = Child(process, log)
        self.children.append(child)
        assert process.stdout is not None
        if until:
            async with asyncio.timeout(90):
                async for line in process.stdout:
                    if line.decode().startswith(until):
                        return child, line.decode().removeprefix(until).strip()
            raise AssertionError(f"{module} did not say {until!r}: {log.read_text()}")
        return child, ""

    async def message_centre(self, *options: str, query: str = "window=50") -> Child:
        """Start the simulated message centre; workers started later send to it."""
        child, address = await self.start(
            "workers.smsc",
            "--port",
            "0",
            "--commands",
            "--journal",
            str(self.journal_file),
            *options,
            until="listening on ",
        )
        self.gateway = f"smpp://line:secret@{address}?{query}"
        return child

    async def api(self, port: int | None = None, **settings: str) -> tuple[Child, ServiceClient]:
        """Start an API process, on a free port if none is given, and return a client of it."""
        port = port or free_port()
        child, _ = await self.start("api", until="GraphiQL: ", GROUPSMS_PORT=str(port), **settings)
        client = ServiceClient(f"http://127.0.0.1:{port}", self.token)
        self.clients.append(client)
        return child, client

    async def worker(self) -> Child:
        """Start a worker."""
        child, _ = await self.start("workers")
        return child

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What the message centre's journal has of this kind, in order; from any thread."""
        with self._reading:
            self._read_on()
            return list(self._journal.get(kind, ()))

    def _read_on(self) -> None:
        if not self.journal_file.exists():
            return
        with self.journal_file.open("rb") as journal:
            journal.seek(self._journal_read)
            # The last line may be half written.
            whole, end, _ = journal.read().rpartition(b"\n")
        self._journal_read += len(whole) + len(end)
        for line in whole.splitlines():
            event = json.loads(line)
            self._journal.setdefault(event["event"], []).append(event)

    def submitted(self) -> list[dict[str, Any]]:
        """The submit_sm that the message centre accepted so far, in order."""
        return [event for event in self.events("submit_sm") if event["command_status"] == 0]

    def times_reached(self) -> Counter[str]:
        """How often each number was sent a first segment."""
        return Counter(f"+{event['destination']}" for event in self.submitted() if event["segment"] == 1)


def lives(*children: Child) -> bool:
    """Whether these processes run."""
    return all(child.process.returncode is None for child in children)


@asynccontextmanager
async def running_line(database_url: str, redis_url: str, folder: Path) -> AsyncIterator[Line]:
    """A line whose processes are all ended afterwards."""
    line = Line(database_url, redis_url, folder)
    async with db.connected(database_url, pool_size=4):
        line.token = await accounts.create_token("line", Role.OPERATOR)
        try:
            yield line
        finally:
            for client in line.clients:
                await client.aclose()
            for child in reversed(line.children):
                if child.process.returncode is None:
                    child.process.send_signal(signal.SIGCONT)
                    await child.stop()


async def make_international(client: ServiceClient, text: str) -> dict[str, str]:
    """An application and an approved template, by the API; their ids as createTask takes them."""
    data = await client.execute(
        """mutation ($input: CreateApplicationInput!) {
          createApplication(input: $input) { application { id } errors { message } } }""",
        input={"name": "Shop", "region": "INTERNATIONAL", "senderNumber": "Shop"},
    )
    application_id = data["createApplication"]["application"]["id"]
    data = await client.execute(
        """mutation ($input: CreateTemplateInput!) {
          createTemplate(input: $input) { template { id } errors { message } } }""",
        input={
            "applicationId": application_id,
            "name": "News",
            "type": "NOTIFICATION",
            "content": text,
        },
    )
    template_id = data["createTemplate"]["template"]["id"]
    await client.execute(
        """mutation ($input: ReviewTemplateInput!) {
          reviewTemplate(input: $input) { template { id } errors { message } } }""",
        input={"id": template_id, "approve": True},
    )
    return {"applicationId": application_id, "templateId": template_id}


async def make_mainland(client: ServiceClient, text: str) -> dict[str, str]:
    """An application, an approved signature and an approved template for the Chinese mainland; their ids."""
    data = await client.execute(
        """mutation ($input: CreateApplicationInput!) {
          createApplication(input: $input) { application { id } errors { message } } }""",
        input={"name": "商店", "region": "CHINESE_MAINLAND"},
    )
    application_id = data["createApplication"]["application"]["id"]
    data = await client.execute(
        """mutation ($input: CreateSignatureInput!) {
          createSignature(input: $input) { signature { id } errors { message } } }""",
        input={"applicationId": application_id, "name": "演示商店", "type": "NOTIFICATION"},
    )
    signature_id = data["createSignature"]["signature"]["id"]
    await client.execute(
        """mutation ($input: ReviewSignatureInput!) {
          reviewSignature(input: $input) { signature { id } errors { message } } }""",
        input={"id": signature_id, "approve": True, "channelNumber": "10690000"},
    )
    data = await client.execute(
        """mutation ($input: CreateTemplateInput!) {
          createTemplate(input: $input) { template { id } errors { message } } }""",
        input={
            "applicationId": application_id,
            "name": "News",
            "type": "NOTIFICATION",
            "content": text,
            "signatureId": signature_id,
        },
    )
    template_id = data["createTemplate"]["template"]["id"]
    await client.execute(
        """mutation ($input: ReviewTemplateInput!) {
          reviewTemplate(input: $input) { template { id } errors { message } } }""",
        input={"id": template_id, "approve": True},
    )
    return {"applicationId": application_id, "signatureId": signature_id, "templateId": template_id}


CREATE = """mutation ($input: CreateTaskInput!) { createTask(input: $input) {
  message task { id status recipients { imported invalid duplicates } } errors { code message path } } }"""
FOLLOW = """subscription ($id: ID!) { taskUpdated(id: $id) {
  id status revision recipients { imported }
  counts { total waiting unknown delivered failed notSent inDoubt } } }"""


async def create(client: ServiceClient, made_from: dict[str, str], numbers: list[str], **more: object) -> str:
    """Create a task and return its id."""
    order = {"name": "Line", **made_from, "recipients": {"numbers": numbers}, **more}
    payload = (await client.execute(CREATE, input=order))["createTask"]
    assert payload["errors"] == []
    task_id: str = payload["task"]["id"]
    return task_id


async def create_from_file(
    client: ServiceClient, made_from: dict[str, str], file: Path, **more: object
) -> str:
    """Create a task from a recipient file and return its id."""
    order = {"name": "Line", **made_from, "recipients": {"file": None}, **more}
    payload = (await client.upload(CREATE, file, "input.recipients.file", input=order))["createTask"]
    assert payload["errors"] == []
    task_id: str = payload["task"]["id"]
    return task_id


async def followed(client: ServiceClient, task_id: str, within: float = 60) -> list[dict[str, Any]]:
    """Every update of a task until the subscription ends."""
    async with asyncio.timeout(within), aclosing(client.subscribe(FOLLOW, id=task_id)) as events:
        return [event["taskUpdated"] async for event in events]


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
