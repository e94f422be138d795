"""What a client is told whose operation asks for too much: of which kind, how much, and what to do."""

from __future__ import annotations

from enum import StrEnum

from api.top_level_errors import TopLevelCode, TopLevelError


class Limit(StrEnum):
    """What there is a limit to: `extensions.limit` of the error."""

    LENGTH = "length"
    TOKENS = "tokens"
    NESTING = "nesting"
    REPETITION = "repetition"
    DEPTH = "depth"
    ALIASES = "aliases"
    COST = "cost"
    INTROSPECTION = "introspection"


_PROBLEM = {
    Limit.LENGTH: "The document has {requested:,} characters; {maximum:,} are allowed.",
    Limit.TOKENS: "The document has more than {maximum:,} tokens (names, values and punctuation).",
    Limit.NESTING: "The document is nested more deeply than can be read.",
    Limit.REPETITION: "The document repeats the same fields or fragments more often than can be checked.",
    Limit.DEPTH: "The operation's fields lie {requested:,} deep inside each other; {maximum:,} are allowed.",
    Limit.ALIASES: "The operation has {requested:,} aliases; {maximum:,} are allowed.",
    Limit.COST: "The operation would cost {requested:,}; {maximum:,} are allowed.",
    Limit.INTROSPECTION: (
        "What the operation asks about the schema would cost {requested:,}; {maximum:,} are allowed."
    ),
}
_ADVICE = {
    Limit.LENGTH: "Give long values as variables.",
    Limit.TOKENS: "Give long lists as variables, and split the operation.",
    Limit.NESTING: "Begin further inside, for example with `node` and an id.",
    Limit.REPETITION: "Name each field once.",
    Limit.DEPTH: "Begin further inside, for example with `node` and an id.",
    Limit.ALIASES: "Split the operation, or give ids as a list where a field takes one.",
    Limit.COST: "Ask for smaller pages (`first`), above all of lists inside lists, or for fewer fields.",
    Limit.INTROSPECTION: "Ask what the standard introspection query asks, once.",
}


class TooComplexError(TopLevelError):
    """An operation asks for more than is allowed; it is not executed."""

    def __init__(self, limit: Limit, maximum: int | None = None, requested: int | None = None) -> None:
        numbers = {"requested": requested, "maximum": maximum}
        super().__init__(
            f"{_PROBLEM[limit].format(**numbers)} {_ADVICE[limit]}",
            TopLevelCode.TOO_COMPLEX,
            limit=limit.value,
            **{name: number for name, number in numbers.items() if number is not None},
        )
