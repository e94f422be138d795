"""What Relay asks of a schema, looked for in every type: nodes, connections, edges, pages."""

from __future__ import annotations

import pytest
from graphql import GraphQLObjectType, GraphQLOutputType, get_named_type, is_introspection_type

from api.schema import queries, schema

CORE = schema._schema
OBJECTS = {
    name: found
    for name, found in CORE.type_map.items()
    if isinstance(found, GraphQLObjectType) and not is_introspection_type(found)
}
CONNECTIONS = {name: found for name, found in OBJECTS.items() if name.endswith("Connection")}


def fields(found: GraphQLObjectType) -> dict[str, str]:
    """The types of its fields, as SDL writes them."""
    return {name: str(field.type) for name, field in found.fields.items()}


def connected(type_: GraphQLOutputType) -> bool:
    """Whether a field of this type is a list in pages."""
    return get_named_type(type_).name in CONNECTIONS


def test_whatever_has_an_id_is_a_node() -> None:
    with_id = {name for name, found in OBJECTS.items() if "id" in found.fields}
    nodes = {name for name, found in OBJECTS.items() if "Node" in {face.name for face in found.interfaces}}
    assert with_id == nodes
    assert {fields(OBJECTS[name])["id"] for name in nodes} == {"ID!"}


def test_every_node_is_found_by_its_id() -> None:
    nodes = {name for name, found in OBJECTS.items() if "Node" in {face.name for face in found.interfaces}}
    assert set(queries._FINDERS) == nodes


def test_there_are_connections() -> None:
    assert {"TaskConnection", "MessageConnection", "RejectedRowConnection"} <= CONNECTIONS.keys()


@pytest.mark.parametrize("name", sorted(CONNECTIONS))
def test_a_connection_is_one_as_relay_has_it(name: str) -> None:
    item = name.removesuffix("Connection")
    assert fields(CONNECTIONS[name]).items() >= {
        ("edges", f"[{item}Edge!]!"),
        ("nodes", f"[{item}!]!"),
        ("pageInfo", "PageInfo!"),
        ("totalCount", "Int!"),
    }
    assert fields(OBJECTS[f"{item}Edge"]) == {"cursor": "String!", "node": f"{item}!"}


def test_a_page_tells_where_it_lies() -> None:
    assert fields(OBJECTS["PageInfo"]) == {
        "hasNextPage": "Boolean!",
        "hasPreviousPage": "Boolean!",
        "startCursor": "String",
        "endCursor": "String",
    }


def test_every_list_in_pages_takes_first_and_after() -> None:
    for owner in OBJECTS.values():
        for name, field in owner.fields.items():
            if connected(field.type):
                taken = {key: (str(taken.type), taken.default_value) for key, taken in field.args.items()}
                assert taken["first"] == ("Int", 50), f"{owner.name}.{name}"
                assert taken["after"][0] == "String", f"{owner.name}.{name}"
