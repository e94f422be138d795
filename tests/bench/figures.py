"""What a benchmark says: a measurement beside its limit, and the ratio of the two."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import asyncpg
import psutil
from rich.console import Console
from rich.table import Table

LIBRARIES = ("strawberry-graphql", "starlette", "uvicorn", "tortoise-orm", "asyncpg", "python-calamine")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement, and what was measured beside it in the same run."""

    what: str
    measured: float
    unit: str
    limit: float
    """Of the same unit."""
    limit_is: str
    at_most: float | None = None
    """The ratio of measured to limit that is to be reached, where less is better."""
    at_least: float | None = None
    """The same, where more is better."""

    @property
    def ratio(self) -> float:
        """Measured over limit."""
        return self.measured / self.limit

    @property
    def reached(self) -> bool:
        """Whether the ratio is as good as it is to be; a figure without a goal always is."""
        if self.at_most is not None:
            return self.ratio <= self.at_most
        return self.at_least is None or self.ratio >= self.at_least

    @property
    def goal(self) -> str:
        """The ratio to be reached, in words."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return "" if self.at_least is None else f"≥ {self.at_least:g}"


def show(figures: Sequence[Figure], console: Console) -> None:
    """Print the figures as a table."""
    table = Table("what", "measured", "limit or peer", "", "ratio", "goal", "", highlight=False)
    for figure in figures:
        table.add_row(
            figure.what,
            f"{_short(figure.measured)} {figure.unit}",
            f"{_short(figure.limit)} {figure.unit}",
            figure.limit_is,
            f"{figure.ratio:.2f}",
            figure.goal,
            "" if not figure.goal else "reached" if figure.reached else "[red]missed[/red]",
        )
    console.print(table)


def as_markdown(figures: Sequence[Figure]) -> str:
    """The figures as the README shows them."""
    rows = ["| what | measured | limit or peer in the same run | ratio | goal |", "|---|---|---|---|---|"]
    rows += [
        f"| {figure.what} | {_short(figure.measured)} {figure.unit} "
        f"| {figure.limit_is}: {_short(figure.limit)} {figure.unit} | {figure.ratio:.2f} | {figure.goal} |"
        for figure in figures
    ]
    return "\n".join(rows)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


async def machine(database_url: str) -> str:
    """What was measured on, and with which versions."""
    connection = await asyncpg.connect(database_url)
    try:
        server = await connection.fetchval("SHOW server_version")
    finally:
        await connection.close()
    libraries = ", ".join(f"{library} {version(library)}" for library in LIBRARIES)
    return (
        f"{_processor()}, {psutil.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, "
        f"{platform.system()} {platform.release()}; Python {platform.python_version()}, PostgreSQL {server}; "
        f"{libraries}"
    )


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    if not described.exists():
        return platform.processor()
    names = [line for line in described.read_text().splitlines() if line.startswith("model name")]
    return names[0].partition(": ")[2] if names else platform.machine()
