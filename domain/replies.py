"""Replies: what people answer, stored for the accounts it concerns, with their opt-outs honoured.

Source: "Replies" in the rules. A reply is acknowledged to the carrier only when `store` has returned.

**Whose it is.** A reply names the sender that it answers, and it is for the accounts that have this sender on
that gateway: for an application, for a signature associated with one, or for a task they have sent. Senders
are compared without plus and whatever their case. Where a sender is nobody's, the accounts that leave theirs
to the gateway are meant. Several accounts may share one. Which of them texted this very number last would
take a search through every message of every one of their tasks, as messages are not indexed by number. So:

- an opt-out counts for all of them, and all see it: nobody who said STOP is to be texted with that sender;
- anything else is seen only by the one of them that has sent anything with it in the last month. With two
  such it is shown to neither, since it may be another's business, but it is kept, as is one for nobody.

**The same one twice.** A carrier that got no acknowledgement delivers a reply again. Nothing in a deliver_sm
tells that from a person who writes "1" twice, and none is to be lost, so it is stored again; an opt-out is
the same said once or twice.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import asyncpg

from domain import db, opt_outs, paging
from domain.errors import InvalidInput
from domain.opt_out_words import is_opt_out
from domain.paging import Page
from domain.ports import Reply
from domain.states import Region

RECENTLY = timedelta(days=30)
"""How long after a task people are expected to answer it."""

_E164 = re.compile(r"\+[1-9][0-9]{4,14}")
_MAINLAND_WITHOUT_PREFIX = re.compile(r"\+?(1[0-9]{10})")
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a batch of replies."""

    opted_out: int
    """How many numbers are new on accounts' lists of opt-outs."""
    for_nobody: tuple[Reply, ...]
    """Those that no account sees, because their sender is nobody's or several accounts'."""


async def store(gateway: str, replies: Sequence[Reply], words: Collection[str]) -> Stored:
    """Commit replies and the opt-outs among them; when this returns they may be acknowledged.

    `words` are the opt-out words, as `domain.opt_out_words.plain` makes them. Raises what the database
    raises; whether they are stored is not known then.
    """
    async with db.transaction() as conn:
        found = await conn.fetch(_OWNERS, gateway, sorted({_storable(each.destination) for each in replies}))
        owners = _by_sender(found)
        rows: list[_Row] = []
        for reply in replies:
            concerned = owners.get(_sender(reply.destination)) or owners.get("") or []
            rows += _rows(reply, concerned, opts_out=is_opt_out(reply.text, words))
        await _insert(conn, gateway, rows)
        opting_out = [
            (row.account_id, number)
            for row in rows
            if row.account_id is not None
            for number in row.opting_out
        ]
        added = await opt_outs.insert_replied(conn, opting_out)
    # Also for numbers that were on the list before: whoever put them there may have died just here.
    for account_id in sorted({account_id for account_id, _ in opting_out}):
        await opt_outs.recheck_held_chunks(
            account_id, [number for account, number in opting_out if account == account_id]
        )
    return Stored(added, tuple(row.reply for row in rows if row.account_id is None))


# --- whose a reply is -----------------------------------------------------------------------------

# Applications and signatures are few. Of the tasks, of which there are many, the newest that was started is
# found for each account through the index task_by_sender.
_OWNERS = """
WITH asked AS (
    SELECT DISTINCT lower(ltrim(destination, '+')) AS sender
    FROM unnest($2::text[] || ''::text) AS destination
), owned AS (
    SELECT lower(ltrim(coalesce(sender_number, ''), '+')) AS sender, account_id, id AS application_id, region
    FROM application
    WHERE gateway = $1 AND (region = 'INTERNATIONAL' OR sender_number IS NOT NULL)
    UNION
    SELECT lower(ltrim(s.channel_number, '+')), a.account_id, a.id, a.region
    FROM application a
    JOIN application_signature x ON x.application_id = a.id
    JOIN signature s ON s.id = x.signature_id
    WHERE a.gateway = $1 AND s.channel_number IS NOT NULL
)
SELECT sender, account_id, application_id, region, NULL AS started_at
FROM owned JOIN asked USING (sender)
UNION ALL
SELECT asked.sender, account.id, newest.application_id, newest.region, newest.started_at
FROM asked CROSS JOIN account CROSS JOIN LATERAL (
    SELECT application_id, region, started_at FROM task
    WHERE gateway = $1 AND lower(ltrim(sender, '+')) = asked.sender AND account_id = account.id
      AND started_at IS NOT NULL
    ORDER BY -id LIMIT 1
) AS newest
ORDER BY sender, account_id, application_id
"""


@dataclass(slots=True)
class _Owner:
    """An account that has a sender on the gateway."""

    account_id: int
    applications: set[int] = field(default_factory=set)
    regions: set[Region] = field(default_factory=set)
    last_used: int | None = None
    """The application of the last task that was sent with it."""
    last_sent: datetime = _LONG_AGO

    @property
    def application_id(self) -> int | None:
        """The application that a reply is shown with: the one that sent last, or the only one."""
        if self.last_used is not None:
            return self.last_used
        return min(self.applications) if len(self.applications) == 1 else None


