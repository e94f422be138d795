"""How much of its sending limits an account uses, and the refusal of what would be more.

A task counts, with all its messages and their segments, for the day and the month of its planned time, from
the transaction on that stores it. What is not sent is given back: by canceling at once, at the end of a
stopped or late task by the sweep, and exactly once, for it is what the task's reservation tells, and that is
deleted by the statement that gives it back.

Whoever counts adds to the day's and the month's row in one statement, which returns the sums and the limits
together: the rows are locked then, so of many at the same moment only as many fit as there is room for. The
rows are locked in one order, after the task's and before the account's, so that nobody deadlocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import structlog

from domain import db, schedule
from domain.access import Viewer
from domain.db import Connection
from domain.errors import QuotaExceeded
from domain.metrics import SENDING_LIMIT_ALARMS
from domain.sending_limits import COLUMNS, Measure, SendingLimits
from domain.sending_periods import Period, day_of, first_day, next_first_day, start_of
from domain.task_warnings import TaskWarning, WarningCode

log = structlog.get_logger()

LOOK_AHEAD = 70
"""Days in which room is sought for what was refused: tasks are planned a month ahead at most."""
KEPT = timedelta(days=400)
"""How long the counts of past days and months are kept."""

_ADJECTIVES = {Period.DAY: "daily", Period.MONTH: "monthly"}


@dataclass(frozen=True, slots=True)
class Load:
    """What a task counts for."""

    messages: int
    segments: int

    def of(self, measure: Measure) -> int:
        """One of the two."""
        return self.messages if measure is Measure.MESSAGES else self.segments


Place = tuple[Period, date]
"""A period and its first day."""
Counts = Mapping[Place, Load]
"""What is counted for each."""
NOTHING = Load(0, 0)


@dataclass(frozen=True, slots=True)
class Used:
    """How much of one limit is used."""

    period: Period
    starts_on: date
    measure: Measure
    used: int
    limit: int

    def in_alarm(self, percent: int) -> bool:
        """Whether it is so many per cent of the limit, or more."""
        return self.used > 0 and self.used * 100 >= self.limit * percent

    def __str__(self) -> str:
        """For people."""
        of = f"{self.starts_on}" if self.period is Period.DAY else f"{self.starts_on:%Y-%m}"
        return (
            f"{self.used:,} of {self.limit:,} {self.measure} are used or planned for {of} "
            f"({_ADJECTIVES[self.period]} limit)"
        )


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of counting a task."""

    in_alarm: tuple[Used, ...]
    """Every limit that is used to its alarm threshold or more."""
    crossed: tuple[Used, ...]
    """Those of them that were not before."""

    def warnings(self) -> tuple[TaskWarning, ...]:
        """What the user is told of it."""
        if not self.in_alarm:
            return ()
        message = f"With this task {'; '.join(map(str, self.in_alarm))}."
        return (TaskWarning(WarningCode.SENDING_LIMIT_NEAR, message),)

    def log(self, account_id: int) -> None:
        """Log each threshold that was crossed; to be called after the commit, so that it is so."""
        for used in self.crossed:
            SENDING_LIMIT_ALARMS.inc()
            log.warning(
                "sending_limit_alarm",
                account_id=account_id,
                period=used.period.value,
                starts_on=used.starts_on.isoformat(),
                measure=used.measure.value,
                used=used.used,
                limit=used.limit,
            )


async def foresee(viewer: Viewer, send_at: datetime, load: Load, *path: str) -> Taken:
    """What `take` would do at this moment, without doing it.

    Raises `QuotaExceeded` for the input field `path`.
    """
    day = day_of(send_at, viewer.time_zone)
    limits, counts = await read_counts(viewer.account_id, day)
    added = places_of(day, load)
    after = {place: _plus(counts.get(place, NOTHING), load) for place in added}
    _refuse_beyond(viewer, limits, counts, after, day, load, path)
    return _taken(limits, after, load)


async def take(
    conn: Connection, viewer: Viewer, task_id: int, send_at: datetime, load: Load, *path: str
) -> Taken:
    """Count a new task, in the transaction that stores it and shortly before its end: others wait for it.

    Raises `QuotaExceeded`, and the transaction must fail with it.
    """
    day = day_of(send_at, viewer.time_zone)
    await conn.execute(
        """
        INSERT INTO sending_reservation (task_id, account_id, day, messages, segments)
        VALUES ($1, $2, $3, $4, $5)
        """,
        task_id,
        viewer.account_id,
        day,
        load.messages,
        load.segments,
    )
    return await _add(conn, viewer, places_of(day, load), day, load, path)


