import os
import stat
import threading
from ipaddress import ip_network
from pathlib import Path

import pytest

from domain.settings import Settings, SettingsError, load_settings, redacted
from domain.states import Role


def test_nothing_set_is_a_working_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.database_url is None
    assert settings.redis_url is None
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.public_url == "http://127.0.0.1:8000"
    assert settings.gateways == {"default": "simulator://"}
    assert settings.cors_origins == ()
    assert settings.upload_limit == 16 * 1024 * 1024
    assert settings.graphiql


def test_data_directory_is_here_unless_root_stands_behind_a_closed_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "home"
    closed.mkdir(mode=0o700)
    monkeypatch.chdir(closed)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert load_settings().data_dir == closed / ".groupsms"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    elsewhere = load_settings().data_dir
    assert elsewhere.parent == Path("/var/lib/groupsms")
    assert elsewhere.name.startswith("home-")
    monkeypatch.setenv("GROUPSMS_DATABASE_URL", "postgresql://host/name")
    assert load_settings().data_dir == closed / ".groupsms"


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        (
            "GROUPSMS_CORS_ORIGINS",
            "https://a.example, http://b:3000/",
            "cors_origins",
            ("https://a.example", "http://b:3000"),
        ),
        ("GROUPSMS_CORS_ORIGINS", '["https://A.example"]', "cors_origins", ("https://a.example",)),
        ("GROUPSMS_CORS_ORIGINS", "*", "cors_origins", ("*",)),
        ("GROUPSMS_OIDC_ALGORITHMS", "ES384, EdDSA", "oidc_algorithms", ("ES384", "EdDSA")),
        ("GROUPSMS_MASKED_ROLES", "viewer, SENDER", "masked_roles", (Role.VIEWER, Role.SENDER)),
        (
            "GROUPSMS_TRUSTED_PROXIES",
            "10.0.0.7, fd00::/8",
            "trusted_proxies",
            (ip_network("10.0.0.7"), ip_network("fd00::/8")),
        ),
        (
            "GROUPSMS_GATEWAYS__Carrier",
            "smpp://u:p@h:2775?window=10",
            "gateways",
            {"carrier": "smpp://u:p@h:2775?window=10"},
        ),
        ("GROUPSMS_GATEWAYS", '{"A": "simulator://"}', "gateways", {"a": "simulator://"}),
        ("GROUPSMS_PUBLIC_URL", "https://sms.example.com/", "public_url", "https://sms.example.com"),
        ("GROUPSMS_HOST", "0.0.0.0", "public_url", "http://127.0.0.1:8000"),
        ("GROUPSMS_HOST", "::", "public_url", "http://[::1]:8000"),
        ("GROUPSMS_LOG_LEVEL", "WARNING", "log_level", "warning"),
        ("GROUPSMS_GRAPHIQL", "false", "graphiql", False),
        ("GROUPSMS_DATABASE_URL", "", "database_url", None),
        ("groupsms_port", "9000", "port", 9000),
    ],
)
def test_what_is_set_counts(
    variable: str, value: str, field: str, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert getattr(load_settings(), field) == expected


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("PORT", "http", "PORT is 'http': expected a TCP port from 1 to 65535"),
        ("PORT", "65536", "PORT is '65536': expected a TCP port from 1 to 65535"),
        ("PROT", "1", "PROT is not a setting: did you mean GROUPSMS_PORT?"),
        ("DATABASEURL", "x", "DATABASEURL is not a setting: did you mean GROUPSMS_DATABASE_URL?"),
        ("QQQQ", "1", "QQQQ is not a setting: known are GROUPSMS_ACCEPTED_SECRET_KEYS, "),
        ("GATEWAYS__", "x", "GATEWAYS__ is not a setting: "),
        ("DATABASE_URL", "hunter2", "DATABASE_URL is not a URL: expected a URL such as postgresql://"),
        (
            "DATABASE_URL",
            "mysql://u:hunter2@h/d",
            "DATABASE_URL is 'mysql://***@h/d', of a kind not known here",
        ),
        (
            "REDIS_URL",
            "redis://:hunter2@h:port/0",
            "REDIS_URL is 'redis://***@h:port/0', which can't be read",
        ),
        ("REDIS_URL", "redis://", "REDIS_URL is 'redis://', which names no host"),
        (
            "GATEWAYS__DEFAULT",
            "smtp://u:hunter2@h",
            "GATEWAYS has for the gateway 'default' a value that is 'smtp://***@h'",
        ),
        ("GATEWAYS", "hunter2", "GATEWAYS is not valid JSON: expected"),
        ("GATEWAYS", '{"a": ["hunter2"]}', "GATEWAYS has a wrong value: expected"),
        ("GATEWAYS", '{"a": "simulator://", "A": "simulator://"}', "GATEWAYS names the gateway 'a' twice"),
        ("GATEWAYS", "{}", "GATEWAYS is empty"),
        ("GATEWAYS", '{"a b": "simulator://"}', "GATEWAYS has the gateway name 'a b'"),
        ("SECRET_KEY", "hunter2", "SECRET_KEY has a wrong value: expected at least 32 characters"),
        ("CORS_ORIGINS", "https://a/path", "CORS_ORIGINS has 'https://a/path', which is more than an origin"),
        ("CORS_ORIGINS", "[a", "CORS_ORIGINS starts like a JSON list and isn't one"),
        ("PUBLIC_URL", "sms.example.com", "PUBLIC_URL is not a URL: expected"),
        ("OIDC_ISSUER", "https://id.example.com", "OIDC_AUDIENCE is not set, but GROUPSMS_OIDC_ISSUER is"),
        ("OIDC_AUDIENCE", "sms", "OIDC_AUDIENCE is set without GROUPSMS_OIDC_ISSUER: expected"),
        ("OIDC_ISSUER", "id.example.com", "OIDC_ISSUER is not a URL: expected"),
        ("OIDC_ALGORITHMS", "RS256, HS256", "OIDC_ALGORITHMS has 'HS256', which is not taken: expected"),
        ("OIDC_ALGORITHMS", ",", "OIDC_ALGORITHMS is empty: expected"),
        ("UPLOAD_LIMIT", "16 MiB", "UPLOAD_LIMIT is '16 MiB': expected a number of bytes"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL is 'loud': expected debug, info, warning or error"),
        (
            "PRICES",
            "0.045",
            "PRICES has at the top something other than a JSON object: expected JSON such as",
        ),
        ("PRICES", '{"CNY": }', "PRICES is not valid JSON (line 1, column 9: "),
        (
            "PRICES",
            '{"CNY": {"INTERNATIONAL": {"*": 0.06}}}',
            "PRICES has at CNY, INTERNATIONAL, * the price 0.06; write it as a string",
        ),
        ("PRICES", "@/nowhere/prices.json", "PRICES names the file '/nowhere/prices.json', which can't be"),
        ("PRICES", "@/", "PRICES names the file '/', which can't be read (Is a directory): expected"),
        ("MASKED_ROLES", "VIEWER,ADMIN", "MASKED_ROLES has 'ADMIN', which is none of VIEWER, SENDER"),
        (
            "ACCEPTED_SECRET_KEYS",
            f"{'k' * 32} hunter2",
            "ACCEPTED_SECRET_KEYS has a key of fewer than 32 characters: expected keys beside SECRET_KEY",
        ),
        ("AUDIT_DAYS", "7", "AUDIT_DAYS is '7': expected a number of days, 31 or more"),
        ("SHUTDOWN_SECONDS", "-1", "SHUTDOWN_SECONDS is '-1': expected seconds from 0 to 3600"),
    ],
)
def test_a_wrong_setting_is_one_line_without_a_secret(
    variable: str, value: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"GROUPSMS_{variable}", value)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    text = str(raised.value)
    assert text.startswith(f"GROUPSMS_{complaint}")
    assert "\n" not in text
    assert "hunter2" not in text
    assert raised.value.__cause__ is None


