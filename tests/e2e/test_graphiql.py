"""GraphiQL in a real browser on the real service, with nothing reached but the service itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, Locator, expect

from api.schema import global_ids
from domain import access, accounts
from domain.states import Role
from tests.e2e.browser import TIMEOUT, Visit, browsing, new_visit, someone, start_api
from tests.e2e.line import Line, running_line
from tests.integration.world import World

pytestmark = pytest.mark.browser

EXAMPLES = [
    "LookAround", "PreviewTask", "CreateTask", "WatchTask", "Results", "TasksChanged",
    "ScheduleTask", "CancelTask", "DeleteTask",
]  # fmt: skip


class Editor:
    """A person at GraphiQL."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self._page = visit.page
        self.answer = visit.page.locator(".result-window")
        self.query = visit.page.locator(".graphiql-query-editor")
        self.tabs = visit.page.locator(".graphiql-tab-button")

    async def open(self, address: str) -> dict[str, str]:
        """Go there from elsewhere and wait for the editor; the headers the page came with."""
        await self._page.goto("about:blank")
        response = await self._page.goto(address)
        await self._page.wait_for_selector(".graphiql-container")
        assert response is not None
        return response.headers

    def tool(self, name: str) -> Locator:
        """The editor called Variables or Headers."""
        return self._page.get_by_role("region", name=name)

    async def write(self, tool: str, value: dict[str, object]) -> None:
        """Replace what stands in the editor called Variables or Headers."""
        await self._page.get_by_role("button", name=tool, exact=True).click()
        await self.tool(tool).locator(".CodeMirror:visible").click()
        await self._page.keyboard.press("ControlOrMeta+A")
        await self._page.keyboard.insert_text(json.dumps(value))

    async def choose(self, example: str) -> None:
        """Go to the tab of the example operation of that name."""
        await self.tabs.get_by_text(example, exact=True).click()

    async def run(self, example: str, **variables: object) -> None:
        """Run the example operation of that name, with other variables if any are given."""
        await self.choose(example)
        if variables:
            await self.write("Variables", variables)
        await self.execute()

    async def execute(self) -> None:
        """Run the operation that is shown."""
        await self._page.locator(".graphiql-execute-button").click()

    async def expect_answer(self, *texts: str) -> None:
        """Wait until the answer shows each of the texts."""
        for text in texts:
            await expect(self.answer).to_contain_text(text, timeout=TIMEOUT)

    async def data(self) -> dict[str, Any]:
        """The data of the answer that is shown."""
        text = await self.answer.locator(".CodeMirror").evaluate("element => element.CodeMirror.getValue()")
        data: dict[str, Any] = json.loads(text)["data"]
        return data


@pytest.fixture(scope="module")
async def browser(chromium: Path) -> AsyncIterator[Browser]:
    async with browsing(chromium) as running:
        yield running


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    async with someone(browser) as person:
        yield person


@pytest.fixture
async def editor(context: BrowserContext) -> Editor:
    return Editor(await new_visit(context))


@pytest.fixture
async def line(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Line]:
    async with running_line(database_url, redis_url, tmp_path) as running:
        yield running


