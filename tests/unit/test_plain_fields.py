"""Reading plain fields fast gives what graphql-core gives, errors included."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
import strawberry
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from api.plain_fields import PlainFieldExecutor, mark_plain_fields
from api.schema import schema as real_schema


@strawberry.enum
class Colour(Enum):
    RED = "red"


@strawberry.interface
class Thing:
    id: strawberry.ID


@strawberry.type
class Leaf(Thing):
    name: str
    number: int
    ratio: float
    ready: bool
    made_at: datetime
    price: Decimal
    colour: Colour
    nothing: str | None
    names: list[str]

    @strawberry.field
    def greeting(self, loud: bool = False) -> str:
        return f"{self.name}{'!' * loud}"

    @strawberry.field
    async def later(self) -> str:
        return self.name


class Broken:
    """Some of its attributes can't be had, or not be written."""

    id = "1"
    name = None
    number = 2**40
    ratio = 1.0
    made_at = "yesterday"
    colour = "green"
    nothing = ValueError("an exception as a value")

    @property
    def ready(self) -> bool:
        raise RuntimeError("not now")


def _leaf(source: object = None) -> Leaf:
    return source or Leaf(  # type: ignore[return-value]
        id=strawberry.ID("7"), name="Ann", number=1, ratio=0.5, ready=False,
        made_at=datetime(2026, 1, 1, tzinfo=UTC), price=Decimal("1.50"), colour=Colour.RED,
        nothing=None, names=["a", "b"],
    )  # fmt: skip


@strawberry.type
class Query:
    @strawberry.field
    def leaf(self) -> Leaf:
        return _leaf()

    @strawberry.field
    def leaves(self) -> list[Leaf]:
        return [_leaf(), _leaf()]

    @strawberry.field
    def broken(self) -> Leaf | None:
        return _leaf(Broken())

    @strawberry.field
    def thing(self) -> Thing:
        return _leaf()


@pytest.mark.parametrize(
    "document",
    [
        "{ leaf { id name number ratio ready madeAt price colour nothing names greeting later __typename } }",
        "{ leaves { n: name m: name greeting(loud: true) } }",
        "{ thing { __typename id ... on Leaf { colour } } }",
        "query ($no: Boolean = false) { leaf { name @include(if: $no) id @skip(if: $no) } }",
        *(f"{{ broken {{ id {field} }} }}" for field in (
            "name", "number", "ready", "madeAt", "colour", "nothing", "names", "price"
        )),
    ],
)  # fmt: skip
async def test_nothing_is_different_but_the_time_it_takes(document: str) -> None:
    fast = strawberry.Schema(Query, types=[Leaf], execution_context_class=PlainFieldExecutor)
    mark_plain_fields(fast)
    slow = strawberry.Schema(Query, types=[Leaf])
    found, wanted = [await each.execute(document) for each in (fast, slow)]
    assert (found.data, _errors(found)) == (wanted.data, _errors(wanted))
    assert bool(found.errors) == document.startswith("{ broken")


def _errors(result: Any) -> list[dict[str, Any]]:
    return [dict(error.formatted) for error in result.errors or []]


async def test_plain_fields_are_read_past_graphql_core(monkeypatch: pytest.MonkeyPatch) -> None:
    led: list[str] = []
    whole_way = StrawberryGraphQLCoreExecutionContext.execute_field

    def note(self: Any, parent_type: Any, source: Any, field_details_list: Any, *place: Any) -> Any:
        led.append(field_details_list[0].node.name.value)
        return whole_way(self, parent_type, source, field_details_list, *place)

    monkeypatch.setattr(StrawberryGraphQLCoreExecutionContext, "execute_field", note)
    schema = strawberry.Schema(Query, types=[Leaf], execution_context_class=PlainFieldExecutor)
    mark_plain_fields(schema)
    await schema.execute("{ leaf { id name colour nothing names greeting } }")
    assert led == ["leaf", "nothing", "names", "greeting"]
    assert real_schema.execution_context_class is PlainFieldExecutor
