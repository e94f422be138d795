"""Phone numbers as those see them who are not to know them."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import strawberry
from strawberry.extensions import SchemaExtension

from api.plain_fields import HOLDS_NUMBER, PlainFieldExecutor, mark_plain_fields, number_fields
from api.reuse import LASTING
from api.schema import schema
from domain.masking import mask_event, masked_number


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+8613800135678", "+86138****5678"),
        ("+34612345678", "+346****5678"),
        ("138 0013 5678", "138 ****5678"),
        ("+12345678", "+****5678"),
        ("tel: +86 (138) 0013-5678 (office)", "tel: +86 (138) ****5678 (office)"),
        ("１３８００１３５６７８", "１３８****５６７８"),
        ("1234567", "*****67"),
        ("12", "12"),
        ("nobody", "nobody"),
        ("", ""),
    ],
)
def test_at_least_half_of_a_number_stays_hidden(number: str, shown: str) -> None:
    assert masked_number(number) == shown


def test_every_field_that_shows_a_number_is_masked_where_it_is_read() -> None:
    """A PhoneNumber with a resolver would get past it."""
    core = schema._schema
    declared = {
        f"{name}.{field_name}"
        for name, found in core.type_map.items()
        for field_name, field in getattr(found, "fields", {}).items()
        if hasattr(field, "resolve") and str(field.type).strip("[]!") == "PhoneNumber"
    }
    assert declared
    assert number_fields(schema) == declared | {"RejectedRow.value", "Reply.number"}


class _EveryField(SchemaExtension):
    def resolve(self, _next: Any, root: Any, info: Any, *args: str, **kwargs: Any) -> Any:
        return _next(root, info, *args, **kwargs)


@strawberry.type
class _Call:
    number: str = strawberry.field(metadata={HOLDS_NUMBER: True})
    note: str


@strawberry.type
class _Query:
    @strawberry.field
    def call(self) -> _Call:
        return _Call(number="+8613800138000", note="+8613800138000")


@pytest.mark.parametrize("extensions", [[], [_EveryField]])
async def test_an_extension_that_resolves_fields_does_not_unmask(
    extensions: list[type[SchemaExtension]],
) -> None:
    schema = strawberry.Schema(_Query, execution_context_class=PlainFieldExecutor, extensions=extensions)
    mark_plain_fields(schema)
    found = await schema.execute(
        "{ call { number note } }", context_value=SimpleNamespace(hides_numbers=True)
    )
    assert found.errors is None
    assert found.data == {"call": {"number": "+86138****8000", "note": "+8613800138000"}}


def test_answers_that_are_given_again_show_no_number() -> None:
    assert number_fields(schema).isdisjoint(LASTING)


def test_no_number_gets_into_a_line_of_the_log() -> None:
    event = {
        "event": "cannot send to +8613800138000",
        "detail": {"numbers": ["13800138000", {"to": "008613800138000"}]},
        "error": "DETAIL:  Key (number)=(8613800138000) already exists.",
        "task_id": 8613800138,
        "request_id": "12345678901",
        "timestamp": "2026-11-22T22:12:03.123456Z",
        "milliseconds": 12345678.9,
    }
    shown = mask_event(None, "info", dict(event))
    assert "138000" not in str({name: shown[name] for name in ("event", "detail", "error")})
    for name in ("task_id", "request_id", "timestamp", "milliseconds"):
        assert shown[name] == event[name]


def test_what_ends_a_process_is_said_without_numbers() -> None:
    program = (
        "from domain.startup import guarded\n"
        "def main(settings): raise RuntimeError('lost +8613800138000')\n"
        "guarded(main)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "RuntimeError: lost +861****00" in done.stderr
    assert "Traceback" in done.stderr
    assert "13800138000" not in done.stderr
