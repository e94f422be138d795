"""Advised hours for every task, promotion hours for every number ("What a task needs" in the guide)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType
from phonenumbers.timezone import time_zones_for_number
from phonenumbers.tzdata import TIMEZONE_DATA

from domain.sending_hours import (
    SEARCH,
    advised_hours_warning,
    may_send_promotion,
    next_window,
    time_zones,
)
from domain.states import Region

MAINLAND = Region.CHINESE_MAINLAND
INTERNATIONAL = Region.INTERNATIONAL

SHANGHAI = "+8613800138000"
NEW_YORK = "+12125550123"
BERLIN = "+4915112345678"
TOLL_FREE = "+18005550123"
RUSSIAN_MOBILE = "+79161234567"
SATELLITE = "+870773123456"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("send_at", "advised"),
    [
        ("2026-05-01T07:59:59+08:00", False),
        ("2026-05-01T08:00:00+08:00", True),
        ("2026-05-01T21:00:00+08:00", True),
        ("2026-05-01T21:00:01+08:00", False),
        ("2026-05-01T03:00:00Z", True),
        ("2026-05-01T15:00:00Z", False),
    ],
)
def test_mainland_hours_are_shanghais_whatever_the_accounts_zone(send_at: str, advised: bool) -> None:
    assert (advised_hours_warning(at(send_at), MAINLAND, "America/New_York") is None) is advised


@pytest.mark.parametrize(
    ("send_at", "advised"),
    [
        ("2026-03-28T07:30:00Z", True),
        ("2026-03-28T06:30:00Z", False),
        # Summer time begins in the night: the same hour of UTC is an hour later in Berlin.
        ("2026-03-29T06:30:00Z", True),
        ("2026-03-29T19:30:00Z", False),
    ],
)
def test_international_hours_are_the_accounts(send_at: str, advised: bool) -> None:
    assert (advised_hours_warning(at(send_at), INTERNATIONAL, "Europe/Berlin") is None) is advised


def test_the_warning_names_time_zone_and_hours() -> None:
    assert advised_hours_warning(at("2026-05-01T15:00:00Z"), MAINLAND, "Europe/Berlin") == (
        "2026-05-01T23:00:00+08:00 (Asia/Shanghai) is outside the advised hours, 08:00 to 21:00."
    )


@pytest.mark.parametrize(
    ("number", "moment", "allowed"),
    [
        (SHANGHAI, "2026-05-01T07:59:59.999999+08:00", False),
        (SHANGHAI, "2026-05-01T08:00:00+08:00", True),
        (SHANGHAI, "2026-05-01T21:59:59.999999+08:00", True),
        (SHANGHAI, "2026-05-01T22:00:00+08:00", False),
        (NEW_YORK, "2026-05-01T12:00:00Z", True),
        (NEW_YORK, "2026-05-01T11:59:59Z", False),
        (NEW_YORK, "2026-12-01T12:00:00Z", False),
        (SATELLITE, "2026-05-01T08:00:00Z", True),
        (SATELLITE, "2026-05-01T07:59:00Z", False),
        # Morning in New York is night in Honolulu, evening in Honolulu night in New York.
        (TOLL_FREE, "2026-12-01T15:00:00Z", False),
        (TOLL_FREE, "2026-12-01T22:30:00Z", True),
        (TOLL_FREE, "2026-12-02T05:00:00Z", False),
        # Morning in Moscow is evening in Kamchatka, and in Bucharest not yet eight.
        (RUSSIAN_MOBILE, "2026-12-01T05:30:00Z", False),
        (RUSSIAN_MOBILE, "2026-12-01T06:00:00Z", True),
        (RUSSIAN_MOBILE, "2026-12-01T10:00:00Z", False),
    ],
)
def test_promotion_goes_out_when_it_is_day_wherever_the_recipient_may_be(
    number: str, moment: str, allowed: bool
) -> None:
    assert may_send_promotion(number, at(moment)) is allowed


@pytest.mark.parametrize(
    ("number", "moment", "window"),
    [
        (SHANGHAI, "2026-05-01T12:34:56.789+08:00", "2026-05-01T12:34:56.789+08:00"),
        (SHANGHAI, "2026-05-01T22:00:00+08:00", "2026-05-02T08:00:00+08:00"),
        (SHANGHAI, "2026-05-02T03:00:30+08:00", "2026-05-02T08:00:00+08:00"),
        (BERLIN, "2026-03-28T22:30:00+01:00", "2026-03-29T08:00:00+02:00"),
        (BERLIN, "2026-10-24T22:30:00+02:00", "2026-10-25T08:00:00+01:00"),
        (TOLL_FREE, "2026-12-01T15:00:00Z", "2026-12-01T22:00:00Z"),
        (RUSSIAN_MOBILE, "2026-12-01T10:00:00Z", "2026-12-02T06:00:00Z"),
    ],
)
def test_outside_the_hours_a_message_waits_for_the_next_window(number: str, moment: str, window: str) -> None:
    assert next_window(number, at(moment)) == at(window)


numbers = st.sampled_from([SHANGHAI, NEW_YORK, BERLIN, TOLL_FREE, RUSSIAN_MOBILE, SATELLITE, "+61412345678"])
moments = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(numbers, moments, st.floats(0, 1, exclude_max=True))
def test_the_next_window_is_open_and_nothing_before_it_is(
    number: str, moment: datetime, share: float
) -> None:
    window = next_window(number, moment)
    assert may_send_promotion(number, window)
    assert timedelta(0) <= window - moment < timedelta(days=1)
    between = moment + (window - moment) * share
    assert between == window or not may_send_promotion(number, between)


@given(numbers, moments)
def test_the_hours_are_those_of_every_zone(number: str, moment: datetime) -> None:
    hours = {moment.astimezone(ZoneInfo(zone)).hour for zone in time_zones(number)}
    assert may_send_promotion(number, moment) is (min(hours) >= 8 and max(hours) < 22)


@pytest.mark.parametrize("month", range(1, 13))
def test_wherever_a_number_may_be_there_is_a_window_every_day(month: int) -> None:
    moment = datetime(2026, month, 15, tzinfo=UTC)
    prefixes = {tuple(zones): prefix for prefix, zones in TIMEZONE_DATA.items()}
    for prefix in prefixes.values():
        number = f"+{prefix.ljust(11, '2')}"
        assert next_window(number, moment) - moment < timedelta(days=1) < SEARCH, number


def test_a_whole_block_has_the_zones_phonenumbers_knows_for_one_of_it() -> None:
    compared = 0
    for region in phonenumbers.SUPPORTED_REGIONS:
        for kind in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE, PhoneNumberType.TOLL_FREE):
            example = phonenumbers.example_number_for_type(region, kind)
            if example is None or region == "BQ":  # its one example lies in a block shared with Curaçao
                continue
            number = phonenumbers.format_number(example, PhoneNumberFormat.E164)
            assert time_zones(number) == time_zones_for_number(example), number
            compared += 1
    assert compared > 500


@pytest.mark.parametrize(
    ("number", "zones"),
    [
        (SHANGHAI, ("Asia/Shanghai",)),
        (SATELLITE, ("UTC",)),
        ("+80012345678", ("UTC",)),
        ("+999123", ("UTC",)),
        ("+6834000", ("Pacific/Niue",)),
        # Not assigned as far as phonenumbers knows, so its leading digits decide.
        ("+19175550123", ("America/New_York",)),
    ],
)
def test_every_number_has_a_zone(number: str, zones: tuple[str, ...]) -> None:
    assert time_zones(number) == zones
