"""Where gateways' platforms report: status reports and replies by HTTP, stored before they are answered.

The address is the proof: it carries a signature (`domain.callback_urls`). Whoever knows the platform's own
addresses can let a proxy admit only those to /callbacks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain import db, huawei_reports, metrics, receipts, replies, tasks
from domain.callback_urls import callback_path, is_genuine
from domain.cancellation import end
from domain.huawei_reports import NotAReportError
from domain.ports import Doorbell, Inbound, Receipt, Reply

log = structlog.get_logger()

LONGEST_BODY = 64 * 1024
"""Octets: several times what a batch of 50 reports has."""
PAUSE = 0.1
"""Seconds between two batches of reports that are applied: one announcement of a task serves many."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """What one request brought, until it is committed."""

    gateway: str
    inbound: Sequence[Inbound]
    stored: asyncio.Future[None]


class Callbacks:
    """Takes what platforms report in this process. Requests that come at the same moment share a commit."""

    def __init__(self, keys: Collection[bytes], opt_out_words: Collection[str]) -> None:
        """`keys` are those that addresses may be signed with."""
        self._keys = keys
        self._opt_out_words = frozenset(opt_out_words)
        self._shard = uuid4().int % 1024
        self._has_refused = False
        self._waiting: list[_Waiting] = []
        self._arrived = asyncio.Event()
        self._unapplied: list[int] = []
        self._stored = asyncio.Event()

    def routes(self) -> list[Route]:
        """The routes to serve."""
        return [Route(callback_path("{gateway}"), self._serve, methods=["POST"])]

    @asynccontextmanager
    async def working(self, doorbell: Doorbell) -> AsyncIterator[None]:
        """Store and apply what comes in, while the database is open."""
        loops = [
            asyncio.create_task(self._store_for_ever(), name="callbacks stored"),
            asyncio.create_task(self._apply_for_ever(doorbell), name="callbacks applied"),
        ]
        try:
            yield
        finally:
            await end(*loops)

    async def _serve(self, request: Request) -> Response:
        gateway = request.path_params["gateway"]
        if not is_genuine(self._keys, gateway, request.query_params.get("signature", "")):
            self._refuse(gateway)
            return Response(status_code=404)
        body = await _body(request)
        if body is None:
            return Response(status_code=413)
        is_json = request.headers.get("content-type", "").lower().startswith("application/json")
        read = huawei_reports.read_json if is_json else huawei_reports.read_form
        try:
            inbound = read(body, datetime.now(UTC))
        except NotAReportError as error:
            log.warning("callback_not_understood", gateway=gateway, reason=str(error))
            return Response(status_code=400)
        try:
            await self._take(gateway, inbound)
        except db.UNAVAILABLE as error:
            # The platform is to report it again.
            log.warning("callback_not_stored", gateway=gateway, error=str(error) or type(error).__name__)
            return Response(status_code=503)
        return Response(status_code=200)

    def _refuse(self, gateway: str) -> None:
        """Say so once: anybody can post here, but mostly it is a worker with another key."""
        if not self._has_refused:
            self._has_refused = True
            advice = "give the API and the workers the same GROUPSMS_SECRET_KEY"
            log.warning("callback_to_another_address", gateway=gateway[:64], advice=advice)

    async def _take(self, gateway: str, inbound: Sequence[Inbound]) -> None:
        waiting = _Waiting(gateway, inbound, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._arrived.set()
        await waiting.stored

    async def _store_for_ever(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            batch, self._waiting = self._waiting, []
            by_gateway: dict[str, list[_Waiting]] = {}
            for waiting in batch:
                by_gateway.setdefault(waiting.gateway, []).append(waiting)
            for gateway, together in by_gateway.items():
                await self._store(gateway, together)

    async def _store(self, gateway: str, together: Sequence[_Waiting]) -> None:
        """Store what these requests brought; what cannot be stored must not take others with it."""
        inbound = [each for waiting in together for each in waiting.inbound]
        try:
            with metrics.RECEIPT_STORE_SECONDS.labels(gateway).time():
                await self._commit(gateway, inbound)
        except Exception as error:  # noqa: BLE001 - it is raised again in the requests
            if len(together) > 1 and not isinstance(error, db.UNAVAILABLE):
                for waiting in together:
                    await self._store(gateway, [waiting])
                return
            for waiting in together:
                if not waiting.stored.done():
                    waiting.stored.set_exception(error)
            return
        metrics.came_in(gateway, inbound)
        for waiting in together:
            if not waiting.stored.done():
                waiting.stored.set_result(None)

    async def _commit(self, gateway: str, inbound: Sequence[Inbound]) -> None:
        # Receipts first: if the replies fail, all come again, and a receipt that comes twice does no harm.
        if reported := [each for each in inbound if isinstance(each, Receipt)]:
            self._unapplied += await receipts.store(gateway, reported)
            self._stored.set()
        if replied := [each for each in inbound if isinstance(each, Reply)]:
            await replies.store(gateway, replied, self._opt_out_words)

    async def _apply_for_ever(self, doorbell: Doorbell) -> None:
        """Apply what was stored. What a failure leaves behind, the workers' sweep applies."""
        while True:
            await self._stored.wait()
            self._stored.clear()
            stored, self._unapplied = self._unapplied, []
            try:
                for task_id in await receipts.apply_stored(stored, self._shard):
                    await tasks.advance_task(task_id, doorbell)
            except db.UNAVAILABLE as error:
                log.warning("receipts_left_for_sweep", count=len(stored), error=str(error))
            except Exception:
                log.exception("receipts_left_for_sweep", count=len(stored))
            await asyncio.sleep(PAUSE)


async def _body(request: Request) -> bytes | None:
    """The body, or None if it is longer than any report."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST_BODY:
            return None
    return bytes(body)
