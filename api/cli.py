"""The `groupsms` command."""

import asyncio
import os
import sys
from datetime import datetime
from pathlib import Path

import click

from api.command_run import finish
from api.token_commands import token
from domain import accounts, callback_urls, db, purging, restoring, sending_limits, sending_reads, startup
from domain.engines import acquire
from domain.engines.layout import Kind
from domain.errors import DatabaseUnavailable
from domain.sending_limits import Measure
from domain.sending_periods import Period
from domain.settings import PREFIX, Settings, redacted

_SDL = Path(__file__).with_name("schema.graphql")


class UnknownGatewayError(Exception):
    """No gateway has the name that was given."""


def _settings_help() -> str:
    """Every setting with what it expects and what it is without being set."""
    lines = []
    for name, field in Settings.model_fields.items():
        variable = f"{PREFIX}{name.upper()}{'__<NAME>' if name == 'gateways' else ''}"
        default = "" if field.default in (None, "", ()) else f" [default: {_shown(field.default)}]"
        lines.append(f"{variable}\n    {field.description}{default}")
    return "\n".join(["\b", "Settings (environment variables):", *lines])


def _shown(default: object) -> str:
    if isinstance(default, dict):
        return ", ".join(f"{name} = {url}" for name, url in default.items())
    return str(default).lower() if isinstance(default, bool) else str(default)


@click.group(epilog=_settings_help(), context_settings={"max_content_width": 110})
@click.version_option(package_name="groupsms")
def cli() -> None:
    """Send one approved text to a list of phone numbers, and see what became of each.

    With nothing set, `serve` and `work` share a PostgreSQL and a Valkey of their own, which start with the
    first and stop with the last of them. Set GROUPSMS_DATABASE_URL and GROUPSMS_REDIS_URL to use yours.

    \b
    Have a look at everything:   groupsms demo
    Run it:                      groupsms serve & groupsms work &
                                 groupsms token create --account acme --role SENDER
    """


@cli.command()
def serve() -> None:
    """Serve the GraphQL API, subscriptions, downloads and GraphiQL.

    Listens on GROUPSMS_HOST and GROUPSMS_PORT; /graphql is the API and, in a browser, GraphiQL; /healthz
    answers 200 once requests are served. Behind a proxy, set GROUPSMS_PUBLIC_URL to the address that clients
    use. Browsers on other origins need GROUPSMS_CORS_ORIGINS. Run as many as you like against one database:
    then give all of them the same GROUPSMS_SECRET_KEY, which signs download links.

    An embedded database is migrated at the start; with one of your own, run `groupsms migrate` first. Ends on
    SIGINT or SIGTERM, giving running requests GROUPSMS_SHUTDOWN_SECONDS: with 0, or with 3 if some were cut
    off. A second signal cuts them off at once.

    \b
    Example:   GROUPSMS_PORT=9000 groupsms serve
    """
    _become("api")


@cli.command()
def work() -> None:
    """Send the messages of tasks and take in the delivery receipts.

    Hands messages to the gateways named by GROUPSMS_GATEWAYS__<NAME>, one URL each: smpp://, smpps://,
    huawei://, or simulator://, which sends nothing and is the default. Any number of workers on any number of
    machines share the tasks. Stop one with SIGINT or SIGTERM at any moment: it ends what is on the wire, for
    up to GROUPSMS_SHUTDOWN_SECONDS, and the others or the next one go on; no number gets a message twice.
    What is not answered by then is in doubt. It exits with 0, or with 3 where it could not store that, the
    database being away: another one does, or the next.

    \b
    Example:   export GROUPSMS_GATEWAYS__DEFAULT='smpp://system_id:password@smsc.example.com:2775?rate=1000'
               groupsms work
    """
    _become("workers")


@cli.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def smsc(arguments: tuple[str, ...]) -> None:
    """Run the simulated message centre: an SMPP 3.4 server to try things out with.

    It delivers to nobody. Its own --help names its options.
    """
    _become("workers.smsc", *arguments)


@cli.command()
def schema() -> None:
    """Print the GraphQL schema of this version as SDL, for code generators and the like.

    \b
    Example:   groupsms schema > schema.graphql
    """
    click.echo(_SDL.read_text(encoding="utf-8"), nl=False)


