"""A schema just large enough to try the shell round the real one: its transports, limits and errors."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import strawberry
from starlette.requests import HTTPConnection
from strawberry.exceptions import ConnectionRejectionError
from strawberry.schema.config import StrawberryConfig

from api.limits.execution import BoundedExecutor
from api.top_level_errors import TopLevelCode, TopLevelError
from api.transport import SCHEMA_EXTENSIONS
from api.uploads import UPLOAD_SCALAR, Upload

LEAKED_NUMBER = "+8613800138000"


@dataclass
class Context:
    """Who is asking, as far as the tests need it."""

    authorization: str
    connection_params: dict[str, object] = field(default_factory=dict)

    def token(self) -> str:
        """The token of the header or of connection_init, or ''."""
        given = self.connection_params.get("authorization") or self.authorization
        return str(given).removeprefix("Bearer").strip()


Info = strawberry.Info[Context, None]


async def context(connection: HTTPConnection) -> Context:
    """The context of a request or socket."""
    return Context(connection.headers.get("authorization", ""))


async def on_connect(made: Context) -> None:
    """Turn one token away."""
    if made.token() == "revoked":
        raise ConnectionRejectionError


@strawberry.type
class Viewer:
    role: str


@strawberry.type
class Measured:
    filename: str
    size: int
    too_large: bool
    sha256: str
    path: str


@strawberry.type
class Query:
    @strawberry.field
    def viewer(self, info: Info) -> Viewer:
        if not info.context.token():
            raise TopLevelError("Send a token.", TopLevelCode.UNAUTHENTICATED)
        return Viewer(role=info.context.token().upper())

    @strawberry.field
    def echo(self, text: str) -> str:
        return text

    @strawberry.field
    def boom(self) -> str:
        raise RuntimeError(f"no connection for {LEAKED_NUMBER}")

    @strawberry.field
    def unserializable(self) -> int:
        return 2**40


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def measure(self, file: Upload, meanwhile: float = 0) -> Measured:
        await asyncio.sleep(meanwhile)
        content = file.path.read_bytes()
        return Measured(
            filename=file.filename,
            size=file.size,
            too_large=file.too_large,
            sha256=hashlib.sha256(content).hexdigest(),
            path=str(file.path),
        )

    @strawberry.mutation
    async def measure_all(self, files: list[Upload]) -> list[int]:
        return [file.size for file in files]


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, info: Info, to: int = 3) -> AsyncIterator[str]:
        for number in range(1, to + 1):
            yield f"{info.context.token()} {number}"
        await asyncio.sleep(0)

    @strawberry.subscription
    async def forever(self) -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    @strawberry.subscription
    async def broken(self) -> AsyncIterator[int]:
        yield 1
        raise RuntimeError(f"lost {LEAKED_NUMBER}")


def tiny_schema() -> strawberry.Schema:
    """The schema, with the extensions every schema served gets."""
    return strawberry.Schema(
        Query,
        Mutation,
        Subscription,
        extensions=SCHEMA_EXTENSIONS,
        execution_context_class=BoundedExecutor,
        config=StrawberryConfig(scalar_map={Upload: UPLOAD_SCALAR}),
    )
