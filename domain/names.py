"""What a name of a task, an application or a template may be."""

from __future__ import annotations

import unicodedata
from typing import Final

from domain import db
from domain.errors import InvalidInput, UserError

NAME_LENGTH: Final = 64

_DIRECTION_CONTROLS: Final = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They make a text show in another order than it is written in, and so like another name."""


def name_errors(whose: str, name: str) -> list[UserError]:
    """What is wrong with a name; `whose` begins the sentence that says so: "A task's name"."""
    if not 1 <= len(name.strip()) <= NAME_LENGTH:
        return [InvalidInput(f"{whose} has 1 to {NAME_LENGTH} characters.", "name")]
    if not db.can_hold(name) or any(_is_control(character) for character in name):
        return [InvalidInput(f"{whose} has no control characters.", "name")]
    return []


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc" or character in _DIRECTION_CONTROLS
