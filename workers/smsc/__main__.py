"""Runs the simulated message centre: `python -m workers.smsc`."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path

import click
import structlog

from workers.smsc.centre import Behaviour, Centre
from workers.smsc.connection import Connection
from workers.smsc.endings import describe_endings
from workers.smsc.journal import Journal

EPILOG = f"""\b
The last four digits of the destination decide what becomes of a message:
{describe_endings()}

\b
The journal has one JSON object a line: "submit_sm" (destination, source, data_coding, esm_class,
short_message as hex, sequence_number, command_status, message_id), "receipt" (message_id, destination,
stat, err, attempt) and "acknowledged" (message_id, command_status). A submit_sm is in the file before
it is answered.
"""


@click.command(epilog=EPILOG, context_settings={"max_content_width": 110})
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=2775, show_default=True, type=click.IntRange(0, 65535), help="0 picks a free one."
)
@click.option("--system-id", help="The only system_id to let in; without it any is.")
@click.option("--password", help="The password to ask for; without it any will do.")
@click.option(
    "--journal", type=click.Path(dir_okay=False, path_type=Path), help="File to append what happened to."
)
@click.option(
    "--response-delay",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 3600),
    help="Seconds until a submit_sm is answered.",
)
@click.option(
    "--receipt-delay",
    default=0.2,
    show_default=True,
    type=click.FloatRange(0, 86_400),
    help="Seconds from a submit_sm to its delivery receipt.",
)
@click.option(
    "--resend-after",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0.05, 3600),
    help="Seconds until a receipt that was not acknowledged is sent again.",
)
@click.option(
    "--receipt-window",
    default=500,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Receipts on the wire at once, for each bind.",
)
@click.option(
    "--rate",
    type=click.IntRange(1, 1_000_000),
    help="submit_sm taken in any second, over all binds; those beyond are answered ESME_RTHROTTLED.",
)
def main(
    host: str,
    port: int,
    system_id: str | None,
    password: str | None,
    journal: Path | None,
    response_delay: float,
    receipt_delay: float,
    resend_after: float,
    receipt_window: int,
    rate: int | None,
) -> None:
    """A simulated message centre: a real SMPP 3.4 server that accepts messages and sends delivery receipts.

    It prints "listening on HOST:PORT" once it can be reached, and stops at SIGTERM or Ctrl-C. It takes
    bind_transceiver, bind_transmitter and bind_receiver. A receipt is sent until it is acknowledged, and
    waits for a bind of its system_id while there is none. Nothing is kept when the process ends but the
    journal.
    """
    behaviour = Behaviour(
        system_id, password, response_delay, receipt_delay, resend_after, receipt_window, rate
    )
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        opened = Journal(journal)
        _run(_serve(behaviour, opened, host, port))
    except OSError as error:
        raise click.ClickException(str(error)) from None


def _run(main_coroutine: Coroutine[None, None, None]) -> None:
    try:
        import uvloop  # noqa: PLC0415 - not there on every platform
    except ImportError:
        asyncio.run(main_coroutine)
    else:
        uvloop.run(main_coroutine)


async def _serve(behaviour: Behaviour, journal: Journal, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    centre = Centre(behaviour, journal)
    server = await loop.create_server(lambda: Connection(centre), host, port)
    address = server.sockets[0].getsockname()
    click.echo(f"listening on {address[0]}:{address[1]}")
    sys.stdout.flush()
    await stopped.wait()
    server.close()
    for connection in list(centre.connections):
        connection.close()
    journal.close()
    structlog.get_logger().info(
        "smsc_stopped",
        submitted=centre.counts.submitted,
        accepted=centre.counts.accepted,
        receipts=centre.counts.receipts,
        acknowledged=centre.counts.acknowledged,
    )


if __name__ == "__main__":
    main(prog_name="python -m workers.smsc")
