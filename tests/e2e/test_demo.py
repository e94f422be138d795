"""`groupsms demo`, as a person runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from openpyxl import load_workbook

from api.demo.sample import SAMPLE
from tests.conftest import wait_until

GROUPSMS = Path(sys.executable).with_name("groupsms")


@pytest.fixture
def environment(data_dir: Path) -> dict[str, str]:
    return {**os.environ, "GROUPSMS_DATA_DIR": str(data_dir), "COLUMNS": "200"}


def processes_of(data_dir: Path) -> list[str]:
    """The command lines of all processes that know this data directory."""
    found = []
    for process in psutil.process_iter():
        try:
            known = str(data_dir) in process.environ().values() or str(data_dir) in " ".join(
                process.cmdline()
            )
            if known and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_once_shows_the_line_and_leaves_nothing_twice_in_a_row(
    data_dir: Path, environment: dict[str, str]
) -> None:
    for _ in range(2):
        done = subprocess.run(
            [GROUPSMS, "demo", "--once"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for heading in ("imported", "invalid", "duplicates", "delivered", "failed", "unknown"):
            assert heading in done.stdout
        assert f"{SAMPLE.imported} phone number(s) imported." in done.stdout
        assert "/graphql#token=gsms_" in done.stdout
        assert processes_of(data_dir) == []
    workbook = load_workbook(data_dir / "demo" / "failed-numbers.xlsx")
    rows = list(workbook.worksheets[0].values)
    assert len(rows) == 1 + SAMPLE.failing
    assert all(str(number).startswith("+86") and reason for number, reason in rows[1:])


@pytest.mark.parametrize(
    ("moment", "number"), [("started API", signal.SIGINT), ("Still serving", signal.SIGHUP)]
)
def test_a_signal_leaves_no_process_behind(
    data_dir: Path, environment: dict[str, str], number: signal.Signals, moment: str
) -> None:
    with subprocess.Popen([GROUPSMS, "demo"], env=environment, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert any(moment in line for line in demo.stdout)
        demo.send_signal(number)
        demo.stdout.read()
        assert demo.wait(60) == 0
    wait_until(lambda: processes_of(data_dir) == [])


def test_once_and_interrupted_is_no_success(data_dir: Path, environment: dict[str, str]) -> None:
    with subprocess.Popen(
        [GROUPSMS, "demo", "--once"], env=environment, stdout=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        assert any("started API" in line for line in demo.stdout)
        demo.terminate()
        said = demo.stdout.read()
        assert demo.wait(60) == 1
    assert "stopped before" in said
    assert processes_of(data_dir) == []


def test_it_says_what_fell_short(data_dir: Path, environment: dict[str, str]) -> None:
    """Here the message centre dies while the messages are on their way."""
    with subprocess.Popen(
        [GROUPSMS, "demo", "--once"], env=environment, stdout=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        assert any("started worker" in line for line in demo.stdout)
        centre = next(
            process for process in psutil.Process(demo.pid).children() if "workers.smsc" in process.cmdline()
        )
        centre.kill()
        said = demo.stdout.read()
        assert demo.wait(60) == 1
    assert "The demo fell short: the message centre ended" in said
    assert processes_of(data_dir) == []
