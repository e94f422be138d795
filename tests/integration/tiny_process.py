"""The tiny schema behind a real uvicorn in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
UPLOAD_LIMIT = 1024 * 1024


@dataclass(frozen=True)
class TinyService:
    """A running service and what it leaves behind."""

    process: subprocess.Popen[str]
    url: str
    uploads: Path
    log_file: Path

    @property
    def endpoint(self) -> str:
        """Where operations are posted."""
        return f"{self.url}/graphql"

    @property
    def socket(self) -> str:
        """Where subscriptions connect."""
        return self.endpoint.replace("http", "ws", 1)

    def log(self) -> list[dict[str, Any]]:
        """The lines it has logged so far, without one it is still writing."""
        return [json.loads(line) for line in self.log_file.read_text().split("\n")[:-1]]


@contextmanager
def tiny_service(directory: Path, *origins: str) -> Iterator[TinyService]:
    """Run the service; `origins` may reach it from other pages."""
    uploads, log_file = directory / "uploads", directory / "log"
    uploads.mkdir()
    command = [sys.executable, "-m", "tests.integration.serve_tiny", "0", str(uploads), *origins]
    with (
        log_file.open("w") as log,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http://"), log_file.read_text()
            yield TinyService(process, url, uploads, log_file)
        finally:
            process.terminate()
            try:
                process.wait(10)
            finally:
                process.kill()
