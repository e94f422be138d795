"""Running one command of `groupsms` to its end, in the name of whoever typed it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine

from domain import audit, startup
from domain.audit import Actor
from domain.errors import UserError
from domain.settings import Settings


def finish(command: Callable[[Settings], Coroutine[object, object, int]]) -> None:
    """Run it and exit with its code; a mistake of the caller becomes one line on stderr."""
    audit.acting(Actor.at_the_command_line())
    sys.exit(startup.run(command, UserError))
