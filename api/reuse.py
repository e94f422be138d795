"""Which answers stay true for as long as no task of the account changes.

Such an answer shows columns of tasks, what is counted of them, and nothing else: not applications, templates
or signatures, which change without the tasks; no links, which expire; not who is asking.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from graphql import (
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    get_named_type,
    visit,
)

from api.limits.documents import Document, Documents

_FIELDS = {
    "Query": "tasks task",
    "TaskConnection": "edges nodes pageInfo totalCount changeCursor",
    "TaskEdge": "cursor node",
    "PageInfo": "hasNextPage hasPreviousPage startCursor endCursor",
    "Task": (
        "id name status cancelReason blockers text encoding segmentsPerMessage sendAt createdAt startedAt "
        "finishedAt messagesPurgedAt revision recipients counts progress canCancel cancelDeadline canDelete "
        "billing failureReasons"
    ),
    "Blocker": "code message fix",
    "RecipientSummary": "rows imported invalid duplicates optedOut message",
    "ResultCounts": "total waiting unknown delivered failed notSent inDoubt",
    "Progress": "handedOver percent messagesPerSecond estimatedFinishAt",
    "Billing": "segments billableSegments estimatedAmount amount currency",
    "FailureReason": "code cause count billed mayPass advice",
}
LASTING = frozenset(f"{name}.{field}" for name, fields in _FIELDS.items() for field in fields.split())
"""The fields that change with their task's revision only, or, of lists, with the account's change feed."""
UNTIL_DEADLINE = "Task.canCancel"
"""Also changes when the task's cancelDeadline passes."""
MOVING = frozenset({"Progress.messagesPerSecond", "Progress.estimatedFinishAt"})
"""These also change with time, while messages are being handed over."""


@dataclass(frozen=True, slots=True)
class Nature:
    """What an answer to a document depends on, beside tasks."""

    shows_deadline: bool
    """Whether a moment passes after which it is another one."""
    shows_rates: bool
    """Whether it changes all the time while a task is running."""


class Natures:
    """Looks through documents, each of them once."""

    def __init__(self, schema: GraphQLSchema, documents: Documents) -> None:
        self._schema = schema
        self._documents = documents
        self._found: WeakKeyDictionary[Document, Nature | None] = WeakKeyDictionary()

    def of(self, text: str) -> Nature | None:
        """What answers to this document depend on; None if they are not to be used again."""
        try:
            document = self._documents.read(text)
        except GraphQLError:
            return None  # the same is raised again, and answered, when it is to be executed
        if document not in self._found:
            self._found[document] = self._look_through(document)
        return self._found[document]

    def _look_through(self, document: Document) -> Nature | None:
        types = TypeInfo(self._schema)
        fields = _Fields(types)
        visit(document.tree, TypeInfoVisitor(types, fields))
        if not fields.found <= LASTING:
            return None
        return Nature(
            shows_deadline=UNTIL_DEADLINE in fields.found, shows_rates=not MOVING.isdisjoint(fields.found)
        )


class _Fields(Visitor):
    """Collects the fields of all operations and fragments of a document."""

    def __init__(self, types: TypeInfo) -> None:
        super().__init__()
        self._types = types
        self.found: set[str] = set()

    def enter_field(self, node: FieldNode, *_: object) -> None:
        if node.name.value != "__typename":
            parent = get_named_type(self._types.get_parent_type())
            self.found.add(f"{parent.name if parent else ''}.{node.name.value}")
