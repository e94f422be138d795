"""Gateways' URLs are read strictly, and whatever is wrong with one is told without its password."""

import ssl

import pytest

from workers.gateways import open_gateway
from workers.gateways.smpp import SmppGateway
from workers.smpp.keeper import BindMode

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("smpp://u:s3cr3t@host?windw=1", r"unknown parameter \('windw'\)"),
        ("smpp://u:s3cr3t@host?window=0", "window must be a whole number from 1 to 10000"),
        ("smpp://u:s3cr3t@host?window=ten", "window must be"),
        ("smpp://u:s3cr3t@host?window=", "window must be"),
        ("smpp://u:s3cr3t@host?window=1&window=2", "twice"),
        ("smpp://u:s3cr3t@host?rate=0", "rate must be a number"),
        ("smpp://u:s3cr3t@host?rate=nan", "rate must be a number"),
        ("smpp://u:s3cr3t@host?rate=1e3", "rate must be a number"),
        ("smpp://u:s3cr3t@host?time_zone=Mars", "time_zone must be"),
        ("smpp://u:s3cr3t@host?time_zone=../etc", "time_zone must be"),
        ("smpp://u:s3cr3t@host?system_type=toolongforthis", "system_type must be"),
        ("smpp://u:s3cr3t@host:port", "no valid host and port"),
        ("smpp://u:s3cr3t@host:99999", "no valid host and port"),
        ("smpp://u:s3cr3t@host..example", "no valid host"),
        (f"smpps://u:s3cr3t@{'h' * 64}.example", "no valid host"),
        ("huawei://k:s3cr3t@.example", "no valid host"),
        ("smpp://u:s3cr3t@host?rate=2000000", "from 0.01 to 1000000$"),
        ("smpp://u:s3cr3t@host?inactivity=30", "inactivity must be more than enquire_link"),
        ("smpp://u:s3cr3t@host?enquire_link=60&inactivity=45", "inactivity must be more than enquire_link"),
        ("smpp://u:s3cr3t@host/path", "path"),
        ("smpp://u:s3cr3t@", "no host"),
        ("smpp://host", "no system_id"),
        ("smpp://:s3cr3t@host", "no system_id"),
        ("smpp://u:s3cr3t%00@host", "printable ASCII"),
        ("smpp://u:s3cr3t?x=1@host", "ambiguous"),
        ("smpp://u:s3cr3t#@host", "ambiguous"),
        ("smpp://u:s3cr3t/@host", "no valid host and port"),
        ("smpp://u:s3c r3t@host", "ambiguous"),
        ("http://u:s3cr3t@host", "must begin with"),
        ("smpp://u:s3cr3t@host?binds=0", "binds must be a whole number from 1 to 64"),
        ("smpp://u:s3cr3t@host?binds=65", "binds must be a whole number from 1 to 64"),
        ("smpp://u:s3cr3t@host?mode=both", "mode must be transceiver or pair"),
        ("smpp://u:s3cr3t@host?verify=no", "ca and verify are for smpps://"),
        ("smpp://u:s3cr3t@host?ca=/etc/ssl/ca.pem", "ca and verify are for smpps://"),
        ("smpps://u:s3cr3t@host?verify=maybe", "verify must be yes or no"),
        ("smpps://u:s3cr3t@host?verify=no&ca=/dev/null", "give one of them"),
        ("smpps://u:s3cr3t@host?ca=/no/such/file", r"can't be read \(No such file or directory\)"),
        ("smpps://u:s3cr3t@host?ca=/dev/null", "no certificate in PEM format"),
        ("u:s3cr3t@host", "no scheme"),
        ("", "no scheme"),
    ],
)
def test_a_wrong_url_is_one_clear_line_without_the_password(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        open_gateway("default", url)

    said = str(refused.value)
    assert said.startswith("gateway default: ")
    assert "\n" not in said
    assert SECRET not in said
    assert refused.value.__cause__ is None


async def test_everything_a_url_may_say() -> None:
    gateway = open_gateway(
        "default",
        "smpp://user%40home:p%2Fw%3F@[::1]:2776?window=7&rate=0.5&response_timeout=5&enquire_link=10.5"
        "&inactivity=60&hold=9&system_type=VMA&time_zone=Asia/Shanghai&binds=4&mode=pair",
    )

    assert isinstance(gateway, SmppGateway)
    assert (gateway.name, gateway.window) == ("default", 7)
    endpoint = gateway._binds.endpoint
    assert (endpoint.host, endpoint.port, endpoint.bind.system_id, endpoint.bind.password) == (
        "::1",
        2776,
        "user@home",
        "p/w?",
    )
    assert endpoint.bind.system_type == "VMA"
    assert "p/w?" not in repr(endpoint)
    assert endpoint.mode is BindMode.PAIR
    assert endpoint.ssl is None


async def test_tls_is_verified_and_has_a_port_of_its_own_unless_the_url_says_otherwise() -> None:
    verified, trusting = (
        open_gateway("default", f"smpps://user:secret@centre.example{rest}")
        for rest in ("", ":3551?verify=no")
    )

    assert isinstance(verified, SmppGateway)
    assert isinstance(trusting, SmppGateway)
    endpoint = verified._binds.endpoint
    assert endpoint.port == 3550
    assert endpoint.ssl is not None
    assert (endpoint.ssl.verify_mode, endpoint.ssl.check_hostname) == (ssl.CERT_REQUIRED, True)
    endpoint = trusting._binds.endpoint
    assert endpoint.port == 3551
    assert endpoint.ssl is not None
    assert endpoint.ssl.verify_mode is ssl.CERT_NONE
