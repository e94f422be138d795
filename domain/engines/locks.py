"""File locks that the system frees when their holder dies, however it dies."""

import fcntl
import os
from pathlib import Path


def try_shared(path: Path) -> int | None:
    """A descriptor holding the lock together with other sharers; None while someone has it alone."""
    return _try(path, fcntl.LOCK_SH)


def try_exclusive(path: Path) -> int | None:
    """A descriptor holding the lock alone; None while anyone else has it."""
    return _try(path, fcntl.LOCK_EX)


def _try(path: Path, how: int) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
