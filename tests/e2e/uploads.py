"""The folder in which the API keeps recipient files while they are read."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import wait_until


@dataclass
class Uploads:
    """Seen from outside."""

    folder: Path

    async def emptied(self) -> None:
        """Return once it keeps none; they are deleted when the request has been answered."""
        await asyncio.to_thread(wait_until, lambda: not any(self.folder.iterdir()))

    async def arrived(self, octets: int) -> bool:
        """Whether so much of a file is there."""
        return any(file.stat().st_size >= octets for file in self.folder.iterdir())
