"""Settings: who gets in, from where, and what they see."""

import json
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from domain.settings.urls import origin, with_scheme
from domain.states import Role

SHORTEST_KEY = 32
"""Characters of a secret key, at least."""

OIDC_ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Asymmetric ones only: who can check a token must not be able to make one."""


class AccessSettings(BaseModel):
    """Keys, origins, proxies, roles, and an identity provider."""

    secret_key: SecretStr | None = Field(
        default=None, min_length=SHORTEST_KEY, description="at least 32 characters that nobody can guess"
    )
    accepted_secret_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        repr=False,
        description=(
            "keys beside SECRET_KEY whose signatures are good, the one before it or the one after it: "
            "separated by spaces, or a JSON list"
        ),
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description='origins such as https://app.example.com, separated by commas, or "*"'
    )
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(),
        description=(
            "addresses or networks of the proxies in front, such as 10.0.0.0/8, separated by commas: what "
            "they write into X-Forwarded-For is believed"
        ),
    )
    masked_roles: Annotated[tuple[Role, ...], NoDecode] = Field(
        default=(),
        description=(
            "roles that see phone numbers without their middle and download none, such as VIEWER,SENDER, "
            "separated by commas"
        ),
    )
    audit_days: int = Field(
        default=730,
        ge=31,
        description="a number of days, 31 or more, for which entries of the audit log are kept at least",
    )
    graphiql: bool = Field(default=True, description="true or false")
    introspection: bool = Field(
        default=True, description="true or false: whether clients may ask about the schema"
    )
    session_seconds: float = Field(
        default=21_600.0,
        ge=1,
        le=604_800,
        description="seconds from 1 to 604800 after which an open socket or stream is asked to connect again",
    )
    oidc_issuer: str | None = Field(
        default=None,
        description="the issuer of an identity provider whose tokens are taken, exactly as in their `iss`",
    )
    oidc_audience: str | None = Field(
        default=None,
        validate_default=True,
        description="what the identity provider's tokens have as `aud` for this service",
    )
    oidc_jwks_url: str | None = Field(
        default=None,
        description="the URL of the identity provider's keys (unset: its discovery document says it)",
    )
    oidc_account_claim: str = Field(
        default="groupsms_account", description="the claim with an account's name; a.b is b inside a"
    )
    oidc_role_claim: str = Field(
        default="groupsms_role", description="the claim with a role or a list of roles; a.b is b inside a"
    )
    oidc_algorithms: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("RS256", "ES256", "EdDSA"),
        description=f"some of {', '.join(OIDC_ALGORITHMS)}, separated by commas",
    )
    oidc_leeway_seconds: float = Field(
        default=30.0,
        ge=0,
        le=300,
        description="seconds from 0 to 300 by which the provider's clock may differ",
    )

    @field_validator("accepted_secret_keys", mode="before")
    @classmethod
    def _split_keys(cls, keys: object) -> object:
        if not isinstance(keys, str):
            return keys
        if not keys.lstrip().startswith("["):
            return keys.split()
        try:
            return json.loads(keys)
        except json.JSONDecodeError:
            raise ValueError("starts like a JSON list and isn't one") from None

    @field_validator("accepted_secret_keys")
    @classmethod
    def _keys_are_long(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < SHORTEST_KEY for key in keys):
            raise ValueError(f"has a key of fewer than {SHORTEST_KEY} characters")
        return keys

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, origins: object) -> object:
        if not isinstance(origins, str):
            return origins
        if origins.lstrip().startswith("["):
            try:
                return json.loads(origins)
            except json.JSONDecodeError:
                raise ValueError("starts like a JSON list and isn't one") from None
        return [part.strip() for part in origins.split(",") if part.strip()]

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(each if each == "*" else origin(each) for each in origins)

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split_networks(cls, networks: object) -> object:
        if not isinstance(networks, str):
            return networks
        try:
            return [ip_network(part.strip()) for part in networks.split(",") if part.strip()]
        except ValueError as error:
            raise ValueError(f"has a part that is no network ({error})") from None

    @field_validator("masked_roles", mode="before")
    @classmethod
    def _split_roles(cls, roles: object) -> object:
        if not isinstance(roles, str):
            return roles
        named = [part.strip().upper() for part in roles.split(",") if part.strip()]
        if unknown := [name for name in named if name not in Role.__members__]:
            raise ValueError(f"has {unknown[0]!r}, which is none of {', '.join(Role)}")
        return named

    @field_validator("oidc_issuer", "oidc_jwks_url")
    @classmethod
    def _provider_is_http(cls, url: str | None) -> str | None:
        return None if url is None else with_scheme(url, ("https", "http"))

    @field_validator("oidc_algorithms", mode="before")
    @classmethod
    def _split_algorithms(cls, algorithms: object) -> object:
        if isinstance(algorithms, str):
            return [part.strip() for part in algorithms.split(",") if part.strip()]
        return algorithms

    @field_validator("oidc_algorithms")
    @classmethod
    def _algorithms_are_asymmetric(cls, algorithms: tuple[str, ...]) -> tuple[str, ...]:
        if not algorithms:
            raise ValueError("is empty")
        if others := [name for name in algorithms if name not in OIDC_ALGORITHMS]:
            raise ValueError(f"has {others[0]!r}, which is not taken")
        return algorithms

    @field_validator("oidc_audience")
    @classmethod
    def _audience_goes_with_issuer(cls, audience: str | None, info: ValidationInfo) -> str | None:
        issuer = info.data.get("oidc_issuer", audience)
        if (issuer is None) != (audience is None):
            verb = "is not set, but" if audience is None else "is set without"
            also = " is" if audience is None else ""
            raise ValueError(f"{verb} GROUPSMS_OIDC_ISSUER{also}")
        return audience
