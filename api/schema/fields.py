"""Strawberry's decorators with types, and with a description each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import strawberry

F = TypeVar("F", bound=Callable[..., Any])


def field(description: str) -> Callable[[F], F]:
    """Make a method a field that is worked out when it is asked for."""
    return cast("Callable[[F], F]", strawberry.field(description=description))


def subscription(description: str) -> Callable[[F], F]:
    """Make a method a field of Subscription."""
    return cast("Callable[[F], F]", strawberry.subscription(description=description))
