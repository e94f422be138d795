"""Receipts that fit nothing: what they may yet be about.

A receipt whose id and number no segment has is looked into after some seconds, and again at ever longer
intervals. It may write its id in another form than the answer to the submit did (`domain.gateway_ids`), or be
about a message in doubt: one handed over by a worker that died, or lost its connection, before it was told
the id. It settles such a message where number, sender and time, or the echoed reference, leave no other.

Nothing is guessed while a message to that number is under way: the receipt may be that message's, whose id
will be known when it is settled. That is looked up rather than waited out, for how long an answer may take is
the gateway's to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

import asyncpg

from domain import db, gateway_ids, receipts, references, schedule
from domain.db import Connection
from domain.gateway_ids import IdForm

PATIENCE = timedelta(seconds=5)
"""How long a receipt is left to those who stored it, or are about to settle its segment."""
BATCH = 1000
MOST_BATCHES = 10
"""In one run, so that nothing else waits long for it."""
CLOCK_ERROR = timedelta(minutes=5)
"""How far the message centre's clock may be ahead of ours."""
STUCK = "30s"
"""After so long without a word the database drops whoever examines, for only one does at a time."""
_LOCK = 4_710_232

_Message: TypeAlias = tuple[int, int]
"""Task and position."""
_Reported: TypeAlias = tuple[str, int | None]
"""A receipt's id, and the segment it names, where several have the same id."""


async def examine(shard: int) -> set[int]:
    """Look into the receipts whose time has come; returns the tasks changed.

    One process does at a time; for any other there is nothing to do meanwhile.
    """
    changed: set[int] = set()
    for _ in range(MOST_BATCHES):
        taken, understood = await _examine_batch()
        if understood:
            changed |= await receipts.apply_stored(understood, shard)
        if taken < BATCH:
            break
    return changed


async def _examine_batch() -> tuple[int, list[int]]:
    """How many receipts were examined, and which of them can now be applied."""
    async with db.transaction() as conn:
        await conn.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{STUCK}'")
        if not await conn.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK):
            return 0, []
        rows = await conn.fetch(_TAKE, PATIENCE, BATCH, receipts.KEPT_FOR)
        strays = [Stray.of(row) for row in rows]
        if not strays:
            return 0, []
        forms = [(stray.id, form) for stray in strays for form in stray.other_forms]
        days = (
            min(row["stored_at"] for row in rows) - receipts.LATEST,
            max(row["stored_at"] for row in rows) + receipts.AHEAD,
        )
        leads = [
            Lead(**row)
            for row in await conn.fetch(
                _LEADS,
                [stray.id for stray in strays],
                [stray_id for stray_id, _ in forms],
                [form for _, form in forms],
                receipts.LATEST,
                receipts.AHEAD,
                schedule.RECEIPTS_WITHIN,
                CLOCK_ERROR,
                *days,
                await _tasks_being_sent(conn),
            )
        ]
        findings = find(strays, leads)
        await _record(conn, findings, days)
        return len(strays), findings.understood


async def _tasks_being_sent(conn: Connection) -> list[int]:
    """Tasks of which a worker holds something, when the strays are known already.

    What is taken up after this is sent after this, so none of the strays is about it.
    """
    rows = await conn.fetch("SELECT DISTINCT task_id FROM chunk WHERE state = 1")
    return [row["task_id"] for row in rows]


@dataclass(frozen=True, slots=True)
class Stray:
    """A receipt that fitted nothing when it was stored."""

    id: int
    """Its place in the inbox, which is the order of arrival."""
    gateway: str
    gateway_message_id: str
    sender: str | None
    reference: int | None
    segment: int | None
    other_forms: dict[str, IdForm]
    """What the answer to the submit may have called it, if the gateway is not known to use one form."""

    @classmethod
    def of(cls, row: asyncpg.Record) -> Stray:
        """Read it from its row of the inbox and its gateway's form."""
        one_form = row["same_id"] or row["form"] == IdForm.SAME
        return cls(
            row["id"],
            row["gateway"],
            row["gateway_message_id"],
            row["sender"],
            row["reference"],
            row["segment"],
            {} if one_form else gateway_ids.other_forms(row["gateway_message_id"]),
        )

    def fits(self, lead: Lead) -> bool:
        """Whether it names no other sender, reference or segment than the lead's."""
        if self.sender and lead.sender and _bare(self.sender) != _bare(lead.sender):
            return False
        if self.segment is not None and lead.index is not None and self.segment != lead.index:
            return False
        if self.reference is None:
            return True
        own = references.references_of(lead.task_id, lead.position, lead.segments)
        return self.reference in (own if lead.index is None else own[lead.index - 1 : lead.index])


def _bare(sender: str) -> str:
    """A sender as carriers write it somehow: no matter the plus sign, 00 for it, and capitals."""
    bare = sender.strip().removeprefix("+").casefold()
    return bare.removeprefix("00") if bare.isdigit() else bare


