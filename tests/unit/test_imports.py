"""Dependencies point one way: api -> domain, workers -> domain."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "domain": {"api", "workers", "tests", "strawberry", "starlette"},
    "api": {"workers", "tests"},
    "workers": {"api", "tests", "strawberry", "starlette"},
    "migrations": {"api", "workers", "tests"},
}


def imported(module: Path) -> Iterator[str]:
    """The top names of all a module imports, inside functions too."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: import by the full name"
            assert node.module is not None
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_nobody_climbs_back(package: str) -> None:
    modules = sorted((ROOT / package).rglob("*.py"))
    assert modules
    for module in modules:
        assert not set(imported(module)) & FORBIDDEN[package], module


def test_an_import_is_noticed_wherever_it_stands(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("def f():\n    import api.app\n    from workers.main import run\n")
    assert set(imported(module)) == {"api", "workers"}