def _by_sender(found: Iterable[asyncpg.Record]) -> dict[str, list[_Owner]]:
    owners: dict[str, dict[int, _Owner]] = {}
    for row in found:
        of_sender = owners.setdefault(row["sender"], {})
        owner = of_sender.setdefault(row["account_id"], _Owner(row["account_id"]))
        owner.applications.add(row["application_id"])
        owner.regions.add(Region(row["region"]))
        if row["started_at"] is not None:
            owner.last_used, owner.last_sent = row["application_id"], row["started_at"]
    return {sender: list(of_sender.values()) for sender, of_sender in owners.items()}


def _sender(destination: str) -> str:
    return _storable(destination).lstrip("+").lower()


# --- what is stored of it -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """A reply as one account sees it, or as it is kept for nobody."""

    reply: Reply
    account_id: int | None
    application_id: int | None
    number: str
    opting_out: tuple[int, ...]
    """The numbers that go on the account's list."""


def _rows(reply: Reply, concerned: Sequence[_Owner], *, opts_out: bool) -> list[_Row]:
    if not opts_out and len(concerned) > 1:
        recent = [owner for owner in concerned if owner.last_sent > reply.received_at - RECENTLY]
        concerned = recent if len(recent) == 1 else []
    rows = []
    for owner in concerned:
        numbers = _meant(reply.number, owner.regions)
        opting_out = [int(number[1:]) for number in numbers if _E164.fullmatch(number)] if opts_out else []
        rows.append(_Row(reply, owner.account_id, owner.application_id, numbers[0], tuple(opting_out)))
    return rows or [_Row(reply, None, None, reply.number, ())]


def _meant(number: str, regions: Collection[Region]) -> list[str]:
    """What a number may be in E.164, the likeliest first.

    Mainland carriers also give it without 86, which is then read as in a recipient list. With a sender of
    both regions the eleven digits may be a North American number as well.
    """
    if Region.CHINESE_MAINLAND not in regions or not (bare := _MAINLAND_WITHOUT_PREFIX.fullmatch(number)):
        return [number]
    mainland = f"+86{bare[1]}"
    return [mainland] if Region.INTERNATIONAL not in regions else [number, mainland]


def _storable(text: str) -> str:
    """The text without what PostgreSQL refuses: one odd character must not keep a batch unacknowledged."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


async def _insert(conn: db.Connection, gateway: str, rows: Sequence[_Row]) -> None:
    await conn.execute(
        """
        INSERT INTO reply (gateway, account_id, application_id, number, sender, text, received_at, opted_out)
        SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[],
                                 $7::timestamptz[], $8::bool[])
        """,
        gateway,
        [row.account_id for row in rows],
        [row.application_id for row in rows],
        [_storable(row.number) for row in rows],
        [_storable(row.reply.destination) for row in rows],
        [_storable(row.reply.text) for row in rows],
        [row.reply.received_at for row in rows],
        [bool(row.opting_out) for row in rows],
    )


# --- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReplyView:
    """A reply as its account sees it."""

    id: int
    number: str
    """E.164 with plus, or what the carrier gave if that is no number."""
    sender: str
    """The sender it answers."""
    text: str
    received_at: datetime
    opted_out: bool
    """Whether it put its number on the account's list of opt-outs, or would have."""
    application_id: int | None


@dataclass(frozen=True, slots=True)
class ReplyFilter:
    """Which replies of an account to list; None means any."""

    number_ends_with: str | None = None
    opted_out: bool | None = None

    def check(self) -> None:
        """Raise `InvalidInput` unless `number_ends_with` has 1 to 15 digits."""
        digits = self.number_ends_with
        if digits is not None and not (1 <= len(digits) <= 15 and digits.isascii() and digits.isdigit()):
            raise InvalidInput("numberEndsWith takes 1 to 15 digits.", "filter", "numberEndsWith")


_REPLIES = """
    SELECT id, number, sender, text, received_at, opted_out, application_id FROM reply
    WHERE account_id = $1
      AND ($2::text IS NULL OR right(number, length($2)) = $2)
      AND ($3::bool IS NULL OR opted_out = $3)
"""


async def list_replies(
    account_id: int, filter_: ReplyFilter, *, first: int = 50, after: str | None = None
) -> Page[ReplyView]:
    """A page of the account's replies, newest first. Raises `InvalidInput`."""
    paging.check_size(first)
    filter_.check()
    key = paging.decode_cursor("replies", after, (int,))
    rows = await db.fetch(
        f"{_REPLIES} AND ($4::bigint IS NULL OR id < $4) ORDER BY id DESC LIMIT $5",
        account_id,
        filter_.number_ends_with,
        filter_.opted_out,
        key[0] if key else None,
        first + 1,
    )
    return paging.page_of(
        rows, first, "replies", item=_view, key=lambda row: [row["id"]], after=key is not None
    )


async def count_replies(account_id: int, filter_: ReplyFilter) -> int:
    """How many of the account's replies the filter lets through. Raises `InvalidInput`."""
    filter_.check()
    count: int = await db.fetchval(
        f"SELECT count(*) FROM ({_REPLIES}) AS found",
        account_id,
        filter_.number_ends_with,
        filter_.opted_out,
    )
    return count


async def find_reply(account_id: int, reply_id: int) -> ReplyView | None:
    """A reply that this account sees, or None."""
    row = await db.fetchrow(f"{_REPLIES} AND id = $4", account_id, None, None, reply_id)
    return _view(row) if row else None


def _view(row: asyncpg.Record) -> ReplyView:
    return ReplyView(**row)
