"""What resolvers get to know of a request, and what they work with."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import strawberry
import structlog
from graphql import OperationDefinitionNode
from starlette.requests import HTTPConnection
from strawberry.exceptions import ConnectionRejectionError
from strawberry.schema.schema import StreamResult

from api import auth
from api.answers import Ledger, ledger_of
from api.audience import Audience, Audiences, Encode, Subscribed, Told
from api.identity_provider import NotVouchedError
from api.inquiries import Inquiries
from api.rate_limits import RateLimits, SocketPlace
from api.sealed_cursors import CursorSeal
from api.sessions import Session, Sessions
from api.signed_links import Grant, LinkSigner
from api.sse import asks_for_events
from api.top_level_errors import TopLevelCode, TopLevelError
from api.transport import SOCKET_PLACE, Share, Stream
from domain import audit, db
from domain.access import Standing, Viewer
from domain.audit import Actor
from domain.bus import Bus
from domain.masking import DIGITS_SHOWN
from domain.settings import Settings
from domain.states import Role
from domain.task_orders import Intake
from domain.task_reads import TaskView

log = structlog.get_logger()

LINK_LIFETIME = timedelta(minutes=15)


@dataclass(slots=True)
class Services:
    """What one process of the API works with; open while the application runs."""

    settings: Settings
    signer: LinkSigner
    intake: Intake
    sessions: Sessions
    rates: RateLimits
    inquiries: Inquiries = field(default_factory=Inquiries)
    identities: auth.Identities = field(default_factory=auth.Identities)
    opened_bus: Bus | None = None
    cursor_seal: CursorSeal = field(init=False)

    def __post_init__(self) -> None:
        """Make what follows from the settings."""
        self.cursor_seal = CursorSeal(self.settings.signing_keys())

    @property
    def bus(self) -> Bus:
        """The way to the workers and to subscribers."""
        assert self.opened_bus is not None, "the application is not running"
        return self.opened_bus

    def link(self, path: str, viewer: Viewer) -> str:
        """An address that opens `path` without a token, for a while, but no longer than theirs is good."""
        now = datetime.now(UTC)
        lifetime = LINK_LIFETIME if viewer.expires_at is None else min(LINK_LIFETIME, viewer.expires_at - now)
        grant = Grant(viewer.account_id, Actor.of(viewer))
        return f"{self.settings.public_url}{self.signer.sign(path, grant, now=now, lifetime=lifetime)}"


@dataclass(slots=True)
class Context:
    """Of one request, or of one socket with all its operations."""

    services: Services
    viewer: Viewer | None = None
    standing: Standing | None = None
    """As of when they were identified."""
    token_given: bool = False
    refusal: NotVouchedError | None = None
    """Why an identity provider's token is not taken."""
    connection_params: dict[str, object] = field(default_factory=dict)
    ledger: Ledger | None = None
    """What is shown in answer to this request, if anybody wants to know."""
    audience: Audience | None = None
    """Who is told of the events of this subscription; None if only whoever asked."""
    place: SocketPlace | None = None
    """Whom this socket is counted for; None if this is no socket."""

    async def identify(self, authorization: object) -> None:
        """Find out who is asking."""
        self.token_given = authorization is not None
        self.standing = self.viewer = self.refusal = None
        try:
            inquiry = await self.services.identities.inquiry_of(authorization)
        except NotVouchedError as refusal:
            self.refusal = refusal
            return
        self.standing = await self.services.inquiries.standing(inquiry) if inquiry else None
        if self.standing is not None:
            self.viewer = self.standing.viewer
        else:
            self.refusal = self.services.identities.refusal(authorization)

    @property
    def identified(self) -> bool:
        """Whether it is known who is asking."""
        return self.standing is not None

    def open_session(self) -> AbstractContextManager[Session]:
        """What ends the long connection of whoever has just been identified."""
        assert self.standing is not None, "nobody has been identified"
        return self.services.sessions.open(self.standing)

    def show(self, view: TaskView) -> None:
        """Note that the answer shows a task."""
        if self.ledger is not None:
            self.ledger.show(view)

    @property
    def hides_numbers(self) -> bool:
        """Whether whoever asks is to see phone numbers without their middle."""
        return self.viewer is None or self.viewer.role in self.services.settings.masked_roles

    def check_ending(self, digits: str | None) -> None:
        """Raise `TopLevelError` if numbers may not be looked for by so many of their last digits.

        Whoever sees the last four could otherwise find out the others one by one.
        """
        if digits is not None and len(digits) > DIGITS_SHOWN and self.hides_numbers:
            raise TopLevelError(
                f"Your role sees numbers without their middle and finds them by their last {DIGITS_SHOWN} "
                "digits only.",
                TopLevelCode.BAD_USER_INPUT,
            )

    def require(self, role: Role = Role.VIEWER) -> Viewer:
        """Who is asking, if they have the rights of `role`; from now on they act. Raises `TopLevelError`."""
        if self.refusal is not None:
            raise self.refusal
        try:
            viewer = auth.require(self.viewer, role, token_given=self.token_given)
        except TopLevelError:
            if self.viewer is not None:
                log.warning(
                    "refused_by_role",
                    needed=role.value,
                    role=self.viewer.role.value,
                    account_id=self.viewer.account_id,
                    token_id=self.viewer.token_id,
                )
            raise
        audit.acting(Actor.of(viewer))
        return viewer


Info = strawberry.Info[Context, None]


def context_factory(services: Services) -> Callable[[HTTPConnection], Awaitable[Context]]:
    """What makes the context of a request, or of a socket."""

    async def make(connection: HTTPConnection) -> Context:
        authorization = connection.headers.get(auth.HEADER)
        ledger = ledger_of(connection)
        if ledger is not None:
            standing = ledger.standing
            viewer = standing.viewer if standing else None
            # A stream is shown to nobody else, and would have no end of what it shows.
            noted = None if asks_for_events(connection) else ledger
            refusal = None if standing else services.identities.refusal(authorization)
            return Context(services, viewer, standing, authorization is not None, refusal, ledger=noted)
        context = Context(services, place=connection.scope.get(SOCKET_PLACE))
        await context.identify(authorization)
        return context

    return make


def sharing(audiences: Audiences) -> Share:
    """What lets subscribers of one account and role share their events."""

    def share(
        context: Context,
        subscribed: Subscribed,
        operation: OperationDefinitionNode,
        stream: Stream,
        encode: Encode,
    ) -> AsyncGenerator[Told, None] | None:
        viewer = context.viewer
        if viewer is None:
            return None

        def start(audience: Audience) -> Awaitable[StreamResult]:
            return stream(Context(context.services, viewer, token_given=True, audience=audience))

        return audiences.follow(_who_may_share(viewer, subscribed), subscribed, operation, start, encode)

    return share


def _who_may_share(viewer: Viewer, subscribed: Subscribed) -> Hashable:
    """Those who are shown the same: of one account and role; and of links, which say who asked, one."""
    whose = (viewer.account_id, viewer.role)
    return (*whose, viewer.token_id, viewer.subject) if "Url" in subscribed.query else whose


async def on_connect(context: Context) -> None:
    """Identify the user of a socket by the payload of connection_init.

    Raises `ConnectionRejectionError`, which closes the socket with 4403, without a valid token, and
    `TopLevelError` if that has too many sockets.
    """
    authorization = auth.in_connection_init(context.connection_params)
    if authorization is not None:
        # Closed with an error, a client library would not come back; for its welcome it waits.
        await db.patiently(lambda: context.identify(authorization))
    if context.viewer is None:
        raise ConnectionRejectionError
    if context.place is not None:
        context.place.take(context.viewer)
