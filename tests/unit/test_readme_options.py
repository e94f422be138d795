"""The README tells of every option a gateway takes, and of none besides; of settings only those there are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from domain.settings import Settings
from workers.gateways import huawei_url, smpp

README = (Path(__file__).parents[2] / "README.md").read_text()


def options_under(heading: str) -> set[str]:
    """The names in the first column of the table under a heading."""
    section = README.split(f"\n### {heading}\n")[1].split("\n#")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


@pytest.mark.parametrize(
    ("heading", "taken"),
    [("SMPP", smpp.PARAMETERS), ("Huawei Cloud Message & SMS", huawei_url.PARAMETERS)],
)
def test_every_option_of_a_gateway_is_in_the_readme(heading: str, taken: Iterable[str]) -> None:
    assert options_under(heading) == set(taken)


def test_every_setting_the_readme_names_is_one() -> None:
    named = set(re.findall(r"GROUPSMS_([A-Z]+(?:_[A-Z]+)*)", README)) - {"GATEWAYS"}

    assert {name.lower() for name in named} <= set(Settings.model_fields)
