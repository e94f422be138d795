"""Reads the URL of a gateway to Huawei Cloud's Message & SMS, `huawei://app_key:app_secret@host:port?…`."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import structlog

from domain import contracted_rate
from domain.callback_urls import is_local
from workers.gateways import urls
from workers.gateways.huawei import Account, HuaweiGateway, Options
from workers.gateways.huawei_api import MOST_NUMBERS
from workers.pace import Pace
from workers.shared_pace import SharedPace
from workers.smpp.clock import SystemClock

log = structlog.get_logger()

SCHEMES: Final = {"huawei": "https", "huawei+http": "http"}
LONGEST_KEY: Final = 128
SINGLE_BELOW: Final = 20.0
"""Segments a second below which each message has a request of its own."""
LEAST_REQUESTS: Final = 2
"""Requests a second over which a rate is spread, at least: so often the dispatcher brings messages."""
FULL_REQUEST: Final = 125
"""Segments in one of them, at most: of a request that is not full, as at a chunk's end, the rest is lost."""


def _web_address(url: urls.GatewayUrl, key: str, value: str) -> str:
    if not value:
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or len(value) > 500 or not value.isascii():
        url.refuse(f"{key} must be an http:// or https:// address, percent-encoded, or empty")
    return value


def _authority(url: urls.GatewayUrl, key: str, value: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=value)
    except (ssl.SSLError, OSError):
        url.refuse(f"{key} must name a file with certificates in PEM format")


PARAMETERS: Final = {
    "window": urls.whole(1, 10_000),
    "rate": urls.number(0.01, 1_000_000),
    "connections": urls.whole(1, 100),
    "connect_timeout": urls.number(0.1, 60),
    "response_timeout": urls.number(0.1, 600),
    "callback": _web_address,
    "ca": _authority,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How a rate is spread over requests."""

    requests_a_second: float
    segments: int
    """In each, at most."""


def plan(rate: float) -> Plan:
    """Spread `rate`, segments a second, so that no second has more and full requests use it up.

    An even number of requests a second: with 2.5 of them some seconds would have three, and messages are
    brought for half a second.
    """
    if rate == float("inf"):
        return Plan(rate, MOST_NUMBERS)
    if rate < SINGLE_BELOW:
        return Plan(rate, 1)
    requests = LEAST_REQUESTS
    while rate / requests > FULL_REQUEST:
        requests += LEAST_REQUESTS
    return Plan(requests, int(rate / requests))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a URL asks for."""

    account: Account
    options: Options
    rate: float | None
    """Segments a second."""
    callback: str | None
    """Where the platform is to report instead of to us; empty: where its own settings say."""


def open_huawei(
    url: urls.GatewayUrl, *, shared: bool, own_address: Callable[[], str] | None
) -> HuaweiGateway:
    """Make the gateway a URL describes.

    If it is `shared`, all workers together keep to its rate. `own_address` tells where we take its reports.
    Raises ValueError.
    """
    wanted = read(url)
    callback = wanted.callback
    if callback is None and own_address is not None:
        callback = own_address()
        if is_local(callback):
            log.warning(
                "callback_not_reachable",
                gateway=url.name,
                advice="set GROUPSMS_PUBLIC_URL: without status reports every result stays UNKNOWN",
            )
    slots: Pace | SharedPace | None = None
    spread = plan(wanted.rate or float("inf"))
    if wanted.rate is not None and shared:
        reserve = partial(contracted_rate.reserve, url.name)
        slots = SharedPace(spread.requests_a_second, reserve, SystemClock())
    elif wanted.rate is not None:
        slots = Pace(spread.requests_a_second)
    return HuaweiGateway(
        url.name,
        wanted.account,
        wanted.options,
        slots=slots,
        slot_size=spread.segments,
        callback=callback or None,
    )


def read(url: urls.GatewayUrl) -> Wanted:
    """Read the URL. Raises ValueError."""
    if not url.host:
        url.refuse("its URL has no host")
    for part, value in (("app_key", url.username), ("app_secret", url.password)):
        if not value:
            url.refuse(f"its URL has no {part}; huawei://app_key:app_secret@host:port is expected")
        if len(value) > LONGEST_KEY or not value.isascii() or not value.isprintable() or '"' in value:
            url.refuse(f"its {part} must be at most {LONGEST_KEY} printable ASCII characters without quotes")
    given = url.read(PARAMETERS)
    if url.scheme == "huawei+http":
        log.warning("gateway_without_tls", gateway=url.name, advice="use huawei:// but for tests")
    host = f"[{url.host}]" if ":" in url.host else url.host
    port = f":{url.port}" if url.port is not None else ""
    rate, callback = given.pop("rate", None), given.pop("callback", None)
    account = Account(
        f"{SCHEMES[url.scheme]}://{host}{port}", url.username, url.password, given.pop("ca", None)
    )
    return Wanted(account, Options(**given), rate, callback)
