"""Who is asking: bearer tokens in headers and in connection_init, and what each role may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from api.identity_provider import IdentityProvider, NotVouchedError, looks_signed, unknown_account
from api.top_level_errors import TopLevelCode, TopLevelError
from domain import access
from domain.access import Inquiry, Viewer
from domain.states import Role

HEADER = "Authorization"

_HOW = (
    f'Send one as the header "{HEADER}: Bearer TOKEN", or over a WebSocket in connection_init as '
    '{"authorization": "Bearer TOKEN"}. Tokens are made with: groupsms token create.'
)


def bearer_of(authorization: object) -> str | None:
    """The token in the value of an Authorization header; None if it holds no bearer token."""
    if not isinstance(authorization, str):
        return None
    scheme, _, token = authorization.strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or not token.isascii():
        return None
    return token


def inquiry_of(authorization: object) -> Inquiry | None:
    """What to ask about a token of ours; None if there is no bearer token."""
    token = bearer_of(authorization)
    return Inquiry(access.hash_of(token)) if token is not None else None


class Identities:
    """Tells tokens of ours from those of an identity provider, if one is set."""

    def __init__(self, provider: IdentityProvider | None = None) -> None:
        self._provider = provider

    async def inquiry_of(self, authorization: object) -> Inquiry | None:
        """What to ask of the database about whoever sent this header; None if it holds no bearer token.

        Raises `NotVouchedError` for a token that the provider doesn't vouch for.
        """
        inquiry = inquiry_of(authorization)
        if self._provider is None or inquiry is None:
            return inquiry
        token = bearer_of(authorization)
        assert token is not None, "there is an inquiry about it"
        if not looks_signed(token):
            return inquiry
        return replace(inquiry, vouched=await self._provider.vouch(token, inquiry.token_hash))

    def refusal(self, authorization: object) -> NotVouchedError | None:
        """Why a token that the provider vouches for opens nothing; None for all others."""
        inquiry = inquiry_of(authorization)
        vouched = self._provider.recall(inquiry.token_hash) if self._provider and inquiry else None
        return unknown_account(vouched) if vouched else None


def in_connection_init(payload: Mapping[str, object]) -> object:
    """What the payload of connection_init has for an Authorization header, whatever the letters' case."""
    return next((value for name, value in payload.items() if name.lower() == HEADER.lower()), None)


def includes(held: Role, role: Role) -> bool:
    """Whether somebody with one role has the rights of another."""
    return role in access.included(held)


def require(viewer: Viewer | None, role: Role, *, token_given: bool) -> Viewer:
    """The viewer, if it has the rights of `role`. Raises `TopLevelError`."""
    if viewer is None:
        problem = "The token is unknown, expired or revoked." if token_given else "This needs a token."
        raise TopLevelError(f"{problem} {_HOW}", TopLevelCode.UNAUTHENTICATED)
    if role not in access.included(viewer.role):
        enough = " or ".join(held.value for held in Role if role in access.included(held))
        raise TopLevelError(
            f"This needs a token with the role {enough}; yours has {viewer.role.value}.",
            TopLevelCode.FORBIDDEN,
        )
    return viewer
