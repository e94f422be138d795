"""What operations are reckoned to cost, and which are let through."""

from __future__ import annotations

import gc
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from graphql import build_schema

import api
from api.limits import documents
from api.limits.admission import Gate, Limits
from api.limits.cost import Measure, Tariff
from api.limits.introspection import STANDARD_QUERY
from api.limits.refusals import TooComplexError
from api.schema import schema
from api.schema.tariff import TARIFF

EXAMPLES = sorted((Path(next(iter(api.__path__))) / "graphiql" / "static" / "examples").iterdir())
LIBRARY = build_schema("""
  type Query { shelf(name: String): Shelf shelves(first: Int, after: String): ShelfConnection! node: Node }
  type Mutation { burn(id: ID): Shelf createTask: Int read: Int }
  type Subscription { changed: Shelf }
  interface Node { id: ID! }
  type Shelf implements Node {
    id: ID! label: String! books(first: Int): BookConnection! best: [Book!]! tags: [String!]!
  }
  type Book implements Node { id: ID! title: String! shelf: Shelf }
  type ShelfConnection { nodes: [Shelf!]! edges: [ShelfEdge!]! pageInfo: PageInfo! total: Int! }
  type ShelfEdge { node: Shelf! }
  type BookConnection { nodes: [Book!]! pageInfo: PageInfo! }
  type PageInfo { endCursor: String }
""")
assert LIBRARY.query_type is not None
LIBRARY.query_type.fields["shelves"].args["first"].default_value = 20
PRICES = Tariff(
    page=50, longest_page=100, list_items=10, lists={"Shelf.best": 3}, lookup=10, fields={"total": 7}
)


def asked(text: str, variables: dict[str, object] | None = None, *, name: str | None = None) -> Measure:
    """What an operation on the library asks for."""
    document = Gate(LIBRARY, tariff=PRICES).documents.read(text)
    operation = document.operation(name)
    assert operation is not None
    return document.measure(operation, variables or {})


def refused(text: str, limits: Limits | None = None, **variables: object) -> dict[str, object]:
    """What the refusal of an operation on the library has beside its message."""
    with pytest.raises(TooComplexError) as caught:
        Gate(LIBRARY, limits, PRICES).admit(text, variables, None)
    assert caught.value.extensions is not None
    assert caught.value.extensions.pop("code") == "TOO_COMPLEX"
    return caught.value.extensions


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        ("{ shelf { id label } }", 1 + 2),
        ("{ shelf { id __typename } }", 1 + 1),
        ("{ shelf { best { id title } } }", 1 + 1 + 3 * 2),
        ("{ shelf { tags } }", 1 + 1),
        ("{ shelf { best { shelf { best { id } } } } }", 1 + 1 + 3 * (1 + 1 + 3)),
        ("{ shelves(first: 5) { total } }", 11 + 7),
        ("{ shelves(first: 5) { nodes { id } } }", 11 + 1 + 5),
        ("{ shelves(first: 5) { edges { node { id label } } pageInfo { endCursor } } }", 11 + 1 + 5 * 3 + 2),
        ("{ shelves(first: 5) { nodes { books(first: 2) { nodes { id } } } } }", 11 + 1 + 5 * (11 + 1 + 2)),
        ("{ shelves { nodes { id } } }", 11 + 1 + 20),
        ("{ shelves(first: null) { nodes { id } } }", 11 + 1 + 20),
        ("{ shelves(first: 1000000) { nodes { id } } }", 11 + 1 + 100),
        ("{ shelves(first: -5) { nodes { id } } }", 11 + 1 + 1),
        ("{ shelf { books { nodes { id } } } }", 1 + 11 + 1 + 50),
        ("{ node { ... on Shelf { label } ... on Book { title } } }", 1 + 2),
        ("{ ...a } fragment a on Query { shelf { ...b } } fragment b on Shelf { id label }", 1 + 2),
        ("{ shelves(first: 5) { ...c } } fragment c on ShelfConnection { total nodes { id } }", 11 + 7 + 6),
        ("{ shelves(first: 5) { ... { nodes { id } } } }", 11 + 1 + 5),
        ("{ shelf @skip(if: true) { id } }", 1 + 1),
        ("mutation { burn { id } read }", 11 + 1 + 11),
        ("subscription { changed { id label } }", 1 + 2),
        ("{ nonsense { more } shelf { ...missing wrong(first: 3) } }", 2 + 2),
    ],
)  # fmt: skip
def test_cost(text: str, cost: int) -> None:
    assert asked(text).cost == cost


