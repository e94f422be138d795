"""The most a request body may have: counted by Content-Length first, and while it streams in."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.top_level_errors import refusal_body

JSON_LIMIT = 2 * 1024 * 1024
"""Octets: room for 10,000 numbers several times over."""

UPLOAD_ALLOWANCE = 4
"""A multipart body may be this many times the size of the largest acceptable file.

Up to here an over-large file is read to its end without being kept, so that the answer can be an error of the
mutation; beyond, the request is refused unread.
"""


class _BodyTooLargeError(Exception):
    """The body has passed its limit."""


class BodyLimit:
    """ASGI middleware: answers 413, with an error a GraphQL client understands, to a body over its limit."""

    def __init__(self, app: ASGIApp, *, upload_limit: int) -> None:
        self._app = app
        self._multipart_limit = UPLOAD_ALLOWANCE * upload_limit + JSON_LIMIT

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        multipart = headers.get("content-type", "").lower().startswith("multipart/form-data")
        limit = self._multipart_limit if multipart else JSON_LIMIT
        refusal = JSONResponse(refusal_body(_message(limit, multipart=multipart)), 413)
        announced = headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced) > limit:
            await refusal(scope, receive, send)
            return
        started = False
        received = 0

        async def count(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _BodyTooLargeError
            return message

        try:
            await self._app(scope, bounded, count)
        except _BodyTooLargeError:
            if started:
                raise
            await refusal(scope, receive, send)


def _message(limit: int, *, multipart: bool) -> str:
    size = f"{limit / 1024 / 1024:.0f} MiB"
    if multipart:
        return f"The request is far larger than an upload may be (over {size})."
    return f"The request is larger than {size}. Send more than 10,000 numbers as a file."
