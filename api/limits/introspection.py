"""How large the answers to questions about the schema itself are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import ceil

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    get_introspection_query,
    is_abstract_type,
)

STANDARD_QUERY = get_introspection_query(
    specified_by_url=True,
    directive_is_repeatable=True,
    schema_description=True,
    input_value_deprecation=True,
)
"""What tools ask: GraphiQL, code generators, clients."""


def list_sizes(schema: GraphQLSchema) -> Mapping[str, int]:
    """How many items the lists of `__Schema` and `__Type` have, by `Type.field`: on average, rounded up."""
    types = list(schema.type_map.values())
    with_fields = [found for found in types if isinstance(found, GraphQLObjectType | GraphQLInterfaceType)]
    fields = [field for found in with_fields for field in found.fields.values()]
    enums = [found for found in types if isinstance(found, GraphQLEnumType)]
    inputs = [found for found in types if isinstance(found, GraphQLInputObjectType)]
    abstract = [found for found in types if is_abstract_type(found)]

    def of_each(counts: Collection[int], among: Collection[object] = types) -> int:
        return max(1, ceil(sum(counts) / max(1, len(among))))

    return {
        "__Schema.types": len(types),
        "__Schema.directives": len(schema.directives),
        "__Type.fields": of_each([len(found.fields) for found in with_fields]),
        "__Type.inputFields": of_each([len(found.fields) for found in inputs]),
        "__Type.enumValues": of_each([len(found.values) for found in enums]),
        "__Type.interfaces": of_each([len(found.interfaces) for found in with_fields]),
        "__Type.possibleTypes": of_each([len(schema.get_possible_types(found)) for found in abstract]),
        "__Field.args": of_each([len(field.args) for field in fields], fields),
        "__Directive.args": of_each([len(found.args) for found in schema.directives], schema.directives),
        "__Directive.locations": 4,
    }
