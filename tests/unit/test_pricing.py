"""Prices and estimates ("Money" in the guide)."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from domain.pricing import (
    CountryEstimate,
    PriceList,
    PricesError,
    country_of,
    estimate,
    parse_prices,
)
from domain.states import Region, SmsType

MAINLAND = Region.CHINESE_MAINLAND
INTERNATIONAL = Region.INTERNATIONAL
NOTIFICATION = SmsType.NOTIFICATION
PROMOTION = SmsType.PROMOTION

PRICES = """
{"CNY": {"CHINESE_MAINLAND": {"NOTIFICATION": "0.045", "PROMOTION": {"86": "0.055", "86170": "0.06"}},
         "INTERNATIONAL": {"*": {"1": "0.06", "1787": "0.21", "44": "0.31"},
                           "PROMOTION": {"44": "0.33", "49": "0"}}},
 "EUR": {"INTERNATIONAL": {"*": "0.1"}}}
"""
CNY = parse_prices(PRICES)["CNY"]


@pytest.mark.parametrize(
    ("region", "sms_type", "digits", "price"),
    [
        (MAINLAND, NOTIFICATION, "8613800138000", "0.045"),
        (MAINLAND, PROMOTION, "8613800138000", "0.055"),
        (MAINLAND, PROMOTION, "8617000138000", "0.06"),
        (MAINLAND, SmsType.VERIFICATION_CODE, "8613800138000", None),
        (INTERNATIONAL, NOTIFICATION, "12125550123", "0.06"),
        (INTERNATIONAL, NOTIFICATION, "17875550123", "0.21"),
        (INTERNATIONAL, NOTIFICATION, "447911123456", "0.31"),
        (INTERNATIONAL, NOTIFICATION, "4915112345678", None),
        (INTERNATIONAL, PROMOTION, "447911123456", "0.33"),
        (INTERNATIONAL, PROMOTION, "4915112345678", "0"),
        # A type that is named has its own list, and nothing of `*`.
        (INTERNATIONAL, PROMOTION, "12125550123", None),
    ],
)
def test_the_longest_leading_digits_win(
    region: Region, sms_type: SmsType, digits: str, price: str | None
) -> None:
    assert CNY.price(region, sms_type, digits) == (None if price is None else Decimal(price))


def test_the_example_in_the_readme_costs_what_the_readme_says() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    example = re.search(r"## Prices\n.*?```json\n(.*?)```", readme, re.DOTALL)
    assert example
    prices = parse_prices(example[1])
    assert set(prices) == {"CNY", "EUR"}
    assert prices["CNY"].price(INTERNATIONAL, NOTIFICATION, "17875550123") == Decimal("0.21")
    assert prices["CNY"].price(INTERNATIONAL, NOTIFICATION, "12125550123") == Decimal("0.06")
    assert prices["CNY"].price(INTERNATIONAL, PROMOTION, "12125550123") is None


def test_each_currency_has_its_own_table() -> None:
    tables = parse_prices(PRICES)
    assert tables.keys() == {"CNY", "EUR"}
    assert tables["EUR"].price(INTERNATIONAL, PROMOTION, "4915112345678") == Decimal("0.1")
    assert tables["EUR"].price(MAINLAND, PROMOTION, "8613800138000") is None


@pytest.mark.parametrize("text", ["", "  \n", "{}"])
def test_no_prices_are_no_mistake(text: str) -> None:
    assert parse_prices(text) == {}


def _international(prices: object) -> str:
    return json.dumps({"EUR": {"INTERNATIONAL": {"PROMOTION": prices}}})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is not valid JSON (line 1, column 2: Expecting property name enclosed in double quotes)"),
        ("[" * 100_000, "is nested too deeply"),
        ("[]", "has at the top something other than a JSON object"),
        ('{"eur": {}}', "has 'eur' for a currency; write it like EUR"),
        ('{"EUR": "0.1"}', "has at EUR something other than a JSON object"),
        (
            '{"EUR": {"EUROPE": {}}}',
            "has at EUR 'EUROPE' for a region (CHINESE_MAINLAND, INTERNATIONAL)",
        ),
        (
            '{"EUR": {"INTERNATIONAL": {"ADVERTS": "0.1"}}}',
            "has at EUR, INTERNATIONAL 'ADVERTS' for an SMS type "
            "(VERIFICATION_CODE, NOTIFICATION, PROMOTION or *)",
        ),
        ('{"EUR": {}, "EUR": {}}', "names 'EUR' twice in one place"),
        (
            _international({"+44": "0.1"}),
            "has at EUR, INTERNATIONAL, PROMOTION '+44' for leading digits; write them like 44, "
            "without a plus",
        ),
        (
            _international({"999": "0.1"}),
            "has at EUR, INTERNATIONAL, PROMOTION the leading digits 999, which begin with no calling code",
        ),
        (
            _international({"86": "0.1"}),
            "has at EUR, INTERNATIONAL, PROMOTION the leading digits 86: those of the mainland, alone, "
            "are 86",
        ),
        (
            _international({"44": 0.1}),
            'has at EUR, INTERNATIONAL, PROMOTION, 44 the price 0.1; write it as a string like "0.045"',
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(PricesError) as refused:
        parse_prices(text)
    assert str(refused.value) == complaint


@pytest.mark.parametrize(
    "price",
    [None, True, 1, 0.1, "", "-0.1", "+0.1", "0,1", ".1", "1.", "1e3", "NaN", "Infinity", "٠.١", "1234567",
     "0.123456789", [], " 0.1", "0.1\n"],
)  # fmt: skip
def test_a_price_is_a_plain_decimal_in_a_string(price: object) -> None:
    with pytest.raises(PricesError, match="write it as a string"):
        parse_prices(_international(price))
    with pytest.raises(PricesError, match="44 the price"):
        parse_prices(_international({"44": price}))


def test_a_mainland_price_is_for_mainland_numbers_alone() -> None:
    with pytest.raises(PricesError, match="leading digits 44"):
        parse_prices('{"EUR": {"CHINESE_MAINLAND": {"PROMOTION": {"44": "0.1"}}}}')


def test_an_estimate_counts_countries_apart_and_prices_apart() -> None:
    numbers = [12125550123, 12125550124, 14165550123, 17875550123, 447400123456, 4915112345678]
    estimated = estimate(CNY.price_list(INTERNATIONAL, NOTIFICATION), INTERNATIONAL, numbers, 3)
    price = Decimal("0.06")
    assert estimated.countries == (
        CountryEstimate(1, "US", 2, 6, price, Decimal("0.36")),
        CountryEstimate(1, "CA", 1, 3, price, Decimal("0.18")),
        CountryEstimate(1, "PR", 1, 3, Decimal("0.21"), Decimal("0.63")),
        CountryEstimate(44, "GB", 1, 3, Decimal("0.31"), Decimal("0.93")),
        CountryEstimate(49, "DE", 1, 3, None, Decimal(0)),
    )
    assert estimated.segments == 18
    assert estimated.amount == Decimal("2.10")
    assert (
        estimated.no_price_warning() == "There is no price for DE (+49): what is sent there counts as zero."
    )


def test_a_country_with_several_prices_has_an_entry_for_each() -> None:
    numbers = [8613800138000, 8617000138000, 8613900139000]
    estimated = estimate(CNY.price_list(MAINLAND, PROMOTION), MAINLAND, numbers, 1)
    assert estimated.countries == (
        CountryEstimate(86, "CN", 2, 2, Decimal("0.055"), Decimal("0.11")),
        CountryEstimate(86, "CN", 1, 1, Decimal("0.06"), Decimal("0.06")),
    )
    assert estimated.no_price_warning() is None


def test_a_price_of_zero_is_a_price() -> None:
    estimated = estimate(CNY.price_list(INTERNATIONAL, PROMOTION), INTERNATIONAL, [4915112345678], 1)
    assert estimated.no_price_warning() is None
    assert estimated.amount == 0


def test_nothing_costs_nothing() -> None:
    estimated = estimate(PriceList({}), INTERNATIONAL, [], 1)
    assert estimated.countries == ()
    assert estimated.segments == 0
    assert estimated.amount == 0


prefixes = st.sampled_from(["1", "1787", "1212", "44", "447", "447911", "49", "39", "7", "77"])
prices = st.decimals("0", "999999.99999999", places=8).map(lambda price: Decimal(f"{price:f}"))
price_lists = st.dictionaries(prefixes, prices).map(PriceList)
numbers = st.lists(
    st.tuples(
        st.sampled_from(["1212555", "1787555", "4479111", "4915112", "3906698", "7701234", "8707731"]),
        st.integers(0, 9999),
    ).map(lambda parts: int(f"{parts[0]}{parts[1]:04}")),
    unique=True,
)


@given(price_lists, numbers, st.integers(1, 10))
def test_an_estimate_is_exactly_the_sum_over_its_numbers(
    price_list: PriceList, to: list[int], segments: int
) -> None:
    estimated = estimate(price_list, INTERNATIONAL, to, segments)
    assert estimated.amount == sum((price_list.price(str(n)) or Decimal(0)) * segments for n in to)
    assert sum(country.numbers for country in estimated.countries) == len(to)
    assert estimated.segments == len(to) * segments
    unpriced = {country_of(str(n)) for n in to if price_list.price(str(n)) is None}
    assert {(c.calling_code, c.region) for c in estimated.countries if c.unit_price is None} == unpriced


@given(price_lists, st.sampled_from(["17875550123", "12125550123", "447911123456", "86138", "7"]))
def test_the_price_is_that_of_the_longest_fitting_digits(price_list: PriceList, digits: str) -> None:
    fitting = [prefix for prefix in price_list.prices if digits.startswith(prefix)]
    assert price_list.price(digits) == (price_list.prices[max(fitting, key=len)] if fitting else None)


@given(price_lists)
def test_prices_survive_being_stored(price_list: PriceList) -> None:
    stored = json.loads(json.dumps(price_list.to_json()))
    assert PriceList.from_json(stored) == price_list


def test_countries_are_those_phonenumbers_knows() -> None:
    compared = 0
    for region in phonenumbers.SUPPORTED_REGIONS:
        for kind in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE):
            example = phonenumbers.example_number_for_type(region, kind)
            if example is not None:
                digits = phonenumbers.format_number(example, PhoneNumberFormat.E164)[1:]
                known = phonenumbers.region_code_for_number(example)
                assert country_of(digits) == (example.country_code, known), digits
                compared += 1
    assert compared > 400


@pytest.mark.parametrize(
    ("digits", "country"),
    [
        ("12125550123", (1, "US")),
        ("14165550123", (1, "CA")),
        ("447797123456", (44, "JE")),
        ("77012345678", (7, "KZ")),
        ("3906698123", (39, "VA")),
        ("878101234567", (878, "001")),
        # Assigned to nobody yet: the largest of those who share the code.
        ("19995550123", (1, "US")),
        ("999", (0, "ZZ")),
    ],
)
def test_countries_that_share_a_calling_code_are_told_apart(digits: str, country: tuple[int, str]) -> None:
    assert country_of(digits) == country
