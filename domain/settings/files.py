"""The files among the settings: where data lies by default, the key that is made once, prices in a file."""

from __future__ import annotations

import os
import secrets
import stat
from hashlib import sha256
from pathlib import Path

_CLOSED_HOME_FALLBACK = Path("/var/lib/groupsms")


def contents(path: Path) -> str:
    """The text of a file. Raises ValueError, fit to follow "X "."""
    try:
        return path.expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ValueError(f"names the file {str(path)!r}, which can't be read ({reason})") from None


def default_data_dir(*, embedded: bool) -> Path:
    """`.groupsms` here, unless root stands in a directory where PostgreSQL's own user may not follow."""
    here = Path.cwd()
    local = here / ".groupsms"
    if not embedded or os.geteuid() != 0:
        return local
    if all(directory.stat().st_mode & stat.S_IXOTH for directory in (here, *here.parents)):
        return local
    return _CLOSED_HOME_FALLBACK / f"{here.name}-{sha256(os.fsencode(here)).hexdigest()[:8]}"


def read_or_create_key(path: Path) -> bytes:
    """The key in the file; a missing file is made whole or not at all, by one process only."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_urlsafe(48).encode())
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was quicker; its key counts
    finally:
        draft.unlink(missing_ok=True)
    return path.read_bytes()
