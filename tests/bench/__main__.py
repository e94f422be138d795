"""Runs benchmarks and prints their figures: `python -m tests.bench [NAME…]`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable

import click
from rich.console import Console

from domain.startup import configure_logging
from tests.bench import deleting, exporting, figures, importing, listing, sending, subscribing
from tests.bench.figures import Figure
from tests.bench.stage import stage

BENCHES: dict[str, Callable[[], AsyncIterator[Figure]]] = {
    "import": importing.bench,
    "send": sending.bench,
    "lists": listing.bench,
    "subscriptions": subscribing.bench,
    "export": exporting.bench,
    "delete": deleting.bench,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHES)), metavar="|".join(BENCHES))
@click.option("--markdown", is_flag=True, help="Print the tables as the README shows them.")
def main(names: tuple[str, ...], markdown: bool) -> None:
    """Measure the service beside the limit or a peer, in the same run on the same machine.

    Without a name, all of them, one after the other. Exits with 1 if a goal is missed. Nothing else should
    keep the machine busy meanwhile.
    """
    configure_logging("warning")
    sys.exit(asyncio.run(_run(names or tuple(BENCHES), markdown)))


async def _run(names: tuple[str, ...], markdown: bool) -> int:
    console = Console(width=160)
    async with stage() as line:
        console.print(await figures.machine(line.database_url), soft_wrap=True)
    missed = False
    for name in names:
        console.print(f"\n[bold]{name}[/bold]")
        found = [figure async for figure in BENCHES[name]()]
        if markdown:
            console.print(figures.as_markdown(found), soft_wrap=True, highlight=False)
        else:
            figures.show(found, console)
        missed = missed or not all(figure.reached for figure in found)
    return int(missed)


if __name__ == "__main__":
    main(prog_name="python -m tests.bench")
