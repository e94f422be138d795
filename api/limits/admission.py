"""Who is let through: each operation is measured before it is executed, and carries its admission along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property

from graphql import FieldNode, GraphQLSchema, OperationDefinitionNode, OperationType, parse
from strawberry.extensions import SchemaExtension

from api.limits.cost import Measure, Tariff, measure
from api.limits.documents import Document, Documents
from api.limits.introspection import STANDARD_QUERY, list_sizes
from api.limits.refusals import Limit, TooComplexError

IMPORTS = frozenset({"createTask", "previewTask", "resendFailed", "addOptOuts"})
"""The mutations that read or make up to a million messages, and may take longer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one operation may ask for."""

    depth: int = 15
    """Fields inside each other."""
    aliases: int = 50
    tokens: int = 2_000
    """Names, values and punctuation of the document."""
    cost: int = 50_000
    seconds: float = 30
    """For a query, a mutation, or one event of a subscription."""
    import_seconds: float = 600
    """For a mutation among `IMPORTS`."""
    introspection: bool = True
    """Whether the schema may be asked about."""


@dataclass(frozen=True, slots=True)
class Admission:
    """An operation that may be executed, if its document has no faults."""

    document: Document
    cost: int
    maximum: int
    seconds: float
    """How long it may take, or each event of it."""
    hidden: bool
    """Whether nothing is told about the schema."""

    @contextmanager
    def carried(self) -> Iterator[None]:
        """Let what is executed inside be this operation."""
        reset = _carried.set(self)
        try:
            yield
        finally:
            _carried.reset(reset)


_carried: ContextVar[Admission | None] = ContextVar("admission", default=None)


def current_admission() -> Admission | None:
    """That of the operation being executed; None outside of any."""
    return _carried.get()


class Gate:
    """Measures operations against the limits of an application."""

    def __init__(
        self, schema: GraphQLSchema, limits: Limits | None = None, tariff: Tariff | None = None
    ) -> None:
        tariff = tariff or Tariff()
        self._schema = schema
        self._limits = limits or Limits()
        self._hidden = not self._limits.introspection
        self._tariff = replace(tariff, lists={**list_sizes(schema), **tariff.lists})
        self.documents = Documents(schema, self._tariff, tokens=self._limits.tokens, hidden=self._hidden)

    def admit(
        self, text: str, variables: Mapping[str, object] | None, operation_name: str | None
    ) -> Admission:
        """Let an operation through.

        Raises `TooComplexError` for what asks for too much, and `GraphQLError` for what can't be parsed.
        """
        document = self.documents.read(text)
        operation = document.operation(operation_name)
        found = document.measure(operation, variables or {}) if operation else Measure()
        self._check(found)
        return Admission(
            document,
            found.cost,
            self._limits.cost,
            self._limits.import_seconds if operation and _imports(operation) else self._limits.seconds,
            self._hidden,
        )

    def _check(self, found: Measure) -> None:
        for limit, requested, maximum in (
            (Limit.DEPTH, found.depth, self._limits.depth),
            (Limit.ALIASES, found.aliases, self._limits.aliases),
            (Limit.COST, found.cost, self._limits.cost),
            (Limit.INTROSPECTION, found.introspection, self._most_introspection),
        ):
            if requested > maximum:
                raise TooComplexError(limit, maximum, requested)

    @cached_property
    def _most_introspection(self) -> int:
        """Twice what tools ask, for those that ask a little more."""
        tree = parse(STANDARD_QUERY)
        (operation, *_) = tree.definitions
        assert isinstance(operation, OperationDefinitionNode)
        return 2 * measure(self._schema, self._tariff, tree, operation, {}).introspection


def _imports(operation: OperationDefinitionNode) -> bool:
    """Whether it may take as long as an import; of what stands in a fragment that is assumed."""
    return operation.operation is OperationType.MUTATION and any(
        not isinstance(selection, FieldNode) or selection.name.value in IMPORTS
        for selection in operation.selection_set.selections
    )


class AdmittedOperation(SchemaExtension):
    """Has what was let through executed as it was measured, and says in `extensions.cost` what it cost."""

    def on_parse(self) -> Iterator[None]:
        """The document is not parsed again."""
        if admission := current_admission():
            self.execution_context.graphql_document = admission.document.tree
        yield

    def on_validate(self) -> Iterator[None]:
        """Nor is it validated again."""
        if admission := current_admission():
            self.execution_context.pre_execution_errors = list(admission.document.faults)
        yield

    def get_results(self) -> dict[str, object]:
        """The extensions of the answer."""
        admission = current_admission()
        if admission is None:
            return {}
        return {"cost": {"requested": admission.cost, "maximum": admission.maximum}}
