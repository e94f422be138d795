"""What an operation would cost, reckoned from its text and its variables before anything is executed.

A field costs 1 for each time it is answered, more where a statement of its own is needed for it. Lists
multiply what is asked of their items: connections by `first`, others by what is usual for them. Each fragment
is looked at once, however often it is spread, so that the work grows no faster than the document. @skip and
@include are not looked at: what might be asked for counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    NullValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    is_composite_type,
)

CEILING = 10**9
"""Where counting ends: fragments in fragments reach numbers that nobody can read."""
ROOTS = frozenset({"__schema", "__type"})
"""The fields by which introspection begins."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """What fields cost, and how many items lists have."""

    page: int = 50
    """Items of a connection where `first` is left out and the schema names no default."""
    longest_page: int = 100
    """Items of a connection at most: more are refused when it is executed."""
    list_items: int = 10
    """Items of a list that is no connection."""
    lists: Mapping[str, int] = field(default_factory=dict)
    """Items of certain lists, by `Type.field`."""
    lookup: int = 10
    """What a connection costs, and a field of Mutation: statements of their own."""
    fields: Mapping[str, int] = field(default_factory=dict)
    """What certain fields cost, by their names; all others 1."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What part of an operation asks for."""

    cost: int = 0
    per_item: int = 0
    """What each item of the page costs, directly inside a connection, whose size only its field knows."""
    introspection: int = 0
    """The cost of what is asked about the schema itself."""
    aliases: int = 0
    depth: int = 0
    """How many fields lie inside each other; those of the schema itself don't count."""

    def beside(self, other: Measure) -> Measure:
        """Both, in one selection set."""
        return Measure(
            min(self.cost + other.cost, CEILING),
            min(self.per_item + other.per_item, CEILING),
            min(self.introspection + other.introspection, CEILING),
            min(self.aliases + other.aliases, CEILING),
            max(self.depth, other.depth),
        )


NOTHING = Measure()


