"""Runs the simulated message centre: `groupsms smsc`, or `python -m workers.smsc`."""

from __future__ import annotations

import asyncio
import gc
import signal
import ssl
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import click
import structlog

from workers.smsc.centre import Centre
from workers.smsc.connection import Connection
from workers.smsc.endings import describe_endings
from workers.smsc.journal import Journal
from workers.smsc.options import OPTIONS, SectionedCommand, behaviour_of
from workers.smsc.progress import show_progress
from workers.smsc.steps import Step, obey_standard_input, read_script, read_step, schedule

INTRODUCTION = """A simulated message centre: a real SMPP 3.4 server that accepts messages and sends receipts.

It prints "listening on HOST:PORT" once it can be reached, and stops at SIGTERM or Ctrl-C. It takes
bind_transceiver, bind_transmitter and bind_receiver. A receipt is sent until it is acknowledged, and waits
for a bind of its system_id while there is none. Nothing is kept when the process ends but the journal, and
nothing is delivered to anybody.

\b
Example:   groupsms smsc --rate 200 --drop-every 1000 --step '30s away=10'
           GROUPSMS_GATEWAYS__DEFAULT='smpp://any:secret@127.0.0.1:2775?window=50' groupsms work
"""
EPILOG = f"""\b
The last four digits of the destination decide what becomes of a message:
{describe_endings()}

\b
A step is a moment and what happens then. The moment is so many seconds after the start (5s) or after so many
submit_sm (2000submits). What happens is one or more of
  away=SECONDS          every connection is dropped, and each new one at once, for so long
  refuse-binds=SECONDS  every bind is answered ESME_RBINDFAIL for so long
  drop                  every connection is dropped
  unbind                every peer is unbound
  FLAG=VALUE            any flag above from "Binds" on but --first-id, such as rate=50 or receipt-first=on;
                        FLAG=off makes it as if it were not given

\b
The journal has one JSON object a line, all with "event", "time" (seconds since 1970), "at" (seconds by the
machine's monotonic clock) and "system_id":
  bind                kind (transmitter, receiver, transceiver), connection (a number), command_status
  unbind              kind, connection, by (peer or centre)
  disconnect          kind, connection, reason
  submit_sm           connection, destination and source with _ton and _npi, data_coding, esm_class,
                      registered_delivery, validity_period, short_message (hex, also a message_payload),
                      tlvs (hex by tag), text, reference, segments and segment (of a long message),
                      sequence_number, command_status, message_id ("" if refused)
  receipt             message_id, written_id (as this receipt writes it), destination, stat, err,
                      attempt (1 is the first), stray
  acknowledged        message_id, command_status
  reply               source, destination, text, attempt
  reply_acknowledged  command_status
  step                what
A submit_sm is in the file before it is answered.
"""


def _main(**given: Any) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        steps = _steps(given.pop("step"), given.pop("script"))
        tls = _tls(given.pop("tls_cert"), given.pop("tls_key"))
        journal = Journal(given.pop("journal"))
        _run(_serve(journal, steps, tls, **given))
    except OSError as error:
        raise click.ClickException(str(error)) from None


main = SectionedCommand(
    "smsc",
    params=list(OPTIONS),
    callback=_main,
    help=INTRODUCTION,
    epilog=EPILOG,
    context_settings={"max_content_width": 110},
)


def _steps(given: Sequence[str], script: Path | None) -> list[Step]:
    steps = [read_step(line) for line in given]
    if script is not None:
        steps += read_script(script.read_text().splitlines())
    return steps


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        if key is not None:
            raise click.UsageError("--tls-key needs --tls-cert")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError:
        raise click.UsageError(
            "--tls-cert must name a PEM file with a certificate, and it or --tls-key one with its key"
        ) from None
    except OSError as error:
        raise click.UsageError(f"--tls-cert or --tls-key can't be read ({error.strerror})") from None
    return context


def _run(main_coroutine: Coroutine[None, None, None]) -> None:
    # Thousands of messages are under way at once, and none of them is garbage.
    gc.set_threshold(50_000, 20, 100)
    gc.freeze()
    try:
        import uvloop  # noqa: PLC0415 - not there on every platform
    except ImportError:
        asyncio.run(main_coroutine)
    else:
        uvloop.run(main_coroutine)


async def _serve(
    journal: Journal,
    steps: list[Step],
    tls: ssl.SSLContext | None,
    *,
    host: str,
    port: int,
    commands: bool,
    refuse_binds: float | None,
    first_id: int | None,
    **knobs: Any,
) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    centre = Centre(behaviour_of(knobs), journal, first_id)
    if refuse_binds is not None:
        centre.refuse_binds(refuse_binds)
    server = await loop.create_server(lambda: Connection(centre), host, port, ssl=tls)
    address = server.sockets[0].getsockname()
    click.echo(f"listening on {address[0]}:{address[1]}")
    sys.stdout.flush()
    schedule(steps, centre)
    if commands:
        obey_standard_input(centre)
    showing = asyncio.create_task(show_progress(centre)) if sys.stderr.isatty() else None
    await stopped.wait()
    if showing is not None:
        showing.cancel()
    server.close()
    centre.drop_all()
    journal.close()
    counts = centre.counts
    structlog.get_logger().info(
        "smsc_stopped",
        submitted=counts.submitted,
        accepted=counts.accepted,
        receipts=counts.receipts,
        acknowledged=counts.acknowledged,
        replies=counts.replies,
    )


if __name__ == "__main__":
    main(prog_name="groupsms smsc")
