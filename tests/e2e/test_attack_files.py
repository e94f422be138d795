"""Hostile recipient files through the real API: bounded in time and memory, others served meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from api.demo.service_client import ServiceClient
from tests.bench.stage import watched_memory
from tests.e2e import attack_files as files
from tests.e2e.line import CREATE, Child, Line, lives, make_mainland, running_line
from tests.fuzzing import complaints

SECONDS = 20.0
"""In which each is answered, on a busy machine; the slowest takes 5 on a quiet one."""
OCTETS = 600 * 2**20
"""Of memory that the API and the reader it starts have at most, together."""
OTHERS_WAIT = 5.0
"""Seconds another client waits at most meanwhile, on a busy machine."""
MIB = 2**20

DEMANDING = "takes too much memory or time"
DAMAGED = "damaged or incomplete"
INVALID = "includes invalid phone numbers"
NOTHING = "no numbers in column A"
NO_LIST = "not a list of numbers"
ACCEPTED = "a task"
"""It does no harm, and makes a task of the numbers in it."""

Attack = tuple[Callable[[], bytes], str]


def attacks(elsewhere: str, secret: Path) -> dict[str, Attack]:
    """Each file by name, and what its sender reads."""
    http = f"http://{elsewhere}"
    return {
        "zip bomb": (files.zip_bomb, DEMANDING),
        "zip bombs in a zip": (files.nested_zip_bomb, ACCEPTED),
        "zip bomb with lying headers": (files.lying_zip_bomb, DAMAGED),
        "billion laughs": (files.billion_laughs, DAMAGED),
        "quadratic entity": (files.quadratic_entity, DAMAGED),
        "entity from the network": (partial(files.external_entity, http), DAMAGED),
        "entity from a file": (partial(files.external_entity, secret.as_uri()), DAMAGED),
        "external links": (partial(files.external_links, http), ACCEPTED),
        "200 MB of shared strings": (files.shared_strings, ACCEPTED),
        "farthest corner": (files.farthest_corner, DEMANDING),
        "beyond any corner": (files.beyond_any_corner, NOTHING),
        "a million empty rows": (files.empty_rows, NOTHING),
        "a million columns": (files.wide_row, INVALID),
        "a million elements deep": (files.deep_elements, DAMAGED),
        "formulas": (files.formulas, ACCEPTED),
        "100,000 parts": (files.many_parts, DEMANDING),
        "parts with paths": (files.path_traversal, ACCEPTED),
        "half a workbook": (files.cut_short, DAMAGED),
        "with a password": (files.encrypted, "password"),
        "PDF and workbook": (files.polyglot, "PDF"),
        "one line of 15 MB": (files.one_line, NO_LIST),
        "millions of columns": (files.many_columns, INVALID),
        "quotation marks": (files.quotes, "quotation mark"),
        "wide UTF-16": (files.wide_characters("utf-16"), NO_LIST),
        "wide UTF-32": (files.wide_characters("utf-32"), NO_LIST),
        "NULs in a list": (lambda: b"13800138000\0\n" * 1000, NO_LIST),
        "nothing but NULs": (lambda: b"\0" * 15 * MIB, NO_LIST),
        "nothing but line ends": (lambda: b"\n" * 15 * MIB, DEMANDING),
        "larger than allowed": (lambda: b"1" * 17 * MIB, "larger than 16 MiB"),
    }


@dataclass
class Elsewhere:
    """A server that attackers' files name; nobody should come."""

    address: str
    visits: int = 0


@asynccontextmanager
async def _elsewhere() -> AsyncIterator[Elsewhere]:
    async def visit(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.visits += 1
        writer.close()

    server = await asyncio.start_server(visit, "127.0.0.1", 0)
    found = Elsewhere(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server:
        yield found


async def _slowest(client: ServiceClient, until: asyncio.Event) -> float:
    """Ask again and again, as another client would; the longest wait, in seconds."""
    slowest = 0.0
    while not until.is_set():
        began = time.monotonic()
        await client.execute("{ viewer { account { name } } }")
        slowest = max(slowest, time.monotonic() - began)
        await asyncio.sleep(0.05)
    return slowest


@dataclass
class _Victim:
    """The API that is attacked, and what it did."""

    line: Line
    api: Child
    client: ServiceClient
    made_from: dict[str, str]
    folder: Path

    async def answer(self, content: bytes) -> tuple[str, float, int]:
        """The message, or ACCEPTED; seconds; the most octets in use."""
        file = self.folder / "recipients.xlsx"
        file.write_bytes(content)
        order = {"name": "Attack", **self.made_from, "recipients": {"file": None}}
        async with watched_memory(self.line, only=self.api) as memory:
            began = time.monotonic()
            data = await self.client.upload(CREATE, file, "input.recipients.file", input=order)
            took = time.monotonic() - began
        return _message(data["createTask"]), took, memory.peak


def _message(payload: dict[str, Any]) -> str:
    if payload["task"]:
        assert payload["errors"] == []
        return ACCEPTED
    (error,) = payload["errors"]
    assert error["code"] in ("FILE_UNREADABLE", "FILE_TOO_LARGE", "NO_VALID_NUMBERS"), error
    assert error["path"][:2] == ["input", "recipients"], error
    message: str = error["message"]
    return message


async def test_each_is_answered_in_bounds_while_others_are_served(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("13800138999")
    async with running_line(database_url, redis_url, tmp_path) as line, _elsewhere() as elsewhere:
        api, client = await line.api()
        other = ServiceClient(client.base_url, line.token)
        line.clients.append(other)
        victim = _Victim(line, api, client, await make_mainland(client, "您好"), tmp_path)
        ended = asyncio.Event()
        waiting = asyncio.create_task(_slowest(other, ended))
        for name, (make, says) in attacks(elsewhere.address, secret).items():
            message, seconds, octets = await victim.answer(await asyncio.to_thread(make))
            assert says in message, name
            assert "13800138999" not in message, name
            assert seconds < SECONDS, name
            assert octets < OCTETS, name
        ended.set()
        assert await waiting < OTHERS_WAIT
        assert elsewhere.visits == 0
        assert complaints(api.entries()) == []
        assert lives(api)
