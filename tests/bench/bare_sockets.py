"""A bare websockets server, `python -m tests.bench.bare_sockets`: sends every text it gets to everybody."""

from __future__ import annotations

import gc
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.typing import Subprotocol


async def _serve() -> None:
    async def attend(connection: ServerConnection) -> None:
        async for text in connection:
            if text == "hello":
                await connection.send(text)
            else:
                broadcast(server.connections, text)

    async with serve(
        attend,
        "127.0.0.1",
        0,
        compression=None,
        max_size=None,
        subprotocols=[Subprotocol("graphql-transport-ws")],
        ping_interval=None,
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        sys.stdout.write(f"listening on ws://127.0.0.1:{port}\n")
        sys.stdout.flush()
        await server.serve_forever()


if __name__ == "__main__":
    # As our own server does, so that the collector is no difference between them.
    gc.set_threshold(50_000, 20, 100)
    uvloop.run(_serve())
