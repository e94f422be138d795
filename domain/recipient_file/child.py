"""Reads one recipient file in a process of its own: `python -m domain.recipient_file.child REQUEST`.

A hostile workbook can make a parser allocate until the process is aborted, so it is this process that dies,
at limits it sets itself. It also ends with its parent: standard input is a pipe that closes then.

On standard input come the account's opted-out numbers in ascending order, as many as REQUEST says, as
integers of 8 octets.

The answer, on standard output, begins with a line of JSON. Either {"error": class, "details": [...]}, or
{"numbers": n, "duplicates": d, "opted_out": o}, then n integers of 8 octets, then lines of JSON, each a list
of [row, value, reason].
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
from array import array
from pathlib import Path
from typing import BinaryIO

from domain.recipient_file import delimited, workbook
from domain.recipient_file.errors import DamagedWorkbook, EmptyFile, RecipientFileError, TooDemanding
from domain.recipient_file.formats import Format, detect
from domain.recipient_file.recipients import Recipients, collect
from domain.states import Region

_ROWS_A_LINE = 1000


def read(path: Path, region: Region | None, most: int, opted_out: array[int] | None = None) -> Recipients:
    """Read a recipient file in this process, whatever that takes.

    Raises:
        RecipientFileError: the file can't be used.
    """
    source = workbook.cells if detect(path) is Format.WORKBOOK else delimited.cells
    try:
        recipients = collect(source(path), region, most=most, header=True, opted_out=opted_out)
    except MemoryError as error:
        raise TooDemanding from error
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # calamine's; no module exports it
            raise DamagedWorkbook from error
        raise
    if not recipients.rows:
        raise EmptyFile
    return recipients


def _main() -> None:
    request = json.loads(sys.argv[1])
    _bound(request["memory"], request["cpu_seconds"], request["seconds"])
    opted_out = _numbers(request["opted_out"])
    _end_with_parent()
    region = Region(request["region"]) if request["region"] else None
    answer = sys.stdout.buffer
    try:
        recipients = read(Path(request["path"]), region, request["most"], opted_out)
    except RecipientFileError as error:
        _write_line(answer, {"error": type(error).__name__, "details": error.details})
    else:
        _write(answer, recipients)
    answer.flush()


def _bound(memory: int, cpu_seconds: int, seconds: int) -> None:
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_CPU, cpu_seconds)
    if sys.platform == "linux":  # elsewhere it can't be set, or isn't kept
        _lower(resource.RLIMIT_AS, memory)
    signal.alarm(seconds)


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(limit, (value, value))


def _numbers(count: int) -> array[int] | None:
    if not count:
        return None
    numbers = array("q")
    numbers.fromfile(sys.stdin.buffer, count)
    return numbers


def _end_with_parent() -> None:
    def wait() -> None:
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.stack_size(256 * 1024)
    threading.Thread(target=wait, daemon=True).start()


def _write(answer: BinaryIO, recipients: Recipients) -> None:
    head = {
        "numbers": recipients.imported,
        "duplicates": recipients.duplicates,
        "opted_out": recipients.opted_out,
    }
    _write_line(answer, head)
    recipients.numbers.tofile(answer)
    rejected = recipients.rejected
    for begin in range(0, len(rejected), _ROWS_A_LINE):
        rows = rejected[begin : begin + _ROWS_A_LINE]
        _write_line(answer, [(each.row, each.value, each.reason) for each in rows])


def _write_line(answer: BinaryIO, value: object) -> None:
    answer.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")


if __name__ == "__main__":
    _main()
