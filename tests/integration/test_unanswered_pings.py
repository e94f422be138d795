"""What a subscriber is told that did not answer pings: something after which its library connects again."""

from __future__ import annotations

import asyncio
import socket

import uvicorn
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.frames import CloseCode

from api.server import PatientSocket
from tests.integration.world import eventually


async def accept(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that accepts sockets and waits."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass


async def test_one_that_answers_no_ping_is_told_to_come_again() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            accept,
            ws=PatientSocket,
            ws_ping_interval=0.1,
            ws_ping_timeout=0.2,
            lifespan="off",
            log_config=None,
        )
        server = uvicorn.Server(config)
        bound.listen()
        serving = asyncio.create_task(server._serve([bound]))

        async def closed() -> bool:
            return not server.server_state.connections

        port = bound.getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}", ping_interval=None) as client:
            # As if frozen: the network stack takes everything, nobody reads it.
            client.transport.pause_reading()
            await eventually(closed)
            client.transport.resume_reading()
            await client.wait_closed()
            assert client.close_code == CloseCode.GOING_AWAY
        server.should_exit = True
        await serving
