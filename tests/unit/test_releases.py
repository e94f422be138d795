"""The contract beside that of the last release: nothing a client relies on is taken away."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from graphql import (
    BreakingChangeType,
    DangerousChangeType,
    GraphQLSchema,
    build_schema,
    find_breaking_changes,
    find_dangerous_changes,
)

import api
from api.cli import cli

HERE = Path(next(iter(api.__path__)))
RELEASES = HERE / "releases"
"""What each release had published. At a release: python -m api.schema > api/releases/VERSION.graphql"""
SDL = (HERE / "schema.graphql").read_text()

TOLD_TO_EXPECT = {
    DangerousChangeType.VALUE_ADDED_TO_ENUM,
    DangerousChangeType.TYPE_ADDED_TO_UNION,
    DangerousChangeType.OPTIONAL_INPUT_FIELD_ADDED,
    DangerousChangeType.OPTIONAL_ARG_ADDED,
    DangerousChangeType.IMPLEMENTED_INTERFACE_ADDED,
}
"""What may come at any time, as api/frontend.md says; a changed default is none of them."""

Version = tuple[int, ...]


def released() -> dict[Version, GraphQLSchema]:
    """The published schemas by their versions."""
    return {version_of(file.stem): build_schema(file.read_text()) for file in RELEASES.glob("*.graphql")}


def version_of(text: str) -> Version:
    """A version to be compared with others."""
    return tuple(int(part) for part in text.split("."))


def refused(before: GraphQLSchema, after: GraphQLSchema) -> list[str]:
    """The changes that only a new major version may bring."""
    breaking = [
        f"{change.type.name}: {change.description}" for change in find_breaking_changes(before, after)
    ]
    dangerous = [
        f"{change.type.name}: {change.description}"
        for change in find_dangerous_changes(before, after)
        if change.type not in TOLD_TO_EXPECT
    ]
    return breaking + dangerous


def test_the_last_release_is_not_broken() -> None:
    releases = released()
    last = max(releases)
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    current = version_of(project["version"])
    assert last <= current, "a release that is newer than the code"
    if current[0] == last[0]:
        assert refused(releases[last], build_schema(SDL)) == []


@pytest.mark.parametrize(
    ("written", "instead", "kind"),
    [
        ("  revision: Int!\n", "  revision: Int\n", BreakingChangeType.FIELD_CHANGED_KIND),
        ("  changeCursor: String!\n", "  placeOfChanges: String!\n", BreakingChangeType.FIELD_REMOVED),
        ("  STOPPED\n}", "  ENDED\n}", BreakingChangeType.VALUE_REMOVED_FROM_ENUM),
        ("  after: String\n", "  after: String!\n", BreakingChangeType.ARG_CHANGED_KIND),
        (
            "type Message implements Node {",
            "type Message {",
            BreakingChangeType.IMPLEMENTED_INTERFACE_REMOVED,
        ),
        ("  sendAt: DateTime\n", "  sendAt: DateTime!\n", BreakingChangeType.FIELD_CHANGED_KIND),
        ("first: Int = 50", "first: Int = 20", DangerousChangeType.ARG_DEFAULT_VALUE_CHANGE),
    ],
)
def test_what_would_break_clients_is_refused(
    written: str, instead: str, kind: BreakingChangeType | DangerousChangeType
) -> None:
    assert written in SDL
    changes = refused(build_schema(SDL), build_schema(SDL.replace(written, instead)))
    assert any(change.startswith(f"{kind.name}: ") for change in changes), changes


def test_what_is_added_is_not_refused() -> None:
    more = SDL.replace("  STOPPED\n}", "  STOPPED\n  FORGOTTEN\n}").replace(
        "  revision: Int!\n", "  revision: Int!\n  colour: String\n"
    )
    assert more != SDL
    assert refused(build_schema(SDL), build_schema(more)) == []


def test_the_command_prints_what_is_committed() -> None:
    printed = CliRunner().invoke(cli, ["schema"])
    assert printed.exit_code == 0
    assert printed.stdout == SDL
