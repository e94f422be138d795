"""Where the embedded engines keep what, and what stands there about their state."""

import json
import os
import stat
from dataclasses import asdict, dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from domain.engines.account import Account

SOCKET_PATH_LIMIT = 100
"""Longest path of a Unix socket in bytes; systems allow 103 (macOS) or 107 (Linux)."""

_LONGEST_SOCKET_NAME = ".s.PGSQL.5432.lock"


class EngineError(Exception):
    """An embedded engine can't run. The text is one line for whoever started the command."""


class Kind(StrEnum):
    """The engines there are; the value names files."""

    POSTGRESQL = "postgresql"
    VALKEY = "valkey"


class Status(StrEnum):
    """Where an engine stands; only READY promises that it answers."""

    OFF = "off"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class EngineState:
    """What the keeper last wrote about one engine.

    `step` says what is being done or why it failed, `at` is the Unix time of the writing.
    """

    status: Status
    step: str
    url: str
    pid: int | None
    at: float


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of the engines of one data directory."""

    root: Path

    @property
    def keeper_lock(self) -> Path:
        """Held exclusively by the one keeper, all its life."""
        return self.root / "keeper.lock"

    @property
    def keeper_log(self) -> Path:
        """What the keeper did, and why."""
        return self.root / "keeper.log"

    def users_lock(self, kind: Kind) -> Path:
        """Held shared by everyone who uses the engine."""
        return self.root / f"{kind}.users"

    def log(self, kind: Kind) -> Path:
        """The engine's own log."""
        return self.root / f"{kind}.log"

    def data(self, kind: Kind) -> Path:
        """The engine's own data."""
        return self.root / kind

    @property
    def software(self) -> Path:
        """Copies of the engines' programs, where their user can't reach the installed ones."""
        return self.root / "software"

    @property
    def tag(self) -> str:
        """A short name of this data directory, the same for all processes of this machine."""
        return sha256(os.fsencode(self.root)).hexdigest()[:10]

    @property
    def sockets(self) -> Path:
        """The private directory of the engines' Unix sockets.

        Inside the data directory unless its path is too long for a socket, or has characters that
        engines and URLs read differently.
        """
        inside = self.root / "run"
        fits = len(os.fsencode(inside / _LONGEST_SOCKET_NAME)) <= SOCKET_PATH_LIMIT
        if fits and quote(str(inside)) == str(inside):
            return inside
        # Not the TMPDIR of this or that process: all processes must come to the same path.
        return Path("/tmp") / f"groupsms-{self.tag}"  # noqa: S108 - made private and checked to be ours

    def read_states(self) -> dict[Kind, EngineState]:
        """What the last keeper wrote; nothing if no keeper ever did."""
        try:
            raw = json.loads((self.root / "state.json").read_bytes())
        except FileNotFoundError:
            return {}
        return {
            Kind(kind): EngineState(**{**state, "status": Status(state["status"])})
            for kind, state in raw.items()
        }

    def write_states(self, states: dict[Kind, EngineState]) -> None:
        """Replace what stands about the engines, in one step."""
        draft = self.root / "state.json.new"
        draft.write_text(json.dumps({kind: asdict(state) for kind, state in states.items()}))
        draft.replace(self.root / "state.json")


def prepare(data_dir: Path, account: Account | None) -> Layout:
    """Make the directories of `data_dir`, enterable for the engines' account if they have one of their own.

    Raises `EngineError` when that can't be.
    """
    layout = Layout(data_dir / "engines")
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
        for directory in (data_dir, layout.root):
            if account is not None:
                _let_in(directory, account)
        _refuse_closed_parents(data_dir, account)
        _probe(layout.root)
        _make_private(layout.sockets, account)
    except OSError as error:
        raise EngineError(f"cannot use the data directory {data_dir}: {error.strerror or error}") from error
    return layout


def _let_in(directory: Path, account: Account) -> None:
    if not account.may_enter(directory):
        directory.chmod(stat.S_IMODE(directory.stat().st_mode) | stat.S_IXOTH)


def _refuse_closed_parents(data_dir: Path, account: Account | None) -> None:
    if account is None:
        return
    for parent in data_dir.parents:
        if not account.may_enter(parent):
            raise EngineError(
                f"the data directory {data_dir} can't be used: as root the engines run as the user "
                f"{account.name}, who may not enter {parent}; set GROUPSMS_DATA_DIR to a place such as "
                "/var/lib/groupsms, or don't run as root"
            )


def _probe(directory: Path) -> None:
    """Write and remove some bytes, to hear of a full or read-only disk before an engine does."""
    probe = directory / f"probe.{os.getpid()}"
    try:
        probe.write_bytes(bytes(65_536))
    finally:
        probe.unlink(missing_ok=True)


def _make_private(directory: Path, account: Account | None) -> None:
    """A directory for one user only: whoever can enter it may use the engines without a password."""
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise EngineError(f"{directory} is in the way: it should be a directory")
    if account is not None and found.st_uid == os.geteuid():
        os.chown(directory, account.uid, account.gid)
        found = directory.lstat()
    owner = os.geteuid() if account is None else account.uid
    if found.st_uid != owner:
        raise EngineError(f"{directory} belongs to another user: was this data directory used by one?")
    directory.chmod(0o700)
