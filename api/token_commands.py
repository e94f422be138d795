"""`groupsms token`: the tokens of accounts, for whoever runs the service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from api.command_run import finish
from domain import access_tokens, accounts, bus, db, sending_limits, startup
from domain.access_tokens import AccessTokenView
from domain.paging import MAX_PAGE
from domain.settings import Settings
from domain.states import Role


@click.group()
def token() -> None:
    """Make the tokens that clients send as `Authorization: Bearer TOKEN`; list and revoke them.

    Managers of an account do the same over the API: see createToken, tokens and revokeToken.
    """


@token.command()
@click.option("--account", required=True, help="The account it opens; made if there is none of this name.")
@click.option(
    "--role",
    required=True,
    type=click.Choice([role.value for role in Role], case_sensitive=False),
    metavar="|".join(Role),
    help="What its holder may do.",
)
@click.option("--name", default="", help="What to call it, so that people know whose it is.")
@click.option("--days", type=click.IntRange(1, 36_500), help="Let it expire after so many days.")
@click.option("--time-zone", metavar="ZONE", help="Set the account's time zone, such as Asia/Shanghai.")
@click.option("--currency", metavar="CODE", help="Set the account's currency, such as CNY.")
def create(
    account: str, role: str, name: str, days: int | None, time_zone: str | None, currency: str | None
) -> None:
    """Make a token and print it, alone on stdout. It is shown this once: only a hash of it is kept.

    A VIEWER reads, a SENDER also makes tasks, a MANAGER also makes applications, signatures, templates and
    tokens; an OPERATOR approves them, those of other accounts too.

    \b
    Example:   TOKEN=$(groupsms token create --account acme --role SENDER --time-zone Europe/Berlin)
    """

    async def make(settings: Settings) -> int:
        accounts.check_account(account, time_zone, currency)
        async with startup.database(settings) as url, db.connected(url, pool_size=1):
            made = await accounts.create_token(
                account,
                Role(role),
                name=name,
                time_zone=time_zone,
                currency=currency,
                expires_at=datetime.now(UTC) + timedelta(days=days) if days else None,
            )
        click.echo(made)
        return 0

    finish(make)


@token.command("list")
@click.option("--account", required=True, help="The account whose tokens to list.")
def list_all(account: str) -> None:
    """List an account's tokens, newest first, each with its number; their secrets are not kept.

    \b
    Example:   groupsms token list --account acme
    """

    async def show(settings: Settings) -> int:
        async with startup.database(settings) as url, db.connected(url, pool_size=1):
            account_id, _ = await sending_limits.account_named(account)
            after = None
            while True:
                page = await access_tokens.list_tokens(account_id, first=MAX_PAGE, after=after)
                for found in page.items:
                    click.echo(_line(found))
                if not page.has_next:
                    return 0
                after = page.cursors[-1]

    finish(show)


def _line(found: AccessTokenView) -> str:
    parts = [str(found.id), found.role.value, found.name or "(no name)", f"made {_day(found.created_at)}"]
    if found.revoked_at:
        parts.append(f"revoked {_day(found.revoked_at)}")
    elif found.expires_at:
        parts.append(f"expires {_day(found.expires_at)}")
    parts.append(f"last used {_day(found.last_used_at)}" if found.last_used_at else "never used")
    return "\t".join(parts)


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


@token.command()
@click.option("--account", required=True, help="The account it opens.")
@click.argument("number", type=click.IntRange(1, 2**63 - 1))
def revoke(account: str, number: int) -> None:
    """Refuse the token with this NUMBER from now on, and have its sockets closed: see `token list`.

    \b
    Example:   groupsms token revoke --account acme 12
    """

    async def withdraw(settings: Settings) -> int:
        async with startup.service(settings) as urls, db.connected(urls.database_url, pool_size=1):
            account_id, _ = await sending_limits.account_named(account)
            await access_tokens.revoke_token(account_id, number, by=Role.OPERATOR)
            await bus.announce_revocation(urls.redis_url)
        return 0

    finish(withdraw)
