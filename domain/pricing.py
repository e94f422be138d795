"""What a segment costs, and what a task will cost. Pure.

Source: "Money" in the guide. Prices are exact decimals by currency, region, SMS type and the leading digits
of the number, of which the longest that fits wins. They are configured as JSON:

    {"CNY": {"CHINESE_MAINLAND": {"NOTIFICATION": "0.045", "PROMOTION": "0.055"},
             "INTERNATIONAL": {"*": {"1": "0.06", "1787": "0.21", "44": "0.31"},
                               "PROMOTION": {"44": "0.33"}}}}

- `*` in place of an SMS type: every type that is not named beside it.
- A single price in place of leading digits: every number of the region.
- Prices are strings, so that no program on the way makes them binary fractions.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, cached_property

import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata

from domain.states import Region, SmsType

ANY_TYPE = "*"

_PRICE = re.compile(r"\d{1,6}(?:\.\d{1,8})?", re.ASCII)
"""Short enough that a sum over the largest task stays within the 28 digits of decimal arithmetic."""
_PREFIX = re.compile(r"[1-9]\d{0,14}", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}")
_MAINLAND = "86"


class PricesError(ValueError):
    """The configured prices can't be used. The text is one line, fit to follow the setting's name."""


@dataclass(frozen=True)
class PriceList:
    """The prices of a segment for one region and SMS type, by leading digits; "" is every number."""

    prices: Mapping[str, Decimal]

    def price(self, digits: str) -> Decimal | None:
        """The price of a segment to this number (E.164 digits, no plus sign); None if there is none."""
        for length in range(min(self.longest, len(digits)), -1, -1):
            if (price := self.prices.get(digits[:length])) is not None:
                return price
        return None

    @cached_property
    def longest(self) -> int:
        """How many leading digits can matter."""
        return max(map(len, self.prices), default=0)

    def to_json(self) -> dict[str, str]:
        """For keeping with a task, whose prices must not change under it."""
        return {prefix: str(price) for prefix, price in self.prices.items()}

    @classmethod
    def from_json(cls, stored: Mapping[str, str]) -> PriceList:
        """The reverse of `to_json`."""
        return cls({prefix: Decimal(price) for prefix, price in stored.items()})


_NO_PRICES = PriceList({})


@dataclass(frozen=True, slots=True)
class PriceTable:
    """All prices in one currency."""

    lists: Mapping[tuple[Region, SmsType], PriceList]

    def price_list(self, region: Region, sms_type: SmsType) -> PriceList:
        """The prices for one region and SMS type; perhaps none."""
        return self.lists.get((region, sms_type), _NO_PRICES)

    def price(self, region: Region, sms_type: SmsType, digits: str) -> Decimal | None:
        """The price of a segment to this number (E.164 digits, no plus sign); None if there is none."""
        return self.price_list(region, sms_type).price(digits)


@dataclass(frozen=True, slots=True)
class CountryEstimate:
    """What messages to one country come to; a country with several prices has one entry for each."""

    calling_code: int
    region: str
    """ISO 3166-1 of the country, or "001" for a calling code that is no country's."""
    numbers: int
    segments: int
    unit_price: Decimal | None
    """Of a segment; None if there is no price."""
    amount: Decimal
    """Zero without a price."""


@dataclass(frozen=True)
class Estimate:
    """What a task will cost if every segment is charged."""

    countries: tuple[CountryEstimate, ...]
    """Most numbers first."""

    @cached_property
    def segments(self) -> int:
        """Of all messages."""
        return sum(country.segments for country in self.countries)

    @cached_property
    def amount(self) -> Decimal:
        """The exact sum."""
        return sum((country.amount for country in self.countries), Decimal(0))

    def no_price_warning(self) -> str | None:
        """Which countries count as zero for want of a price; None if all have one."""
        missing = sorted(f"{c.region} (+{c.calling_code})" for c in self.countries if c.unit_price is None)
        if not missing:
            return None
        return f"There is no price for {', '.join(missing)}: what is sent there counts as zero."


def parse_prices(text: str) -> dict[str, PriceTable]:
    """The price tables of the setting PRICES by currency (ISO 4217); none for an empty text.

    Raises `PricesError` on the first mistake.
    """
    if not text.strip():
        return {}
    try:
        configured = json.loads(text, object_pairs_hook=_without_doubles)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise PricesError(f"is not valid JSON ({place}: {error.msg})") from None
    except RecursionError:
        raise PricesError("is nested too deeply") from None
    tables = {}
    for currency, regions in _entries(configured, "the top").items():
        if not _CURRENCY.fullmatch(currency):
            raise PricesError(f"has {currency!r} for a currency; write it like EUR")
        tables[currency] = _table(regions, currency)
    return tables


