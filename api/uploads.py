"""Uploads by the GraphQL multipart request spec: files go to disk as they stream in, up to a limit.

A file over the limit is not an error of the request: it reaches the resolver as an `Upload` that says
`too_large`, with nothing of it kept, so that the answer can be an error of the mutation. The format's source:
https://github.com/jaydenseric/graphql-multipart-request-spec
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from strawberry import scalar
from strawberry.types.scalar import ScalarDefinition

from domain import spool

_FIELD_LIMIT = 2 * 1024 * 1024
_FIELD_COUNT = 8
_FILE_COUNT = 4
_WRITE_SIZE = 256 * 1024


class MalformedUploadError(Exception):
    """The multipart body can't be read, or has more in it than any operation of ours takes."""


@dataclass(slots=True, eq=False)
class Upload:
    """A file of the request. It is deleted once the request has been answered."""

    filename: str
    """As the client named it; may be empty."""
    path: Path
    """Where it lies; empty when `too_large`."""
    size: int = 0
    """Octets received, those beyond the limit included."""
    too_large: bool = False
    """It was over the size limit."""


@dataclass(slots=True)
class UploadForm:
    """What a multipart request held, by the names of its parts."""

    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, Upload] = field(default_factory=dict)


def _take_upload(value: object) -> Upload:
    if not isinstance(value, Upload):
        raise ValueError("A file is sent as a part of a multipart request, not as a value.")  # noqa: TRY004
    return value


def _never_sent_back(value: object) -> object:
    raise TypeError(f"an upload is never part of an answer: {value!r}")


UPLOAD_SCALAR: ScalarDefinition = scalar(
    name="Upload",
    description="A file, sent as its own part of a multipart request (GraphQL multipart request spec).",
    specified_by_url="https://github.com/jaydenseric/graphql-multipart-request-spec",
    parse_value=_take_upload,
    serialize=_never_sent_back,
)
"""For `StrawberryConfig(scalar_map={Upload: UPLOAD_SCALAR})`."""


@dataclass(slots=True)
class _Part:
    header: bytearray = field(default_factory=bytearray)
    header_value: bytearray = field(default_factory=bytearray)
    disposition: bytes = b""
    name: str = ""
    text: bytearray = field(default_factory=bytearray)
    upload: Upload | None = None
    file: IO[bytes] | None = None


class _FormReader:
    """Takes what the push parser finds; the octets of files wait in `_unwritten` until they are written."""

    def __init__(self, boundary: bytes, *, limit: int, directory: Path | None, cleanup: ExitStack) -> None:
        self.form = UploadForm()
        self._limit = limit
        self._directory = directory
        self._cleanup = cleanup
        self._part = _Part()
        self._unwritten: list[tuple[IO[bytes], bytes]] = []
        self._unwritten_size = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._part.header.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._part.header_value.extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._open,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._finish,
            },
        )

    async def feed(self, chunk: bytes) -> None:
        self._parser.write(chunk)
        if self._unwritten_size >= _WRITE_SIZE:
            await self._write()

    async def close(self) -> UploadForm:
        if not self._ended:
            raise MalformedUploadError("The multipart body ends too early.")
        await self._write()
        return self.form

    async def _write(self) -> None:
        batch, self._unwritten, self._unwritten_size = self._unwritten, [], 0

        def write() -> None:
            for file, data in batch:
                file.write(data)
            for file in {id(file): file for file, _ in batch}.values():
                file.flush()

        if batch:
            # To its end even if the request is given up: the files are closed right after.
            await _finish_first(asyncio.create_task(asyncio.to_thread(write)))

    def _begin(self) -> None:
        self._part = _Part()

    def _end_header(self) -> None:
        if self._part.header.lower() == b"content-disposition":
            self._part.disposition = bytes(self._part.header_value)
        self._part.header.clear()
        self._part.header_value.clear()

    def _open(self) -> None:
        _, options = parse_options_header(self._part.disposition)
        if b"name" not in options:
            raise MalformedUploadError("A part of the multipart body has no name.")
        self._part.name = options[b"name"].decode(errors="replace")
        if b"filename" in options:
            self._open_file(options[b"filename"].decode(errors="replace"))
        elif len(self.form.fields) >= _FIELD_COUNT:
            raise MalformedUploadError("The multipart body has too many parts.")

    def _open_file(self, filename: str) -> None:
        if len(self.form.files) >= _FILE_COUNT or self._part.name in self.form.files:
            raise MalformedUploadError("The multipart body has too many files.")
        file = self._cleanup.enter_context(spool.new_file(self._directory))
        self._part.file = file
        self._part.upload = Upload(filename=filename, path=Path(file.name))
        self.form.files[self._part.name] = self._part.upload

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        if part.upload is None or part.file is None:
            if len(part.text) + end - start > _FIELD_LIMIT:
                raise MalformedUploadError("A part of the multipart body that is no file is too large.")
            part.text += data[start:end]
            return
        part.upload.size += end - start
        if part.upload.size <= self._limit:
            self._unwritten.append((part.file, data[start:end]))
            self._unwritten_size += end - start
        elif not part.upload.too_large:
            part.upload.too_large = True
            self._unwritten = [(file, waiting) for file, waiting in self._unwritten if file is not part.file]
            part.file.truncate(0)

    def _end(self) -> None:
        if self._part.upload is None:
            self.form.fields[self._part.name] = self._part.text.decode(errors="replace")

    def _finish(self) -> None:
        self._ended = True


async def _finish_first(task: asyncio.Task[None]) -> None:
    """Wait for the task; if we are cancelled meanwhile, only go on when it has ended."""
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def read_upload_form(
    content_type: str, body: AsyncIterator[bytes], *, limit: int, directory: Path | None, cleanup: ExitStack
) -> UploadForm:
    """Read a multipart body as it arrives, its files to `directory` (None: the system's own for such files).

    A file of more than `limit` octets is marked, and nothing of it kept.

    The files are deleted when `cleanup` is closed, whatever happened. Raises `MalformedUploadError`.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise MalformedUploadError("The Content-Type of the multipart request has no boundary.")
    try:
        reader = _FormReader(boundary, limit=limit, directory=directory, cleanup=cleanup)
        async for chunk in body:
            await reader.feed(chunk)
    except FormParserError as error:
        raise MalformedUploadError("The multipart body can't be read.") from error
    return await reader.close()
