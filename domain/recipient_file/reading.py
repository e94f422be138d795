"""Reading a recipient list without stalling or endangering the process that asks."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import sys
from array import array
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import structlog

from domain.recipient_file import errors
from domain.recipient_file.errors import RecipientFileError, TooDemanding
from domain.recipient_file.recipients import Recipients, RejectedRow, collect
from domain.states import Region, RowRejection

_log = structlog.get_logger()

LIST_LIMIT = 10_000
"""How many numbers a request may carry itself; more go into a file."""

_DIGITS = re.compile(r"\d{4,}")
_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH")
_ERROR_OUTPUT_KEPT = 2000


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What reading one file may take. A genuine million rows take about 4 s and 400 MB."""

    numbers: int = 1_000_000
    """Most rows of a list, whatever becomes of them."""
    memory: int = 2**30
    """Octets of address space (kept on Linux)."""
    cpu_seconds: int = 30
    seconds: int = 60
    """By the clock: other files may be read at the same time."""


async def read_recipients(
    source: Path | Sequence[str],
    *,
    region: Region | None,
    limits: ReadLimits | None = None,
    opted_out: array[int] | None = None,
) -> Recipients:
    """Read, normalise and de-duplicate a recipient list: a file, or the numbers of a request.

    Without a `region`, what an application of either could send to is taken. Rows with a number of
    `opted_out`, which is in ascending order, are deleted.

    A file is read in a child process under `limits`, killed when this is cancelled. In a list every element
    is a row, the first is row 1, and there is no header. A result without numbers is the caller's to judge.

    Raises:
        RecipientFileError: the list can't be used; its message says what to do.
    """
    limits = limits or ReadLimits()
    if not isinstance(source, Path):
        rows = enumerate(source, start=1)
        return await asyncio.to_thread(
            collect, rows, region, most=limits.numbers, header=False, opted_out=opted_out
        )
    opted_out = array("q") if opted_out is None else opted_out
    process = await _start(source, region, limits, len(opted_out))
    try:
        async with asyncio.timeout(limits.seconds):
            answer, complaint = await _talk(process, opted_out)
    except TimeoutError:
        raise TooDemanding from None
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    return await asyncio.to_thread(_decode, process.returncode, answer, complaint)


async def _start(path: Path, region: Region | None, limits: ReadLimits, opted_out: int) -> Process:
    request = {
        "path": str(path),
        "region": region,
        "most": limits.numbers,
        "memory": limits.memory,
        "cpu_seconds": limits.cpu_seconds,
        "seconds": limits.seconds,
        "opted_out": opted_out,
    }
    # Secrets in our environment are no business of a parser of strangers' files. One arena, because each
    # reserves address space; -P, so that nothing in the current directory is imported.
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "domain.recipient_file.child", json.dumps(request)),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=environment | {"MALLOC_ARENA_MAX": "1"},
    )


async def _talk(process: Process, opted_out: array[int]) -> tuple[bytes, bytes]:
    """Tell the child which numbers opted out, and take what it answers and what it complains of."""
    assert process.stdout is not None
    assert process.stderr is not None
    _, answer, complaint, _ = await asyncio.gather(
        _tell(process, opted_out), process.stdout.read(), process.stderr.read(), process.wait()
    )
    return answer, complaint


async def _tell(process: Process, opted_out: array[int]) -> None:
    assert process.stdin is not None
    # If the child dies before it has read them, how it ended says more than the broken pipe.
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(opted_out.tobytes())
        await process.stdin.drain()


def _decode(returncode: int | None, answer: bytes, complaint: bytes) -> Recipients:
    if returncode != 0:
        _explain(returncode, complaint)
    stream = io.BytesIO(answer)
    head = json.loads(stream.readline())
    if "error" in head:
        error: type[RecipientFileError] = getattr(errors, head["error"])
        raise error(*head["details"])
    numbers = array("q")
    numbers.frombytes(stream.read(head["numbers"] * numbers.itemsize))
    rejected = [
        RejectedRow(row, value, RowRejection(reason))
        for line in stream
        for row, value, reason in json.loads(line)
    ]
    return Recipients(numbers, rejected, head["duplicates"], head["opted_out"])


def _explain(returncode: int | None, complaint: bytes) -> NoReturn:
    text = _DIGITS.sub("…", complaint.decode("utf-8", "replace"))[-_ERROR_OUTPUT_KEPT:]
    ended = f"exit code {returncode}"
    if returncode is not None and returncode < 0:
        ended = signal.Signals(-returncode).name
    _log.warning("recipient_file.reader_died", ended=ended, stderr=text)
    if ended.startswith("SIG") or "MemoryError" in text:
        raise TooDemanding
    raise RuntimeError(f"The process that reads recipient files ended with {ended}")
