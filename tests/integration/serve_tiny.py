"""Serves the tiny schema: `python -m tests.integration.serve_tiny PORT UPLOAD_DIRECTORY [ORIGIN...]`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import uvloop

from api.app import create_app
from api.server import ListenError, listen, serve
from api.transport import UploadPolicy
from domain.startup import configure_logging
from tests.integration.tiny_process import UPLOAD_LIMIT
from tests.integration.tiny_schema import context, on_connect, tiny_schema


def main() -> None:
    """Print the address once it is served."""
    configure_logging("info")
    app = create_app(
        tiny_schema(),
        context,
        uploads=UploadPolicy(limit=UPLOAD_LIMIT, directory=Path(sys.argv[2])),
        on_connect=on_connect,
        cors_origins=sys.argv[3:],
    )
    try:
        bound = listen("127.0.0.1", int(sys.argv[1]))
    except ListenError as error:
        sys.exit(str(error))
    address = f"http://127.0.0.1:{bound.getsockname()[1]}"
    uvloop.run(serve(app, bound, shutdown_seconds=1, announce=lambda: click.echo(address)))


if __name__ == "__main__":
    main()
