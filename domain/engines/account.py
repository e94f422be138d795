"""The unprivileged account the engines run as when the service runs as root.

PostgreSQL refuses to run as root, and Valkey has no need to.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = "groupsms"


class NoAccountError(Exception):
    """There is no account for the engines, and none could be made. One line, for the operator."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this system."""

    name: str
    uid: int
    gid: int

    def may_enter(self, directory: Path) -> bool:
        """Whether the account may pass through this one directory, by its mode bits."""
        found = directory.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & 0o100)
        if found.st_gid == self.gid:
            return bool(found.st_mode & 0o010)
        return bool(found.st_mode & 0o001)


def engines_account() -> Account | None:
    """The account for the engines, made if need be; None when this process isn't root's.

    Raises `NoAccountError`.
    """
    if os.geteuid() != 0:
        return None
    return _existing() or _made()


def run_as(account: Account | None) -> dict[str, Any]:
    """The arguments that make `subprocess` start a program under the account."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def _existing() -> Account | None:
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _made() -> Account:
    useradd = shutil.which("useradd")
    if useradd is None:
        raise NoAccountError(
            f"as root the embedded engines need a user named {NAME}, and there is no useradd to make it: "
            "make one, don't run as root, or set GROUPSMS_DATABASE_URL and GROUPSMS_REDIS_URL"
        )
    command = [useradd, "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", NAME]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # Another process may have made it in the meantime: what counts is that it is there.
    account = _existing()
    if account is None:
        raise NoAccountError(f"cannot make the user {NAME} for the embedded engines: {done.stderr.strip()}")
    return account
