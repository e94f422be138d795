"""Counting and tracing what the API is asked for: each HTTP request, each operation, each import.

No client chooses a label or the name of a span: routes and fields are ours, anything else is "other".
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from graphql import ExecutionResult as CoreResult
from graphql import FieldNode, OperationDefinitionNode
from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from strawberry.extensions import SchemaExtension
from strawberry.types.execution import ExecutionContext, ExecutionResult

from api import metrics
from domain import tracing
from domain.errors import Refused, UserError
from domain.task_creation import Created

log = structlog.get_logger()


class Observed:
    """ASGI middleware: counts and times requests, counts open sockets, makes a span of each request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        status = 0

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with tracing.server_span("request", Headers(scope=scope)) as span:
            try:
                await self._app(scope, receive, note_status)
            finally:
                route = _route(scope)
                method = scope["method"] if scope["method"] in metrics.METHODS else metrics.OTHER
                metrics.REQUESTS.labels(method, route, status or "none").inc()
                metrics.REQUEST_SECONDS.labels(route).observe(time.perf_counter() - began)
                tracing.name_span(
                    span,
                    f"{method} {route}",
                    **{
                        "http.request.method": method,
                        "http.route": route,
                        "http.response.status_code": status,
                    },
                )

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        opened = False

        async def note_opened(message: Message) -> None:
            nonlocal opened
            if message["type"] == "websocket.accept" and not opened:
                opened = True
                metrics.SOCKETS.inc()
            await send(message)

        try:
            await self._app(scope, receive, note_opened)
        finally:
            if opened:
                metrics.SOCKETS.dec()


def _route(scope: Scope) -> str:
    """The path as the route has it, with the names of its parameters in place of their values."""
    route = scope.get("route")
    return route.path if isinstance(route, Route) else metrics.OTHER


class ObservedOperation(SchemaExtension):
    """Counts, times and traces the execution of an operation."""

    def on_execute(self) -> Iterator[None]:
        """Called round the execution."""
        context = self.execution_context
        kind, field = _asked_for(context)
        began = time.perf_counter()
        with tracing.span(f"{kind} {field}"):
            yield
        failed = isinstance(context.result, CoreResult | ExecutionResult) and bool(context.result.errors)
        metrics.OPERATIONS.labels(kind, field, "error" if failed else "ok").inc()
        if kind != "subscription":
            metrics.OPERATION_SECONDS.labels(kind).observe(time.perf_counter() - began)


def _asked_for(context: ExecutionContext) -> tuple[str, str]:
    """The kind of operation and its first field, which the schema has: the document was validated."""
    name = context.operation_name
    for definition in context.graphql_document.definitions if context.graphql_document else ():
        if isinstance(definition, OperationDefinitionNode) and name in (
            None,
            definition.name.value if definition.name else None,
        ):
            first = definition.selection_set.selections[0]
            field = first.name.value if isinstance(first, FieldNode) else metrics.OTHER
            return definition.operation.value, field
    return metrics.OTHER, metrics.OTHER


@contextmanager
def importing() -> Iterator[list[Created]]:
    """Count, time and trace the making of a task; what was created is to be put into the list it gives."""
    began = time.perf_counter()
    created: list[Created] = []
    outcome = "failed"
    with metrics.IMPORTS_RUNNING.track_inprogress(), tracing.span("import recipients") as span:
        try:
            yield created
            outcome = "created"
        except (UserError, Refused):
            outcome = "refused"
            raise
        finally:
            metrics.IMPORTS.labels(outcome).inc()
            metrics.IMPORT_SECONDS.observe(time.perf_counter() - began)
            for task in created:
                metrics.IMPORTED.inc(task.recipients.imported)
                log.info("task_created", task_id=task.task_id, messages=task.recipients.imported)
                if span is not None:
                    span.set_attribute("groupsms.task_id", task.task_id)
                    span.set_attribute("groupsms.messages", task.recipients.imported)
