"""The operations that GraphiQL offers, against the schema."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from graphql import OperationDefinitionNode, build_schema, parse, validate

import api

HERE = Path(next(iter(api.__path__)))
SCHEMA = build_schema((HERE / "schema.graphql").read_text())
STATIC = HERE / "graphiql" / "static"
EXAMPLES = sorted((STATIC / "examples").iterdir())


def problems(document: str) -> list[str]:
    """What is wrong with an operation."""
    return [error.message for error in validate(SCHEMA, parse(document))]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_is_one_valid_operation_of_its_files_name(file: Path) -> None:
    text = file.read_text()
    (operation,) = parse(text).definitions
    assert isinstance(operation, OperationDefinitionNode)
    assert operation.name is not None
    assert operation.name.value == file.stem
    assert problems(text) == []


def test_the_page_offers_each_example() -> None:
    names = re.search(r"const exampleNames = \[(.*?)\]", (STATIC / "page.js").read_text(), re.DOTALL)
    assert names is not None
    assert sorted(re.findall(r'"(\w+)"', names[1])) == [file.stem for file in EXAMPLES]


def test_what_the_page_asks_for_itself_is_valid() -> None:
    queries = re.findall(r"`(query .*?)`", (STATIC / "page.js").read_text(), re.DOTALL)
    assert [problems(query) for query in queries] == [[]]


def test_the_upload_from_a_terminal_is_valid() -> None:
    (query,) = re.findall(r'# +"query": "(.*?)",\n', (STATIC / "examples" / "CreateTask.graphql").read_text())
    assert problems(query) == []


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_what_an_example_explains_fits_into_the_editor(file: Path) -> None:
    explained = [line for line in file.read_text().splitlines() if re.match(r"# \S", line)]
    assert explained
    assert max(map(len, explained)) <= 50  # characters, in a window of 1,400 pixels
