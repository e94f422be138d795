"""GraphQL over HTTP and WebSocket: Strawberry's endpoint, with our limits, our errors and our uploads."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, aclosing, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import strawberry
from cross_web import AsyncHTTPRequestAdapter, HTTPException, StarletteRequestAdapter
from graphql import GraphQLError, OperationDefinitionNode
from graphql import OperationType as OperationKind
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from strawberry.asgi import GraphQL
from strawberry.exceptions import MissingQueryError
from strawberry.extensions import SchemaExtension
from strawberry.file_uploads.utils import replace_placeholders_with_files
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData, process_result
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.schema.schema import StreamResult
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types import ExecutionResult
from strawberry.types.graphql import OperationType

from api import metrics
from api.answers import ledger_of
from api.audience import Encode, Frame, Subscribed, Told, payload_of
from api.limits.admission import Admission, AdmittedOperation, Gate
from api.socket_operations import TRY_AGAIN_LATER, SocketHandler
from api.socket_sessions import InSession
from api.sse import EventStream, asks_for_events
from api.top_level_errors import TopLevelError, TopLevelErrors, present, refusal_body
from api.uploads import MalformedUploadError, read_upload_form
from domain import db

PREFLIGHT_HEADER = "Apollo-Require-Preflight"
CONNECTION_INIT_TIMEOUT = timedelta(seconds=10)
SOCKET_PLACE = "groupsms.place"

ContextFactory = Callable[[HTTPConnection], Awaitable[object]]
"""Makes the context of a request, or of a socket with all its operations.

A socket's context gets the payload of connection_init as its attribute `connection_params`, if it has one of
that name. A `TopLevelError` raised for a request is its answer.
"""

ConnectHook = Callable[[Any], Awaitable[None]]
"""Called with a socket's context once it has its `connection_params`.

`strawberry.exceptions.ConnectionRejectionError` closes the socket with 4403, a `TopLevelError` with 1013.
"""


SCHEMA_EXTENSIONS: tuple[type[SchemaExtension], ...] = (TopLevelErrors, AdmittedOperation)
"""What every schema served here is made with, beside `api.limits.execution.BoundedExecutor`: coded errors,
and documents that were parsed, measured and validated before.
"""


Execute = Callable[[Request], Awaitable[Response]]
Respond = Callable[[Request, Execute], Awaitable[Response]]
"""Answers a POST request, with or without executing it."""


class Rates(Protocol):
    """How often and how much at once may be asked for; each raises `TopLevelError` for too much."""

    def socket(self, connection: HTTPConnection) -> AbstractContextManager[object]:
        """Count a socket while it is open; what it gives is found in the scope as `SOCKET_PLACE`."""

    def request(self, context: Any) -> None:
        """Count an operation over a socket."""

    def subscription(self, context: Any) -> AbstractContextManager[None]:
        """Count a subscription for as long as it lasts."""


Stream = Callable[[Any], Awaitable[StreamResult]]
"""Begins a subscription, for a context."""
Share = Callable[
    [Any, Subscribed, OperationDefinitionNode, Stream, Encode], AsyncGenerator[Told, None] | None
]
"""What there is to tell whoever has this context; None if they get a stream of their own."""


@dataclass(frozen=True, slots=True)
class UploadPolicy:
    """What may be uploaded, and where it lies meanwhile."""

    limit: int
    """Octets of one file."""
    directory: Path | None = None
    """None: the system's directory for temporary files."""


class _RequestAdapter(StarletteRequestAdapter):
    """Strawberry's view of a request, with the way back to ours."""

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.source = request

    @property
    def content_type(self) -> str:
        """The media type alone, in small letters."""
        return _media_type(self.source)


