"""Answers given again while they are true: a hundred clients polling one list cost one execution.

Each request first asks the database, in the statement that also finds out who is asking, whether anything has
changed that a kept answer shows: the newest place in the account's change feed, which rises with every change
of a task, and the counters of the tasks shown, which rise before the feed does. The clock is the database's.
So no answer is given that a fresh execution would not give at that moment, whichever process made the change;
but for `RATES_STAND`.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from api import auth, metrics
from api.identity_provider import NotVouchedError
from api.inquiries import Inquiries
from api.reuse import Nature, Natures
from api.sse import asks_for_events
from domain.access import Standing
from domain.states import Role
from domain.task_reads import TaskView

ROOM = 32 * 2**20
"""Octets of all kept answers of a process, about."""
LARGEST = 2**20
"""Octets of an answer that is kept, or of a request for one."""
ACCOUNTED = 1024
"""Octets that keeping an answer takes, beside its own and the request's."""
RATES_STAND = timedelta(seconds=0.5)
"""For how long the rate of a running task may be told again: it is a mean, and hardly moves in that time."""
CALLERS = 10_000
"""Tokens of which a process remembers what they opened last."""

_LEDGER = "groupsms.ledger"

Key = tuple[int, Role, bytes, bytes]
"""Account, role, what is accepted, and the body of the request."""


@dataclass(slots=True)
class Ledger:
    """What an execution has shown."""

    standing: Standing | None = None
    """Who asked, and how far things were before it began."""
    counted: dict[int, int] = field(default_factory=dict)
    """The tasks shown, with the revision of their counters."""
    deadline: datetime | None = None
    """When the first of them can't be canceled any more."""
    running: bool = False
    """Whether one of them is being handed over."""
    faulty: bool = False
    """Whether there were errors, or a task was shown as of two moments."""

    def show(self, view: TaskView) -> None:
        """Note that a task is shown."""
        if self.counted.setdefault(view.id, view.counted) != view.counted:
            self.faulty = True
        if view.can_cancel and view.cancel_deadline is not None:
            self.deadline = min(self.deadline or view.cancel_deadline, view.cancel_deadline)
        self.running = self.running or view.rate_moves


def ledger_of(request: HTTPConnection) -> Ledger | None:
    """What the execution of a request notes; None if nobody wants to know."""
    ledger: Ledger | None = request.scope.get(_LEDGER)
    return ledger


@dataclass(frozen=True, slots=True)
class _Kept:
    body: bytes
    headers: dict[str, str]
    place: int
    counted: int
    task_ids: str
    until: datetime | None

    def is_true(self, standing: Standing) -> bool:
        """Whether a fresh execution would give the same."""
        return (
            self.place == standing.place
            and self.counted == standing.counted
            and (self.until is None or standing.read_at <= self.until)
        )


class Answers:
    """The kept answers of a process."""

    def __init__(
        self, inquiries: Inquiries, natures: Natures, identities: auth.Identities | None = None
    ) -> None:
        self._inquiries = inquiries
        self._identities = identities or auth.Identities()
        self._natures = natures
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._octets = 0
        self._callers: OrderedDict[bytes, tuple[int, Role]] = OrderedDict()
        self._under_way: dict[Key, asyncio.Future[None]] = {}

    async def respond(self, request: Request, execute: Callable[[Request], Awaitable[Response]]) -> Response:
        """The answer to a request: a kept one, or what `execute` makes of it.

        `execute` finds a `Ledger` in the request's scope. Raises what it raises, and what the database does.
        """
        try:
            asked = await self._identities.inquiry_of(request.headers.get(auth.HEADER))
        except NotVouchedError:
            asked = None  # whoever executes it finds out, too, and says why
        if asked is None:
            return await execute(request)
        token_hash = asked.token_hash
        body = await request.body() if _may_be_kept(request) else None
        accepted = request.headers.get("accept", "").encode()
        waited = False
        while True:
            kept = None
            if body is not None and (caller := self._callers.get(token_hash)):
                kept = self._kept.get((*caller, accepted, body))
            standing = await self._inquiries.standing(
                replace(asked, task_ids=kept.task_ids) if kept else asked
            )
            ledger = request.scope[_LEDGER] = Ledger(standing)
            if standing is None or body is None:
                return await execute(request)
            caller = (standing.viewer.account_id, standing.viewer.role)
            key = (*caller, accepted, body)
            if kept is not None and kept is self._kept.get(key) and kept.is_true(standing):
                self._kept.move_to_end(key)
                metrics.ANSWERS_REUSED.inc()
                return Response(kept.body, headers=kept.headers)
            self._remember(token_hash, caller)
            nature = self._nature(body)
            if nature is None:
                return await execute(request)
            others = self._under_way.get(key)
            if waited or (others is None and self._kept.get(key) is kept):
                return await self._execute(request, execute, key, nature, ledger)
            # Others execute the same, or just have. What they were shown may have changed since: we look.
            if others is not None:
                await asyncio.wait([others])
            waited = True

    async def _execute(
        self,
        request: Request,
        execute: Callable[[Request], Awaitable[Response]],
        key: Key,
        nature: Nature,
        ledger: Ledger,
    ) -> Response:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way.setdefault(key, done)
        try:
            response = await execute(request)
            if response.status_code == 200 and not ledger.faulty:
                self._keep(key, nature, ledger, response)
            return response
        finally:
            done.set_result(None)
            if self._under_way.get(key) is done:
                del self._under_way[key]

    def _nature(self, body: bytes) -> Nature | None:
        try:
            operation = json.loads(body)
        except (ValueError, RecursionError):
            return None
        query: Any = operation.get("query") if isinstance(operation, dict) else None
        return self._natures.of(query) if isinstance(query, str) else None

    def _remember(self, token_hash: bytes, caller: tuple[int, Role]) -> None:
        self._callers[token_hash] = caller
        self._callers.move_to_end(token_hash)
        if len(self._callers) > CALLERS:
            self._callers.popitem(last=False)

    def _keep(self, key: Key, nature: Nature, ledger: Ledger, response: Response) -> None:
        content = bytes(response.body)
        if len(content) > LARGEST:
            return
        assert ledger.standing is not None
        self._drop(key)
        self._kept[key] = kept = _Kept(
            body=content,
            headers={name: value for name, value in response.headers.items() if name != "content-length"},
            place=ledger.standing.place,
            counted=sum(ledger.counted.values()),
            task_ids=f"{{{','.join(map(str, sorted(ledger.counted)))}}}",
            until=_until(nature, ledger, ledger.standing.read_at),
        )
        self._octets += _octets(key, kept)
        while self._octets > ROOM:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._octets -= _octets(key, kept)


def _until(nature: Nature, ledger: Ledger, now: datetime) -> datetime | None:
    moments = []
    if nature.shows_deadline and ledger.deadline is not None:
        moments.append(ledger.deadline)
    if nature.shows_rates and ledger.running:
        moments.append(now + RATES_STAND)
    return min(moments, default=None)


def _octets(key: Key, kept: _Kept) -> int:
    return len(key[2]) + len(key[3]) + len(kept.body) + len(kept.task_ids) + ACCOUNTED


def _may_be_kept(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    length = request.headers.get("content-length", "")
    return (
        kind == "application/json"
        and length.isdecimal()
        and int(length) <= LARGEST
        and not request.scope["query_string"]
        and not asks_for_events(request)
    )
