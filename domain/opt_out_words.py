"""Telling a reply that says STOP from any other. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

LONGEST = 64
"""Characters of a reply, the blanks around it aside, that may still be one word and its punctuation."""

_AROUND = frozenset("CPZ")
"""Unicode's kinds of characters that count for nothing around a word: invisible, punctuation, blank."""


def is_opt_out(text: str, words: Collection[str]) -> bool:
    """Whether the whole text is one of these words, which are as `plain` makes them.

    "Stop." and "ＳＴＯＰ" are STOP; "please stop by at six" is not.
    """
    bare = text.strip()
    return len(bare) <= LONGEST and plain(bare) in words


def plain(text: str) -> str:
    """The text without regard to case and width, and without blanks and punctuation around it."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    begin, end = 0, len(folded)
    while begin < end and unicodedata.category(folded[begin])[0] in _AROUND:
        begin += 1
    while begin < end and unicodedata.category(folded[end - 1])[0] in _AROUND:
        end -= 1
    return folded[begin:end]