def measure(
    schema: GraphQLSchema,
    tariff: Tariff,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, object],
) -> Measure:
    """What an operation of a document asks for.

    What the schema doesn't know, and fragments that spread each other in a circle, count as nothing:
    validation refuses them.
    """
    fragments = {
        definition.name.value: definition
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    meter = _Meter(schema, tariff, _sizes(operation, variables))
    for fragment in innermost_first(fragments):
        on = schema.get_type(fragment.type_condition.name.value)
        meter.known[fragment.name.value] = meter.selected(fragment.selection_set, _composite(on))
    found = meter.selected(operation.selection_set, schema.get_root_type(operation.operation))
    if operation.operation is OperationType.MUTATION:
        lookups = tariff.lookup * len(operation.selection_set.selections)
        found = replace(found, cost=min(found.cost + lookups, CEILING))
    return found


def sized_by(document: DocumentNode) -> frozenset[str]:
    """The variables on which measures of the document depend: those given as `first`."""
    return frozenset(
        argument.value.name.value
        for selected in _fields_of(definition.selection_set for definition in _executable(document))
        for argument in selected.arguments or ()
        if argument.name.value == "first" and isinstance(argument.value, VariableNode)
    )


def innermost_first(fragments: Mapping[str, FragmentDefinitionNode]) -> Iterator[FragmentDefinitionNode]:
    """The fragments, each after those it spreads; without those that lead back to themselves."""
    inside = {name: _spread_in(fragment) & fragments.keys() for name, fragment in fragments.items()}
    around: dict[str, list[str]] = {name: [] for name in fragments}
    for name, spread in inside.items():
        for inner in spread:
            around[inner].append(name)
    left = {name: len(spread) for name, spread in inside.items()}
    ready = [name for name, count in left.items() if not count]
    while ready:
        name = ready.pop()
        yield fragments[name]
        for outer in around[name]:
            left[outer] -= 1
            if not left[outer]:
                ready.append(outer)


@dataclass(slots=True)
class _Meter:
    schema: GraphQLSchema
    tariff: Tariff
    sizes: Mapping[str, object]
    known: dict[str, Measure] = field(default_factory=dict)
    """What the fragments ask for that have been looked at."""

    def selected(self, selection_set: SelectionSetNode, parent: GraphQLCompositeType | None) -> Measure:
        """What is asked of one object of the type."""
        found = NOTHING
        for selection in selection_set.selections:
            if isinstance(selection, FieldNode):
                part = self._field(selection, parent)
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                on = self.schema.get_type(condition.name.value) if condition else parent
                part = self.selected(selection.selection_set, _composite(on))
            else:
                assert isinstance(selection, FragmentSpreadNode)
                part = self.known.get(selection.name.value, NOTHING)
            found = found.beside(part)
        return found

    def _field(self, node: FieldNode, parent: GraphQLCompositeType | None) -> Measure:
        name = node.name.value
        aliases = int(node.alias is not None and node.alias.value != name)
        if name == "__typename":
            return Measure(aliases=aliases, depth=1)
        definition = _definition(self.schema, parent, name)
        inner = NOTHING
        if node.selection_set:
            within = get_named_type(definition.type) if definition else None
            inner = self.selected(node.selection_set, _composite(within))
        where = f"{parent.name if parent else ''}.{name}"
        own = self.tariff.fields.get(name, 1)
        items = self._items(node, definition, where)
        inside = inner.cost + items * inner.per_item
        if definition and _is_list(definition.type):
            inside *= items
        if definition and "first" in definition.args:
            own += self.tariff.lookup
        asked = Measure(
            introspection=min(inner.introspection, CEILING),
            aliases=inner.aliases + aliases,
            depth=inner.depth + 1,
        )
        if name in ROOTS:
            return replace(asked, introspection=min(own + inside, CEILING), depth=1)
        if definition and _is_list(definition.type) and _is_connection(parent):
            return replace(asked, cost=own, per_item=min(inner.cost, CEILING))
        return replace(asked, cost=min(own + inside, CEILING))

    def _items(self, node: FieldNode, definition: GraphQLField | None, where: str) -> int:
        """How many items the list has that this field leads to."""
        if definition is None or "first" not in definition.args:
            if definition is not None and not _is_list(definition.type):
                return self.tariff.page  # of a connection without `first`; otherwise it multiplies nothing
            return self.tariff.lists.get(where, self.tariff.list_items)
        default = definition.args["first"].default_value
        if not isinstance(default, int):
            default = self.tariff.page
        given = next((arg.value for arg in node.arguments or () if arg.name.value == "first"), None)
        size = default if given is None else self._size(given, default)
        return max(1, min(size, self.tariff.longest_page))

    def _size(self, given: ValueNode, default: int) -> int:
        if isinstance(given, IntValueNode):
            return int(given.value[:12])
        if isinstance(given, NullValueNode):
            return default
        value = self.sizes.get(given.name.value) if isinstance(given, VariableNode) else None
        if value is None:
            return default
        return int(value) if isinstance(value, int | float) and abs(value) < CEILING else CEILING


def _sizes(operation: OperationDefinitionNode, variables: Mapping[str, object]) -> dict[str, object]:
    """The variables, with the defaults of those that are left out."""
    defaults = {
        definition.variable.name.value: int(definition.default_value.value[:12])
        for definition in operation.variable_definitions or ()
        if isinstance(definition.default_value, IntValueNode)
    }
    return {**defaults, **variables}


def _definition(schema: GraphQLSchema, parent: GraphQLCompositeType | None, name: str) -> GraphQLField | None:
    return schema.get_field(parent, name) if parent else None


def _composite(found: object) -> GraphQLCompositeType | None:
    return found if is_composite_type(found) else None


def _is_connection(found: GraphQLCompositeType | None) -> bool:
    """Whether it is a page of a list, as Relay has them."""
    return isinstance(found, GraphQLObjectType | GraphQLInterfaceType) and "pageInfo" in found.fields


def _is_list(found: GraphQLOutputType) -> bool:
    return isinstance(found.of_type if isinstance(found, GraphQLNonNull) else found, GraphQLList)


def _executable(
    document: DocumentNode,
) -> Iterator[OperationDefinitionNode | FragmentDefinitionNode]:
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode | FragmentDefinitionNode):
            yield definition


def _fields_of(selection_sets: Iterable[SelectionSetNode]) -> Iterator[FieldNode]:
    """The fields in selection sets, and in those inside them, but not inside fragments spread there."""
    waiting = list(selection_sets)
    while waiting:
        for selection in waiting.pop().selections:
            if isinstance(selection, FieldNode):
                yield selection
            if isinstance(selection, FieldNode | InlineFragmentNode) and selection.selection_set:
                waiting.append(selection.selection_set)


def _spread_in(fragment: FragmentDefinitionNode) -> set[str]:
    """The names of the fragments spread inside one."""
    found: set[str] = set()
    waiting = [fragment.selection_set]
    while waiting:
        for selection in waiting.pop().selections:
            if isinstance(selection, FragmentSpreadNode):
                found.add(selection.name.value)
            elif isinstance(selection, FieldNode | InlineFragmentNode) and selection.selection_set:
                waiting.append(selection.selection_set)
    return found
