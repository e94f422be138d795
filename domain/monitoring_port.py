"""A port for whoever watches this process: /metrics, /healthz and /readyz.

It is none of the API's, so that metrics are never on the internet by accident. Off unless
GROUPSMS_METRICS_PORT is set.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import uvicorn
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from domain import queue_gauges
from domain.cancellation import end
from domain.metrics import REGISTRY, watch_event_loop
from domain.readiness import Checks
from domain.settings import PREFIX, Settings
from domain.startup import StartupError

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

_BACKLOG = 64
_MOST_AT_ONCE = 32
"""Requests; more are answered 503."""


class _Server(uvicorn.Server):
    """Leaves the signals to the process: this ends when that does."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def listen(settings: Settings) -> socket.socket | nullcontext[None]:
    """A socket bound to the port, to be closed by the caller; None where it is off. Raises `StartupError`."""
    if settings.metrics_port is None:
        return nullcontext()
    host, port = settings.metrics_host, settings.metrics_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        raise StartupError(f"cannot listen on {host} port {port} ({PREFIX}METRICS_PORT): {reason}") from error


@asynccontextmanager
async def monitored(bound: socket.socket | None, checks: Checks) -> AsyncIterator[None]:
    """Answer on the port while this process works; without one, measure nothing that takes time."""
    if bound is None:
        yield
        return
    config = uvicorn.Config(
        _application(checks),
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MOST_AT_ONCE,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    measuring = [
        asyncio.create_task(watch_event_loop()),
        asyncio.create_task(queue_gauges.read_for_ever()),
    ]
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.wait([serving])
        await end(*measuring)


def _application(checks: Checks) -> Any:
    async def answer(scope: Scope, _: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            return
        status, kind, body = 404, "text/plain; charset=utf-8", b"/metrics, /healthz and /readyz are here.\n"
        if scope["method"] not in ("GET", "HEAD"):
            status = 405
        elif scope["path"] == "/metrics":
            status, kind, body = 200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY)
        elif scope["path"] == "/healthz":
            status, kind, body = 200, "application/json", b'{"status":"ok"}'
        elif scope["path"] == "/readyz":
            readiness = await checks.readiness()
            status, kind = 200 if readiness.ready else 503, "application/json"
            body = json.dumps(readiness.as_json()).encode()
        headers = [
            (b"content-type", kind.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return answer
