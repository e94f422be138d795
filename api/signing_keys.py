"""The keys with which an identity provider signs its tokens: its JSON Web Key Set, kept up to date.

Source: OpenID Connect Discovery 1.0, RFC 7517.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection
from typing import Any, Final

import httpx
import structlog
from jwt import PyJWK
from jwt.exceptions import PyJWTError

log = structlog.get_logger()

FRESH_FOR: Final = 3600.0
"""Seconds after which the keys are fetched again, so that withdrawn ones are no longer taken."""
BETWEEN_FETCHES: Final = 10.0
"""Seconds: tokens with made-up key ids don't make us ask more often."""
WITHIN: Final = 5.0
"""Seconds that the provider gets to answer."""
LARGEST: Final = 1024 * 1024
"""Octets of an answer that we read."""

_KEY_TYPES: Final = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
"""The type of key that algorithms with these first letters need."""


class UnknownKeyError(Exception):
    """The provider has no such key."""


class ProviderUnreachableError(Exception):
    """The provider's keys are not known, and it can't be asked."""


class SigningKeys:
    """The keys of one provider. Old ones are kept while it can't be reached."""

    def __init__(
        self, issuer: str, jwks_url: str | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Without `jwks_url` the issuer's discovery document names it. `clock` tells seconds."""
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._clock = clock
        self._keys: dict[str | None, dict[str, Any]] = {}
        self._made: dict[tuple[str | None, str], PyJWK] = {}
        self._fetched_at = float("-inf")
        self._asked_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self.generation = 0
        """Rises whenever the provider has other keys than before."""

    async def find(self, key_id: str | None, algorithm: str) -> PyJWK:
        """The key a token was signed with; without an id, the only one there is.

        Raises `UnknownKeyError`, or `ProviderUnreachableError`.
        """
        if self._stored(key_id) is None:
            await self._fetch()
        stored = self._stored(key_id)
        if stored is None:
            if not self._keys:
                raise ProviderUnreachableError
            raise UnknownKeyError
        return self._make(stored, algorithm)

    def keep_fresh(self) -> None:
        """Fetch the keys again if they are old, beside this request: those there are will do for it."""
        if self._keys and self._clock() - self._fetched_at > FRESH_FOR:
            self._begin_fetch()

    def _stored(self, key_id: str | None) -> dict[str, Any] | None:
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    def _make(self, stored: dict[str, Any], algorithm: str) -> PyJWK:
        place = (stored.get("kid"), algorithm)
        made = self._made.get(place)
        if made is None:
            if stored.get("alg", algorithm) != algorithm or stored["kty"] != _KEY_TYPES.get(algorithm[:2]):
                raise UnknownKeyError
            try:
                made = self._made[place] = PyJWK(stored, algorithm)
            except PyJWTError as error:
                raise UnknownKeyError from error
        return made

    def _begin_fetch(self) -> asyncio.Task[None] | None:
        if self._fetching is None and self._clock() - self._asked_at >= BETWEEN_FETCHES:
            self._asked_at = self._clock()
            self._fetching = asyncio.create_task(self._ask(), name="signing keys fetched")
            self._fetching.add_done_callback(self._fetched)
        return self._fetching

    async def _fetch(self) -> None:
        if (fetching := self._begin_fetch()) is not None:
            await asyncio.shield(fetching)

    def _fetched(self, _: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(WITHIN), httpx.AsyncClient() as client:
                found = _usable(await _get(client, await self._address(client)))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
            log.warning("signing_keys_not_fetched", issuer=self._issuer, error=repr(error))
            return
        self._fetched_at = self._clock()
        if found != self._keys:
            self._keys, self._made = found, {}
            self.generation += 1
            log.info("signing_keys_changed", issuer=self._issuer, keys=len(found))

    async def _address(self, client: httpx.AsyncClient) -> str:
        if self._jwks_url is not None:
            return self._jwks_url
        described = await _get(client, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if described.get("issuer") != self._issuer:
            raise ValueError(f"the discovery document is of the issuer {described.get('issuer')!r}")
        address = described.get("jwks_uri")
        if not isinstance(address, str):
            raise ValueError("the discovery document names no jwks_uri")  # noqa: TRY004 - it is the document
        return address


async def _get(client: httpx.AsyncClient, address: str) -> dict[str, Any]:
    """A JSON object. Raises `ValueError` for anything else, `httpx.HTTPError` where there is none."""
    content = bytearray()
    async with client.stream("GET", address, headers={"Accept": "application/json"}) as response:
        response.raise_for_status()
        async for piece in response.aiter_bytes():
            content += piece
            if len(content) > LARGEST:
                raise ValueError(f"{address} is larger than {LARGEST} octets")
    found = json.loads(content)
    if not isinstance(found, dict):
        raise ValueError(f"{address} is no JSON object")  # noqa: TRY004 - it is the document
    return found


def _usable(key_set: dict[str, Any]) -> dict[str | None, dict[str, Any]]:
    """The public keys for signatures, by their ids."""
    keys = key_set.get("keys")
    if not isinstance(keys, list):
        raise ValueError("the key set has no list of keys")  # noqa: TRY004 - it is the document
    return {key.get("kid"): key for key in keys if isinstance(key, dict) and _signs(key)}


def _signs(key: dict[str, Any], kinds: Collection[str] = frozenset(_KEY_TYPES.values())) -> bool:
    return (
        key.get("kty") in kinds
        and key.get("use", "sig") == "sig"
        and isinstance(key.get("kid"), str | None)
        and isinstance(key.get("alg", ""), str)
    )
