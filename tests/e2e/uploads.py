"""The folder in which the API keeps recipient files while they are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class Uploads:
    """Seen from outside."""

    folder: Path

    @property
    def none_there(self) -> bool:
        """Whether it keeps none."""
        return not any(self.folder.iterdir())

    async def arrived(self, octets: int) -> bool:
        """Whether so much of a file is there."""
        return any(file.stat().st_size >= octets for file in self.folder.iterdir())
