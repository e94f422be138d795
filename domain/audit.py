"""The audit log: who did what, from where, to which object.

An entry is written in the transaction of the change it tells of, so that neither exists without the other.
Who is acting travels beside the call: whoever lets somebody in (a request, a signed link, the command line)
says who it is by `acting`; where nobody has said so it is the service itself.

An entry never holds phone numbers, texts of messages or secrets. The database refuses to change, delete or
truncate entries; whole months go once they are older than the retention.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import asyncpg
import structlog

from domain import db
from domain.access import Viewer
from domain.db import Connection
from domain.states import Role

USER_AGENT_LENGTH = 200
"""Characters of a user agent that are kept."""

MONTHS_AHEAD = 6
"""For so many months there are tables before their time has come."""
LOCKED_WITHIN = "2s"
"""So long those who write entries may have to wait for a table to be made or dropped."""
_MONTHS_LOCK = 4_710_232

log = structlog.get_logger()

Detail = str | int | bool | datetime | None


class AuditAction(StrEnum):
    """What was done."""

    TASK_CREATED = "TASK_CREATED"
    TASK_CANCELED = "TASK_CANCELED"
    TASK_DELETED = "TASK_DELETED"
    TASK_PAUSED = "TASK_PAUSED"
    TASK_RESUMED = "TASK_RESUMED"
    TASK_STOPPED = "TASK_STOPPED"
    TASK_RESCHEDULED = "TASK_RESCHEDULED"
    FAILED_RESENT = "FAILED_RESENT"
    APPLICATION_CREATED = "APPLICATION_CREATED"
    APPLICATION_SUSPENDED = "APPLICATION_SUSPENDED"
    APPLICATION_RESUMED = "APPLICATION_RESUMED"
    ASSOCIATED = "ASSOCIATED"
    SIGNATURE_CREATED = "SIGNATURE_CREATED"
    SIGNATURE_REVIEWED = "SIGNATURE_REVIEWED"
    TEMPLATE_CREATED = "TEMPLATE_CREATED"
    TEMPLATE_REVIEWED = "TEMPLATE_REVIEWED"
    TEMPLATE_SWITCHED = "TEMPLATE_SWITCHED"
    OPT_OUTS_ADDED = "OPT_OUTS_ADDED"
    OPT_OUTS_REMOVED = "OPT_OUTS_REMOVED"
    ACCOUNT_CREATED = "ACCOUNT_CREATED"
    ACCOUNT_CHANGED = "ACCOUNT_CHANGED"
    TOKEN_CREATED = "TOKEN_CREATED"  # noqa: S105 - no secret
    TOKEN_REVOKED = "TOKEN_REVOKED"  # noqa: S105 - no secret
    SENDING_LIMITS_SET = "SENDING_LIMITS_SET"
    NUMBERS_DOWNLOADED = "NUMBERS_DOWNLOADED"


class AuditObject(StrEnum):
    """What an entry is about, as the API names it."""

    ACCOUNT = "Account"
    APPLICATION = "Application"
    SIGNATURE = "Signature"
    TEMPLATE = "Template"
    TASK = "Task"
    TOKEN = "AccessToken"  # noqa: S105 - no secret


class ActorKind(StrEnum):
    """Who acts."""

    TOKEN = "TOKEN"  # noqa: S105 - no secret
    USER = "USER"
    COMMAND_LINE = "COMMAND_LINE"
    SYSTEM = "SYSTEM"


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who acts."""

    kind: ActorKind
    id: int | None = None
    """The token's, for one of ours."""
    name: str | None = None
    """The identity provider's subject, or the login at the command line; a token's own name is looked up."""
    role: Role | None = None

    @staticmethod
    def of(viewer: Viewer) -> Actor:
        """Whoever holds a token, ours or an identity provider's."""
        kind = ActorKind.USER if viewer.token_id is None else ActorKind.TOKEN
        return Actor(kind, viewer.token_id, viewer.subject, viewer.role)

    @staticmethod
    def at_the_command_line() -> Actor:
        """Whoever runs this process."""
        try:
            login = getpass.getuser()
        except (KeyError, OSError):  # a user id without an entry, as containers have
            login = None
        return Actor(ActorKind.COMMAND_LINE, name=login)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from."""

    client_address: str = ""
    user_agent: str = ""
    request_id: str = ""


_THE_SERVICE = Actor(ActorKind.SYSTEM)
_NOWHERE = Origin()
_actor: ContextVar[Actor] = ContextVar("audit_actor", default=_THE_SERVICE)
_origin: ContextVar[Origin] = ContextVar("audit_origin", default=_NOWHERE)


def acting(actor: Actor) -> None:
    """Let the entries of this request, this operation or this process be of this actor from now on."""
    _actor.set(actor)


@contextmanager
def coming_from(origin: Origin) -> Iterator[None]:
    """Let entries say that the request came from there."""
    token = _origin.set(origin)
    try:
        yield
    finally:
        _origin.reset(token)


async def record(
    conn: Connection,
    account_id: int,
    action: AuditAction,
    subject: tuple[AuditObject, int] | None = None,
    **details: Detail,
) -> None:
    """Write an entry into the log of an account, in the caller's transaction.

    `details` say what else matters: never phone numbers, texts of messages or secrets.
    """
    actor, origin = _actor.get(), _origin.get()
    await conn.execute(
        """
        INSERT INTO audit_entry (
            at, account_id, action, object_type, object_id, details,
            actor_kind, actor_id, actor_name, role, client_address, user_agent, request_id
        ) SELECT groupsms_now(), $1, $2, $3, $4, $5, $6, $7,
                 coalesce($8, (SELECT nullif(name, '') FROM access_token WHERE id = $7)), $9, $10, $11, $12
        """,
        account_id,
        action.value,
        subject[0].value if subject else None,
        subject[1] if subject else None,
        json.dumps({name: _plain(value) for name, value in details.items() if value is not None}),
        actor.kind.value,
        actor.id,
        actor.name,
        actor.role.value if actor.role else None,
        origin.client_address,
        origin.user_agent[:USER_AGENT_LENGTH],
        origin.request_id,
    )


def _plain(value: Detail) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else str(value)


async def keep_months(days: int) -> None:
    """Make the tables of the months to come, and drop those whose entries are all older than so many days.

    Safe at any time: one process does it, and while somebody reads the log for long it is put off.
    """
    try:
        await _keep_months(days)
    except asyncpg.LockNotAvailableError:
        log.info("audit_months_put_off")


async def _keep_months(days: int) -> None:
    async with db.transaction() as conn:
        if not await conn.fetchval("SELECT pg_try_advisory_xact_lock($1)", _MONTHS_LOCK):
            return
        await conn.execute("SELECT set_config('lock_timeout', $1, TRUE)", LOCKED_WITHIN)
        await conn.execute("SELECT groupsms_make_audit_months($1)", MONTHS_AHEAD)
        old = await conn.fetch(
            """
            SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
            WHERE inhparent = 'audit_entry'::regclass AND relname ~ '^audit_entry_[0-9]{4}_[0-9]{2}$'
              AND to_date(right(relname, 7), 'YYYY_MM') + interval '1 month'
                  <= (groupsms_now() - $1 * interval '1 day') AT TIME ZONE 'UTC'
            """,
            days,
        )
        for row in old:
            await conn.execute(f'DROP TABLE "{row["relname"]}"')
            log.info("audit_month_dropped", table=row["relname"])
