"""PostGraphile 4 out of npm, on the service's own database; left out where there is no node or npm."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit

import asyncpg

from tests.e2e.line import Line, free_port

LIST = """query ($first: Int!) { allTasks(first: $first, orderBy: [CREATED_AT_DESC, ID_DESC]) { nodes {
  nodeId name status createdAt sendAt segmentsPerMessage ownRevision } } }"""
_INSTALL_WITHIN = 180
# Our function task_revision would be a field of the same name as the column.
_NAMES = """COMMENT ON COLUMN task.revision IS E'@name ownRevision';"""


@asynccontextmanager
async def serving(line: Line) -> AsyncIterator[str | None]:
    """The URL it answers at; None, and a line on stderr, where it can't be had."""
    if not (shutil.which("node") and shutil.which("npm")):
        _say("left out: node and npm are not on PATH")
        yield None
        return
    with TemporaryDirectory(prefix="groupsms-postgraphile-") as folder:
        if not await _installed(folder):
            _say("left out: npm could not install it")
            yield None
            return
        connection = await asyncpg.connect(line.database_url)
        try:
            await connection.execute(_NAMES)
        finally:
            await connection.close()
        port = free_port()
        server = await asyncio.create_subprocess_exec(
            "node", f"{folder}/node_modules/postgraphile/cli.js", "--connection", _url(line.database_url),
            "--port", str(port), "--max-pool-size", "16", "--disable-query-log", "--disable-graphiql",
            env={**os.environ, "NODE_ENV": "production"}, stdout=PIPE, stderr=DEVNULL,
        )  # fmt: skip
        try:
            assert server.stdout is not None
            async with asyncio.timeout(60):
                while b"listening" not in (said := await server.stdout.readline()):
                    assert said, "PostGraphile did not start"
            yield f"http://127.0.0.1:{port}/graphql"
        finally:
            server.terminate()
            await server.wait()


async def _installed(folder: str) -> bool:
    npm = await asyncio.create_subprocess_exec(
        "npm", "install", "--no-audit", "--no-fund", "--prefix", folder, "postgraphile@4",
        stdout=DEVNULL, stderr=DEVNULL,
    )  # fmt: skip
    async with asyncio.timeout(_INSTALL_WITHIN):
        return await npm.wait() == 0


def _url(database_url: str) -> str:
    """The same address as node's driver takes it: it wants to know the directory of a socket beforehand."""
    url = urlsplit(database_url)
    query = parse_qs(url.query)
    if "host" not in query:
        return database_url
    host = query["host"][0].replace("/", "%2F")
    return f"postgres://{url.username}@{host}:{query['port'][0]}{url.path}"


def _say(what: str) -> None:
    sys.stderr.write(f"PostGraphile {what}\n")
