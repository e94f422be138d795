"""Strawberry's decorators with types, and with a description each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import strawberry

F = TypeVar("F", bound=Callable[..., Any])


def field(description: str) -> Callable[[F], F]:
    """Make a method a field that is worked out when it is asked for."""
    return cast("Callable[[F], F]", strawberry.field(description=description))


def worked_out(description: str) -> Any:
    """Make an attribute a field that isn't given when an object is made: the class's `__getattr__` has it."""
    made = strawberry.field(description=description)
    made.init = False
    return made


def subscription(description: str) -> Callable[[F], F]:
    """Make a method a field of Subscription."""
    return cast("Callable[[F], F]", strawberry.subscription(description=description))
