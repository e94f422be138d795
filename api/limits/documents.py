"""The documents of operations, each parsed and validated once for as long as it is remembered.

What is remembered is bounded by what it takes, not by its number: whoever sends a new document with every
request pushes out others, and fills nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    parse,
    specified_rules,
    validate,
)
from graphql.validation.rules import overlapping_fields_can_be_merged
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from api.limits.cost import Measure, Tariff, measure, sized_by
from api.limits.refusals import Limit, TooComplexError
from api.top_level_errors import present

ROOM = 100_000
"""Tokens of all remembered documents: less than 100 MB, whatever they are."""
LONGEST = 100_000
"""Characters of a document: those within one token, and those between two, are not tokens."""
COMPARISONS = 50_000
"""What validation may spend on comparing fields of the same name: a twentieth of a second, about."""
_CHARACTERS_A_TOKEN = 100
"""Characters that take as much memory as a token."""
_MEASURES = 16
"""How many combinations of sizes a document's measures are remembered for."""

# graphql-core reads it when validation begins, and says to set it so; its own default is ten times as much.
overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = COMPARISONS


class Document:
    """A document that can be parsed."""

    def __init__(self, schema: GraphQLSchema, tariff: Tariff, text: str, tokens: int, hidden: bool) -> None:
        """Raises `GraphQLError` for what can't be parsed, and `TooComplexError` beyond so many tokens."""
        self._schema = schema
        self._tariff = tariff
        self._hidden = hidden
        self.tree = _parsed(text, tokens)
        self.weight = self.tree.token_count + len(text) // _CHARACTERS_A_TOKEN
        self._measures: dict[object, Measure] = {}

    @cached_property
    def faults(self) -> Sequence[GraphQLError]:
        """Why it can't be executed, as a client may see it; nothing if it can."""
        rules = (*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule)
        if self._hidden:
            rules = (*rules, NoSchemaIntrospectionCustomRule)
        found = validate(self._schema, self.tree, rules, hide_suggestions=self._hidden)
        placed = [error for error in found if error.nodes]
        if found and not placed:
            return [TooComplexError(Limit.REPETITION)]  # validation gave up; after a hundred faults, too
        return present(placed)

    def operation(self, name: str | None) -> OperationDefinitionNode | None:
        """The operation of that name, or without a name the first one, as it would be executed."""
        operations = (each for each in self.tree.definitions if isinstance(each, OperationDefinitionNode))
        return next(
            (each for each in operations if name is None or (each.name and each.name.value == name)), None
        )

    def measure(self, operation: OperationDefinitionNode, variables: Mapping[str, object]) -> Measure:
        """What an operation of it asks for."""
        sizes = {name: variables[name] for name in self._sized_by if name in variables}
        key = (id(operation), *((name, repr(size)[:20]) for name, size in sizes.items()))
        found = self._measures.get(key)
        if found is None:
            found = measure(self._schema, self._tariff, self.tree, operation, sizes)
            if len(self._measures) < _MEASURES:
                self._measures[key] = found
        return found

    @cached_property
    def _sized_by(self) -> frozenset[str]:
        return sized_by(self.tree)


def _parsed(text: str, tokens: int) -> DocumentNode:
    if len(text) > LONGEST:
        raise TooComplexError(Limit.LENGTH, LONGEST, len(text))
    try:
        tree = parse(text, max_tokens=tokens)
    except GraphQLError as error:
        # The parser tells these from faults of the document by their texts alone.
        if error.message == f"Syntax Error: Document contains more than {tokens} tokens. Parsing aborted.":
            raise TooComplexError(Limit.TOKENS, tokens) from None
        if error.message == "Syntax Error: Document is nested too deeply. Parsing aborted.":
            raise TooComplexError(Limit.NESTING) from None
        raise
    _unlink(tree)
    return tree


def _unlink(tree: DocumentNode) -> None:
    """Let the tree be freed with its last reference: its tokens refer to each other in both directions.

    Otherwise forgotten documents would lie about, by the thousand, until all of memory is gone through.
    """
    token = tree.loc.start_token if tree.loc else None
    while token is not None:
        token.prev = None
        token = token.next


class Documents:
    """The documents that a schema was asked for last."""

    def __init__(self, schema: GraphQLSchema, tariff: Tariff, *, tokens: int, hidden: bool) -> None:
        """A document has up to so many tokens.

        `hidden`: nothing is told about the schema, neither by introspection nor by guessing what was meant.
        """
        self._schema = schema
        self._tariff = tariff
        self._tokens = tokens
        self._hidden = hidden
        self._kept: OrderedDict[str, Document] = OrderedDict()
        self._weight = 0

    def read(self, text: str) -> Document:
        """The document. Raises what `Document` does."""
        document = self._kept.get(text)
        if document is not None:
            self._kept.move_to_end(text)
            return document
        document = Document(self._schema, self._tariff, text, self._tokens, self._hidden)
        self._kept[text] = document
        self._weight += document.weight
        while self._weight > ROOM:
            _, forgotten = self._kept.popitem(last=False)
            self._weight -= forgotten.weight
        return document
