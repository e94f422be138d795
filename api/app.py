"""The application: routes and middleware round a schema."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import strawberry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from api import downloads
from api.answers import Answers
from api.audience import Audiences
from api.auth import Identities
from api.body_limit import BodyLimit
from api.callbacks import Callbacks
from api.client_address import TrustedProxies
from api.context import Services, context_factory, on_connect, sharing
from api.graphiql import assets, page
from api.identity_provider import identity_provider
from api.inquiries import Inquiries
from api.limits.admission import Gate, Limits
from api.observation import Observed
from api.rate_limits import TOLD_HEADERS, RateLimits
from api.request_log import REQUEST_ID_HEADER, RequestLog
from api.reuse import Natures
from api.schema import schema
from api.schema.tariff import TARIFF
from api.security_headers import SecurityHeaders
from api.sessions import Sessions
from api.signed_links import LinkSigner
from api.token_uses import TokenUses
from api.transport import (
    PREFLIGHT_HEADER,
    ConnectHook,
    ContextFactory,
    GraphQLEndpoint,
    Rates,
    Respond,
    Share,
    UploadPolicy,
)
from domain import db
from domain.bus import open_bus
from domain.metrics import expect_from
from domain.monitoring_port import monitored
from domain.pricing import parse_prices
from domain.readiness import Checks
from domain.recipient_file import ReadLimits
from domain.settings import Settings
from domain.task_orders import Intake

GRAPHQL_PATH = "/graphql"

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


def create_app(
    schema: strawberry.Schema,
    context: ContextFactory,
    *,
    uploads: UploadPolicy,
    on_connect: ConnectHook | None = None,
    respond: Respond | None = None,
    gate: Gate | None = None,
    rates: Rates | None = None,
    share: Share | None = None,
    routes: Sequence[BaseRoute] = (),
    lifespan: Lifespan | None = None,
    cors_origins: Sequence[str] = (),
    graphiql: bool = True,
    https: bool = False,
    trusted_proxies: Sequence[IPv4Network | IPv6Network] = (),
) -> Starlette:
    """The ASGI application serving `schema` at /graphql, with `routes` beside it.

    `schema` is made with `api.transport.SCHEMA_EXTENSIONS`. Pages on `cors_origins` ("*": on any) may query,
    upload, subscribe and download. `gate` holds the limits of one operation, else those by default; `rates`
    those of many. `graphiql` decides whether browsers find a page at /graphql, `https` whether they are told
    to come by https alone.
    """
    # It logs each error of each operation, the client's mistakes too; `present` logs ours alone, and masked.
    logging.getLogger("strawberry.execution").setLevel(logging.CRITICAL)
    endpoint = GraphQLEndpoint(
        schema,
        context,
        uploads=uploads,
        on_connect=on_connect,
        respond=respond,
        rates=rates,
        gate=gate or Gate(schema._schema),  # noqa: SLF001 - there is no other way to it
        share=share,
        page=page if graphiql else None,
        allowed_origins=cors_origins,
    )
    graphql: list[BaseRoute] = [
        Route(GRAPHQL_PATH, endpoint),
        WebSocketRoute(GRAPHQL_PATH, endpoint),
        Route("/healthz", _alive),
    ]
    if graphiql:
        graphql.append(Mount(f"{GRAPHQL_PATH}/assets", assets()))
    return Starlette(
        routes=[*graphql, *routes],
        lifespan=lifespan,
        middleware=[
            Middleware(TrustedProxies, trusted_proxies),
            Middleware(SecurityHeaders, https=https),
            # Outside of all that answers, so that a page of another origin can also read what went wrong.
            *_cross_origin(cors_origins),
            Middleware(Observed),
            Middleware(RequestLog),
            Middleware(BodyLimit, upload_limit=uploads.limit),
        ],
    )


def _cross_origin(origins: Sequence[str]) -> list[Middleware]:
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", PREFLIGHT_HEADER, REQUEST_ID_HEADER],
            expose_headers=["Content-Disposition", REQUEST_ID_HEADER, *TOLD_HEADERS],
            max_age=7200,
        )
    ]


async def _alive(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _readiness_route(checks: Checks) -> Route:
    async def tell(_: Request) -> Response:
        readiness = await checks.readiness()
        return JSONResponse(readiness.as_json(), 200 if readiness.ready else 503)

    return Route("/readyz", tell)


def upload_directory(settings: Settings) -> Path:
    """Where the files of uploads lie while they are read."""
    return settings.data_dir / "uploads"


def limits_of(settings: Settings) -> Limits:
    """What one operation may ask for."""
    return Limits(
        depth=settings.query_depth,
        aliases=settings.query_aliases,
        tokens=settings.query_tokens,
        cost=settings.query_cost,
        seconds=settings.query_seconds,
        import_seconds=settings.import_seconds,
        introspection=settings.introspection,
    )


def build(
    settings: Settings, database_url: str, redis_url: str, monitoring: socket.socket | None = None
) -> Starlette:
    """The application as it runs in production, with the real schema, contexts and downloads.

    `monitoring` is where `domain.monitoring_port` answers, if anywhere.
    """
    intake = Intake(ReadLimits(), parse_prices(settings.prices), upload_directory(settings))
    sessions = Sessions(timedelta(seconds=settings.session_seconds))
    uses = TokenUses()
    services = Services(
        settings,
        LinkSigner(*settings.signing_keys()),
        intake,
        sessions,
        RateLimits(settings),
        Inquiries(uses.note, within=settings.query_seconds),
        Identities(identity_provider(settings)),
    )
    core = schema._schema  # noqa: SLF001 - there is no other way to it
    gate = Gate(core, limits_of(settings), TARIFF)
    answers = Answers(services.inquiries, Natures(core, gate.documents), services.identities)
    callbacks = Callbacks(settings.signing_keys(), settings.opt_out_words)

    checks = Checks(lambda: services.opened_bus)
    expect_from(settings.gateways)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with (
            db.connected(database_url),
            open_bus(redis_url) as services.opened_bus,
            services.rates.shared(redis_url),
            callbacks.working(services.bus),
            monitored(monitoring, checks),
            sessions.watched(services.bus),
            uses.written(sessions.token_ids),
        ):
            yield

    app = create_app(
        schema,
        context_factory(services),
        uploads=UploadPolicy(limit=settings.upload_limit, directory=upload_directory(settings)),
        on_connect=on_connect,
        respond=services.rates.respond(answers.respond),
        gate=gate,
        rates=services.rates,
        share=sharing(Audiences({"taskUpdated"})),
        routes=[*downloads.routes(services.signer), *callbacks.routes(), _readiness_route(checks)],
        lifespan=lifespan,
        cors_origins=settings.cors_origins,
        graphiql=settings.graphiql,
        https=settings.public_url.startswith("https:"),
        trusted_proxies=settings.trusted_proxies,
    )
    app.state.sessions = sessions
    return app
