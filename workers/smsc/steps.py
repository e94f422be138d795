"""What the simulated message centre does at a set moment: `5s away=10`, `2000submits rate=50`."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import click
import structlog

from workers.smsc.centre import Centre
from workers.smsc.options import SECONDS, read_knob

log = structlog.get_logger()

_WHEN: Final = re.compile(r"(?P<amount>[0-9]{1,9}(?:\.[0-9]{1,3})?)(?P<unit>s|submits?)")
_FOR_A_WHILE: Final = {"away": Centre.go_away, "refuse-binds": Centre.refuse_binds}
_AT_ONCE: Final = {"drop": Centre.drop_all, "unbind": Centre.unbind_all}


@dataclass(frozen=True, slots=True)
class Step:
    """Something to be done once, at a moment."""

    seconds: float | None
    """After the start; None: it comes by the number of submits."""
    submits: int
    actions: tuple[Callable[[Centre], None], ...]
    said: str
    """What it does, as it was written."""

    def take(self, centre: Centre) -> None:
        """Do it, and put it into the journal first."""
        log.info("smsc_step", what=self.said)
        centre.journal.step(self.said)
        centre.journal.write()
        for act in self.actions:
            act(centre)


def read_step(line: str) -> Step:
    """Read `WHEN WHAT...`. Raises click.BadParameter."""
    try:
        when, *what = shlex.split(line)
    except ValueError:
        raise click.BadParameter(f"{line!r} is not WHEN WHAT, such as '5s away=10'") from None
    found = _WHEN.fullmatch(when)
    if found is None or not what:
        raise click.BadParameter(
            f"{line!r} does not begin with a moment such as 5s or 2000submits, and then what to do"
        )
    actions, said = tuple(_read_action(word) for word in what), " ".join(what)
    if found["unit"] == "s":
        return Step(float(found["amount"]), 0, actions, said)
    if not found["amount"].isdecimal() or int(found["amount"]) < 1:
        raise click.BadParameter(f"{when!r} is no number of submits")
    return Step(None, int(found["amount"]), actions, said)


def read_script(lines: Iterable[str]) -> list[Step]:
    """Read steps, one a line, without remarks and blank lines. Raises click.BadParameter."""
    steps = []
    for number, line in enumerate(lines, 1):
        written = re.sub(r"(^|\s)#.*", "", line).strip()
        if written:
            try:
                steps.append(read_step(written))
            except click.BadParameter as error:
                raise click.BadParameter(f"line {number}: {error.message}") from None
    return steps


def schedule(steps: Iterable[Step], centre: Centre) -> None:
    """Let each step be taken at its moment."""
    loop = asyncio.get_running_loop()
    by_submits = []
    for step in steps:
        if step.seconds is not None:
            loop.call_later(step.seconds, step.take, centre)
        else:
            by_submits.append(step)
    # The next one to come is the last.
    by_submits.sort(key=lambda step: step.submits, reverse=True)

    def on_submit() -> None:
        while by_submits and centre.counts.submitted >= by_submits[-1].submits:
            # Not at once: the submit_sm is still being taken.
            loop.call_soon(by_submits.pop().take, centre)
        if not by_submits:
            centre.on_submit = None

    if by_submits:
        centre.on_submit = on_submit


def obey_standard_input(centre: Centre) -> None:
    """Take what each line of standard input says, without a moment, as soon as it is there."""
    loop = asyncio.get_running_loop()
    descriptor, rest = sys.stdin.fileno(), b""

    def read() -> None:
        nonlocal rest
        octets = os.read(descriptor, 4096)
        if not octets:
            loop.remove_reader(descriptor)
        *lines, rest = (rest + octets).split(b"\n")
        for line in (each.decode(errors="replace").strip() for each in lines):
            if not line:
                continue
            try:
                read_step(f"0s {line}").take(centre)
            except click.BadParameter as error:
                click.echo(f"groupsms smsc: {error.message}", err=True)

    loop.add_reader(descriptor, read)


def _read_action(word: str) -> Callable[[Centre], None]:
    name, equals, value = word.partition("=")
    if name in _AT_ONCE and not equals:
        return _AT_ONCE[name]
    if not equals:
        raise click.BadParameter(f"{word!r} is not drop, unbind or NAME=VALUE")
    if name in _FOR_A_WHILE:
        return partial(_for_a_while, _FOR_A_WHILE[name], _seconds(value))
    knob, setting = read_knob(name, value)
    return partial(_change, {knob: setting})


def _seconds(value: str) -> float:
    convert: Callable[..., float] = SECONDS.convert
    return convert(value, None, None)


def _for_a_while(act: Callable[[Centre, float], None], seconds: float, centre: Centre) -> None:
    act(centre, seconds)


def _change(changes: dict[str, Any], centre: Centre) -> None:
    centre.change(**changes)