def test_a_wrong_network_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUPSMS_TRUSTED_PROXIES", "10.0.0.1/8")
    with pytest.raises(SettingsError, match=r"^GROUPSMS_TRUSTED_PROXIES has a part that is no network"):
        load_settings()


def test_prices_may_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prices = '{"EUR": {"INTERNATIONAL": {"*": {"34": "0.06"}}}}'
    monkeypatch.setenv("GROUPSMS_PRICES", prices)
    assert load_settings().prices == prices
    file = tmp_path / "prices.json"
    monkeypatch.setenv("GROUPSMS_PRICES", f"@{file}")
    file.write_text(prices, encoding="utf-8-sig")
    assert load_settings().prices == prices
    file.write_text('{"EUR": {"MARS": {}}}')
    with pytest.raises(SettingsError, match=r"^GROUPSMS_PRICES has at EUR 'MARS' for a region"):
        load_settings()
    file.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="can't be read \\(it is not UTF-8\\)"):
        load_settings()


def test_secrets_are_not_in_the_settings_text() -> None:
    settings = Settings(
        database_url="postgresql://u:hunter2@h/d",
        redis_url="redis://:hunter2@h",
        gateways={"default": "smpp://u:hunter2@h:2775"},
        secret_key="hunter2" * 5,  # type: ignore[arg-type]
    )
    assert "hunter2" not in repr(settings)
    assert redacted("smpp://u:p@ss@h:1?password=x") == "smpp://***@h:1"
    assert redacted("smpp://[::1]:2775") == "smpp://[::1]:2775"
    assert redacted("smpp://u:secret") == "smpp://(not shown)"


