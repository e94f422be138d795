"""A frontend on another origin, in a real browser: what CORS_ORIGINS lets it do, and nothing without."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlencode

import pytest
from openpyxl import load_workbook
from playwright.async_api import Browser, expect
from playwright.async_api import Error as PageError

from api.demo.sample import SAMPLE, write_sample
from api.demo.service_client import ServiceClient
from domain import accounts
from domain.states import Role
from tests.e2e.browser import TIMEOUT, Visit, browsing, new_visit, someone, start_api
from tests.e2e.line import Line, create, followed, make_international, running_line
from tests.integration.world import World

pytestmark = pytest.mark.browser

_BUNDLE = "graphene_django_graphiql_static"
GRAPHQL_WS = Path(str(resources.files(_BUNDLE))) / "static" / _BUNDLE / "graphql-ws.min.js"
MATERIALS = (
    """{ applications { nodes { id region signatures { nodes { id } } templates { nodes { id } } } } }"""
)
CREATE = """mutation ($input: CreateTaskInput!) { createTask(input: $input) {
  task { id recipients { rows imported invalid duplicates } } errors { message } } }"""
FOLLOW = """subscription ($id: ID!) { taskUpdated(id: $id) {
  status counts { total waiting unknown delivered failed } } }"""
RESULT = "query ($id: ID!) { task(id: $id) { failedNumbersUrl } }"


class Files(SimpleHTTPRequestHandler):
    """Serves the frontend, silently, and the client library beside it."""

    def translate_path(self, path: str) -> str:
        """Where a file lies."""
        return str(GRAPHQL_WS) if path == f"/{GRAPHQL_WS.name}" else super().translate_path(path)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in http.server
        """Log nothing."""


@contextmanager
def frontend() -> Iterator[str]:
    """The frontend on a port of its own; its origin."""
    handler = partial(Files, directory=Path(__file__).with_name("frontend"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
async def browser(chromium: Path) -> AsyncIterator[Browser]:
    async with browsing(chromium) as running:
        yield running


@pytest.fixture
async def visit(browser: Browser) -> AsyncIterator[Visit]:
    async with someone(browser) as person:
        yield await new_visit(person)


@pytest.fixture
async def line(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Line]:
    async with running_line(database_url, redis_url, tmp_path) as running:
        yield running


class Frontend:
    """The page, open in a browser."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit

    async def open(self, origin: str, endpoint: str, token: str, recipients: Path) -> None:
        """Go there and choose a file to upload."""
        page = self.visit.page
        await page.goto(f"{origin}/#{urlencode({'api': endpoint, 'token': token})}")
        await page.set_input_files("#recipients", recipients)

    async def execute(self, query: str, **variables: object) -> Any:
        """The data of a query."""
        return await self._call("execute", query, variables)

    async def upload(self, order: dict[str, object]) -> Any:
        """The data of createTask with the chosen file."""
        variables = {"input": {**order, "recipients": {"file": None}}}
        return await self._call("upload", CREATE, variables, "variables.input.recipients.file")

    async def follow(self, task_id: str) -> Any:
        """The events of a task until its subscription ends."""
        return await self._call("follow", FOLLOW, {"id": task_id})

    async def follow_stream(self, task_id: str) -> Any:
        """The same as server-sent events."""
        return await self._call("followStream", FOLLOW, {"id": task_id})

    async def download(self, url: str) -> Any:
        """A file's Content-Disposition and octets."""
        return await self._call("download", url)

    async def _call(self, function: str, *arguments: object) -> Any:
        return await self.visit.page.evaluate(f"given => {function}(...given)", arguments)


def numbers_of(workbook: bytes) -> list[object]:
    """Column A without its header."""
    return [
        row[0] for row in load_workbook(io.BytesIO(workbook)).worksheets[0].iter_rows(2, values_only=True)
    ]


async def test_a_console_of_a_listed_origin_shows_a_task_to_its_end(
    line: Line, visit: Visit, tmp_path: Path
) -> None:
    page = visit.page
    with frontend() as origin:
        endpoint = await start_api(line, GROUPSMS_CORS_ORIGINS=f"https://app.example.com,{origin}")
        await World.make("Acme")
        token = await accounts.create_token("Acme", Role.SENDER)
        await page.goto(f"{origin}/console.html#{urlencode({'api': endpoint, 'token': token})}")
        await page.set_input_files("#recipients", write_sample(tmp_path / "recipients.xlsx"))
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator("#message")).to_contain_text(f"{SAMPLE.imported} phone number(s) imported.")
        history = page.locator("#history li")
        await expect(history.first).to_contain_text("SCHEDULED 0 %")

        await line.worker()
        link = page.get_by_role("link", name="Failed numbers")
        await expect(link).to_be_visible(timeout=TIMEOUT)
        delivered = SAMPLE.imported - SAMPLE.failing
        await expect(history.last).to_have_text(
            f'COMPLETED 100 % {{"delivered":{delivered},"failed":{SAMPLE.failing}}}'
        )
        assert await page.locator("#progress").get_attribute("value") == "100"
        async with page.expect_download() as downloading:
            await link.click()
        download = await downloading.value
        assert download.suggested_filename.startswith("failed-numbers-")
        failed = numbers_of((await download.path()).read_bytes())
        assert len(set(failed)) == len(failed) == SAMPLE.failing
        assert page.url.startswith(origin), "the download left the page where it is"

        task_id = (await Frontend(visit).execute("{ tasks { nodes { id } } }"))["tasks"]["nodes"][0]["id"]
        streamed = await Frontend(visit).follow_stream(task_id)
        assert streamed[-1]["taskUpdated"]["counts"]["failed"] == SAMPLE.failing
    assert visit.complaints == []


async def test_a_page_of_another_origin_does_nothing(line: Line, visit: Visit, tmp_path: Path) -> None:
    page = Frontend(visit)
    with frontend() as listed, frontend() as stranger:
        endpoint = await start_api(line, GROUPSMS_CORS_ORIGINS=listed)
        await line.worker()
        async with ServiceClient(endpoint.removesuffix("/graphql"), line.token) as client:
            made_from = await make_international(client, "Hello")
            task_id = await create(client, made_from, ["+34600000001"])
            await followed(client, task_id)
            url = (await client.execute(RESULT, id=task_id))["task"]["failedNumbersUrl"]

            recipients = write_sample(tmp_path / "recipients.xlsx")
            await page.open(stranger, endpoint, line.token, recipients)
            with pytest.raises(PageError, match="Failed to fetch"):
                await page.execute(MATERIALS)
            with pytest.raises(PageError, match="Failed to fetch"):
                await page.upload({"name": "Not wanted", **made_from})
            with pytest.raises(PageError, match="Failed to fetch"):
                await page.download(url)
            with pytest.raises(PageError, match="The socket was closed: 1006"):
                await page.follow(task_id)

            tasks = (await client.execute("{ tasks { nodes { id } } }"))["tasks"]["nodes"]
            assert [task["id"] for task in tasks] == [task_id]
        refused = [text for text in visit.complaints if "blocked by CORS policy" in text]
        assert len(refused) == 3
        assert all(address in text for address, text in zip((endpoint, endpoint, url), refused, strict=True))
        assert any("Unexpected response code: 403" in text for text in visit.complaints)

        await page.open(listed, endpoint, line.token, recipients)
        file = await page.download(url)
        assert file["disposition"].startswith('attachment; filename="failed-numbers-')
        assert numbers_of(bytes(file["octets"])) == ["+34600000001"]