@dataclass(frozen=True, slots=True)
class Lead:
    """What a stray may be about: a segment, or all of a message that is under way."""

    stray_id: int
    kind: str
    """`exact`: a segment has its id after all; `form`: one has it in another form; `doubt`: one has no id;
    `under way`: the answer to a message to that number is still to come."""
    task_id: int
    position: int
    index: int | None
    segments: int
    """Of the message."""
    sender: str
    gateway_message_id: str | None
    unknown: bool
    """Whether its result is."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found out about a batch of strays."""

    understood: list[int]
    """Strays that now fit."""
    renamed: dict[int, str]
    """The id, as the answer to the submit had it, of strays that write it in another form."""
    assigned: dict[tuple[int, int, int], str]
    """The id of segments (task, position, index) that were in doubt."""
    shown: list[tuple[str, IdForm, str]]
    """Gateway, form, and the submit's id, of what agreed in another form."""


def find(strays: Sequence[Stray], leads: Sequence[Lead]) -> Findings:
    """Draw what conclusions there are to be drawn. Pure."""
    findings = Findings([], {}, {}, [])
    leads_of: dict[int, list[Lead]] = {}
    for lead in leads:
        leads_of.setdefault(lead.stray_id, []).append(lead)
    doubtful: list[tuple[Stray, list[Lead]]] = []
    for stray in strays:
        found = leads_of.get(stray.id, [])
        if any(lead.kind == "exact" for lead in found):
            findings.understood.append(stray.id)
            continue
        fitting = [lead for lead in found if lead.kind == "form" or stray.fits(lead)]
        if any(lead.kind == "under way" for lead in fitting):
            continue
        renamed = [lead for lead in fitting if lead.kind == "form"]
        if renamed:
            _rename(stray, renamed, findings)
        elif fitting:
            doubtful.append((stray, fitting))
    _assign(doubtful, findings)
    return findings


def _rename(stray: Stray, leads: Sequence[Lead], findings: Findings) -> None:
    ids = {lead.gateway_message_id for lead in leads}
    if len(ids) > 1:
        return
    (known_as,) = ids
    assert known_as is not None
    findings.understood.append(stray.id)
    findings.renamed[stray.id] = known_as
    if any(lead.unknown for lead in leads):
        findings.shown.append((stray.gateway, stray.other_forms[known_as], known_as))


def _assign(doubtful: Sequence[tuple[Stray, list[Lead]]], findings: Findings) -> None:
    """Give each message in doubt the ids of the receipts that can be about no other.

    With more ids than segments some of them are another message's, and nobody can say which.
    """
    free: dict[_Message, set[int]] = {}
    claims: dict[_Message, dict[_Reported, list[tuple[int, set[int]]]]] = {}
    for stray, leads in doubtful:
        messages = {(lead.task_id, lead.position) for lead in leads}
        if len(messages) > 1:
            continue
        (message,) = messages
        indexes = {lead.index for lead in leads if lead.index is not None}
        free.setdefault(message, set()).update(indexes)
        reported = (stray.gateway_message_id, stray.segment)
        claims.setdefault(message, {}).setdefault(reported, []).append((stray.id, indexes))
    for message, of_message in claims.items():
        for reported, index in _places(of_message, free[message]).items():
            findings.assigned[*message, index] = reported[0]
            findings.understood.extend(stray_id for stray_id, _ in of_message[reported])


def _places(claims: dict[_Reported, list[tuple[int, set[int]]]], free: set[int]) -> dict[_Reported, int]:
    """Which segment each of them is given; none where that is not possible for all of them."""
    places: dict[_Reported, int] = {}
    left = set(free)
    # Those that can be about one segment only come first, then the order of arrival counts.
    for reported, claimants in sorted(claims.items(), key=_choice):
        possible = left.intersection(*(indexes for _, indexes in claimants))
        if not possible:
            return {}
        places[reported] = min(possible)
        left.remove(min(possible))
    return places


def _choice(claim: tuple[_Reported, list[tuple[int, set[int]]]]) -> tuple[bool, int]:
    _, claimants = claim
    return min(len(indexes) for _, indexes in claimants) > 1, claimants[0][0]


async def _record(conn: Connection, findings: Findings, days: tuple[datetime, datetime]) -> None:
    if findings.renamed:
        await conn.execute(
            """
            UPDATE receipt_inbox r SET gateway_message_id = renamed.id
            FROM unnest($1::bigint[], $2::text[]) AS renamed (stray_id, id) WHERE r.id = renamed.stray_id
            """,
            list(findings.renamed),
            list(findings.renamed.values()),
        )
    if findings.assigned:
        await conn.execute(
            """
            UPDATE segment s SET gateway_message_id = assigned.id
            FROM unnest($1::bigint[], $2::int[], $3::smallint[], $4::text[])
                AS assigned (task_id, position, index, id)
            WHERE s.task_id = assigned.task_id AND s.position = assigned.position AND s.index = assigned.index
              AND s.gateway_message_id IS NULL AND s.result = 1 AND s.submitted_at BETWEEN $5 AND $6
            """,
            *map(list, zip(*findings.assigned, strict=True)),
            list(findings.assigned.values()),
            *days,
        )
    shown: dict[tuple[str, IdForm], list[str]] = {}
    for gateway, form, known_as in findings.shown:
        shown.setdefault((gateway, form), []).append(known_as)
    for (gateway, form), ids in sorted(shown.items()):
        await gateway_ids.note(conn, gateway, form, ids)


