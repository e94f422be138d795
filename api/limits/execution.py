"""Executing an operation for as long as it may take, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from graphql import ExecutionResult
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from api.limits.admission import Admission, current_admission
from api.top_level_errors import TopLevelCode, TopLevelError

STOPPED_WITHIN = 2.0
"""Seconds that what took too long gets to stop before it is answered without."""

K = TypeVar("K")
V = TypeVar("V")


class BoundedExecutor(StrawberryGraphQLCoreExecutionContext):
    """What every schema served here is executed with.

    Whatever takes too long is cancelled, its database statements with it, and answered TIMEOUT. Of a
    subscription each event is bounded, and after one that took too long the next ones come all the same.
    """

    @classmethod
    def build(cls, *arguments: Any, **options: Any) -> Any:
        """An executor, or the errors that there are before it could begin."""
        admission = current_admission()
        if admission is not None:
            options["hide_suggestions"] = admission.hidden
        return super().build(*arguments, **options)

    def execute_operation(self, serially: bool | None = None) -> Any:
        """The result, or a promise of it."""
        result = super().execute_operation(serially)
        admission = current_admission()
        if admission is None or not self.is_awaitable(result):
            return result
        return _in_time(result, admission)


def in_time(load: Callable[[list[K]], Awaitable[list[V]]]) -> Callable[[list[K]], Awaitable[list[V]]]:
    """`load`, given up after as long as an operation may take that it reads for.

    A DataLoader reads in a task of its own, which would otherwise outlive the operation.
    """

    async def load_in_time(keys: list[K]) -> list[V]:
        admission = current_admission()
        async with asyncio.timeout(admission.seconds if admission else None):
            return await load(keys)

    return load_in_time


async def _in_time(result: Awaitable[Any], admission: Admission) -> Any:
    executing = asyncio.ensure_future(result)
    try:
        await asyncio.wait({executing}, timeout=admission.seconds)
        if executing.done():
            return executing.result()
    finally:
        executing.cancel()
    # A database that says nothing at all does not say either that it has stopped: nobody waits for that.
    await asyncio.wait({executing}, timeout=STOPPED_WITHIN)
    return ExecutionResult(None, [_took_too_long(admission.seconds)])


def _took_too_long(seconds: float) -> TopLevelError:
    return TopLevelError(
        f"This took longer than {seconds:g} seconds and was stopped. Ask for less at a time; repeat a "
        "mutation with its idempotency key, or look first whether it took effect.",
        TopLevelCode.TIMEOUT,
    )
