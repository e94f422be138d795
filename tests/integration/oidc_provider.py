"""An identity provider of our own: a real HTTP server with a discovery document and rotating keys."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.server import listen

AUDIENCE = "groupsms-test"
WITHIN = 10.0

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def private_key(name: str) -> PrivateKey:
    """A key; those whose name begins with EC are for ES256. Made once a run: RSA keys take a while."""
    if name.startswith("EC"):
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_jwk(name: str) -> dict[str, Any]:
    """The public half of a key, as a JSON Web Key."""
    key = private_key(name)
    if isinstance(key, rsa.RSAPrivateKey):
        found = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
    else:
        found = json.loads(ECAlgorithm.to_jwk(key.public_key()))
    return {**found, "kid": name, "use": "sig"}


@dataclass
class Provider:
    """The provider as the tests steer it."""

    issuer: str
    published: list[str] = field(default_factory=lambda: ["first"])
    """The names of the keys it shows."""
    away: bool = False
    """Whether it answers 503 to everything."""
    claims_to_be: str | None = None
    """The issuer in its discovery document, if not its own."""
    fetches: int = 0
    """How often its keys were asked for."""
    refusals: int = 0
    """How often somebody asked for anything while it was away."""

    def token(self, *, key: str = "first", header: Mapping[str, Any] | None = None, **claims: object) -> str:
        """A token like those of real providers; a claim of None is left out."""
        now = int(time.time())
        said = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": "ana@example.com",
            "iat": now,
            "exp": now + 600,
            "groupsms_account": "Acme",
            "groupsms_role": "SENDER",
            **claims,
        }
        kept = {name: value for name, value in said.items() if value is not None}
        algorithm = "ES256" if key.startswith("EC") else "RS256"
        return jwt.encode(kept, private_key(key), algorithm, headers={"kid": key, **(header or {})})

    async def was_asked(self) -> bool:
        """Whether somebody asked while it was away."""
        return self.refusals > 0

    def _refuse(self) -> Response:
        self.refusals += 1
        return Response(status_code=503)

    async def discovery(self, _: Request) -> Response:
        if self.away:
            return self._refuse()
        return JSONResponse({"issuer": self.claims_to_be or self.issuer, "jwks_uri": f"{self.issuer}/keys"})

    async def keys(self, _: Request) -> Response:
        self.fetches += 1
        if self.away:
            return self._refuse()
        return JSONResponse({"keys": [public_jwk(name) for name in self.published]})


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def oidc_provider() -> AsyncIterator[Provider]:
    """Run a provider on a free port."""
    with listen("127.0.0.1", 0) as bound:
        provider = Provider(f"http://127.0.0.1:{bound.getsockname()[1]}")
        app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", provider.discovery),
                Route("/keys", provider.keys),
            ]
        )
        server = _Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        try:
            async with asyncio.timeout(WITHIN):
                while not server.started:
                    assert not serving.done(), "the provider did not start"
                    await asyncio.sleep(0.005)
            yield provider
        finally:
            server.should_exit = True
            await serving