def estimate(
    price_list: PriceList, region: Region, numbers: Iterable[int], segments_per_message: int
) -> Estimate:
    """What one message to each of `numbers` (E.164 digits as integers) costs, country by country.

    They are counted by leading digits first, so that a million numbers take about a second.
    """
    if region is Region.CHINESE_MAINLAND:
        detail = max(price_list.longest, len(_MAINLAND))
    else:
        detail = max(price_list.longest, 3 + _MOST_TELLING)
    counts: defaultdict[tuple[int, str, Decimal | None], int] = defaultdict(int)
    for digits, count in Counter(str(number)[:detail] for number in numbers).items():
        counts[*country_of(digits), price_list.price(digits)] += count
    countries = [
        CountryEstimate(
            calling_code=calling_code,
            region=country,
            numbers=count,
            segments=count * segments_per_message,
            unit_price=price,
            amount=(price or Decimal(0)) * (count * segments_per_message),
        )
        for (calling_code, country, price), count in counts.items()
    ]
    countries.sort(key=lambda c: (-c.numbers, c.calling_code, c.region, c.unit_price or Decimal(-1)))
    return Estimate(tuple(countries))


def country_of(digits: str) -> tuple[int, str]:
    """The calling code and the ISO 3166-1 region of numbers that begin like this; (0, "ZZ") for nobody's.

    Countries that share a calling code are told apart where `phonenumbers` can; else the largest counts.
    """
    for length in range(1, 4):
        code = int(digits[:length])
        if regions := phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code):
            if len(regions) == 1:
                return code, regions[0]
            return code, _sharing(code, digits[length : length + _TELLING_DIGITS.get(code, _MOST_TELLING)])
    return 0, phonenumbers.UNKNOWN_REGION


_TELLING_DIGITS = {1: 3, 7: 2, 39: 5, 44: 5, 47: 2, 61: 5, 212: 4, 262: 5, 290: 1, 358: 2, 590: 5, 599: 1}
"""By calling code: how many digits after it tell the countries that share it apart."""
_MOST_TELLING = 5


@cache
def _sharing(code: int, national_digits: str) -> str:
    main: str = phonenumbers.region_code_for_country_code(code)
    metadata = PhoneMetadata.metadata_for_region(main)
    assert metadata is not None
    assert metadata.mobile is not None
    # Which region it is depends on the number being valid, so on its length.
    for length in metadata.mobile.possible_length:
        try:
            number = phonenumbers.parse(f"+{code}{national_digits.ljust(length, '2')}")
        except NumberParseException:
            continue
        if region := phonenumbers.region_code_for_number(number):
            return str(region)
    return main


def _table(regions: object, currency: str) -> PriceTable:
    lists: dict[tuple[Region, SmsType], PriceList] = {}
    for region_name, types in _entries(regions, currency).items():
        place = f"{currency}, {region_name}"
        if region_name not in Region.__members__:
            raise PricesError(f"has at {currency} {region_name!r} for a region ({', '.join(Region)})")
        region = Region(region_name)
        named = {
            type_name: _price_list(prices, region, f"{place}, {type_name}")
            for type_name, prices in _entries(types, place).items()
        }
        for type_name in named.keys() - {*SmsType, ANY_TYPE}:
            raise PricesError(
                f"has at {place} {type_name!r} for an SMS type ({', '.join(SmsType)} or {ANY_TYPE})"
            )
        for sms_type in SmsType:
            if (price_list := named.get(sms_type, named.get(ANY_TYPE))) is not None:
                lists[region, sms_type] = price_list
    return PriceTable(lists)


def _price_list(prices: object, region: Region, place: str) -> PriceList:
    if not isinstance(prices, dict):
        return PriceList({"": _price(prices, place)})
    return PriceList(
        {
            _prefix(prefix, region, place): _price(price, f"{place}, {prefix}")
            for prefix, price in prices.items()
        }
    )


def _prefix(prefix: str, region: Region, place: str) -> str:
    if not _PREFIX.fullmatch(prefix):
        raise PricesError(f"has at {place} {prefix!r} for leading digits; write them like 44, without a plus")
    mainland = prefix.startswith(_MAINLAND)
    if mainland is not (region is Region.CHINESE_MAINLAND):
        raise PricesError(f"has at {place} the leading digits {prefix}: those of the mainland, alone, are 86")
    if not _begins_a_number(prefix):
        raise PricesError(f"has at {place} the leading digits {prefix}, which begin with no calling code")
    return prefix


def _begins_a_number(prefix: str) -> bool:
    return any(int(prefix[:length]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE for length in (1, 2, 3))


def _price(price: object, place: str) -> Decimal:
    if not isinstance(price, str) or not _PRICE.fullmatch(price):
        shown = json.dumps(price, ensure_ascii=False)[:40]
        raise PricesError(f'has at {place} the price {shown}; write it as a string like "0.045"')
    return Decimal(price)


def _entries(value: object, place: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise PricesError(f"has at {place} something other than a JSON object")
    return value


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        double = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise PricesError(f"names {double!r} twice in one place")
    return entries