async def test_the_examples_run_on_a_task_that_is_sent(
    line: Line, context: BrowserContext, editor: Editor
) -> None:
    endpoint = await start_api(line)
    await World.make("Acme")
    token = await accounts.create_token("Acme", Role.SENDER)

    await editor.open(f"{endpoint}#token={token}")
    await editor.run("LookAround")
    await editor.expect_answer('"role": "SENDER"', '"name": "Acme"', '"selectable": true')
    await editor.run("Results")
    await editor.expect_answer('"changeCursor"')
    cursor = (await editor.data())["tasks"]["changeCursor"]

    await editor.run("PreviewTask")
    await editor.expect_answer('"rows": 5', '"imported": 3')
    assert (await editor.data())["previewTask"]["errors"] == []
    await editor.run("CreateTask")
    await editor.expect_answer(
        "3 phone number(s) imported. Redundant and invalid numbers have been deleted. "
        "You will not be charged for the 2 message(s) deleted."
    )
    task_id = (await editor.data())["createTask"]["task"]["id"]
    await editor.run("Results")
    await editor.expect_answer(task_id, '"name": "My first task"')
    await editor.run("WatchTask", id=task_id)
    await editor.expect_answer('"waiting": 3')
    changes = Editor(await new_visit(context))
    await changes.open(endpoint)
    await changes.run("TasksChanged", since=cursor)
    await changes.expect_answer('"kind": "CREATED"', task_id, '"total": 3')

    await line.worker()
    await editor.expect_answer('"status": "COMPLETED"', '"percent": 100', '"waiting": 0', '"failed": 3')
    await changes.expect_answer('"kind": "UPDATED"', '"status": "COMPLETED"', '"failed": 3')

    await editor.run("Results")
    await editor.expect_answer('"failureReasons"', '"failed": 3')
    (newest,) = (await editor.data())["tasks"]["nodes"]
    assert "/failed-numbers" in newest["failedNumbersUrl"]
    assert {message["result"] for message in newest["messages"]["nodes"]} == {"FAILED"}
    await editor.run("ScheduleTask")
    await editor.expect_answer('"status": "SCHEDULED"', '"canCancel": true', '"errors": []')
    scheduled = (await editor.data())["createTask"]["task"]["id"]
    await editor.run("CancelTask", id=scheduled)
    await editor.expect_answer('"status": "CANCELED"', '"canDelete": true')
    await editor.run("DeleteTask", id=scheduled)
    await editor.expect_answer(f'"deletedTaskId": "{scheduled}"')

    for visit in (editor.visit, changes.visit):
        assert visit.complaints == []
        assert visit.hosts == {urlsplit(endpoint).netloc}
        assert endpoint.replace("http", "ws", 1) in visit.requested
        assert visit.page.url == endpoint, "the token stays out of the address"
        assert not any(token in url for url in visit.requested)


async def test_a_new_token_replaces_the_kept_one_and_its_ids(line: Line, editor: Editor) -> None:
    endpoint = await start_api(line)
    world = await World.make("Acme")
    assert world.mainland.signature_id is not None
    sender = await accounts.create_token("Acme", Role.SENDER)
    rival = await accounts.create_token("Rival", Role.MANAGER)

    headers = await editor.open(f"{endpoint}#token={sender}")
    assert "script-src 'self';" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert await editor.tabs.all_inner_texts() == EXAMPLES
    await editor.choose("CreateTask")
    for filled in (
        global_ids.encode("Application", world.mainland.application_id),
        global_ids.encode("Signature", world.mainland.signature_id),
        global_ids.encode("Template", world.mainland.template_id),
        "+8611000000002",
    ):
        await expect(editor.tool("Variables")).to_contain_text(filled)
    await expect(editor.query).to_contain_text(f"curl {endpoint}")

    await editor.open(f"{endpoint}#token={rival}")
    await editor.run("LookAround")
    await editor.expect_answer('"role": "MANAGER"', '"name": "Rival"')
    await editor.choose("CreateTask")
    await expect(editor.tool("Variables")).to_contain_text("(id of an application, see LookAround)")
    await editor.open(endpoint)
    await editor.run("LookAround")
    await editor.expect_answer('"role": "MANAGER"')
    assert await editor.tabs.all_inner_texts() == EXAMPLES
    assert editor.visit.complaints == []


async def test_without_a_token_it_says_so_and_takes_one(line: Line, editor: Editor) -> None:
    endpoint = await start_api(line)
    await editor.open(endpoint)
    await expect(editor.tool("Headers")).to_contain_text("Bearer")
    await editor.run("LookAround")
    await editor.expect_answer("UNAUTHENTICATED", "This needs a token.")
    await editor.write("Headers", {"authorization": f"Bearer {line.token}"})
    await editor.execute()
    await editor.expect_answer('"role": "OPERATOR"')
    assert editor.visit.complaints == []


async def test_a_refused_token_is_shown(line: Line, editor: Editor) -> None:
    endpoint = await start_api(line)
    await editor.open(f"{endpoint}#token={access.TOKEN_PREFIX}unknown")
    await editor.run("LookAround")
    await editor.expect_answer("UNAUTHENTICATED", "The token is unknown, expired or revoked.")
    await editor.run("TasksChanged")
    await editor.expect_answer("The connection was closed: 4403 Forbidden")
    assert editor.visit.complaints == []
