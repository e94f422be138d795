"""Users of an identity provider: what its signed tokens (OIDC, JWT) say of who is asking.

The provider vouches for an account and a role; the account must exist here. What it says is believed until
the token expires: such a token can't be revoked here. Source: OpenID Connect Core 1.0, RFC 7519, RFC 8725.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    MissingRequiredClaimError,
    PyJWTError,
)

from api.signing_keys import ProviderUnreachableError, SigningKeys, UnknownKeyError
from api.top_level_errors import TopLevelCode, TopLevelError
from domain import db
from domain.access import Vouched
from domain.settings import Settings
from domain.states import Role

REMEMBERED: Final = 10_000
"""Tokens whose signatures a process need not check again."""
SUBJECT_LENGTH: Final = 255

_REQUIRED: Final = ["exp", "iss", "aud", "sub"]


class NotVouchedError(TopLevelError):
    """The provider's token is not good; the text says why, to its holder."""


@dataclass(frozen=True, slots=True)
class _Checked:
    generation: int
    vouched: Vouched


def looks_signed(token: str) -> bool:
    """Whether a bearer token is a JWT. One of ours never is: it has no dots."""
    return token.startswith("ey") and token.count(".") == 2


class IdentityProvider:
    """Checks the tokens of one provider."""

    def __init__(self, settings: Settings, keys: SigningKeys) -> None:
        assert settings.oidc_issuer is not None
        assert settings.oidc_audience is not None
        self._issuer = settings.oidc_issuer
        self._audience = settings.oidc_audience
        self._algorithms = settings.oidc_algorithms
        self._leeway = settings.oidc_leeway_seconds
        self._account_claim = settings.oidc_account_claim
        self._role_claim = settings.oidc_role_claim
        self._keys = keys
        self._checked: OrderedDict[bytes, _Checked] = OrderedDict()

    async def vouch(self, token: str, token_hash: bytes) -> Vouched:
        """Whom the provider vouches for. Whether the token has expired is still to be asked of the database.

        Raises `NotVouchedError`.
        """
        # Also for tokens that were checked before: their key may have been withdrawn since.
        self._keys.keep_fresh()
        if (known := self.recall(token_hash)) is not None:
            return known
        claims = await self._verified(token)
        vouched = Vouched(
            account_name=self._account(claims),
            role=self._role(claims),
            subject=_subject(claims),
            expires_at=_moment(claims["exp"], self._leeway),
        )
        self._checked[token_hash] = _Checked(self._keys.generation, vouched)
        if len(self._checked) > REMEMBERED:
            self._checked.popitem(last=False)
        return vouched

    def recall(self, token_hash: bytes) -> Vouched | None:
        """What a token says that was checked before, if the provider still has the same keys."""
        checked = self._checked.get(token_hash)
        if checked is None:
            return None
        if checked.generation != self._keys.generation:
            del self._checked[token_hash]
            return None
        self._checked.move_to_end(token_hash)
        return checked.vouched

    async def _verified(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            algorithm, key_id = header.get("alg"), header.get("kid")
            if algorithm not in self._algorithms or not isinstance(key_id, str | None):
                raise _refusal(f"is not signed with {' or '.join(self._algorithms)}")
            key = await self._keys.find(key_id, algorithm)
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway,
                options={"require": _REQUIRED, "enforce_minimum_key_length": True},
            )
        except ProviderUnreachableError as error:
            raise NotVouchedError(
                "The identity provider can't be reached at the moment. Try again in a while.",
                TopLevelCode.UNAVAILABLE,
            ) from error
        except UnknownKeyError as error:
            raise _refusal("is signed with a key that the provider doesn't have") from error
        except (PyJWTError, RecursionError, OverflowError) as error:
            raise _refusal(_fault(error)) from error

    def _account(self, claims: Mapping[str, Any]) -> str:
        name = _claim(claims, self._account_claim)
        if not isinstance(name, str) or not name.strip() or not db.can_hold(name):
            raise _refusal(f"names no account: its claim {self._account_claim!r} is to be an account's name")
        return name

    def _role(self, claims: Mapping[str, Any]) -> Role:
        given = _claim(claims, self._role_claim)
        names = given if isinstance(given, list) else [given]
        upper = {name.upper() for name in names if isinstance(name, str)}
        held = [role for role in Role if role.value in upper]
        if not held:
            raise _refusal(
                f"names no role: its claim {self._role_claim!r} is to be one of {', '.join(Role)}, or a list "
                "with one of them"
            )
        return held[-1]


def _claim(claims: Mapping[str, Any], name: str) -> object:
    """The claim of this name; "a.b" is also b inside a."""
    if name in claims:
        return claims[name]
    found: object = claims
    for step in name.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(step)
    return found


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims["sub"]
    if not isinstance(subject, str) or not 1 <= len(subject) <= SUBJECT_LENGTH or not db.can_hold(subject):
        raise _refusal(f"has no sub of 1 to {SUBJECT_LENGTH} characters")
    return subject


def _moment(seconds: Any, leeway: float) -> datetime:
    try:
        return datetime.fromtimestamp(int(seconds) + leeway, UTC)
    except (OverflowError, ValueError, OSError, TypeError) as error:
        raise _refusal("has an exp that is no moment") from error


def _fault(error: Exception) -> str:
    match error:
        case ExpiredSignatureError():
            return "has expired"
        case ImmatureSignatureError():
            return "is not valid yet"
        case InvalidIssuerError():
            return "is of another issuer"
        case InvalidAudienceError():
            return "is for another audience"
        case MissingRequiredClaimError(claim=claim):
            return f"lacks the claim {claim!r}"
        case _:
            return "can't be read, or its signature is wrong"


def _refusal(fault: str) -> NotVouchedError:
    return NotVouchedError(f"The identity provider's token {fault}.", TopLevelCode.UNAUTHENTICATED)


def unknown_account(vouched: Vouched) -> NotVouchedError:
    """What to tell whom the provider vouches for, but of an account that is not here."""
    return NotVouchedError(
        f"There is no account named {vouched.account_name!r}, which the identity provider's token names, or "
        "the token has just expired. Accounts are made with: groupsms account create.",
        TopLevelCode.UNAUTHENTICATED,
    )


def identity_provider(settings: Settings) -> IdentityProvider | None:
    """The provider whose tokens are taken, if one is set: see the settings that begin with OIDC."""
    if settings.oidc_issuer is None:
        return None
    return IdentityProvider(settings, SigningKeys(settings.oidc_issuer, settings.oidc_jwks_url))
