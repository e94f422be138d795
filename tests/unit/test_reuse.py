"""Which documents have answers that can be given again."""

from __future__ import annotations

import pytest
from graphql import GraphQLObjectType

from api.limits.admission import Gate
from api.reuse import LASTING, MOVING, UNTIL_DEADLINE, Nature, Natures
from api.schema import schema

NATURES = Natures(schema._schema, Gate(schema._schema).documents)
LASTS = Nature(shows_deadline=False, shows_rates=False)


@pytest.mark.parametrize("coordinate", sorted(LASTING | MOVING | {UNTIL_DEADLINE}))
def test_only_fields_that_exist_are_listed(coordinate: str) -> None:
    type_name, _, field = coordinate.partition(".")
    found = schema._schema.type_map[type_name]
    assert isinstance(found, GraphQLObjectType)
    assert field in found.fields


@pytest.mark.parametrize(
    ("document", "nature"),
    [
        ("{ tasks { nodes { id name } } }", LASTS),
        ("query A { tasks { nodes { id } } } query B { task(id: 1) { id } }", LASTS),
        ("{ tasks { nodes { ...F } } } fragment F on Task { counts { total } __typename }", LASTS),
        ("{ t: task(id: 1) { c: canCancel } }", Nature(shows_deadline=True, shows_rates=False)),
        (
            "{ task(id: 1) { progress { messagesPerSecond } } }",
            Nature(shows_deadline=False, shows_rates=True),
        ),
        ("{ tasks { nodes { name: application { id } } } }", None),
        ("{ tasks { nodes { ...F } } } fragment F on Task { failedNumbersUrl }", None),
        ("{ tasks { nodes { id } } viewer { role } }", None),
        ("query A { tasks { nodes { id } } } mutation B { x }", None),
        ("mutation { cancelTask(input: {id: 1}) { task { id } } }", None),
        ("subscription { taskUpdated(id: 1) { id } }", None),
        ("{ __schema { description } }", None),
        ("{ tasks { nodes { nonsense } } }", None),
        ("fragment F on Nothing { id }", None),
        ("{ tasks {", None),
        ("{ a " * 5000, None),
    ],
)
def test_what_answers_depend_on(document: str, nature: Nature | None) -> None:
    assert NATURES.of(document) == nature