@cli.command()
def migrate() -> None:
    """Bring the database up to this version of the service.

    Works on GROUPSMS_DATABASE_URL, or the embedded database, and says which migrations it applied. May run
    more than once and from several machines at a time. Run it before starting a new version of `serve` and
    `work`, which refuse to start on a database of yours that is behind.

    \b
    Example:   GROUPSMS_DATABASE_URL=postgresql://groupsms:secret@db.example.com/groupsms groupsms migrate
    """
    finish(_migrate)


@cli.command()
@click.option(
    "--days",
    type=click.IntRange(purging.LEAST_DAYS, purging.MOST_DAYS),
    help="Keep what ended within so many days, 7 or more [default: GROUPSMS_RETENTION_DAYS].",
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def purge(days: int | None, dry_run: bool) -> None:
    """Do away with the messages of tasks that ended long ago, and with old replies.

    Workers do this every day by themselves, with GROUPSMS_RETENTION_DAYS. Tasks stay, with their counts,
    charges and reasons of failure; tasks that have not ended stay whole. The messages can't be seen any more
    at once; the space of large tasks is given back at once too, that of small ones when all of about the same
    day are purged, or a week later. May run at any time, more than once at a time, and be broken off.

    \b
    Example:   groupsms purge --days 30 --dry-run
    """

    async def do(settings: Settings) -> int:
        kept = settings.retention_days if days is None else days
        async with startup.database(settings) as url, db.connected(url, pool_size=3):
            gone = await (purging.preview(kept) if dry_run else purging.purge(kept))
        click.echo(
            f"{'would purge' if dry_run else 'purged'} {gone.messages} messages of {gone.tasks} tasks "
            f"that ended more than {kept} days ago, and {gone.replies} replies"
        )
        return 0

    finish(do)


@cli.command()
@click.option(
    "--until",
    metavar="MOMENT",
    callback=lambda _, __, given: _moment(given),
    help="When the lost database last worked, such as 2026-11-22T21:00:00Z; left out, it may be now.",
)
def restored(until: datetime | None) -> None:
    """Say that the database was restored from a backup, before any worker is started.

    What waits in it may have been sent after the backup was taken. It becomes UNKNOWN, in doubt: nobody sends
    it again by itself, and receipts that still arrive settle it. Lists the tasks it concerns: those running
    or paused, and those that were due until MOMENT. Do this while no worker runs; twice does no harm.

    \b
    Example:   groupsms restored --until 2026-11-22T21:00:00Z
    """

    async def doubt(settings: Settings) -> int:
        async with startup.database(settings) as url, db.connected(url, pool_size=2):
            doubted = await restoring.doubt_what_may_have_been_sent(until)
        # Where the settings were forgotten it is the embedded database, in which nothing waits.
        click.echo(f"database {redacted(url)}")
        for task in doubted:
            click.echo(f"task {task.task_id} {task.name!r} of {task.account}: {task.messages} in doubt")
        if not doubted:
            click.echo("nothing can have been sent since")
        return 0

    sys.exit(startup.run(doubt, restoring.StillRunning))


def _moment(given: str | None) -> datetime | None:
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise click.BadParameter("is no moment such as 2026-11-22T21:00:00Z") from None
    if moment.tzinfo is None:
        raise click.BadParameter("says no time zone; add Z for UTC")
    return moment


@cli.command("callback-url")
@click.argument("gateway")
def callback_url(gateway: str) -> None:
    """Print the address at which the platform behind a GATEWAY may report to the API.

    For what is set up on a platform's own pages: for Huawei Cloud's Message & SMS the addresses for replies
    and for status reports in batches. Status reports one by one need nothing: each request names the address.
    It is GROUPSMS_PUBLIC_URL with a signature, which is all that proves a report genuine: keep it to
    yourselves, and give all processes the same GROUPSMS_SECRET_KEY.

    \b
    Example:   GROUPSMS_PUBLIC_URL=https://sms.example.com groupsms callback-url default
    """

    def show(settings: Settings) -> int:
        if gateway not in settings.gateways:
            raise UnknownGatewayError(
                f"there is no gateway {gateway!r}; configured are: {', '.join(sorted(settings.gateways))}"
            )
        click.echo(callback_urls.callback_url(settings, gateway))
        return 0

    sys.exit(startup.guarded(show, UnknownGatewayError))


cli.add_command(token)


@cli.group()
def account() -> None:
    """See and set what holds for an account."""


@account.command("create")
@click.argument("name")
@click.option("--time-zone", metavar="ZONE", help="Its time zone; left out: Asia/Shanghai.")
@click.option("--currency", metavar="CODE", help="What its prices are in; left out: CNY.")
def create_account(name: str, time_zone: str | None, currency: str | None) -> None:
    """Make the account NAME, for users whom an identity provider vouches for.

    `token create` makes one by the way. An account that is there already gets the time zone and the currency
    that are given.

    \b
    Example:   groupsms account create acme --time-zone Europe/Berlin --currency EUR
    """

    async def make(settings: Settings) -> int:
        accounts.check_account(name, time_zone, currency)
        async with startup.database(settings) as url, db.connected(url, pool_size=1):
            is_new = await accounts.create_account(name, time_zone=time_zone, currency=currency)
        click.echo(f"made the account {name}" if is_new else f"the account {name} was there already")
        return 0

    finish(make)


class _Limit(click.ParamType[int | str]):
    """A whole number, or "none"."""

    name = "number"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """The number, or the word."""
        if value.strip().lower() == "none":
            return "none"
        if not value.strip().isdecimal():
            self.fail(f"{value!r} is neither a whole number nor none.", param, ctx)
        return int(value)


@account.command()
@click.argument("name")
@click.option("--daily-messages", type=_Limit(), help="Messages a day.")
@click.option("--daily-segments", type=_Limit(), help="Segments a day.")
@click.option("--monthly-messages", type=_Limit(), help="Messages a calendar month.")
@click.option("--monthly-segments", type=_Limit(), help="Segments a calendar month.")
@click.option("--alarm-percent", type=_Limit(), help="Warn from so many per cent of a limit on.")
def limits(name: str, **given: int | str | None) -> None:
    """Set how much the account NAME may send, and show its limits and what it uses of them.

    What counts is the time a task is to be sent at, in the account's time zone. Limits that are not named
    stay as they are; "none" takes one away. Without any option nothing is changed.

    \b
    Example:   groupsms account limits acme --daily-messages 50000 --monthly-segments none
    """
    changes = {
        column: None if value == "none" else int(value)
        for column, value in given.items()
        if value is not None
    }

    async def settle(settings: Settings) -> int:
        async with startup.database(settings) as url, db.connected(url, pool_size=1):
            account_id, time_zone = await sending_limits.account_named(name)
            if changes:
                await sending_limits.set_limits(account_id, changes)
            found = await sending_limits.limits_of(account_id)
            usage = await sending_reads.present_usage(account_id, time_zone)
        for period, word in ((Period.DAY, "today"), (Period.MONTH, "this month")):
            for measure in Measure:
                limit = found.of(period, measure)
                of = "no limit" if limit is None else f"limit {limit:,}"
                click.echo(f"{measure} {word}: {usage.loads[period].of(measure):,} ({of})")
        click.echo(f"alarm at {found.alarm_percent} %: {'yes' if usage.alarm else 'no'}")
        return 0

    finish(settle)


@cli.command()
@click.option("--once", is_flag=True, help="Stop everything again when the messages are through.")
def demo(once: bool) -> None:
    """Show the whole line at work, from a file of numbers to delivered messages.

    Starts what it needs on this machine: the embedded PostgreSQL and Valkey, the API, a worker, and a
    simulated message centre; makes an account with an approved text, uploads 1,000 recipients, and follows
    their messages. Then it keeps serving, with GraphiQL in the browser, until Ctrl-C. Keeps its data in
    GROUPSMS_DATA_DIR and listens on GROUPSMS_PORT.

    With --once it exits at the end: 0 if all went well, else 1 after saying what fell short.

    \b
    Example:   GROUPSMS_DATA_DIR=/tmp/demo groupsms demo --once
    """
    from api import demo as whole_line  # noqa: PLC0415 - the other commands do without its clients

    sys.exit(startup.guarded(lambda settings: whole_line.run(settings, once)))


async def _migrate(settings: Settings) -> int:
    held = await asyncio.to_thread(acquire, settings, [Kind.POSTGRESQL])
    try:
        applied = await db.migrate(held.database_url)
    except DatabaseUnavailable as error:
        raise startup.StartupError(startup.unreachable(held.database_url, error)) from error
    finally:
        held.close()
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("nothing to do: the database is up to date")
    return 0


def _become(module: str, *arguments: str) -> None:
    """Replace this process: its signals, exit code and terminal are the module's then."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])  # noqa: S606 - no shell is the point


def main() -> None:
    """The entry point of the installed command."""
    cli(prog_name="groupsms")
