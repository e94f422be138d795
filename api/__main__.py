"""The API as a process of its own: what `groupsms serve` runs."""

from __future__ import annotations

import sys
from functools import partial

import click
import uvloop

from api.app import GRAPHQL_PATH, build, upload_directory
from api.server import ListenError, listen, serve
from domain import monitoring_port, spool, startup
from domain.settings import Settings
from domain.tracing import tracing


async def _run(settings: Settings) -> int:
    with tracing("groupsms-api"):
        return await startup.stoppable(partial(_serve, settings))


async def _serve(settings: Settings, stop: startup.StopSignal) -> int:
    # Before the engines: a port in use is found out at once.
    with listen(settings.host, settings.port) as bound, monitoring_port.listen(settings) as monitoring:
        uploads = upload_directory(settings)
        try:
            uploads.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise startup.StartupError(f"cannot use {uploads} for uploads: {error.strerror}") from error
        spool.remove_abandoned(uploads)
        async with startup.service(settings) as (database_url, redis_url):
            app = build(settings, database_url, redis_url, monitoring)

            def announce() -> None:
                name = "GraphiQL" if settings.graphiql else "GraphQL API"
                click.echo(f"{name}: {settings.public_url}{GRAPHQL_PATH}")

            stop.ready()
            ended = await serve(
                app,
                bound,
                shutdown_seconds=settings.shutdown_seconds,
                announce=announce,
                retire=app.state.sessions.shut_down,
            )
    return 0 if ended else startup.CUT_SHORT


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    sys.exit(startup.guarded(lambda settings: uvloop.run(_run(settings)), ListenError))


if __name__ == "__main__":
    main()