@pytest.mark.parametrize(
    ("variables", "items"),
    [
        ({"n": 7}, 7), ({}, 3), ({"n": None}, 20), ({"n": "many"}, 100), ({"n": 1e300}, 100),
        ({"n": [1]}, 100),
    ],
)  # fmt: skip
def test_pages_are_sized_by_variables(variables: dict[str, object], items: int) -> None:
    text = (
        "query ($n: Int = 3) { shelves(first: $n) { ...p } } fragment p on ShelfConnection { nodes { id } }"
    )
    assert asked(text, variables).cost == 11 + 1 + items
    assert asked("query ($n: Int) { shelves(first: $n) { nodes { id } } }").cost == 11 + 1 + 20


def test_a_document_remembers_each_size_apart() -> None:
    gate = Gate(LIBRARY, tariff=PRICES)
    text = "query ($n: Int) { shelves(first: $n) { nodes { id } } }"
    assert [gate.admit(text, {"n": n}, None).cost for n in (1, 50, 1, 50)] == [13, 62, 13, 62]
    assert [gate.admit(text, {"n": n}, None).cost for n in range(1, 60)] == [12 + n for n in range(1, 60)]


def test_the_operation_that_is_executed_counts() -> None:
    text = "query a { shelf { id } } query b { shelf { best { id } } }"
    assert asked(text).cost == 2
    assert asked(text, name="b").cost == 5


def test_depth_and_aliases() -> None:
    found = asked(
        "{ a: shelf { ...s } b: shelf { ... { ...s } } shelf: shelf { id } } fragment s on Shelf { c: id }"
    )
    assert (found.depth, found.aliases) == (2, 4)
    assert asked("{ shelves { edges { node { books { nodes { id } } } } } }").depth == 6


@pytest.mark.parametrize(
    ("text", "limits", "told"),
    [
        ("{ shelf { id } }", Limits(depth=1), {"limit": "depth", "requested": 2, "maximum": 1}),
        ("{ a: shelf { b: id } }", Limits(aliases=1), {"limit": "aliases", "requested": 2, "maximum": 1}),
        ("{ shelf { id } }", Limits(cost=1), {"limit": "cost", "requested": 2, "maximum": 1}),
        ("{ shelf { id label } }", Limits(tokens=6), {"limit": "tokens", "maximum": 6}),
        ("#\n" * 200 + "{ shelf { id } }", Limits(tokens=100), {"limit": "tokens", "maximum": 100}),
        (f'{{ shelf(name: "{"x" * 100_000}") {{ id }} }}', None,
         {"limit": "length", "requested": 100_026, "maximum": 100_000}),
        ("{ shelf " * 300 + "}" * 300, None, {"limit": "nesting"}),
        ("{ ..." * 300 + "{ __typename }" + "}" * 300, None, {"limit": "nesting"}),
    ],
)  # fmt: skip
def test_a_refusal_says_which_limit(text: str, limits: Limits | None, told: dict[str, object]) -> None:
    assert refused(text, limits) == told


def test_a_refusal_says_what_to_do() -> None:
    with pytest.raises(TooComplexError, match=r"would cost 101,212; 50,000 are allowed.*smaller pages"):
        Gate(schema._schema, tariff=TARIFF).admit(
            "query ($n: Int) { tasks(first: $n) { nodes { messages(first: 100) { nodes { "
            "id number result segments { smsId index } } } } } }",
            {"n": 100},
            None,
        )


def test_just_within_the_limits() -> None:
    gate = Gate(LIBRARY, Limits(depth=2, aliases=1, cost=2, tokens=8), PRICES)
    assert gate.admit("{ a: shelf { id } }", None, None).document.faults == []


DOUBLING = (
    "{ ...f0 }"
    + "".join(
        f"fragment f{n} on Query {{ x{n}: shelf {{ id }} ...f{n + 1} ... {{ ...f{n + 1} }} }}"
        for n in range(80)
    )
    + "fragment f80 on Query { shelf { id } }"
)
CIRCLE = "{ ...f0 }" + "".join(
    f"fragment f{n} on Query {{ ...f{(n + 1) % 150} ...f{n} }}" for n in range(150)
)
CHAIN = (
    "{ ...f0 }"
    + "".join(f"fragment f{n} on Query {{ ...f{n + 1} }}" for n in range(220))
    + ("fragment f220 on Query { shelf { id } }")
)
REPEATED = "{" + "shelf { id } " * 490 + "}"
COPIES = (
    "{"
    + "".join(f"...f{n} " for n in range(150))
    + "}"
    + "".join(f"fragment f{n} on Query {{ shelf {{ id }} }}" for n in range(150))
)


