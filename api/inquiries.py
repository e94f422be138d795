"""Finding out who is asking, for all who ask at about the same time with one statement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from domain import access
from domain.access import Inquiry, Standing, Viewer

AT_ONCE = 2
"""Statements under way at a time: the second goes on if the connection of the first hangs."""
MOST = 500
"""Inquiries in one statement."""


class Inquiries:
    """Asks the database about tokens.

    Whoever comes while statements are under way waits for the next one, together with all others who do: it
    begins after they came, so nobody is told of an earlier state than if they had asked alone. A revoked
    token is refused from the commit of its revocation on.
    """

    def __init__(
        self, note: Callable[[Viewer], None] = lambda _: None, *, within: float | None = None
    ) -> None:
        """`note` is told of each who was found, each time. Nobody waits longer than `within` seconds."""
        self._note = note
        self._within = within
        self._waiting: dict[Inquiry, asyncio.Future[Standing | None]] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    async def standing(self, inquiry: Inquiry) -> Standing | None:
        """The answer as of now, or later; None for a token that is unknown, expired or revoked.

        Raises what the database raises, and TimeoutError.
        """
        answer = self._waiting.get(inquiry)
        if answer is None:
            answer = self._waiting[inquiry] = asyncio.get_running_loop().create_future()
            self._ask_on()
        # Others may wait for it too, whatever becomes of this one.
        async with asyncio.timeout(self._within):
            found = await asyncio.shield(answer)
        if found is not None:
            self._note(found.viewer)
        return found

    def _ask_on(self) -> None:
        while self._waiting and len(self._under_way) < AT_ONCE:
            chosen = list(self._waiting)[:MOST]
            answers = [self._waiting.pop(inquiry) for inquiry in chosen]
            task = asyncio.create_task(_ask(chosen, answers))
            self._under_way.add(task)
            task.add_done_callback(self._asked)

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._ask_on()


async def _ask(inquiries: Sequence[Inquiry], answers: Sequence[asyncio.Future[Standing | None]]) -> None:
    try:
        found = await access.standings(inquiries)
    except BaseException as error:
        for answer in answers:
            answer.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
            answer.exception()  # noted: perhaps nobody waits for it any more
        if not isinstance(error, Exception):
            raise
    else:
        for inquiry, answer in zip(inquiries, answers, strict=True):
            answer.set_result(found.get(inquiry))
