"""Request ids and the log: one line a request, no tokens, phone numbers masked."""

from __future__ import annotations

import re
import time
import traceback
import uuid
from contextvars import ContextVar

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from api.client_address import client_address
from domain import audit
from domain.audit import Origin
from domain.masking import masked

REQUEST_ID_HEADER = "X-Request-Id"

log = structlog.get_logger()

_request_id: ContextVar[str] = ContextVar("request_id", default="")
_ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def current_request_id() -> str:
    """The id of the request, or of the socket, being served."""
    return _request_id.get()


def traceback_of(error: Exception) -> str:
    """The error with its traceback, as it may be logged: without local variables, masked."""
    return masked("".join(traceback.format_exception(error)))


class RequestLog:
    """ASGI middleware: gives each request an id, logs how it ended, and turns a crash into a plain 500.

    A client may bring its own id in X-Request-Id. The query string is not logged: signed links carry their
    signature there.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(REQUEST_ID_HEADER, "")
        request_id = given if _ACCEPTABLE_ID.fullmatch(given) else uuid.uuid4().hex
        client = client_address(HTTPConnection(scope))
        reset = _request_id.set(request_id)
        try:
            with (
                bound_contextvars(request_id=request_id),
                audit.coming_from(Origin(client, headers.get("user-agent", ""), request_id)),
            ):
                await self._serve(scope, receive, send, request_id, client)
        finally:
            _request_id.reset(reset)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, request_id: str, client: str) -> None:
        began = time.perf_counter()
        status = 0

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            elif message["type"] == "websocket.accept":
                status = 101
            elif message["type"] == "websocket.close" and not status:
                status = 403
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        except Exception as error:
            log.error(  # noqa: TRY400 - that would log local variables
                "request failed",
                request_id=request_id,
                path=masked(scope["path"]),
                traceback=traceback_of(error),
            )
            if scope["type"] == "websocket" or status:
                raise
            shown = {
                "message": "Internal error.",
                "extensions": {"code": "INTERNAL", "requestId": request_id},
            }
            await JSONResponse({"data": None, "errors": [shown]}, 500)(scope, receive, note_status)
        finally:
            log.info(
                "request",
                request_id=request_id,
                method=scope.get("method", "WEBSOCKET"),
                path=masked(scope["path"]),
                status=status,
                client=client,
                milliseconds=round((time.perf_counter() - began) * 1000, 1),
            )
