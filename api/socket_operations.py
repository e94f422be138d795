"""Operations over a WebSocket, as graphql-transport-ws has them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing, suppress
from typing import Any, Protocol, cast

from graphql import GraphQLError
from starlette.websockets import WebSocketDisconnect
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import (
    Operation,
    _OperationStreamClosed,
)
from strawberry.subscriptions.protocols.graphql_transport_ws.types import ConnectionInitMessage, Message
from strawberry.types.execution import PreExecutionError

from api.audience import Subscribed, Told
from api.limits.admission import Admission
from api.socket_sessions import SessionSocketHandler
from api.top_level_errors import TopLevelError, present

TRY_AGAIN_LATER = 1013
"""What a socket beyond the limits is closed with: graphql-ws connects again after it, each time later."""


class Admitting(Protocol):
    """The endpoint, as far as sockets need it."""

    def admit_over_socket(self, context: object, asked: Subscribed, stack: ExitStack) -> Admission:
        """Let an operation through. Raises `GraphQLError`."""

    def events(
        self, context: object, subscribed: Subscribed, admission: Admission
    ) -> AsyncGenerator[Told, None] | None:
        """What there is to tell a subscriber; None if they get a stream of their own."""


class SocketHandler(SessionSocketHandler):
    """Closes the socket with 4400, as graphql-transport-ws defines, for every message of the wrong shape."""

    async def handle_message(self, message: Message) -> None:
        if not _is_well_formed(message):
            await self.handle_invalid_message("Failed to parse message")
            return
        await super().handle_message(message)

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        try:
            await super().handle_connection_init(message)
        except TopLevelError as refused:
            await self.websocket.close(code=TRY_AGAIN_LATER, reason=refused.message)

    async def run_operation(self, operation: Operation[Any, None]) -> None:
        endpoint = cast("Admitting", self.view)
        subscribed = Subscribed(operation.query, operation.variables, operation.operation_name)
        with ExitStack() as stack:
            try:
                admission = endpoint.admit_over_socket(self.context, subscribed, stack)
            except GraphQLError as refused:
                await operation.send_initial_errors(present([refused]))
                return
            await self._run_admitted(operation, endpoint.events(self.context, subscribed, admission))

    async def _run_admitted(
        self, operation: Operation[Any, None], events: AsyncGenerator[Told, None] | None
    ) -> None:
        if events is None:
            await super().run_operation(operation)
            return
        try:
            async with aclosing(events):
                await self._tell(operation, events)
        except (WebSocketDisconnect, WebSocketDisconnected):
            return  # nobody is left to be told
        except Exception as error:
            await self.handle_task_exception(error)
            await operation.send_operation_message({"id": operation.id, "type": "complete"})
            raise

    async def _tell(self, operation: Operation[Any, None], events: AsyncGenerator[Told, None]) -> None:
        socket = cast("ASGIWebSocketAdapter", self.websocket).ws
        head = f'{{"id":{json.dumps(operation.id)},"type":"next","payload":'
        async for told in events:
            if isinstance(told, PreExecutionError):
                with suppress(_OperationStreamClosed):
                    await self._handle_pre_execution_error(operation, told)
                return
            await socket.send_text(f"{head}{told.payload}}}")
        await operation.send_operation_message({"id": operation.id, "type": "complete"})


def _is_well_formed(message: object) -> bool:
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return False
    if message["type"] not in ("subscribe", "complete"):
        return True
    if not isinstance(message.get("id"), str):
        return False
    if message["type"] == "complete":
        return True
    payload = message.get("payload")
    return (
        isinstance(payload, dict)
        and isinstance(payload.get("query"), str)
        and isinstance(payload.get("variables"), dict | None)
        and isinstance(payload.get("operationName"), str | None)
    )
