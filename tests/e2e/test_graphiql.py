"""GraphiQL in a real browser, with nothing reached but the service itself."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.e2e.tiny_process import TinyService, tiny_service

CHROMIUM = shutil.which("chromium")
SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium (Debian: apt-get install chromium)"),
]


@dataclass
class Visit:
    """A browser's page, and what it asked for and complained about."""

    page: Page
    requested: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    async def open(self, address: str) -> None:
        """Go there and wait for the editor."""
        await self.page.goto(address)
        await self.page.wait_for_selector(".graphiql-container")

    async def run_tab(self, name: str) -> None:
        """Run the example operation of that name."""
        await self.page.locator(".graphiql-tab-button").get_by_text(name, exact=True).click()
        await self.page.locator(".graphiql-execute-button").click()

    async def expect_answer(self, text: str) -> None:
        """Wait until the answer's pane shows the text."""
        await expect(self.page.locator(".result-window")).to_contain_text(text, timeout=10_000)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyService]:
    with tiny_service(tmp_path_factory.mktemp("graphiql")) as running:
        yield running


@pytest.fixture
async def visit() -> AsyncIterator[Visit]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        page = await browser.new_page(viewport={"width": 1400, "height": 850})
        page.set_default_timeout(10_000)
        made = Visit(page)
        page.on("request", lambda request: made.requested.append(request.url))
        page.on("websocket", lambda socket: made.requested.append(socket.url))
        page.on("requestfailed", lambda request: made.complaints.append(f"failed: {request.url}"))
        page.on("pageerror", lambda error: made.complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                made.complaints.append(message.text) if message.type in ("error", "warning") else None
            ),
        )
        yield made
        await browser.close()


async def test_examples_run_with_the_token_of_the_address(service: TinyService, visit: Visit) -> None:
    await visit.open(f"{service.endpoint}#token=sender")
    await visit.run_tab("Viewer")
    await visit.expect_answer('"role": "SENDER"')
    await visit.run_tab("TasksChanged")
    await visit.expect_answer('"cursor": "cursor-2"')
    await visit.expect_answer('"name": "seen by sender"')

    assert visit.page.url == service.endpoint, "the token stays out of the address"
    assert visit.complaints == []
    hosts = {urlsplit(url).netloc for url in visit.requested if not url.startswith("data:")}
    assert hosts == {urlsplit(service.url).netloc}
    assert service.socket in visit.requested
    assert not any("sender" in url for url in visit.requested)


async def test_examples_are_filled_with_ids_of_the_account(service: TinyService, visit: Visit) -> None:
    await visit.open(f"{service.endpoint}#token=sender")
    variables = visit.page.locator(".graphiql-editor-tool")
    await visit.page.locator(".graphiql-tab", has_text="CreateTask").click()
    for filled in ("application-1", "template-1", "signature-1", "+8611000000002"):
        await expect(variables).to_contain_text(filled)
    await expect(visit.page.locator(".graphiql-query-editor")).to_contain_text(f"curl {service.endpoint}")
    await visit.page.locator(".graphiql-tab", has_text="TaskUpdated").click()
    await expect(variables).to_contain_text("task-1")


async def test_a_new_token_replaces_the_kept_one(service: TinyService, visit: Visit) -> None:
    await visit.open(f"{service.endpoint}#token=sender")
    await visit.run_tab("Viewer")
    await visit.expect_answer('"role": "SENDER"')
    await visit.page.goto("about:blank")
    await visit.open(f"{service.endpoint}#token=manager")
    await visit.run_tab("Viewer")
    await visit.expect_answer('"role": "MANAGER"')
    await visit.page.goto("about:blank")
    await visit.open(service.endpoint)
    await visit.run_tab("Viewer")
    await visit.expect_answer('"role": "MANAGER"')
    await expect(visit.page.locator(".graphiql-tab-button")).to_have_count(5)


async def test_without_a_token_it_says_so(service: TinyService, visit: Visit) -> None:
    await visit.open(service.endpoint)
    await expect(visit.page.locator(".graphiql-editor-tool")).to_contain_text("Bearer")
    await visit.run_tab("Viewer")
    await visit.expect_answer("UNAUTHENTICATED")
    assert visit.complaints == []


async def test_a_refused_socket_is_shown(service: TinyService, visit: Visit) -> None:
    await visit.open(f"{service.endpoint}#token=revoked")
    await visit.run_tab("TasksChanged")
    await visit.expect_answer("4403 Forbidden")
