"""One execution for all who follow the same thing: its text is shared, and nobody waits for anybody.

Those who subscribed to a task with the same operation and the same variables, of one account and role, are an
audience. One stream runs for all of them. Each has room for one frame, the newest: whoever reads slowly skips
those between.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Hashable
from contextlib import aclosing, suppress
from dataclasses import dataclass

from graphql import FieldNode, OperationDefinitionNode, OperationType
from strawberry.schema.schema import StreamResult
from strawberry.types.execution import ExecutionResult, PreExecutionError


@dataclass(frozen=True, slots=True)
class Frame:
    """What is told of one event."""

    payload: str
    """The payload of a `next`, over a WebSocket or as a server-sent event: JSON, on one line."""


Told = Frame | PreExecutionError
"""An event, or why there won't be any."""


class _Member:
    """One who follows."""

    __slots__ = ("_wake", "failure", "has_ended", "newest", "revision", "told")

    def __init__(self) -> None:
        self.newest: Told | None = None
        self.has_ended = False
        self.failure: Exception | None = None
        self.told = False
        """Whether there ever was something to tell."""
        self.revision = 0
        """The newest that was told."""
        self._wake: asyncio.Future[None] | None = None

    def offer(self, told: Told) -> None:
        """Put it in the place of whatever has not been read yet."""
        self.newest = told
        self.told = True
        self._rouse()

    def end(self, failure: Exception | None) -> None:
        """There is nothing more to come."""
        self.has_ended = True
        self.failure = failure
        self._rouse()

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def next(self) -> Told | None:
        """The newest, as soon as there is one that was not read; None at the end."""
        while self.newest is None and not self.has_ended:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        told, self.newest = self.newest, None
        if told is None and self.failure is not None:
            raise self.failure
        return told


class Audience:
    """Who follows one stream; the stream's source asks it whom to tell."""

    def __init__(self) -> None:
        self._members: set[_Member] = set()
        self._newcomers: set[_Member] = set()
        self._admitted: set[_Member] = set()
        self._addressed: set[_Member] | None = None
        self._revision = 0
        self._came = asyncio.Event()
        self.on_arrival: Callable[[], None] = lambda: None
        """Called when somebody joins."""

    def admit(self) -> bool:
        """Let in those who wait; whether there are any. What is read from now on is new enough for them."""
        self._came.clear()
        self._members |= self._newcomers
        self._admitted, self._newcomers = self._newcomers, set()
        return bool(self._admitted)

    def address(self, revision: int, *, everybody: bool) -> None:
        """Let what is yielded next be for all who don't know this revision, or of them for the newcomers."""
        self._revision = revision
        self._addressed = self._members if everybody else self._admitted

    async def arrival(self, timeout: float) -> None:
        """Return when somebody joins, or after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._came.wait()

    def join(self, member: _Member) -> None:
        """Have a member told of the present state, then of every change."""
        self._newcomers.add(member)
        self._came.set()
        self.on_arrival()

    def leave(self, member: _Member) -> bool:
        """Forget a member; whether nobody is left."""
        self._members.discard(member)
        self._newcomers.discard(member)
        return not (self._members or self._newcomers)

    async def perform(self, results: StreamResult, encode: Callable[[object], str]) -> None:
        """Tell of each result those it is for, until there are no more."""
        async for result in results:
            told: Told
            if isinstance(result, PreExecutionError):
                told = result
            else:
                assert isinstance(result, ExecutionResult), "@defer and @stream are not in the schema"
                told = Frame(encode(payload_of(result)))
            addressed, self._addressed = self._addressed, None
            if addressed is None:  # it is no event: something went wrong
                for member in self._members | self._newcomers:
                    member.offer(told)
                continue
            for member in addressed:
                if member.revision < self._revision:
                    member.revision = self._revision
                    member.offer(told)

    def end(self, failure: Exception | None) -> None:
        """Tell everybody that this is the end."""
        for member in (*self._members, *self._newcomers):
            member.end(failure)


def payload_of(result: ExecutionResult) -> dict[str, object]:
    """A result as GraphQL writes it."""
    payload: dict[str, object] = {"data": result.data}
    if result.errors:
        payload["errors"] = [error.formatted for error in result.errors]
    if result.extensions:
        payload["extensions"] = result.extensions
    return payload


@dataclass(frozen=True, slots=True)
class Subscribed:
    """What was subscribed to."""

    query: str
    variables: dict[str, object] | None
    operation_name: str | None


Start = Callable[[Audience], Awaitable[StreamResult]]
"""Begins the stream of an audience."""
Encode = Callable[[object], str]
"""Writes JSON."""


class Audiences:
    """The audiences of a process."""

    def __init__(self, fields: Collection[str]) -> None:
        """`fields` are those of Subscription whose source asks its audience whom to tell."""
        self._fields = fields
        self._running: dict[Hashable, tuple[Audience, asyncio.Task[None]]] = {}

    def follow(
        self,
        whose: Hashable,
        subscribed: Subscribed,
        operation: OperationDefinitionNode,
        start: Start,
        encode: Encode,
    ) -> AsyncGenerator[Told, None] | None:
        """What there is to tell, newest first in the place of older; None if this is not for an audience.

        `whose` are those among whom it may be shared; `operation` is what was subscribed to, parsed. Raises
        what the stream does.
        """
        fields = _root_fields(operation)
        if not fields or not all(field in self._fields for field in fields):
            return None
        variables = json.dumps(subscribed.variables, sort_keys=True)
        key = (whose, subscribed.query, subscribed.operation_name, variables)
        return self._follow(key, start, encode)

    async def _follow(self, key: Hashable, start: Start, encode: Encode) -> AsyncGenerator[Told, None]:
        while True:
            first = key not in self._running
            if first:
                audience = Audience()
                self._running[key] = audience, asyncio.create_task(self._run(key, audience, start, encode))
            audience, running = self._running[key]
            member = _Member()
            audience.join(member)
            try:
                while (told := await member.next()) is not None:
                    yield told
            finally:
                if audience.leave(member):
                    self._forget(key, audience)
                    running.cancel()
            if member.told or first:
                return
            # Came too late for this audience, which was at its end: what there is now, another one is told.

    async def _run(self, key: Hashable, audience: Audience, start: Start, encode: Encode) -> None:
        failure: Exception | None = None
        try:
            async with aclosing(await start(audience)) as results:
                await audience.perform(results, encode)
        except Exception as error:  # noqa: BLE001 - each member raises it
            failure = error
        finally:
            self._forget(key, audience)
            audience.end(failure)

    def _forget(self, key: Hashable, audience: Audience) -> None:
        if key in self._running and self._running[key][0] is audience:
            del self._running[key]


def _root_fields(operation: OperationDefinitionNode) -> list[str]:
    """The fields a subscription begins with; nothing for what is none, "" for what is not plain to see."""
    if operation.operation is not OperationType.SUBSCRIPTION:
        return []
    return [
        selection.name.value if isinstance(selection, FieldNode) else ""
        for selection in operation.selection_set.selections
    ]
