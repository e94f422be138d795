"""Settings: the whole of them, one variable a field."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from domain.opt_out_words import LONGEST, plain
from domain.pricing import parse_prices
from domain.settings.access import AccessSettings
from domain.settings.files import contents, default_data_dir, read_or_create_key
from domain.settings.limits import LimitSettings
from domain.settings.urls import (
    DATABASE_SCHEMES,
    EXTERNAL_ID_SCHEMES,
    GATEWAY_SCHEMES,
    REDIS_SCHEMES,
    local_url,
    redis_url,
    with_scheme,
)

PREFIX = "GROUPSMS_"

_GATEWAY_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class SettingsError(Exception):
    """A setting is wrong. The text is one line for the person who set it, without any secret."""


class Settings(AccessSettings, LimitSettings, BaseSettings):
    """The settings of one process; every field is the variable `GROUPSMS_<FIELD>`.

    A field's description says what it expects, in the words an error uses.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    database_url: str | None = Field(
        default=None,
        repr=False,
        description="a URL such as postgresql://user:password@host:5432/name (unset: an embedded PostgreSQL)",
    )
    redis_url: str | None = Field(
        default=None,
        repr=False,
        description="a URL such as redis://:password@host:6379/0 (unset: an embedded Valkey)",
    )
    data_dir: Path = Field(default=Path(".groupsms"), description="a directory this process may write to")
    host: str = Field(default="127.0.0.1", min_length=1, description="an address to listen on")
    port: int = Field(default=8000, ge=1, le=65535, description="a TCP port from 1 to 65535")
    gateways: dict[str, str] = Field(
        default={"default": "simulator://"},
        repr=False,
        description=(
            "a URL such as smpp://system_id:password@host:port, huawei://app_key:app_secret@host:port or "
            "simulator://"
        ),
    )
    public_url: str = Field(
        default="", description="the http:// or https:// address under which clients reach the API"
    )
    prices: str = Field(
        default="",
        description=(
            'JSON such as {"CNY": {"CHINESE_MAINLAND": {"*": "0.045"}}}, or @ and the path of its file: '
            'see "Prices" in the README'
        ),
    )
    opt_out_words: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("STOP", "UNSUBSCRIBE", "TD", "R", "退订", "拒收"),
        validate_default=True,
        description="words of replies that opt a number out, separated by commas, or nothing",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug, info, warning or error"
    )
    metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="a TCP port from 1 to 65535 for /metrics, /healthz and /readyz (unset: none)",
    )
    metrics_host: str = Field(
        default="127.0.0.1", min_length=1, description="the IP address to listen on for metrics"
    )
    shutdown_seconds: float = Field(
        default=15.0, ge=0, le=3600, description="seconds from 0 to 3600 that running work gets to end"
    )

    @field_validator("database_url")
    @classmethod
    def _database_is_postgresql(cls, url: str | None) -> str | None:
        return None if url is None else with_scheme(url, DATABASE_SCHEMES)

    @field_validator("redis_url")
    @classmethod
    def _redis_is_redis(cls, url: str | None) -> str | None:
        return None if url is None else redis_url(with_scheme(url, REDIS_SCHEMES))

    @field_validator("gateways")
    @classmethod
    def _gateways_are_named_urls(cls, gateways: dict[str, str]) -> dict[str, str]:
        if not gateways:
            raise ValueError("is empty")
        named: dict[str, str] = {}
        for given, url in gateways.items():
            name = given.lower()
            if name in named:
                raise ValueError(f"names the gateway {name!r} twice")
            if not _GATEWAY_NAME.fullmatch(name):
                raise ValueError(f"has the gateway name {given!r} (letters, digits, - and _ are allowed)")
            try:
                named[name] = with_scheme(url, GATEWAY_SCHEMES)
            except ValueError as error:
                raise ValueError(f"has for the gateway {name!r} a value that {error}") from None
        return named

    @field_validator("prices")
    @classmethod
    def _prices_are_prices(cls, prices: str) -> str:
        """The JSON itself, read from the file if one is named."""
        text = contents(Path(prices[1:])) if prices.startswith("@") else prices
        parse_prices(text)
        return text

    @model_validator(mode="before")
    @classmethod
    def _no_words_is_a_choice(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Empty variables are otherwise as good as unset."""
        variable = f"{PREFIX}OPT_OUT_WORDS"
        if any(name.upper() == variable and not value for name, value in os.environ.items()):
            return {"opt_out_words": "", **given}
        return given

    @field_validator("opt_out_words", mode="before")
    @classmethod
    def _split_words(cls, words: object) -> object:
        return re.split(r"[,，、]", words) if isinstance(words, str) else words

    @field_validator("opt_out_words")
    @classmethod
    def _words_are_plain(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        """The words as replies are compared with them."""
        bare = {word.strip(): plain(word) for word in words if word.strip()}
        if nothing := [word for word, folded in bare.items() if not folded]:
            raise ValueError(f"has {nothing[0]!r}, which is no word")
        if long := [word for word, folded in bare.items() if len(folded) > LONGEST]:
            raise ValueError(f"has {long[0]!r}, which is longer than {LONGEST} characters")
        return tuple(dict.fromkeys(bare.values()))

    @field_validator("public_url")
    @classmethod
    def _public_url_is_http(cls, url: str) -> str:
        return with_scheme(url, ("http", "https")).rstrip("/") if url else url

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, level: object) -> object:
        return level.lower() if isinstance(level, str) else level

    @field_validator("data_dir")
    @classmethod
    def _data_dir_is_absolute(cls, path: Path) -> Path:
        if path.name == "":
            raise ValueError("names no directory")
        return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - resolve() would follow links

    @model_validator(mode="after")
    def _derive(self) -> "Settings":
        # object.__setattr__: the one moment before the frozen settings are handed out.
        if not self.public_url:
            object.__setattr__(self, "public_url", local_url(self.host, self.port))
        if "data_dir" not in self.model_fields_set:
            object.__setattr__(self, "data_dir", default_data_dir(embedded=self.database_url is None))
        return self

    def external_id_gateways(self) -> frozenset[str]:
        """The gateways for which a template needs an externalId."""
        return frozenset(
            name for name, url in self.gateways.items() if urlsplit(url).scheme in EXTERNAL_ID_SCHEMES
        )

    def signing_keys(self) -> tuple[bytes, ...]:
        """`signing_key`, and after it those whose signatures are good as well. Raises `SettingsError`."""
        accepted = (key.get_secret_value().encode() for key in self.accepted_secret_keys)
        return self.signing_key(), *accepted

    def signing_key(self) -> bytes:
        """The key of signed links: SECRET_KEY, or else a random one kept in the data directory.

        All processes of one data directory get the same one. API processes on several machines need
        SECRET_KEY set alike. Raises `SettingsError` if it can be neither read nor made.
        """
        if self.secret_key is not None:
            return self.secret_key.get_secret_value().encode()
        path = self.data_dir / "secret.key"
        try:
            return read_or_create_key(path)
        except OSError as error:
            raise SettingsError(
                f"{PREFIX}SECRET_KEY is not set and {path} can't be used: {error.strerror}"
            ) from error
