"""The parameters of a gateway's URL that say how its TLS connection is verified."""

from __future__ import annotations

import ssl
from typing import Any, Final

from workers.gateways import urls

SCHEME: Final = "smpps"
PORTS: Final = {"smpp": 2775, SCHEME: 3550}
"""The ports IANA has registered for SMPP and for SMPP over TLS."""

PARAMETERS: Final = {
    "ca": urls.text(4096),
    "verify": urls.one_of({"yes": True, "no": False}),
}


def take(url: urls.GatewayUrl, given: dict[str, Any]) -> ssl.SSLContext | None:
    """Make the context of an smpps:// URL, or None for smpp://; takes its parameters out of `given`.

    The certificate is verified against the system's authorities or those in the file `ca`, and must be the
    host's. Raises ValueError.
    """
    verify, ca = given.pop("verify", None), given.pop("ca", None)
    if url.scheme != SCHEME:
        if verify is not None or ca is not None:
            url.refuse("ca and verify are for smpps://, which is TLS")
        return None
    if ca is not None and verify is False:
        url.refuse("ca says whom to trust and verify=no to trust anybody; give one of them")
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError:
        url.refuse("the file that ca names holds no certificate in PEM format")
    except OSError as error:
        url.refuse(f"the file that ca names can't be read ({error.strerror})")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
