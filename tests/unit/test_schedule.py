"""Send times: one calendar month in the account's zone ("Life of a task" in the guide)."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import SendTimeError
from domain.schedule import check_send_time, local_iso, month_later

ZONES = ("Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("zone", "now", "latest"),
    [
        ("Asia/Shanghai", "2026-03-15T09:00+08:00", "2026-04-15T09:00+08:00"),
        ("Asia/Shanghai", "2026-12-15T09:00+08:00", "2027-01-15T09:00+08:00"),
        ("Asia/Shanghai", "2026-01-31T09:00+08:00", "2026-02-28T09:00+08:00"),
        ("Asia/Shanghai", "2028-01-31T09:00+08:00", "2028-02-29T09:00+08:00"),
        ("Asia/Shanghai", "2028-01-30T09:00+08:00", "2028-02-29T09:00+08:00"),
        ("Asia/Shanghai", "2026-02-28T09:00+08:00", "2026-03-28T09:00+08:00"),
        ("Asia/Shanghai", "2026-05-31T23:59:59+08:00", "2026-06-30T23:59:59+08:00"),
        # The month is the account's, not that of UTC: there it is still the 30th, and still January.
        ("Asia/Shanghai", "2026-01-30T20:00Z", "2026-02-28T04:00+08:00"),
        ("Asia/Shanghai", "2026-01-31T20:00Z", "2026-03-01T04:00+08:00"),
        # The clocks go forward on 29 March 2026 and back on 25 October; the hour of the day stays.
        ("Europe/Berlin", "2026-03-15T09:00+01:00", "2026-04-15T09:00+02:00"),
        ("Europe/Berlin", "2026-10-15T09:00+02:00", "2026-11-15T09:00+01:00"),
        # 02:30 does not exist that day: the time after the gap.
        ("Europe/Berlin", "2027-02-28T02:30+01:00", "2027-03-28T03:30+02:00"),
        # 02:30 comes twice that day: the second time counts.
        ("Europe/Berlin", "2026-09-25T02:30+02:00", "2026-10-25T02:30+01:00"),
        # 02:30 came twice on the day of now.
        ("Europe/Berlin", "2026-10-25T02:30+02:00", "2026-11-25T02:30+01:00"),
        ("Europe/Berlin", "2026-10-25T02:30+01:00", "2026-11-25T02:30+01:00"),
        ("America/New_York", "2026-02-08T02:30-05:00", "2026-03-08T03:30-04:00"),
        ("America/New_York", "2026-10-01T01:30-04:00", "2026-11-01T01:30-05:00"),
        ("Australia/Lord_Howe", "2026-09-04T02:15+10:30", "2026-10-04T02:45+11:00"),
    ],
)
def test_a_month_is_one_of_the_calendar_in_the_accounts_zone(zone: str, now: str, latest: str) -> None:
    assert month_later(at(now), zone) == at(latest)
    assert check_send_time(at(latest), at(now), zone) == at(latest)
    with pytest.raises(SendTimeError) as refused:
        check_send_time(at(latest) + timedelta(seconds=1), at(now), zone)
    assert refused.value.latest == at(latest)
    assert refused.value.message == (
        "sendAt is more than a month ahead: the latest time possible now is "
        f"{at(latest).astimezone(ZoneInfo(zone)).isoformat()}."
    )


moments = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(moments, st.sampled_from(ZONES))
def test_a_month_later_is_next_month_at_the_same_hour_or_after_a_gap(moment: datetime, zone: str) -> None:
    now = moment.astimezone(ZoneInfo(zone))
    later = month_later(moment, zone).astimezone(ZoneInfo(zone))
    assert (later.year * 12 + later.month) - (now.year * 12 + now.month) == 1
    assert later.day == min(now.day, calendar.monthrange(later.year, later.month)[1])
    shift = later.replace(tzinfo=None) - later.replace(tzinfo=None, hour=now.hour, minute=now.minute)
    assert shift in {timedelta(0), timedelta(minutes=30), timedelta(hours=1)}


@given(moments, moments, st.sampled_from(ZONES))
def test_more_time_never_allows_less(one: datetime, other: datetime, zone: str) -> None:
    earlier, later = sorted((one, other))
    # An hour that comes twice is all that can be lost: both of its halves have the same latest time.
    assert month_later(earlier, zone) <= month_later(later, zone) + timedelta(hours=1)


@given(moments, st.timedeltas(timedelta(0), timedelta(days=27, hours=22)), st.sampled_from(ZONES))
def test_any_time_within_the_shortest_month_is_taken_and_kept(
    now: datetime, ahead: timedelta, zone: str
) -> None:
    send_at = (now + ahead).astimezone(ZoneInfo("Asia/Kathmandu"))
    accepted = check_send_time(send_at, now, zone)
    assert accepted == now + ahead
    assert accepted.tzinfo is UTC


def test_no_time_is_now() -> None:
    now = at("2026-05-01T12:00:00.123456+02:00")
    assert check_send_time(None, now, "Asia/Shanghai") == now


def test_this_very_moment_is_not_in_the_past() -> None:
    now = at("2026-05-01T12:00:00.123456Z")
    assert check_send_time(now, now, "UTC") == now


def test_a_time_in_the_past_is_refused_with_the_time_it_is_now() -> None:
    now = at("2026-05-01T12:00:00.123456Z")
    with pytest.raises(SendTimeError) as refused:
        check_send_time(now - timedelta(microseconds=1), now, "Asia/Shanghai")
    assert refused.value.message == (
        "sendAt is in the past: it is now 2026-05-01T20:00:00+08:00. Choose a later time."
    )
    assert refused.value.earliest == now
    assert refused.value.latest == at("2026-06-01T12:00:00.123456Z")
    assert refused.value.path == ("sendAt",)


def test_a_time_without_offset_is_refused() -> None:
    with pytest.raises(SendTimeError, match=r"no offset .* like 2026-06-01T20:00:00\+08:00"):
        check_send_time(datetime(2026, 5, 2, 9), at("2026-05-01T12:00Z"), "Asia/Shanghai")  # noqa: DTZ001


def test_messages_show_moments_in_the_accounts_zone() -> None:
    assert local_iso(at("2026-07-01T22:00:00.9Z"), "Europe/Berlin") == "2026-07-02T00:00:00+02:00"
    assert local_iso(at("2026-01-01T22:00Z"), "UTC") == "2026-01-01T22:00:00+00:00"