class GraphQLEndpoint(GraphQL[Any, None]):
    """The ASGI application behind /graphql: POST, graphql-transport-ws, and the page for browsers."""

    request_adapter_class = _RequestAdapter
    graphql_transport_ws_handler_class = SocketHandler

    def __init__(
        self,
        schema: strawberry.Schema,
        context: ContextFactory,
        *,
        uploads: UploadPolicy,
        on_connect: ConnectHook | None = None,
        respond: Respond | None = None,
        gate: Gate,
        rates: Rates | None = None,
        share: Share | None = None,
        page: Callable[[Request], Response] | None = None,
        allowed_origins: Sequence[str] = (),
    ) -> None:
        super().__init__(
            schema,
            graphql_ide=None,
            allow_queries_via_get=False,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=CONNECTION_INIT_TIMEOUT,
            multipart_uploads_enabled=True,
            allowed_origins=allowed_origins,
        )
        self._context = context
        self._on_connect = on_connect
        self._respond = respond or _execute
        self._gate = gate
        self._rates = rates
        self._share = share
        self._page = page
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] != "http":
            with suppress(WebSocketDisconnect):  # nobody is left to be told why it is closed
                await self._serve_socket(scope, receive, send)
            return
        request = Request(scope, receive)
        with ExitStack() as cleanup:
            scope["groupsms.cleanup"] = cleanup
            try:
                response = await self._answer(request)
            except ClientDisconnect:
                return  # nobody is left to be answered
            await response(scope, receive, send)

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._rates is None:
            await super().__call__(scope, receive, send)
            return
        with ExitStack() as stack:
            try:
                scope[SOCKET_PLACE] = stack.enter_context(self._rates.socket(HTTPConnection(scope)))
            except TopLevelError as refused:
                await WebSocket(scope, receive, send).close(TRY_AGAIN_LATER, refused.message)
                return
            await super().__call__(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method != "POST":
            return self._answer_other_method(request)
        if _media_type(request) not in ("application/json", "multipart/form-data"):
            # What a page of another site can send without asking first is neither of them.
            message = "Send an operation as application/json, or with files as multipart/form-data."
            return JSONResponse(refusal_body(message), 415)
        try:
            execute = self._stream if asks_for_events(request) else self.run
            return await self._respond(request, execute)
        except HTTPException as refused:
            return JSONResponse(refusal_body(refused.reason), refused.status_code)
        except GraphQLError as refused:
            return JSONResponse(_top_level(refused))
        except db.UNAVAILABLE as error:
            # Whoever asks could not be identified, or a file not be kept.
            return JSONResponse(_top_level(GraphQLError(str(error), original_error=error)), 503)

    def _answer_other_method(self, request: Request) -> Response:
        asks_for_page = request.method in ("GET", "HEAD") and "text/html" in request.headers.get("accept", "")
        if self._page and asks_for_page and "query" not in request.query_params:
            return self._page(request)
        allowed = "GET, HEAD, POST" if self._page else "POST"
        message = "Operations are sent by POST, as JSON or as a multipart request."
        return JSONResponse(refusal_body(message), 405, {"Allow": allowed})

    def admit(self, asked: Subscribed) -> Admission:
        """Let an operation through. Raises `GraphQLError` for one that can't be read or asks for too much."""
        return self._gate.admit(asked.query, asked.variables, asked.operation_name)

    def admit_over_socket(self, context: object, asked: Subscribed, stack: ExitStack) -> Admission:
        """Let an operation over a socket through, and have its admission carried while `stack` is open.

        Raises `GraphQLError` for what can't be read, asks for too much, or comes too often.
        """
        if self._rates is not None:
            self._rates.request(context)
        return self._admit_to_follow(context, asked, stack)

    def _admit_to_follow(self, context: object, asked: Subscribed, stack: ExitStack) -> Admission:
        admission = self.admit(asked)
        operation = admission.document.operation(asked.operation_name)
        subscribes = operation is not None and operation.operation is OperationKind.SUBSCRIPTION
        if subscribes:
            stack.enter_context(metrics.SUBSCRIPTIONS.track_inprogress())
        if self._rates is not None and subscribes:
            stack.enter_context(self._rates.subscription(context))
        stack.enter_context(admission.carried())
        return admission

    def events(
        self, context: object, subscribed: Subscribed, admission: Admission
    ) -> AsyncGenerator[Told, None] | None:
        """What there is to tell a subscriber; None if they get a stream of their own."""
        operation = admission.document.operation(subscribed.operation_name)
        if self._share is None or operation is None:
            return None
        stream = partial(self._begin, subscribed)
        return self._share(context, subscribed, operation, stream, self.encode_json_string)

    async def _stream(self, request: Request) -> Response:
        """The answer to an operation as server-sent events."""
        asked = await self.parse_http_body(self.request_adapter_class(request))
        assert isinstance(asked, GraphQLRequestData), "batches are not taken"
        subscribed = Subscribed(asked.query or "", asked.variables, asked.operation_name)
        context = await self._context(request)
        opened = context.open_session if isinstance(context, InSession) and context.identified else None
        return EventStream(lambda: self._payloads(context, subscribed), opened)

    async def _payloads(self, context: object, subscribed: Subscribed) -> AsyncGenerator[str, None]:
        """The results of an operation, as JSON; its faults, too, are a result."""
        with ExitStack() as stack:
            try:
                admission = self._admit_to_follow(context, subscribed, stack)
            except GraphQLError as refused:
                yield self.encode_json_string(_top_level(refused))
                return
            shared = self.events(context, subscribed, admission)
            if shared is None:
                async with aclosing(await self._begin(subscribed, context)) as results:
                    async for result in results:
                        assert isinstance(result, ExecutionResult), "@defer and @stream are not in the schema"
                        yield self.encode_json_string(payload_of(result))
                return
            async with aclosing(shared) as events:
                async for told in events:
                    yield (
                        told.payload if isinstance(told, Frame) else self.encode_json_string(payload_of(told))
                    )

    async def _begin(self, subscribed: Subscribed, context: object) -> StreamResult:
        return await self.schema.stream(
            subscribed.query,
            variable_values=subscribed.variables,
            context_value=context,
            operation_name=subscribed.operation_name,
        )

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> object:  # noqa: ARG002
        return await self._context(request)

    async def on_ws_connect(self, context: object) -> dict[str, object] | None:
        if self._on_connect is not None:
            await self._on_connect(context)
        return {}

    async def execute_single(
        self,
        request: Request,  # noqa: ARG002
        request_adapter: AsyncHTTPRequestAdapter,  # noqa: ARG002
        sub_response: Response,  # noqa: ARG002
        context: Any,
        root_value: None,
        request_data: GraphQLRequestData,
    ) -> ExecutionResult:
        try:
            with self._admitted(request_data):
                return await self.schema.execute(
                    request_data.query,
                    root_value=root_value,
                    variable_values=request_data.variables,
                    context_value=context,
                    operation_name=request_data.operation_name,
                    allowed_operation_types={OperationType.QUERY, OperationType.MUTATION},
                    operation_extensions=request_data.extensions,
                )
        except GraphQLError as refused:
            return ExecutionResult(data=None, errors=[refused])
        except (CannotGetOperationTypeError, InvalidOperationTypeError, MissingQueryError) as error:
            return ExecutionResult(data=None, errors=[GraphQLError(str(error), original_error=error)])

    def _admitted(self, asked: GraphQLRequestData) -> AbstractContextManager[None]:
        if not asked.query:
            raise MissingQueryError
        return self._gate.admit(asked.query, asked.variables, asked.operation_name).carried()

    async def process_result(self, request: Request, result: ExecutionResult) -> GraphQLHTTPResponse:
        if result.errors:
            if ledger := ledger_of(request):
                ledger.faulty = True
            result.errors = present(result.errors)
        return process_result(result)

    def create_response(
        self, response_data: GraphQLHTTPResponse | list[GraphQLHTTPResponse], sub_response: Response
    ) -> Response:
        response = super().create_response(response_data, sub_response)
        response.headers["Cache-Control"] = "no-store"
        return response

    def decode_json(self, data: str | bytes) -> object:
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise json.JSONDecodeError("not JSON", "", 0) from error

    def parse_json(self, data: str | bytes) -> Any:
        parsed = super().parse_json(data)
        if not isinstance(parsed, dict):
            raise HTTPException(400, "Expected one JSON object. Batches are not taken.")
        return parsed

    async def parse_multipart(self, request: AsyncHTTPRequestAdapter) -> dict[str, str]:
        if not request.headers.get(PREFLIGHT_HEADER):
            # A page of another site can send a form without asking first, but not with this header.
            raise HTTPException(400, f"A multipart request needs the header {PREFLIGHT_HEADER}: true.")
        source = cast("_RequestAdapter", request).source
        cleanup: ExitStack = source.scope["groupsms.cleanup"]
        try:
            form = await read_upload_form(
                source.headers["content-type"],
                cast("AsyncIterator[bytes]", source.stream()),
                limit=self._uploads.limit,
                directory=self._uploads.directory,
                cleanup=cleanup,
            )
        except MalformedUploadError as error:
            raise HTTPException(400, str(error)) from error
        for name in ("operations", "map"):
            if name not in form.fields:
                raise HTTPException(400, f"The multipart request has no part named {name}.")
        operations = self.parse_json(form.fields["operations"])
        places = self.parse_json(form.fields["map"])
        try:
            return replace_placeholders_with_files(operations, places, form.files)
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise HTTPException(400, "The part `map` doesn't fit `operations` and the files.") from error


async def _execute(request: Request, execute: Execute) -> Response:
    return await execute(request)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _top_level(error: GraphQLError) -> dict[str, object]:
    return {"data": None, "errors": [shown.formatted for shown in present([error])]}
