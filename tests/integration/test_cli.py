"""The `groupsms` command as a shell sees it."""

import getpass
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from domain import access, audit_reads, db
from domain.audit import ActorKind, AuditAction
from domain.callback_urls import callback_url
from domain.engines import Engines
from domain.settings import PREFIX, Settings
from domain.states import Role
from tests.conftest import keeper_of
from tests.integration.world import World

COMMANDS = (
    ["serve"],
    ["work"],
    ["migrate"],
    ["token"],
    ["token", "create"],
    ["token", "list"],
    ["token", "revoke"],
    ["account", "create"],
    ["demo"],
    ["callback-url"],
    ["purge"],
)


def groupsms(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run the installed command with only these settings."""
    variables = {f"{PREFIX}{name.upper()}": str(value) for name, value in settings.items()}
    return subprocess.run(
        [Path(sys.executable).with_name("groupsms"), *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def complaint(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line on stderr of a command that gave up with this exit code and said nothing else."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("groupsms: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
async def bare_database_url(engines: Engines) -> str:
    """An empty database that no migration has seen; it goes with the engines of this run."""
    name = f"bare_{uuid4().hex}"
    connection = await asyncpg.connect(engines.database_url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return urlunsplit(urlsplit(engines.database_url)._replace(path=f"/{name}"))


@pytest.fixture(scope="module")
def help_text() -> str:
    """What `groupsms --help` prints."""
    done = groupsms("--help")
    assert done.returncode == 0
    return done.stdout


def test_help_names_every_setting_and_command(help_text: str) -> None:
    for name in Settings.model_fields:
        assert f"{PREFIX}{name.upper()}" in help_text
    for command in ("demo", "migrate", "purge", "serve", "smsc", "token", "work"):
        assert f"\n  {command} " in help_text


@pytest.mark.parametrize("command", COMMANDS[:3] + COMMANDS[4:], ids=" ".join)
def test_help_of_a_command_has_an_example(command: list[str]) -> None:
    done = groupsms(*command, "--help")
    assert done.returncode == 0
    assert "Example:" in done.stdout
    assert f"groupsms {' '.join(command)}" in done.stdout.partition("Example:")[2]


@pytest.mark.parametrize(
    "command", [*COMMANDS[:3], ["token", "create", "--account", "a", "--role", "VIEWER"]]
)
def test_a_wrong_setting_is_one_line(command: list[str]) -> None:
    said = complaint(groupsms(*command, port="http"), 2)
    assert said == "groupsms: GROUPSMS_PORT is 'http': expected a TCP port from 1 to 65535\n"


@pytest.mark.parametrize(
    "command", [*COMMANDS[:3], ["token", "create", "--account", "a", "--role", "VIEWER"]]
)
def test_a_database_that_cannot_be_reached_is_one_line(command: list[str], engines: Engines) -> None:
    url = "postgresql://sms:hunter2@127.0.0.1:1/sms"
    said = complaint(groupsms(*command, database_url=url, redis_url=engines.redis_url), 1)
    assert "cannot connect to postgresql://***@127.0.0.1:1/sms (GROUPSMS_DATABASE_URL)" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "command", [["serve"], ["work"], ["token", "create", "--account", "a", "--role", "VIEWER"]]
)
def test_a_database_of_ones_own_is_not_migrated_by_the_way(
    command: list[str], bare_database_url: str, engines: Engines
) -> None:
    done = groupsms(*command, database_url=bare_database_url, redis_url=engines.redis_url)
    said = complaint(done, 1)
    assert "the database lacks the migrations 0_" in said
    assert "run `groupsms migrate`" in said


async def test_migrate_says_what_it_did_and_starts_nothing_it_was_given(
    bare_database_url: str, data_dir: Path
) -> None:
    first = groupsms("migrate", database_url=bare_database_url, data_dir=data_dir)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("applied 0_")
    second = groupsms("migrate", database_url=bare_database_url, data_dir=data_dir)
    assert (second.returncode, second.stdout) == (0, "nothing to do: the database is up to date\n")
    assert keeper_of(data_dir) is None


async def test_token_create_prints_the_token_alone(database_url: str) -> None:
    done = groupsms(
        *("token", "create", "--account", "acme", "--role", "sender"),
        *("--time-zone", "Europe/Madrid", "--currency", "EUR"),
        database_url=database_url,
    )
    assert (done.returncode, done.stderr) == (0, "")
    async with db.connected(database_url, pool_size=1):
        viewer = await access.viewer_of(done.stdout.removesuffix("\n"))
        assert viewer is not None
        log = (await audit_reads.list_entries(viewer.account_id)).items
    assert {(entry.actor_kind, entry.actor_name) for entry in log} == {
        (ActorKind.COMMAND_LINE, getpass.getuser())
    }
    assert [entry.action for entry in log] == [AuditAction.TOKEN_CREATED, AuditAction.ACCOUNT_CREATED]
    assert (viewer.account_name, viewer.role) == ("acme", Role.SENDER)
    assert (viewer.time_zone, viewer.currency) == ("Europe/Madrid", "EUR")


async def test_purge_says_what_it_did_and_would_do(database_url: str) -> None:
    async with db.connected(database_url, pool_size=1):
        world = await World.make("Acme")
        await world.create(3)
        await db.fetch(
            """
            UPDATE task SET status = 'CANCELED', cancel_reason = 'USER',
                            finished_at = groupsms_now() - interval '20 days'
            """
        )
    theirs = "messages of 1 tasks that ended more than 10 days ago, and 0 replies"
    asked: tuple[tuple[list[str], str], ...] = (
        (["purge"], "purged 0 messages of 0 tasks that ended more than 90 days ago, and 0 replies"),
        (["purge", "--days", "10", "--dry-run"], f"would purge 3 {theirs}"),
        (["purge", "--days", "10"], f"purged 3 {theirs}"),
    )
    for command, said in asked:
        done = groupsms(*command, database_url=database_url)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{said}\n", "")
    for days in (6, 99999999999):
        refused = groupsms("purge", "--days", str(days), database_url=database_url)
        assert refused.returncode == 2
        assert f"{days} is not in the range 7<=x<=36500" in refused.stderr


def test_restored_says_which_database_it_means(bare_database_url: str, tmp_path: Path) -> None:
    """Without its settings it would find nothing in doubt in a database that nobody restored."""
    groupsms("migrate", database_url=bare_database_url)
    done = groupsms("restored", database_url=bare_database_url, data_dir=tmp_path)
    assert done.returncode == 0, done.stderr
    named, nothing = done.stdout.splitlines()
    assert named.startswith("database postgres")
    assert named.partition("?")[0].endswith(urlsplit(bare_database_url).path)
    assert nothing == "nothing can have been sent since"


def test_token_create_with_nothing_set_uses_an_engine_of_its_own(data_dir: Path) -> None:
    done = groupsms("token", "create", "--account", "acme", "--role", "VIEWER", data_dir=data_dir)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert "starting PostgreSQL" in done.stderr
    assert keeper_of(data_dir) is not None


def test_token_create_refuses_an_unknown_time_zone_in_one_line(database_url: str) -> None:
    arguments = ("token", "create", "--account", "a", "--role", "VIEWER", "--time-zone", "Mars/Base")
    assert "'Mars/Base'" in complaint(groupsms(*arguments, database_url=database_url), 1)


def test_migrating_from_several_processes_at_once(data_dir: Path) -> None:
    variables = os.environ | {"GROUPSMS_DATA_DIR": str(data_dir)}
    command = [str(Path(sys.executable).with_name("groupsms")), "migrate"]
    together = [
        subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=60) for process in together]
    assert [process.returncode for process in together] == [0, 0, 0], outputs
    assert sum("applied 0_" in stdout for stdout, _ in outputs) == 1


def test_the_address_for_a_platforms_reports(tmp_path: Path) -> None:
    settings = {"public_url": "https://sms.example.com/", "secret_key": "x" * 32, "data_dir": tmp_path}
    done = groupsms("callback-url", "default", **settings)
    expected = callback_url(Settings.model_validate(settings), "default")
    assert (done.returncode, done.stdout) == (0, f"{expected}\n"), done.stderr
    assert expected.startswith("https://sms.example.com/callbacks/default?signature=")

    assert "configured are: default" in complaint(groupsms("callback-url", "other", **settings), 1)
