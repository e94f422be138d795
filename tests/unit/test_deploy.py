"""What `.deploy` says is held against the code: metrics, settings, commands, ports, and what is built."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from api.cli import cli
from domain.settings import PREFIX, Settings
from domain.startup import CUT_SHORT, WRONG_SETTING
from tests.watched_metrics import registered
from workers.smsc.__main__ import main as smsc

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / ".deploy"
OPERATIONS = (DEPLOY / "operations.md").read_text()
DOCKERFILE = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
UNITS = {path.name: path.read_text() for path in (DEPLOY / "systemd").iterdir()}
OTHER_FILES = {name: (DEPLOY / name).read_text() for name in ("Dockerfile", "compose.yaml", "operations.md")}
SAMPLE = re.compile(r"\bgroupsms_[a-z_]+[a-z]\b")
SUFFIXES = re.compile(r"_(total|bucket|count|sum)$")


def test_the_table_has_every_metric_and_no_other() -> None:
    rows = re.findall(r"^\| `(groupsms_[a-z_]+)", OPERATIONS, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert {SUFFIXES.sub("", name) for name in rows} == set(registered())


def test_alerts_ask_for_metrics_that_exist() -> None:
    rules = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"][0]["rules"]
    names = [rule["alert"] for rule in rules]
    assert len(names) == len(set(names)) > 15
    asked = {SUFFIXES.sub("", name) for rule in rules for name in SAMPLE.findall(rule["expr"])}
    assert asked <= set(registered())
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] for rule in rules)
    for rule in rules:
        assert rule["expr"].count("(") == rule["expr"].count(")"), rule


@pytest.mark.parametrize("name", [*OTHER_FILES, *UNITS])
def test_settings_that_are_named_exist(name: str) -> None:
    text = {**OTHER_FILES, **UNITS}[name]
    known = {field.upper() for field in Settings.model_fields}
    named = set(re.findall(rf"\b{PREFIX}([A-Z_]+[A-Z])", text))
    assert named
    assert {setting for setting in named if not setting.startswith("GATEWAYS__")} <= known


def command(words: list[str]) -> click.Command:
    """The command that these words run. Raises for an unknown one, and for options it does not take."""
    group: click.Command = cli
    while isinstance(group, click.Group):
        group = group.commands[words.pop(0)]
    return group


def test_commands_that_are_named_exist() -> None:
    for service in ("api", "worker", "migrate"):
        assert command(list(COMPOSE["services"][service]["command"]))
    name, *options = COMPOSE["services"]["smsc"]["command"]
    assert name in cli.commands
    assert isinstance(smsc, click.Command)
    smsc.make_context("smsc", [str(option) for option in options])
    started = re.findall(
        r"^ExecStart=/opt/groupsms/bin/groupsms (.+)$", "\n".join(UNITS.values()), re.MULTILINE
    )
    assert sorted(started) == ["migrate", "serve", "work"]
    [entry] = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert command(json.loads(entry))
    for line in re.findall(r"^groupsms (.+)$", OPERATIONS, re.MULTILINE):
        assert command([word for word in shlex.split(line, comments=True) if not word.startswith("-")])


def test_the_image_has_what_the_package_is_made_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    copied = set(re.findall(r"^COPY ([a-z]+) \1$", DOCKERFILE, re.MULTILINE))
    let_in = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert copied == packages
    assert let_in == packages | {"pyproject.toml", "requirements.lock", "README.md", "LICENSE"}
    assert "otel" in project["project"]["optional-dependencies"]


def test_the_image_is_no_root_and_tells_whether_it_lives() -> None:
    port = re.findall(rf"{PREFIX}METRICS_PORT=(\d+)", DOCKERFILE)
    assert port == re.findall(r"http://127\.0\.0\.1:(\d+)/healthz", DOCKERFILE)
    assert re.search(r"^USER groupsms$", DOCKERFILE, re.MULTILINE)
    assert f"EXPOSE {Settings.model_fields['port'].default} {port[0]}" in DOCKERFILE


def test_whoever_stops_it_waits_longer_than_it_takes() -> None:
    longest = Settings.model_fields["shutdown_seconds"].default
    assert int(COMPOSE["x-groupsms"]["stop_grace_period"].removesuffix("s")) > longest
    for name in ("groupsms-api.service", "groupsms-worker@.service"):
        unit = dict(line.split("=", 1) for line in UNITS[name].splitlines() if re.match(r"[A-Z]\w+=", line))
        assert int(unit["TimeoutStopSec"]) > longest
        assert int(unit["RestartPreventExitStatus"]) == WRONG_SETTING
        assert int(unit["SuccessExitStatus"]) == CUT_SHORT


def test_compose_starts_what_needs_the_database_after_its_migration() -> None:
    services = COMPOSE["services"]
    for name in ("api", "worker"):
        assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
        assert services[name]["environment"] == COMPOSE["x-groupsms"]["environment"]
        assert services[name]["read_only"] is True
    assert services["smsc"]["profiles"] == ["simulation"]