# The next look is after twice the time it has waited already. Whoever dies in between, it is looked at again.
_TAKE = """
WITH due AS (
    SELECT id FROM receipt_inbox WHERE next_look <= groupsms_now() - $1::interval
    ORDER BY next_look LIMIT $2 FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE receipt_inbox r
    SET next_look = least(groupsms_now() + 2 * (groupsms_now() - stored_at), stored_at + $3::interval)
    FROM due WHERE r.id = due.id
    RETURNING r.id, r.gateway, r.gateway_message_id, r.sender, r.reference, r.segment, r.same_id,
              r.stored_at
)
SELECT taken.*, f.form FROM taken LEFT JOIN gateway_id_form f USING (gateway) ORDER BY taken.id
"""

# One statement, so one moment: a message is seen under way, or settled with its id, or in doubt. OFFSET 0
# keeps it to index probes, where the planner, which knows nothing of the strays, would read whole tables. $8
# and $9 follow from what else is demanded: they tell PostgreSQL which days to look at, $10 which stores.
_LEADS = """
WITH stray AS MATERIALIZED (
    SELECT * FROM receipt_inbox WHERE id = ANY($1::bigint[])
), exact AS (
    SELECT DISTINCT ON (r.id) r.id AS stray_id, s.*
    FROM stray r JOIN segment s USING (gateway_message_id, gateway, number)
    WHERE (r.segment IS NULL OR r.segment = s.index)
      AND s.submitted_at BETWEEN r.stored_at - $4::interval AND r.stored_at + $5::interval
      AND s.submitted_at BETWEEN $8 AND $9
), form AS (
    SELECT r.id AS stray_id, s.*
    FROM unnest($2::bigint[], $3::text[]) AS other (stray_id, id)
    JOIN stray r ON r.id = other.stray_id
    CROSS JOIN LATERAL (
        SELECT * FROM segment
        WHERE gateway_message_id = other.id AND submitted_at BETWEEN $8 AND $9 OFFSET 0
    ) AS s
    WHERE s.gateway = r.gateway AND s.number = r.number
      AND s.submitted_at BETWEEN r.stored_at - $4::interval AND r.stored_at + $5::interval
), doubt AS (
    SELECT r.id AS stray_id, s.*
    FROM stray r
    CROSS JOIN LATERAL (
        SELECT * FROM segment
        WHERE number = r.number AND gateway_message_id IS NULL AND submitted_at BETWEEN $8 AND $9 OFFSET 0
    ) AS s
    WHERE s.gateway = r.gateway AND s.result = 1
      AND s.submitted_at BETWEEN r.stored_at - $6::interval AND r.stored_at + $5::interval
      AND (r.submitted_at IS NULL
           OR r.submitted_at BETWEEN s.submitted_at - $5::interval AND s.submitted_at + $7::interval)
      -- What was refused was not sent in full: its other segments without an id never left.
      AND NOT EXISTS (
          SELECT FROM segment refused
          WHERE refused.task_id = s.task_id AND refused.position = s.position
            AND refused.submitted_at = s.submitted_at AND refused.submitted_at BETWEEN $8 AND $9
            AND refused.result = 3 AND refused.gateway_message_id IS NULL
      )
), lead AS MATERIALIZED (
    SELECT 'exact' AS kind, * FROM exact
    UNION ALL SELECT 'form', * FROM form
    UNION ALL SELECT 'doubt', * FROM doubt
), under_way AS (
    SELECT DISTINCT r.id AS stray_id, m.task_id, m.position
    FROM chunk c
    JOIN task ON task.id = c.task_id
    JOIN message m ON m.task_id = c.task_id AND m.position BETWEEN c.first AND c.marked
    JOIN stray r ON r.number = m.number AND r.gateway = task.gateway
    WHERE c.state = 1 AND c.task_id = ANY($10::bigint[]) AND m.task_id = ANY($10::bigint[])
      AND m.result = 0 AND m.position <> ALL(c.returned)
      AND m.number IN (SELECT number FROM lead WHERE kind <> 'exact')
      AND (SELECT count(*) FROM lead WHERE kind <> 'exact') > 0
)
SELECT found.*, task.segments_per_message AS segments, task.sender
FROM (
    SELECT stray_id, kind, task_id, position, index, gateway_message_id, result = 1 AS unknown FROM lead
    UNION ALL SELECT stray_id, 'under way', task_id, position, NULL, NULL, TRUE FROM under_way
) AS found
JOIN task ON task.id = found.task_id
ORDER BY stray_id, task_id, position, index
"""