def test_all_processes_of_a_data_directory_sign_with_one_key(tmp_path: Path) -> None:
    directory = tmp_path / "new"
    together = threading.Barrier(16)
    keys: list[bytes] = []

    def sign() -> None:
        together.wait()
        keys.append(Settings(data_dir=directory).signing_key())

    threads = [threading.Thread(target=sign) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 16
    assert len(set(keys)) == 1
    assert len(keys[0]) >= 32
    assert [file.name for file in directory.iterdir()] == ["secret.key"]
    assert stat.S_IMODE((directory / "secret.key").stat().st_mode) == 0o600
    assert Settings(data_dir=tmp_path / "other").signing_key() != keys[0]


def test_a_given_key_is_used_and_no_file_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUPSMS_SECRET_KEY", "k" * 32)
    monkeypatch.setenv("GROUPSMS_DATA_DIR", str(tmp_path / "none"))
    assert load_settings().signing_key() == b"k" * 32
    assert not (tmp_path / "none").exists()


def test_the_key_that_signs_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUPSMS_SECRET_KEY", "n" * 32)
    monkeypatch.setenv("GROUPSMS_ACCEPTED_SECRET_KEYS", f" {'o' * 32}  {'p' * 32}\n")
    settings = load_settings()
    assert settings.signing_keys() == (b"n" * 32, b"o" * 32, b"p" * 32)
    assert "oooo" not in repr(settings)
    monkeypatch.setenv("GROUPSMS_ACCEPTED_SECRET_KEYS", '["a key with spaces in it, long enough"]')
    assert load_settings().signing_keys()[1] == b"a key with spaces in it, long enough"
    monkeypatch.setenv("GROUPSMS_ACCEPTED_SECRET_KEYS", '["hunter2"')
    with pytest.raises(SettingsError, match="starts like a JSON list") as raised:
        load_settings()
    assert "hunter2" not in str(raised.value)


def test_a_key_that_cannot_be_kept_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        SettingsError, match=r"GROUPSMS_SECRET_KEY is not set and .*secret\.key can't be used"
    ):
        Settings(data_dir=tmp_path / "file").signing_key()


def test_an_empty_gateway_is_not_taken_for_the_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUPSMS_GATEWAYS__DEFAULT", "")
    with pytest.raises(
        SettingsError, match="GROUPSMS_GATEWAYS__DEFAULT is empty: expected a URL such as smpp"
    ):
        load_settings()
