"""The clients that frontend teams use, in Node.js, against the running service."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.demo.sample import SAMPLE, write_sample
from api.schema import global_ids
from domain import accounts
from domain.states import Role
from tests.e2e.line import Line, free_port, running_line
from tests.e2e.node_project import (
    GENERATED,
    PROJECT,
    NotInstalledError,
    attempt,
    prepare,
    run,
    snippets,
    start,
    tool,
)
from tests.integration.world import World

CLIENTS = ["with_apollo.ts", "with_urql.ts", "with_graphql_ws.ts", "with_graphql_sse.ts"]
MEANWHILE = ["Made after SIGTERM", "Made after SIGKILL"]
"""Tasks that others make while the service is away."""


@pytest.fixture(scope="module", autouse=True)
async def project() -> None:
    """The project with its packages and its generated types."""
    try:
        await prepare()
    except NotInstalledError as error:
        pytest.skip(f"needs packages from npm: {error}")
    await run(tool("@graphql-codegen/cli", "graphql-codegen"), "--config", "codegen.ts", cwd=GENERATED)


@pytest.fixture
async def line(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Line]:
    async with running_line(database_url, redis_url, tmp_path) as running:
        yield running


async def test_what_codegen_makes_compiles_strictly_and_has_no_any() -> None:
    await run(tool("typescript", "tsc"), "--project", "tsconfig.json")
    types = (GENERATED / "gql" / "graphql.ts").read_text()
    assert "counts: {" in types
    # Beside it lies gql.ts, the same few lines round any schema. What goes through them is held by types.ts.
    code = re.sub(r"/\*.*?\*/|'[^'\n]*'|\"[^\"\n]*\"", "", types, flags=re.DOTALL)
    assert re.findall(r"(?:[<:|&,=(]|\bas)\s*any\b", code) == []


async def test_a_scalar_that_has_no_type_is_refused(tmp_path: Path) -> None:
    config = (GENERATED / "codegen.ts").read_text()
    assert config.count('          Decimal: "string",\n') == 1
    wrong = GENERATED / "codegen_without_decimal.ts"
    wrong.write_text(config.replace('          Decimal: "string",\n', "").replace('"gql/"', f'"{tmp_path}/"'))
    code, said = await attempt(
        tool("@graphql-codegen/cli", "graphql-codegen"), "--config", wrong.name, cwd=GENERATED
    )
    wrong.unlink()
    assert code != 0
    assert "Unknown scalar type Decimal" in said


async def test_clients_come_back_by_themselves_and_miss_nothing(line: Line, tmp_path: Path) -> None:
    port = free_port()
    api, _ = await line.api(port)
    world = await World.make("Acme")
    token = await accounts.create_token("Acme", Role.SENDER)
    service = {"ENDPOINT": f"http://127.0.0.1:{port}/graphql", "TOKEN": token}
    recipients = str(write_sample(tmp_path / "recipients.xlsx"))
    scripts = [await start(client, recipients, *MEANWHILE, cwd=PROJECT, **service) for client in CLIENTS]
    try:
        for script in scripts:
            created = await script.says("created")
            assert created["recipients"]["imported"] == SAMPLE.imported
            assert created["recipients"]["rows"] == SAMPLE.rows
        for script in scripts:
            await script.says("following")

        assert await api.stop() == 0
        await world.create(["13800138000"], name=MEANWHILE[0])
        api, _ = await line.api(port)
        for script in scripts:
            await script.says("back")

        await api.stop(signal.SIGKILL)
        await world.create(["13800138001"], name=MEANWHILE[1])
        await line.worker()
        await line.api(port)
        for script in scripts:
            done = await script.says("done")
            assert done["counts"]["delivered"] == SAMPLE.imported - SAMPLE.failing
            assert done["counts"]["failed"] == SAMPLE.failing
        await asyncio.gather(*(script.ended() for script in scripts))
    finally:
        for script in scripts:
            if script.process.returncode is None:
                script.process.kill()


async def test_relay_takes_the_schema() -> None:
    relay = GENERATED / "relay"
    await run(tool("relay-compiler", "relay-compiler"), "relay.config.json", cwd=relay)
    made = {file.name.removesuffix(".graphql.ts") for file in (relay / "__generated__").iterdir()}
    assert {"TaskListPaginationQuery", "TaskMessagesPaginationQuery", "TaskListSubscription"} <= made
    paged = (relay / "__generated__" / "TaskMessagesPaginationQuery.graphql.ts").read_text()
    assert "node(id: $id)" in paged


async def test_the_snippets_do_what_the_page_says(line: Line, tmp_path: Path) -> None:
    port = free_port()
    await line.api(port)
    await line.worker()
    world = await World.make("Acme")
    order = {
        "applicationId": global_ids.encode("Application", world.mainland.application_id),
        "signatureId": global_ids.encode("Signature", world.mainland.signature_id or 0),
        "templateId": global_ids.encode("Template", world.mainland.template_id),
    }
    recipients = write_sample(tmp_path / "recipients.xlsx")
    token = await accounts.create_token("Acme", Role.SENDER)
    # Long enough for all that goes before.
    soon = datetime.now(UTC) + timedelta(seconds=6)
    script = await start(
        "snippets.ts",
        ENDPOINT=f"http://127.0.0.1:{port}/graphql",
        TOKEN=token,
        SHORT_LIVED=await accounts.create_token("Acme", Role.VIEWER, expires_at=soon),
        ORDER=json.dumps(order),
        RECIPIENTS=str(recipients),
        FAILING=str(SAMPLE.failing),
    )
    await script.says("done")
    await script.ended()


def test_every_snippet_is_used() -> None:
    tested = "".join(file.read_text() for file in PROJECT.glob("*.ts"))
    snippets_used = {name for name in snippets() if f'"./generated/{name}"' in tested}
    used_by_snippets = {name for name in snippets() if f'"./{name}"' in "".join(snippets().values())}
    assert snippets().keys() - snippets_used - used_by_snippets == {"codegen.ts"}
