"""The README's commands, word for word."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.e2e.line import Line, running_line

README = Path(__file__).parents[2] / "README.md"
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture
async def line(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Line]:
    async with running_line(database_url, redis_url, tmp_path) as running:
        yield running


async def test_the_first_task_with_curl(line: Line, tmp_path: Path) -> None:
    _, client = await line.api()
    await line.worker()
    blocks = re.findall(r"```bash\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 2
    script = "set -eu\n" + "\n".join(blocks).replace(ADDRESS, client.base_url)
    environment = {"PATH": os.environ["PATH"], "TOKEN": line.token}
    done = subprocess.run(  # noqa: ASYNC221
        ["bash", "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    answers = [
        json.loads(answer) for answer in re.findall(r'\{"data".*?\}(?=\{"data"|$)', done.stdout, re.DOTALL)
    ]
    reviewed, created, listed = (answer["data"] for answer in answers)
    assert reviewed["reviewTemplate"] == {"template": {"status": "APPROVED"}, "errors": []}
    assert created["createTask"]["errors"] == []
    assert created["createTask"]["message"].startswith("2 phone number(s) imported.")
    assert listed["tasks"]["nodes"][0]["name"] == "Opening"
    wait_until(lambda: "worker_ready" in line.children[-1].log.read_text())
