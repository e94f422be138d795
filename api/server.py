"""Running the application under uvicorn, inside an event loop that is ours."""

from __future__ import annotations

import asyncio
import gc
import math
import resource
import signal
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode

from api.body_limit import JSON_LIMIT

log = structlog.get_logger()

_PING_SECONDS = 20.0
_BACKLOG = 2048
_SWITCH_SECONDS = 0.0005
"""How long a thread that computes may keep the event loop from going on; by default it is ten times that."""


class ListenError(Exception):
    """The address can't be listened on. The text is one line that says which and why."""


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address; port 0 picks a free one. Raises `ListenError`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ListenError(f"Can't listen on {host}: {error.strerror}.") from error
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        # From here on a second process is told that the port is taken, also before this one serves.
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise ListenError(f"Can't listen on {host} port {port}: {error.strerror}.") from error
    bound.setblocking(False)
    return bound


class _Server(uvicorn.Server):
    """Leaves the signals to `serve`: uvicorn raises them again at its end, before anybody could clean up."""

    def __init__(
        self, config: uvicorn.Config, announce: Callable[[], None], retire: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._announce = announce
        self._retire = retire
        self.cut_short = False
        """Whether requests were still under way when it ended."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._retire()
        await super().shutdown(sockets)

    async def _wait_tasks_to_complete(self) -> None:
        self.cut_short = True  # and so it stays if time runs out
        await super()._wait_tasks_to_complete()
        self.cut_short = bool(self.server_state.tasks)

    def stop(self) -> None:
        """Stop as gracefully as time allows; called again, at once."""
        self.force_exit = self.should_exit
        self.should_exit = True


class PatientSocket(WebSocketsSansIOProtocol):
    """Closes a socket whose peer answers no ping with 1001, "going away", where uvicorn says 1011.

    For graphql-ws 1011 is fatal: a laptop that wakes up, or a client of ours that was frozen, would find its
    subscription ended for good instead of connecting again. And nobody can fill the log with what they send:
    text that is no UTF-8 closes the socket with 1007, whatever the application says meanwhile.
    """

    def send_receive_event_to_app(self) -> None:
        """A message has come as a whole."""
        if self.curr_msg_data_type == "text" and not self.close_sent and not _is_utf8(b"".join(self.frames)):
            self.frames = []
            self.conn.fail(CloseCode.INVALID_DATA, "text that is no UTF-8")
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    async def send(self, message: ASGISendEvent) -> None:
        """Send what the application says, unless the socket was closed while it was about to say it."""
        if self.handshake_complete and self.close_sent:
            raise ClientDisconnected
        await super().send(message)

    def keepalive_timeout(self) -> None:
        """Nothing has come in answer to a ping."""
        if not self.close_sent and not self.transport.is_closing():
            self.conn.fail(CloseCode.GOING_AWAY, "no answer to a ping")
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
            self.transport.close()


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _allow_files() -> None:
    """Raise the soft limit of open files to the hard one: each socket is one, and often it is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError) as error:  # macOS says "unlimited" and takes less
            log.warning("file_limit_stays", soft=soft, hard=hard, error=str(error))


async def serve(
    app: ASGIApp,
    bound: socket.socket,
    *,
    shutdown_seconds: float,
    announce: Callable[[], None],
    retire: Callable[[], None] = lambda: None,
) -> bool:
    """Serve until SIGINT or SIGTERM, then let requests end for up to `shutdown_seconds`.

    `announce` is called once requests are answered, `retire` when no more are: it ends answers that would go
    on for ever. Sockets are closed with 1012, upon which clients connect again. Returns whether all requests
    came to their end.
    """
    _allow_files()
    sys.setswitchinterval(_SWITCH_SECONDS)
    # A subscriber is many small objects: collecting the young ones as often as by default stalls everybody.
    gc.set_threshold(50_000, 20, 100)
    # What was loaded stays: no collection has to go through it again.
    gc.collect()
    gc.freeze()
    config = uvicorn.Config(
        app,
        http="httptools",
        ws=PatientSocket,
        ws_ping_interval=_PING_SECONDS,
        ws_ping_timeout=_PING_SECONDS,
        ws_max_size=JSON_LIMIT,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=math.ceil(shutdown_seconds),
        access_log=False,
        proxy_headers=False,  # that is the application's: see `api.client_address`
        log_config=None,
        server_header=False,
        backlog=_BACKLOG,
    )
    server = _Server(config, announce, retire)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # For good: a signal that comes once more at the very end is to change nothing.
        loop.add_signal_handler(number, server.stop)
    await server.serve(sockets=[bound])
    return not server.cut_short