async def move(conn: Connection, viewer: Viewer, task_id: int, send_at: datetime) -> Taken:
    """Count a task for another time, in the transaction that has given it to it.

    Raises `QuotaExceeded`, and the transaction must fail with it.
    """
    day = day_of(send_at, viewer.time_zone)
    moved = await conn.fetchrow(
        """
        UPDATE sending_reservation new SET day = $2
        FROM (SELECT task_id, day FROM sending_reservation WHERE task_id = $1 FOR UPDATE) AS old
        WHERE new.task_id = old.task_id
        RETURNING old.day, new.messages, new.segments
        """,
        task_id,
        day,
    )
    if moved is None:
        return Taken((), ())  # made by an older version of this service, which did not count
    load = Load(moved["messages"], moved["segments"])
    changes: dict[Place, Load] = dict(places_of(day, load))
    for place in places_of(moved["day"], load):
        if place in changes:
            del changes[place]
        else:
            changes[place] = Load(-load.messages, -load.segments)
    return await _add(conn, viewer, changes, day, load, ("sendAt",))


async def give_back(conn: Connection, task_id: int) -> None:
    """Give back what a task counts for and will not send, if it has not been given back already.

    To be called in the transaction that has canceled the task, or once it can send no more.
    """
    given = await conn.fetchrow(
        """
        DELETE FROM sending_reservation r WHERE task_id = $1
        RETURNING account_id, day, messages, segments, (
            SELECT coalesce(sum(unknown + delivered + failed), 0)::bigint
            FROM task_counter WHERE task_id = r.task_id
        ) AS sent
        """,
        task_id,
    )
    if given is None or given["sent"] == given["messages"]:
        return
    unsent = given["messages"] - given["sent"]
    load = Load(-unsent, -unsent * (given["segments"] // given["messages"]))
    await _change(conn, given["account_id"], places_of(given["day"], load))


async def give_back_of_ended() -> None:
    """Give back what ended tasks did not send: stopped, late, opted out, or canceled by the system."""
    ended = await db.fetch(
        """
        SELECT r.task_id FROM sending_reservation r LEFT JOIN task t ON t.id = r.task_id
        WHERE t.id IS NULL OR t.status IN ('CANCELED', 'SENT', 'COMPLETED')
           OR t.status = 'STOPPED' AND t.rest_not_sent
        """
    )
    for row in ended:
        async with db.transaction() as conn:
            await give_back(conn, row["task_id"])


async def forget_old() -> None:
    """Drop the counts of days and months long past."""
    await db.fetch("DELETE FROM sending_usage WHERE starts_on < (groupsms_now() - $1::interval)::date", KEPT)


def places_of(day: date, load: Load) -> dict[Place, Load]:
    """The day and the month for which a task of that day counts."""
    return {(period, first_day(period, day)): load for period in Period}


def _plus(one: Load, other: Load) -> Load:
    return Load(one.messages + other.messages, one.segments + other.segments)


async def read_counts(account_id: int, since: date) -> tuple[SendingLimits, Counts]:
    """The limits, and what is counted for the month of a day, the day and all after it."""
    rows = await db.fetch(
        f"""
        SELECT {", ".join(COLUMNS)}, period, starts_on, messages, segments
        FROM (SELECT $1::bigint AS account_id) AS asked
        LEFT JOIN sending_limit USING (account_id)
        LEFT JOIN sending_usage u ON u.account_id = asked.account_id
            AND (starts_on >= $2 OR period = 'MONTH' AND starts_on = $3)
        """,
        account_id,
        since,
        since.replace(day=1),
    )
    counts = {
        (Period(row["period"]), row["starts_on"]): Load(row["messages"], row["segments"])
        for row in rows
        if row["period"] is not None
    }
    return SendingLimits.of_row(rows[0]), counts


async def _change(
    conn: Connection, account_id: int, changes: Mapping[Place, Load]
) -> tuple[SendingLimits, Counts]:
    """Add to the counts; returns the limits, and the sums that come of it."""
    rows = await conn.fetch(
        f"""
        WITH counted AS (
            INSERT INTO sending_usage AS u (account_id, period, starts_on, messages, segments)
            SELECT $1, period, starts_on, messages, segments
            FROM unnest($2::text[], $3::date[], $4::bigint[], $5::bigint[])
                AS c (period, starts_on, messages, segments)
            ORDER BY period, starts_on
            ON CONFLICT (account_id, period, starts_on)
                DO UPDATE SET messages = u.messages + excluded.messages,
                              segments = u.segments + excluded.segments
            RETURNING account_id, period, starts_on, messages, segments
        )
        SELECT {", ".join(COLUMNS)}, period, starts_on, messages, segments
        FROM counted LEFT JOIN sending_limit USING (account_id)
        """,
        account_id,
        [period.value for period, _ in changes],
        [starts_on for _, starts_on in changes],
        [load.messages for load in changes.values()],
        [load.segments for load in changes.values()],
    )
    counts = {
        (Period(row["period"]), row["starts_on"]): Load(row["messages"], row["segments"]) for row in rows
    }
    return SendingLimits.of_row(rows[0]), counts


async def _add(
    conn: Connection,
    viewer: Viewer,
    changes: Mapping[Place, Load],
    day: date,
    load: Load,
    path: Sequence[str],
) -> Taken:
    """Make the changes that let a task count for a day."""
    if not changes:
        return Taken((), ())
    limits, counts = await _change(conn, viewer.account_id, changes)
    after = {place: counts[place] for place, change in changes.items() if change.messages > 0}
    if _exceeded(limits, after):
        _, counts = await read_counts(viewer.account_id, day)
        without = Load(-load.messages, -load.segments)
        before = {**counts, **{place: _plus(counts[place], without) for place in places_of(day, load)}}
        _refuse_beyond(viewer, limits, before, after, day, load, path)
    return _taken(limits, after, load)


def _uses(limits: SendingLimits, counts: Counts) -> Iterator[Used]:
    for (period, starts_on), load in counts.items():
        for measure in Measure:
            limit = limits.of(period, measure)
            if limit is not None:
                yield Used(period, starts_on, measure, load.of(measure), limit)


def _exceeded(limits: SendingLimits, counts: Counts) -> list[Used]:
    return [use for use in _uses(limits, counts) if use.used > use.limit]


def in_alarm(limits: SendingLimits, counts: Counts) -> list[Used]:
    """The limits that are used to the alarm threshold or more."""
    return [use for use in _uses(limits, counts) if use.in_alarm(limits.alarm_percent)]


def _taken(limits: SendingLimits, after: Counts, load: Load) -> Taken:
    alarmed = in_alarm(limits, after)
    crossed = [
        use for use in alarmed if (use.used - load.of(use.measure)) * 100 < use.limit * limits.alarm_percent
    ]
    return Taken(tuple(alarmed), tuple(crossed))


def _refuse_beyond(
    viewer: Viewer,
    limits: SendingLimits,
    before: Counts,
    after: Counts,
    day: date,
    load: Load,
    path: Sequence[str],
) -> None:
    """Raise `QuotaExceeded` if a limit does not allow `after`, what comes of a task being counted for a day.

    `before` is what is counted without that task.
    """
    exceeded = _exceeded(limits, after)
    if not exceeded:
        return
    retry_at = _room(viewer, limits, before, load, day)
    what = []
    for use in exceeded:
        used = use.used - load.of(use.measure)
        of = f"{use.starts_on}" if use.period is Period.DAY else f"{use.starts_on:%Y-%m}"
        what.append(
            f"the account's {_ADJECTIVES[use.period]} limit is {use.limit:,} {use.measure}; for {of} "
            f"{used:,} are used or planned, {max(0, use.limit - used):,} are left, and this task has "
            f"{load.of(use.measure):,}"
        )
    when = (
        "It is too large for any day."
        if retry_at is None
        else f"From {schedule.local_iso(retry_at, viewer.time_zone)} on there is room."
    )
    sentence = "; ".join(what)
    raise QuotaExceeded(f"{sentence[0].upper()}{sentence[1:]}. {when}", *path, retry_at=retry_at)


def _room(viewer: Viewer, limits: SendingLimits, counts: Counts, load: Load, day: date) -> datetime | None:
    """When the first day after this one begins that has room for so much, and a month that has.

    None if there never is.
    """
    for _ in range(LOOK_AHEAD):
        day = next_first_day(Period.DAY, day)
        after = {place: _plus(counts.get(place, NOTHING), load) for place in places_of(day, load)}
        if not _exceeded(limits, after):
            return start_of(day, viewer.time_zone)
    return None
