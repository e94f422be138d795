"""Files behind signed links: they open without a token, for one account, for a while."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO, Generic, TypeVar

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.signed_links import LinkExpiredError, LinkRefusedError, LinkSigner
from domain import failures, message_reads, task_reads
from domain.number_files import (
    FileFormat,
    sample_recipient_file,
    write_failed_numbers,
    write_rejected_rows,
)
from domain.recipient_file import RejectedRow
from domain.task_reads import TaskView

SAMPLE_PATH = "/downloads/sample-recipients.xlsx"

_MEDIA_TYPES = {
    FileFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    FileFormat.CSV: "text/csv; charset=utf-8",
}
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_ROWS_AT_ONCE = 5000
_READ_SIZE = 256 * 1024
_WRITTEN_AT_ONCE = 2
"""Files one process writes at a time: each keeps a thread and the interpreter busy."""

_Endpoint = Callable[[Request], Awaitable[Response]]
_Answer = Callable[[Request, int], Awaitable[Response]]

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Export(Generic[R]):
    """A file about one task."""

    name: str
    rows: Callable[[TaskView], AsyncIterator[R]]
    write: Callable[[TaskView, Iterable[R], BinaryIO, FileFormat], None]

    def path(self, task_id: int | str, file_format: FileFormat) -> str:
        return f"/downloads/tasks/{task_id}/{self.name}.{file_format.value.lower()}"

    def routes(self, signer: LinkSigner, writing: asyncio.Semaphore) -> list[Route]:
        return [
            Route(
                self.path("{task_id:int}", file_format),
                _behind_link(signer, self._answer(file_format, writing)),
            )
            for file_format in FileFormat
        ]

    def _answer(self, file_format: FileFormat, writing: asyncio.Semaphore) -> _Answer:
        async def answer(request: Request, account_id: int) -> Response:
            task_id = request.path_params["task_id"]
            task = await task_reads.find_task(account_id, task_id) if task_id < 2**63 else None
            if task is None:
                return _refusal("The task has been deleted.", 404)
            async with writing:
                file = await self._written(task, file_format)
            return _FileResponse(file, f"{self.name}-{task.id}.{file_format.value.lower()}", file_format)

        return answer

    async def _written(self, task: TaskView, file_format: FileFormat) -> BinaryIO:
        """The file, written in a thread that takes the rows from the loop in batches; nameless on disk."""
        loop = asyncio.get_running_loop()
        batches = _batches(self.rows(task))

        def rows() -> Iterator[R]:
            while batch := asyncio.run_coroutine_threadsafe(anext(batches, []), loop).result():
                yield from batch

        def write() -> BinaryIO:
            file = tempfile.TemporaryFile()  # noqa: SIM115 - the response closes it
            try:
                self.write(task, rows(), file, file_format)
            except BaseException:
                file.close()
                raise
            return file

        return await asyncio.to_thread(write)


async def _batches(rows: AsyncIterator[R]) -> AsyncIterator[list[R]]:
    batch: list[R] = []
    async for row in rows:
        batch.append(row)
        if len(batch) == _ROWS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


async def _failed_numbers(task: TaskView) -> AsyncIterator[tuple[str, str]]:
    async for number, code in message_reads.failed_numbers(task.id):
        yield number, _reason(code, task)


def _reason(code: str, task: TaskView) -> str:
    return f"{failures.explain(code, task.region).advice} ({code})" if code else ""


async def _rejected_rows(task: TaskView) -> AsyncIterator[RejectedRow]:
    async for view in message_reads.rejected_rows(task.id):
        yield RejectedRow(view.row, view.value, view.reason)


_FAILED_NUMBERS = _Export(
    "failed-numbers",
    _failed_numbers,
    lambda _, rows, file, file_format: write_failed_numbers(rows, file, file_format),
)
_REJECTED_ROWS = _Export(
    "rejected-rows",
    _rejected_rows,
    lambda task, rows, file, file_format: write_rejected_rows(rows, task.region, file, file_format),
)


def failed_numbers_path(task_id: int, file_format: FileFormat) -> str:
    """The path of a task's failed numbers, to be signed."""
    return _FAILED_NUMBERS.path(task_id, file_format)


def rejected_rows_path(task_id: int, file_format: FileFormat) -> str:
    """The path of the rows that were deleted from a task's list, to be signed."""
    return _REJECTED_ROWS.path(task_id, file_format)


def routes(signer: LinkSigner) -> list[Route]:
    """The routes of all downloads; the links to them are signed by `signer`."""
    writing = asyncio.Semaphore(_WRITTEN_AT_ONCE)
    return [
        Route(SAMPLE_PATH, _behind_link(signer, _sample)),
        *_FAILED_NUMBERS.routes(signer, writing),
        *_REJECTED_ROWS.routes(signer, writing),
    ]


def _behind_link(signer: LinkSigner, answer: _Answer) -> _Endpoint:
    """Serve only who has a link; `answer` is told the account it was made for."""

    async def endpoint(request: Request) -> Response:
        signature = request.query_params.get("signature", "")
        try:
            account_id = signer.verify(request.scope["path"], signature, now=datetime.now(UTC))
        except LinkExpiredError:
            return _refusal("This link has expired. Ask for a new one where you got it.", 403)
        except LinkRefusedError:
            return _refusal("This link was not made by this service, or is incomplete.", 403)
        return await answer(request, account_id)

    return endpoint


def _refusal(text: str, status: int) -> Response:
    return PlainTextResponse(f"{text}\n", status, _HEADERS)


async def _sample(_: Request, __: int) -> Response:
    return Response(
        await asyncio.to_thread(sample_recipient_file),
        media_type=_MEDIA_TYPES[FileFormat.XLSX],
        headers=_headers("sample-recipients.xlsx"),
    )


def _headers(filename: str) -> dict[str, str]:
    return {**_HEADERS, "Content-Disposition": f'attachment; filename="{filename}"'}


class _FileResponse(StreamingResponse):
    """Sends an open file, and closes it whatever happens."""

    def __init__(self, file: BinaryIO, filename: str, file_format: FileFormat) -> None:
        length = file.seek(0, 2)
        file.seek(0)
        super().__init__(
            self._chunks(),
            media_type=_MEDIA_TYPES[file_format],
            headers={**_headers(filename), "Content-Length": str(length)},
        )
        self._file = file

    async def _chunks(self) -> AsyncIterator[bytes]:
        while chunk := await asyncio.to_thread(self._file.read, _READ_SIZE):
            yield chunk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        with self._file:
            await super().__call__(scope, receive, send)
