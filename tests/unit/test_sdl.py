"""The schema as clients read it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    build_schema,
    is_introspection_type,
    is_specified_scalar_type,
    is_type,
)

import api
from api.schema import global_ids, schema
from api.schema.scalars import DATE_TIME

SDL = Path(next(iter(api.__path__))) / "schema.graphql"


def test_the_committed_sdl_is_the_schema() -> None:
    assert SDL.read_text() == schema.as_str() + "\n", "run: python -m api.schema > api/schema.graphql"


def undescribed() -> Iterator[str]:
    for name, found in build_schema(SDL.read_text()).type_map.items():
        if is_introspection_type(found) or is_specified_scalar_type(found):
            continue
        if not found.description:
            yield name
        if isinstance(found, GraphQLEnumType):
            yield from (f"{name}.{value}" for value, what in found.values.items() if not what.description)
        if isinstance(found, GraphQLObjectType | GraphQLInterfaceType):
            for field, what in found.fields.items():
                if not what.description:
                    yield f"{name}.{field}"
                yield from (f"{name}.{field}({key})" for key, arg in what.args.items() if not arg.description)
        if isinstance(found, GraphQLInputObjectType):
            yield from (f"{name}.{field}" for field, what in found.fields.items() if not what.description)


def test_everything_is_described() -> None:
    assert list(undescribed()) == []


def test_lists_are_never_null() -> None:
    for name, found in build_schema(SDL.read_text()).type_map.items():
        if isinstance(found, GraphQLObjectType) and not is_introspection_type(found):
            for field, what in found.fields.items():
                assert is_type(what.type)
                if "[" in str(what.type):
                    assert str(what.type).endswith("!]!"), f"{name}.{field}: {what.type}"


def test_every_payload_has_errors() -> None:
    for name, found in build_schema(SDL.read_text()).type_map.items():
        if name.endswith("Payload"):
            assert isinstance(found, GraphQLObjectType)
            assert str(found.fields["errors"].type) == "[UserError!]!"


@pytest.mark.parametrize("key", [1, 4_294_967_296, "7.12"])
def test_a_global_id_leads_back(key: int | str) -> None:
    encoded = global_ids.encode("Task", key)
    assert encoded.isascii()
    assert global_ids.decode(encoded) == ("Task", str(key))


@pytest.mark.parametrize(
    "wrong", ["", "Task:1", "VGFzazo", "VGFzazowMQ", "\u00e9", "VGFzazox\n", global_ids.encode("Template", 1)]
)
def test_what_is_no_id_of_a_task_is_the_key_of_nothing(wrong: str) -> None:
    assert global_ids.key_of("Task", wrong) == global_ids.NO_KEY


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-03-01T09:00:00+08:00", datetime(2026, 3, 1, 1, tzinfo=UTC)),
        ("2026-03-01t09:00:00.25z", datetime(2026, 3, 1, 9, 0, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_times_have_an_offset(written: str, meant: datetime) -> None:
    assert DATE_TIME.parse_value is not None
    assert DATE_TIME.parse_value(written) == meant


@pytest.mark.parametrize(
    "written",
    [
        "2026-03-01T09:00:00", "2026-03-01", "2026-02-30T09:00:00Z", "0001-01-01T00:00:00+08:00",
        "20260301T090000Z", "2026-03-01T09:00:00+99:99", "２０２６-03-01T09:00:00Z", 1_772_000_000, "",
    ],
)  # fmt: skip
def test_what_is_no_moment_is_refused(written: object) -> None:
    assert DATE_TIME.parse_value is not None
    with pytest.raises(ValueError, match="time"):
        DATE_TIME.parse_value(written)


def test_times_are_answered_in_utc() -> None:
    assert DATE_TIME.serialize is not None
    moment = datetime.fromisoformat("2026-03-01T09:00:00+08:00")
    assert DATE_TIME.serialize(moment) == "2026-03-01T01:00:00+00:00"