@pytest.mark.parametrize("text", [DOUBLING, CIRCLE, CHAIN, REPEATED, COPIES])
def test_hostile_documents_take_no_longer_than_their_length_does(text: str) -> None:
    gate = Gate(LIBRARY, tariff=PRICES)
    began = time.process_time()
    with suppress(TooComplexError):
        assert gate.admit(text, None, None).document.faults
    assert time.process_time() - began < 1


def test_fragments_in_fragments_are_counted_each_time_they_are_spread() -> None:
    assert refused(DOUBLING)["limit"] == "aliases"
    assert refused(DOUBLING, Limits(aliases=2 * 10**9))["requested"] == 10**9


def test_a_circle_of_fragments_is_a_fault() -> None:
    document = Gate(LIBRARY).admit(
        "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }", {}, None
    )
    (fault,) = document.document.faults
    assert fault.message == "Cannot spread fragment 'a' within itself via 'b'."
    assert fault.extensions == {"code": "BAD_USER_INPUT"}


def test_what_validation_gives_up_on_is_too_complex() -> None:
    faults = (
        Gate(schema._schema, tariff=TARIFF)
        .admit("{" + "viewer { role } " * 450 + "}", {}, None)
        .document.faults
    )
    assert [fault.extensions for fault in faults] == [{"code": "TOO_COMPLEX", "limit": "repetition"}]


@pytest.mark.parametrize("text", [*(file.read_text() for file in EXAMPLES), STANDARD_QUERY])
def test_what_tools_and_examples_ask_is_far_from_the_limits(text: str) -> None:
    gate = Gate(schema._schema, Limits(depth=8, aliases=10, tokens=500, cost=20_000), TARIFF)
    assert gate.admit(text, {}, None).document.faults == []


def test_introspection_has_bounds_of_its_own() -> None:
    gate = Gate(schema._schema, tariff=TARIFF)
    whole = (
        "types { name description fields { name args { name type { name } } type { name ofType { name } } } }"
    )
    many = " ".join(f"a{n}: __schema {{ {whole} }}" for n in range(40))
    with pytest.raises(TooComplexError, match="about the schema"):
        gate.admit(f"{{ {many} }}", {}, None)
    deep = "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }"
    (fault,) = gate.admit(deep, {}, None).document.faults
    assert fault.message == "Maximum introspection depth exceeded"


def test_nothing_is_told_about_the_schema_when_introspection_is_off() -> None:
    def messages(text: str, *, introspection: bool) -> str:
        gate = Gate(LIBRARY, Limits(introspection=introspection))
        return " ".join(fault.message for fault in gate.admit(text, {}, None).document.faults)

    for asked_about in ("{ __schema { queryType { name } } }", '{ __type(name: "Shelf") { name } }'):
        assert messages(asked_about, introspection=True) == ""
        assert "introspection" in messages(asked_about, introspection=False)
    assert messages("{ __typename }", introspection=False) == ""
    for wrong in ("{ shelve { id } }", "{ shelf(nam: 1) { id } }", "{ node { ... on Shel { id } } }"):
        assert "Did you mean" in messages(wrong, introspection=True)
        assert "Did you mean" not in messages(wrong, introspection=False)


def test_documents_that_come_once_fill_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "ROOM", 2_000)
    gate = Gate(LIBRARY, Limits(aliases=100))
    long = "{" + " ".join(f"a{number}: shelf {{ id }}" for number in range(60)) + " x%d: shelf { id } }"
    tracemalloc.start()
    gc.disable()
    try:
        for number in range(30):
            assert gate.admit(long % number, None, None).document.faults == []
            gc.collect(0)  # what is young; what was remembered and is forgotten needs no collecting
            if number == 8:
                filled, _ = tracemalloc.get_traced_memory()
        now, _ = tracemalloc.get_traced_memory()
    finally:
        gc.enable()
        tracemalloc.stop()
    assert now < 1.5 * filled
    assert filled / 2_000 < 1_000, "octets a token"
