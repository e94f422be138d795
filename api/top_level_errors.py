"""Top-level errors: what a client can't handle as data, each with `extensions.code`.

What a client can act on is returned in the `errors` of a payload. Here is the rest: a request that is wrong
as GraphQL, that may not be made, or not so often, or is too large, takes too long, or cannot be served by the
database at the moment; and our own failures, which show a request id and nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

import structlog
from graphql import GraphQLError
from strawberry.exceptions import MissingQueryError
from strawberry.extensions import SchemaExtension
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import StreamExecutionResult
from strawberry.types.execution import ExecutionResult

from api import metrics
from api.request_log import current_request_id, traceback_of
from domain import db

log = structlog.get_logger()


class TopLevelCode(StrEnum):
    """What `extensions.code` of a top-level error says."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    BAD_USER_INPUT = "BAD_USER_INPUT"
    RATE_LIMITED = "RATE_LIMITED"
    TOO_COMPLEX = "TOO_COMPLEX"
    TIMEOUT = "TIMEOUT"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


for _code in TopLevelCode:
    metrics.ERRORS.labels(_code.value)


class TopLevelError(GraphQLError):
    """An error meant for the client: its message, its code and whatever else it has are shown as they are."""

    def __init__(self, message: str, code: TopLevelCode, **extensions: object) -> None:
        """`extensions` stand beside the code, under names a JavaScript client expects."""
        super().__init__(message, extensions={"code": code.value, **extensions})


def refusal_body(message: str, code: TopLevelCode = TopLevelCode.BAD_USER_INPUT) -> dict[str, object]:
    """The JSON body of an answer to a request that never became an operation."""
    return {"data": None, "errors": [{"message": message, "extensions": {"code": code.value}}]}


def present(errors: Iterable[GraphQLError]) -> list[GraphQLError]:
    """The errors as the client may see them, each with a code; our own failures are logged here.

    Errors that were presented before, or were raised with a code, are left as they are.
    """
    presented = [_present(error) for error in errors]
    for error in presented:
        metrics.ERRORS.labels((error.extensions or {}).get("code", metrics.OTHER)).inc()
    return presented


def _present(error: GraphQLError) -> GraphQLError:
    if error.extensions and "code" in error.extensions:
        return error
    cause = _cause(error)
    if isinstance(cause, CannotGetOperationTypeError):
        return _with_code(error, cause.as_http_error_reason(), TopLevelCode.BAD_USER_INPUT)
    if isinstance(cause, MissingQueryError):
        return _with_code(error, "The request has no query.", TopLevelCode.BAD_USER_INPUT)
    if isinstance(cause, InvalidOperationTypeError):
        message = (
            "Subscriptions go over a WebSocket (graphql-transport-ws), or as server-sent events: "
            "with the header Accept: text/event-stream."
        )
        return _with_code(error, message, TopLevelCode.BAD_USER_INPUT)
    if isinstance(cause, RecursionError) and error.path is None:
        return _with_code(error, "The operation is nested too deeply.", TopLevelCode.BAD_USER_INPUT)
    if _points_into_document(error):
        return _with_code(error, error.message, TopLevelCode.BAD_USER_INPUT)
    return _failed(error, cause)


def _cause(error: GraphQLError) -> Exception:
    """The exception behind it all: the innermost one."""
    cause: Exception = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def _points_into_document(error: GraphQLError) -> bool:
    """Whether graphql-core itself found fault with the operation or its variables.

    Such an error names a place in the document before it gets a path in the answer; an exception out of a
    resolver, or a value that can't be serialised, gets its place only together with a path.
    """
    current: Exception | None = error
    while isinstance(current, GraphQLError):
        if current.path is None and (current.nodes or current.positions):
            return True
        current = current.original_error
    return False


def _with_code(error: GraphQLError, message: str, code: TopLevelCode, **extensions: str) -> GraphQLError:
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions={"code": code.value, **extensions},
    )


def failure(error: Exception) -> tuple[str, TopLevelCode]:
    """What a client is told of a failure that is not its own."""
    if isinstance(error, db.UNAVAILABLE):
        return _UNAVAILABLE, TopLevelCode.UNAVAILABLE
    return "Internal error.", TopLevelCode.INTERNAL


# Whether a commit took effect is not known when the connection is lost during it.
_UNAVAILABLE = (
    "The service cannot do this at the moment: its database cannot be reached, or a disk takes nothing more. "
    "Try again in a while, with the same idempotency key if you gave one."
)


def _failed(error: GraphQLError, cause: Exception) -> GraphQLError:
    request_id = current_request_id()
    path = ".".join(str(step) for step in error.path or ())
    log.error("operation failed", request_id=request_id, path=path, traceback=traceback_of(cause))
    message, code = failure(cause)
    return _with_code(error, message, code, requestId=request_id)


class TopLevelErrors(SchemaExtension):
    """Presents the errors of what goes over a socket; answers over HTTP are presented by the endpoint."""

    def on_stream_result(self, result: StreamExecutionResult) -> Iterator[None]:
        """Called before each result of a subscription, and before the one of a query or mutation."""
        if isinstance(result, ExecutionResult) and result.errors:
            result.errors = present(result.errors)
        yield
