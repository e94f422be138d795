"""Operations over server-sent events: the "distinct connections mode" of the graphql-sse protocol.

One POST that accepts text/event-stream is one operation: `next` events with its results, then `complete`.
What is wrong with the operation is told in a `next` event as well. A stream that ends without `complete` was
interrupted, and clients ask again: so it is when the service restarts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, aclosing, nullcontext
from typing import Any

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.sessions import Ending, Session
from api.top_level_errors import TopLevelCode, refusal_body
from domain.cancellation import end

MEDIA_TYPE = "text/event-stream"
_PLAINER = {"application/json", "application/graphql-response+json"}
KEEP_ALIVE = 15.0
"""Seconds after which a comment is sent, so that proxies see life and we notice who has gone."""
LAST_WORDS = 5.0
"""Seconds to wait for a reader who takes nothing more when its stream is to end."""

OpenSession = Callable[[], AbstractContextManager[Session]]
"""Begins what ends a long connection: its token's expiry or revocation, age, shutdown."""

_HEADERS = {
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",  # nginx would hold events back
}
_COMPLETE = b"event: complete\ndata: {}\n\n"
_COMMENT = b":\n\n"


def asks_for_events(request: HTTPConnection) -> bool:
    """Whether an operation is to be answered as a stream of events: nothing plainer is accepted.

    Clients such as urql name text/event-stream behind JSON in every request that is no subscription.
    """
    accepted = {
        part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")
    }
    return MEDIA_TYPE in accepted and accepted.isdisjoint(_PLAINER)


class EventStream(Response):
    """An answer that goes on for as long as there are events.

    Events are taken only as fast as they are read: whoever reads slowly holds back nobody, for those between
    are left out where they come from.
    """

    def __init__(
        self, payloads: Callable[[], AsyncGenerator[str, None]], open_session: OpenSession | None = None
    ) -> None:
        """`payloads` begins the operation; each is the JSON of a result, on one line."""
        super().__init__(media_type=MEDIA_TYPE, headers=_HEADERS)
        del self.headers["content-length"]
        self._payloads = payloads
        self._open_session = open_session

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """The ASGI entry point."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        with self._open_session() if self._open_session else nullcontext() as session:
            telling = asyncio.create_task(self._tell(send))
            others = [asyncio.create_task(_keep_alive(send)), asyncio.create_task(_departure(receive))]
            awaited: list[asyncio.Future[Any]] = [telling, others[1], *([session.ended] if session else [])]
            try:
                await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                if telling.done():
                    telling.result()  # raises what went wrong: the stream is cut, so the client comes back
                    await send({"type": "http.response.body"})
                    return
            finally:
                await end(telling, *others)
            if session and session.ended.done():
                await _say_goodbye(send, session.ended.result())

    async def _tell(self, send: Send) -> None:
        async with aclosing(self._payloads()) as payloads:
            async for payload in payloads:
                await _send(send, f"event: next\ndata: {payload}\n\n".encode())
        await _send(send, _COMPLETE)


async def _send(send: Send, content: bytes) -> None:
    await send({"type": "http.response.body", "body": content, "more_body": True})


async def _keep_alive(send: Send) -> None:
    while True:
        await asyncio.sleep(KEEP_ALIVE)
        await _send(send, _COMMENT)


async def _departure(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _say_goodbye(send: Send, ending: Ending) -> None:
    """End a stream that could have gone on: for good if its token is refused, else to be asked for again."""
    try:
        async with asyncio.timeout(LAST_WORDS):
            if ending.refused:
                refusal = json.dumps(refusal_body(ending.reason, TopLevelCode.UNAUTHENTICATED))
                await _send(send, f"event: next\ndata: {refusal}\n\n".encode() + _COMPLETE)
            await send({"type": "http.response.body"})
    except TimeoutError:
        return  # it reads nothing: the server closes the connection
