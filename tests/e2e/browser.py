"""Headless Chromium for the tests, and what a page asks for and complains about."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, Page, Request, async_playwright

from api.server import listen
from tests.e2e.line import Line

TIMEOUT = 15_000
"""Milliseconds in which whatever a page is waited for must happen."""
SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@asynccontextmanager
async def browsing(chromium: Path) -> AsyncIterator[Browser]:
    """A running browser, which finds no host but this machine."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=SWITCHES)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def someone(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A person at the browser, with a storage of their own."""
    context = await browser.new_context(viewport={"width": 1400, "height": 850})
    context.set_default_timeout(TIMEOUT)
    try:
        yield context
    finally:
        await context.close()


@dataclass
class Visit:
    """A page, what it asked for and what it complained about."""

    page: Page
    requested: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def note_failure(self, request: Request) -> None:
        """A request has failed. What a page gives up is no complaint: it leaves, or gets a download."""
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"failed: {request.url}: {request.failure}")

    @property
    def hosts(self) -> set[str]:
        """Where it asked, host and port."""
        return {urlsplit(url).netloc for url in self.requested if not url.startswith("data:")}


async def new_visit(context: BrowserContext) -> Visit:
    """An empty page that is watched from the start."""
    visit = Visit(await context.new_page())
    page = visit.page
    page.on("request", lambda request: visit.requested.append(request.url))
    page.on("websocket", lambda socket: visit.requested.append(socket.url))
    page.on("requestfailed", visit.note_failure)
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    page.on(
        "console",
        lambda message: (
            visit.complaints.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    return visit


async def start_api(line: Line, **settings: str) -> str:
    """Start an API process; the address of its GraphQL and its GraphiQL."""
    with listen("127.0.0.1", 0) as reserved:
        port = str(reserved.getsockname()[1])
    _, endpoint = await line.start("api", until="GraphiQL: ", GROUPSMS_PORT=port, **settings)
    return endpoint
