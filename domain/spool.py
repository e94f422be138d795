"""Files that lie on disk only while they are read: recipient lists on their way into the database.

Whoever made one holds a lock on it, which the system frees at any death; so what a killed process left behind
is told from what is in use, by any other process, at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

PREFIX = "groupsms-upload-"


@contextlib.contextmanager
def new_file(directory: Path | None) -> Iterator[IO[bytes]]:
    """A new file in `directory` (None: the system's own for such files), deleted at the end of the block."""
    file = _locked(directory)
    try:
        yield file
    finally:
        # While it is locked: nobody else takes it for abandoned and deletes it first.
        Path(file.name).unlink()
        # What a full disk did not take is not needed any more; the file is closed all the same.
        with contextlib.suppress(OSError):
            file.close()


def _locked(directory: Path | None) -> IO[bytes]:
    while True:
        file = tempfile.NamedTemporaryFile(prefix=PREFIX, dir=directory, delete=False)  # noqa: SIM115
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return cast("IO[bytes]", file)
        # Somebody who was clearing up came between the two.
        file.close()


def remove_abandoned(directory: Path | None) -> int:
    """Delete the files whose process is gone; how many they were."""
    removed = 0
    for path in Path(directory or tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            removed += 1
    return removed
