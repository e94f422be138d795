"""Files behind signed links: they open without a token, for one account, for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Generic, TypeVar

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.signed_links import Grant, LinkExpiredError, LinkRefusedError, LinkSigner
from domain import access, audit, db, failures, message_reads, number_files, task_reads
from domain.audit import AuditAction, AuditObject
from domain.number_files import FileFormat, NumberFile, sample_recipient_file
from domain.recipient_file import RejectedRow
from domain.states import Region
from domain.task_reads import TaskView

SAMPLE_PATH = "/downloads/sample-recipients.xlsx"

_MEDIA_TYPES = {
    FileFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    FileFormat.CSV: "text/csv; charset=utf-8",
}
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_ROWS_AT_ONCE = 500
"""What one query reads."""
_WRITTEN_AT_ONCE = 2
"""Files of which a process reads or writes rows at a time. All take turns; for a slow client none is due."""
_DELETED = "The task has been deleted."
_PURGED = "The numbers of this task are no longer kept."
_SENT_WHOLE = 64 * 1024
"""Octets up to which a file is sent with its length, or not at all if making it fails."""

_Endpoint = Callable[[Request], Awaitable[Response]]
_Answer = Callable[[Request, Grant], Awaitable[Response]]
_Pieces = AsyncGenerator[bytes, None]

R = TypeVar("R")


class _GoneError(Exception):
    """The task, or its numbers, went while its file was made, which may lack rows."""


@dataclass(frozen=True, slots=True)
class _Export(Generic[R]):
    """A file about one task."""

    name: str
    pages: Callable[[TaskView, int], AsyncGenerator[list[R], None]]
    """So many rows at a time."""
    file: Callable[[TaskView, FileFormat], NumberFile[R]]
    step: int
    """How many rows are written within a millisecond or two: so long a thread keeps the interpreter."""

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
        async def answer(request: Request, grant: Grant) -> Response:
            task_id = request.path_params["task_id"]
            task = await task_reads.find_task(grant.account_id, task_id) if task_id < 2**63 else None
            if gone := _gone(task):
                return _refusal(gone, 404)
            assert task is not None
            if request.method != "HEAD":  # that one is told how large the file is, and gets no numbers
                await self._record(task, file_format, grant)
            pieces = self._pieces(task, file_format, writing)
            filename = f"{self.name}-{task.id}.{file_format.value.lower()}"
            try:
                return await _sent_while_made(pieces, filename, file_format)
            except _GoneError as error:
                return _refusal(str(error), 404)

        return answer

    async def _record(self, task: TaskView, file_format: FileFormat, grant: Grant) -> None:
        audit.acting(grant.actor)
        async with db.transaction() as conn:
            await audit.record(
                conn,
                task.account_id,
                AuditAction.NUMBERS_DOWNLOADED,
                (AuditObject.TASK, task.id),
                file=self.name,
                format=file_format.value,
            )

    async def _pieces(self, task: TaskView, file_format: FileFormat, writing: asyncio.Semaphore) -> _Pieces:
        """The file, piece by piece: each is put together in a thread, once the one before has been taken."""
        file = await asyncio.to_thread(self.file, task, file_format)
        yield await asyncio.to_thread(file.begin)
        async with aclosing(self.pages(task, _ROWS_AT_ONCE)) as pages:
            while True:
                async with writing:
                    page: list[R] = await anext(pages, [])
                if not page:
                    break
                for first in range(0, len(page), self.step):
                    async with writing:
                        piece = await asyncio.to_thread(file.add, page[first : first + self.step])
                    yield piece
        # Its rows are removed after the task, or after it says so: as long as it doesn't, none was missing.
        if gone := _gone(await task_reads.find_task(task.account_id, task.id)):
            raise _GoneError(gone)
        yield await asyncio.to_thread(file.end)


def _gone(task: TaskView | None) -> str | None:
    """Why there can be no file about it; None if there can."""
    if task is None:
        return _DELETED
    return _PURGED if task.messages_purged_at else None


async def _failed_numbers(task: TaskView, at_a_time: int) -> AsyncGenerator[list[tuple[str, str]], None]:
    async with aclosing(message_reads.failed_numbers(task.id, at_a_time)) as pages:
        async for page in pages:
            yield [(number, _reason(code, task.region)) for number, code in page]


@lru_cache(maxsize=4096)
def _reason(code: str, region: Region) -> str:
    return f"{failures.explain(code, region).advice} ({code})" if code else ""


_FAILED_NUMBERS = _Export(
    "failed-numbers",
    _failed_numbers,
    lambda _, file_format: number_files.failed_numbers(file_format),
    step=500,
)
_REJECTED_ROWS: _Export[RejectedRow] = _Export(
    "rejected-rows",
    lambda task, at_a_time: message_reads.rejected_rows(task.id, at_a_time),
    lambda task, file_format: number_files.rejected_rows(task.region, file_format),
    step=50,  # each may need a suggestion
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
    """Serve only who has a link; `answer` is told what it was made for."""

    async def endpoint(request: Request) -> Response:
        signature = request.query_params.get("signature", "")
        try:
            grant = signer.verify(request.scope["path"], signature, now=datetime.now(UTC))
        except LinkExpiredError:
            return _refusal("This link has expired. Ask for a new one where you got it.", 403)
        except LinkRefusedError:
            return _refusal("This link was not made by this service, or is incomplete.", 403)
        if grant.actor.id is not None and not await access.is_good(grant.actor.id):
            return _refusal("The token this link was asked for with has expired or was revoked.", 403)
        return await answer(request, grant)

    return endpoint


def _refusal(text: str, status: int) -> Response:
    return PlainTextResponse(f"{text}\n", status, _HEADERS)


async def _sample(_: Request, __: Grant) -> Response:
    return Response(
        await asyncio.to_thread(sample_recipient_file),
        media_type=_MEDIA_TYPES[FileFormat.XLSX],
        headers=_headers("sample-recipients.xlsx"),
    )


def _headers(filename: str) -> dict[str, str]:
    return {**_HEADERS, "Content-Disposition": f'attachment; filename="{filename}"'}


async def _sent_while_made(pieces: _Pieces, filename: str, file_format: FileFormat) -> Response:
    """An answer that has begun to be made, and goes on as fast as the client takes it.

    A file that is longer than its first octets has no Content-Length. If making it fails then, the connection
    is closed without the last chunk, which tells every client that the file isn't whole.
    """
    media_type, headers = _MEDIA_TYPES[file_format], _headers(filename)
    begun = bytearray()
    async for piece in pieces:
        begun += piece
        if len(begun) > _SENT_WHOLE:
            return _Stream(bytes(begun), pieces, media_type, headers)
    return Response(bytes(begun), media_type=media_type, headers=headers)


class _Stream(StreamingResponse):
    """Sends what there is and what is still to come; ends the making of it when the client goes away."""

    def __init__(self, begun: bytes, pieces: _Pieces, media_type: str, headers: dict[str, str]) -> None:
        super().__init__(self._chunks(begun), media_type=media_type, headers=headers)
        self._pieces = pieces

    async def _chunks(self, begun: bytes) -> AsyncIterator[bytes]:
        yield begun
        async for piece in self._pieces:
            if piece:
                yield piece

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        async with aclosing(self._pieces):
            await super().__call__(scope, receive, send)
