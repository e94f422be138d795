"""WebSockets that are closed when their session ends: see `api.sessions`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any, Final, Protocol, cast, runtime_checkable

from starlette.websockets import WebSocketDisconnect, WebSocketState
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import (
    BaseGraphQLTransportWSHandler,
    Operation,
)
from strawberry.subscriptions.protocols.graphql_transport_ws.types import ConnectionInitMessage, Message

from api.sessions import SHUTDOWN, Ending, Session
from domain.cancellation import end

LAST_ANSWERS_WITHIN: Final = 10.0
"""Seconds that mutations under way get to end, for a client that connects again would send them again."""


@runtime_checkable
class InSession(Protocol):
    """The context of a long connection that has a session."""

    @property
    def identified(self) -> bool:
        """Whether it is known whose; without that there is no session."""
        ...

    def open_session(self) -> AbstractContextManager[Session]:
        """The session, for as long as the connection lasts."""
        ...


class SessionSocketHandler(BaseGraphQLTransportWSHandler[Any, None]):
    """Closes its socket with the code of its session's ending; subscriptions are not completed before.

    To a client a completed subscription is over for good; one that is cut off goes on after it has connected
    again.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._session = ExitStack()
        self._farewell: asyncio.Task[None] | None = None

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        known = self.connection_init_received
        await super().handle_connection_init(message)
        if self.connection_acknowledged and not known and isinstance(self.context, InSession):
            session = self._session.enter_context(self.context.open_session())
            session.ended.add_done_callback(self._close_soon)

    async def handle_message(self, message: Message) -> None:
        if self._farewell is None or message.get("type") == "complete":
            await super().handle_message(message)

    async def shutdown(self) -> None:
        self._session.close()
        if self._farewell is not None:
            await end(self._farewell)
        await super().shutdown()

    def _close_soon(self, ended: asyncio.Future[Ending]) -> None:
        ending = ended.result()
        if ending is not SHUTDOWN:  # then the server closes all sockets itself
            self._farewell = asyncio.create_task(self._close(ending))

    async def _close(self, ending: Ending) -> None:
        operations = list(self.operations.values())
        # A query without the word is no mutation; the others end soon anyway.
        await self._drop(operation for operation in operations if "mutation" not in operation.query)
        last = [operation.task for operation in self.operations.values() if operation.task]
        if last:
            await asyncio.wait(last, timeout=LAST_ANSWERS_WITHIN)
        await self._drop(list(self.operations.values()))
        socket = cast("ASGIWebSocketAdapter", self.websocket).ws
        if socket.application_state is WebSocketState.CONNECTED:
            with suppress(WebSocketDisconnect):  # nobody is left to be told
                await self.websocket.close(code=ending.code, reason=ending.reason)

    async def _drop(self, operations: Iterable[Operation[Any, None]]) -> None:
        tasks = []
        for operation in operations:
            await self.cleanup_operation(operation.id)
            if operation.task is not None:
                tasks.append(operation.task)
        # Nothing may be sent after the closing frame.
        await end(*tasks)
