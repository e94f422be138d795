"""What a deployment may set: the `GROUPSMS_*` environment variables.

Nothing is read at import and nothing is cached: a process calls `load_settings()` once and hands the
result on.
"""

import difflib
import json
import os
import re
import secrets
import stat
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSetting

from domain.opt_out_words import LONGEST, plain
from domain.pricing import parse_prices
from domain.states import Role

PREFIX = "GROUPSMS_"

DATABASE_SCHEMES = ("postgresql", "postgres")
REDIS_SCHEMES = ("redis", "rediss", "unix")
EXTERNAL_ID_SCHEMES = ("huawei", "huawei+http")
"""Of gateways whose platform sends only its own templates, by the ids it gave them."""
GATEWAY_SCHEMES = ("smpp", "smpps", *EXTERNAL_ID_SCHEMES, "simulator")

SHORTEST_KEY = 32
"""Characters of a secret key, at least."""

OIDC_ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Asymmetric ones only: who can check a token must not be able to make one."""

_PLACE = re.compile(r"(\[[^\]]*\]|[^:/]*)(:\d{1,5})?(/.*)?")
_GATEWAY_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_CLOSED_HOME_FALLBACK = Path("/var/lib/groupsms")


class SettingsError(Exception):
    """A setting is wrong. The text is one line for the person who set it, without any secret."""


class Settings(BaseSettings):
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
    upload_limit: int = Field(
        default=16 * 1024 * 1024, ge=1024, description="a number of bytes, 1024 or more"
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
    requests_per_second: float = Field(
        default=100,
        ge=0,
        le=1_000_000,
        description="a number, 0 for no limit: requests a second of one token, ten seconds' worth at once",
    )
    anonymous_per_second: float = Field(
        default=20,
        ge=0,
        le=1_000_000,
        description=(
            "a number, 0 for no limit: requests a second of an address without a valid token, fifty "
            "seconds' worth at once"
        ),
    )
    imports_at_once: int = Field(
        default=10,
        ge=0,
        description="a number, 0 for no limit: imports that one token may have under way at once",
    )
    sockets_at_once: int = Field(
        default=1000,
        ge=0,
        description="a number, 0 for no limit: sockets that one token may have open at once",
    )
    subscriptions_at_once: int = Field(
        default=2000,
        ge=0,
        description="a number, 0 for no limit: subscriptions that one token may have at once",
    )
    retention_days: int = Field(
        default=90,
        ge=7,
        le=36500,
        description="days, 7 or more, that the messages of a task are kept after its end, and replies",
    )
    graphiql: bool = Field(default=True, description="true or false")
    introspection: bool = Field(
        default=True, description="true or false: whether clients may ask about the schema"
    )
    query_depth: int = Field(
        default=15, ge=1, le=100, description="a number from 1 to 100: fields that may lie inside each other"
    )
    query_aliases: int = Field(
        default=50, ge=0, le=10_000, description="a number from 0 to 10000: aliases in an operation"
    )
    query_tokens: int = Field(
        default=2_000,
        ge=100,
        le=50_000,
        description="a number from 100 to 50000: names, values and punctuation in a document",
    )
    query_cost: int = Field(
        default=50_000, ge=100, description="a number, 100 or more: what an operation may cost"
    )
    query_seconds: float = Field(
        default=30.0, gt=0, le=3600, description="seconds, up to 3600, that an operation may take"
    )
    import_seconds: float = Field(
        default=600.0,
        gt=0,
        le=3600,
        description="seconds, up to 3600, that reading a list of numbers may take",
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
    session_seconds: float = Field(
        default=21_600.0,
        ge=1,
        le=604_800,
        description="seconds from 1 to 604800 after which an open socket or stream is asked to connect again",
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
        return None if url is None else _with_scheme(url, DATABASE_SCHEMES)

    @field_validator("redis_url")
    @classmethod
    def _redis_is_redis(cls, url: str | None) -> str | None:
        return None if url is None else _redis_url(_with_scheme(url, REDIS_SCHEMES))

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
                named[name] = _with_scheme(url, GATEWAY_SCHEMES)
            except ValueError as error:
                raise ValueError(f"has for the gateway {name!r} a value that {error}") from None
        return named

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
        return tuple(origin if origin == "*" else _origin(origin) for origin in origins)

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

    @field_validator("prices")
    @classmethod
    def _prices_are_prices(cls, prices: str) -> str:
        """The JSON itself, read from the file if one is named."""
        text = _contents(Path(prices[1:])) if prices.startswith("@") else prices
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

    @field_validator("oidc_issuer", "oidc_jwks_url")
    @classmethod
    def _provider_is_http(cls, url: str | None) -> str | None:
        return None if url is None else _with_scheme(url, ("https", "http"))

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
            raise ValueError(f"{verb} {PREFIX}OIDC_ISSUER{also}")
        return audience

    @field_validator("public_url")
    @classmethod
    def _public_url_is_http(cls, url: str) -> str:
        return _with_scheme(url, ("http", "https")).rstrip("/") if url else url

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
            object.__setattr__(self, "public_url", _local_url(self.host, self.port))
        if "data_dir" not in self.model_fields_set:
            object.__setattr__(self, "data_dir", _default_data_dir(embedded=self.database_url is None))
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
            return _read_or_create_key(path)
        except OSError as error:
            raise SettingsError(
                f"{PREFIX}SECRET_KEY is not set and {path} can't be used: {error.strerror}"
            ) from error


def _redis_url(url: str) -> str:
    parts = urlsplit(url)
    if unknown := parse_qs(parts.query).keys() - {"db"}:
        raise ValueError(f"has the unknown parameter {min(unknown)!r}")
    database = parse_qs(parts.query).get("db", [parts.path.lstrip("/") if parts.scheme != "unix" else ""])[0]
    if database and not database.isdecimal():
        raise ValueError(f"names the database {database!r}, which is not a number")
    return url


def load_settings() -> Settings:
    """Read the settings from the environment. Raises `SettingsError` on the first wrong one."""
    _refuse_unknown()
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0])
        raise SettingsError(_complaint(field, first)) from None
    except UnreadableSetting as error:
        field = next((name for name in Settings.model_fields if f'"{name}"' in str(error)), "")
        raise SettingsError(f"{PREFIX}{field.upper()} is not valid JSON: {_expected(field)}") from None


def redacted(url: str) -> str:
    """The URL without user name, password and query, fit for a log or an error."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "(not shown)"
    place = rest.rpartition("@")[2].partition("?")[0]
    if "@" not in rest and not _PLACE.fullmatch(place):
        return f"{scheme}://(not shown)"  # somebody forgot the host: what stands in its place is a password
    return f"{scheme}://{'***@' if '@' in rest else ''}{place}"


def _refuse_unknown() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in sorted(os.environ):
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper in known:
            continue
        if upper.startswith(f"{PREFIX}GATEWAYS__") and not upper.endswith("__"):
            if not os.environ[name].strip():
                # Left out, it would be simulator://, and messages would seem delivered that nobody got.
                raise SettingsError(f"{name} is empty: {_expected('gateways')}")
            continue
        bare = [field.upper() for field in Settings.model_fields]
        near = difflib.get_close_matches(upper.removeprefix(PREFIX), bare, n=1)
        hint = f"did you mean {PREFIX}{near[0]}?" if near else f"known are {', '.join(sorted(known))}"
        raise SettingsError(f"{name} is not a setting: {hint}")


def _complaint(field: str, error: Any) -> str:
    variable = f"{PREFIX}{field.upper()}"
    if error["type"] == "value_error":
        return f"{variable} {error['ctx']['error']}: {_expected(field)}"
    given = next((os.environ[name] for name in os.environ if name.upper() == variable), None)
    secret = field in {"secret_key", "accepted_secret_keys", "gateways", "database_url", "redis_url"}
    found = "has a wrong value" if secret or given is None else f"is {given!r}"
    return f"{variable} {found}: {_expected(field)}"


def _expected(field: str) -> str:
    return f"expected {Settings.model_fields[field].description}"


def _with_scheme(url: str, schemes: tuple[str, ...]) -> str:
    """The URL, trimmed. Raises ValueError, fit to follow "X ", when it isn't one of these schemes."""
    url = url.strip()
    if "://" not in url:
        raise ValueError("is not a URL")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"is {redacted(url)!r}, which can't be read as a URL") from None
    if parts.scheme not in schemes:
        raise ValueError(f"is {redacted(url)!r}, of a kind not known here ({', '.join(schemes)})")
    needs_host = parts.scheme not in {"simulator", "unix", *DATABASE_SCHEMES}
    if needs_host and not host:
        raise ValueError(f"is {redacted(url)!r}, which names no host")
    return url


def _contents(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ValueError(f"names the file {str(path)!r}, which can't be read ({reason})") from None


def _origin(origin: str) -> str:
    bare = _with_scheme(origin, ("http", "https")).rstrip("/")
    parts = urlsplit(bare)
    if parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"has {redacted(origin)!r}, which is more than an origin")
    return bare.lower()


def _local_url(host: str, port: int) -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _default_data_dir(*, embedded: bool) -> Path:
    """`.groupsms` here, unless root stands in a directory where PostgreSQL's own user may not follow."""
    here = Path.cwd()
    local = here / ".groupsms"
    if not embedded or os.geteuid() != 0:
        return local
    if all(directory.stat().st_mode & stat.S_IXOTH for directory in (here, *here.parents)):
        return local
    return _CLOSED_HOME_FALLBACK / f"{here.name}-{sha256(os.fsencode(here)).hexdigest()[:8]}"


def _read_or_create_key(path: Path) -> bytes:
    """The key in the file; a missing file is made whole or not at all, by one process only."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_urlsafe(48).encode())
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was quicker; its key counts
    finally:
        draft.unlink(missing_ok=True)
    return path.read_bytes()
