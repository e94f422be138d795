"""Tokens of an identity provider, which is a real HTTP server here."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import HMACAlgorithm

from api.identity_provider import IdentityProvider, NotVouchedError
from api.signing_keys import (
    BETWEEN_FETCHES,
    FRESH_FOR,
    ProviderUnreachableError,
    SigningKeys,
    UnknownKeyError,
)
from domain import access, accounts, db
from domain.settings import Settings
from domain.states import Role
from tests.integration.api_client import Api, serving
from tests.integration.api_operations import CREATE_APPLICATION, do
from tests.integration.event_stream import following
from tests.integration.oidc_provider import AUDIENCE, Provider, oidc_provider, private_key
from tests.integration.world import eventually

WHO = "{ viewer { role expiresAt account { name } } }"
TASKS = "{ tasks { totalCount nodes { id name } } }"
TASKS_CHANGED = "subscription { tasksChanged { kind } }"


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with oidc_provider() as running:
        yield running


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path, provider: Provider) -> AsyncIterator[Api]:
    settings: dict[str, Any] = {"oidc_issuer": provider.issuer, "oidc_audience": AUDIENCE}
    async with serving(database_url, redis_url, tmp_path, **settings) as running:
        await accounts.create_account("Acme")
        yield running


async def refusal(api: Api, token: str) -> str:
    """Why a token is refused; it is as useless at a socket."""
    code, message = await api.holding(token).refusal(WHO)
    assert code == "UNAUTHENTICATED"
    async with api.holding(token).socket() as socket:
        assert await socket.close_code() == 4403
    return message


# --- who is let in --------------------------------------------------------------------------------


async def test_the_provider_vouches_for_account_and_role(api: Api, provider: Provider) -> None:
    client = api.holding(provider.token())
    found = (await client.run(WHO))["viewer"]
    assert (found["role"], found["account"]["name"]) == ("SENDER", "Acme")
    assert found["expiresAt"] is not None
    assert (await client.run(TASKS))["tasks"]["totalCount"] == 0
    async with client.subscribe(TASKS_CHANGED), following(client, TASKS_CHANGED):
        pass
    link = (await client.run("{ sampleRecipientFileUrl }"))["sampleRecipientFileUrl"]
    assert (await api.http.get(link)).status_code == 200
    code, message = await client.refusal(CREATE_APPLICATION, input={"name": "A", "region": "INTERNATIONAL"})
    assert (code, message[-17:]) == ("FORBIDDEN", "yours has SENDER.")


AS_WRITTEN: tuple[tuple[dict[str, Any], str], ...] = (
    ({"groupsms_role": "manager"}, "MANAGER"),
    ({"groupsms_role": ["offline_access", "VIEWER", "SENDER"]}, "SENDER"),
    ({"aud": ["other", AUDIENCE]}, "SENDER"),
    ({"nbf": 0}, "SENDER"),
)


async def test_claims_as_providers_write_them(api: Api, provider: Provider) -> None:
    for claims, role in AS_WRITTEN:
        found = await api.holding(provider.token(**claims)).run(WHO)
        assert found["viewer"]["role"] == role, claims


async def test_claims_inside_claims(
    database_url: str, redis_url: str, tmp_path: Path, provider: Provider
) -> None:
    settings: dict[str, Any] = {
        "oidc_issuer": provider.issuer,
        "oidc_audience": AUDIENCE,
        "oidc_jwks_url": f"{provider.issuer}/keys",
        "oidc_account_claim": "https://sms.example.com/account",
        "oidc_role_claim": "realm_access.roles",
    }
    claims: dict[str, Any] = {
        "https://sms.example.com/account": "Acme",
        "realm_access": {"roles": ["operator"]},
    }
    async with serving(database_url, redis_url, tmp_path, **settings) as api:
        await accounts.create_account("Acme")
        found = await api.holding(provider.token(**claims)).run(WHO)
        assert (found["viewer"]["role"], found["viewer"]["account"]["name"]) == ("OPERATOR", "Acme")


async def test_what_a_user_of_the_provider_does_is_noted_under_their_name(
    api: Api, provider: Provider
) -> None:
    manager = api.holding(provider.token(groupsms_role="MANAGER", sub="maria"))
    await do(manager, CREATE_APPLICATION, name="A", region="INTERNATIONAL")
    row = await db.fetchrow("SELECT actor_kind, actor_name FROM audit_entry WHERE action LIKE 'APPLICATION%'")
    assert row is not None
    assert tuple(row) == ("USER", "maria")


# --- who is not -----------------------------------------------------------------------------------


def forged(provider: Provider, algorithm: str, secret: bytes) -> str:
    """A token signed with a secret that everybody knows."""
    head, body, _ = provider.token().split(".")
    header = {"alg": algorithm, "typ": "JWT", "kid": "first"}
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    signature = b""
    if secret:
        signature = HMACAlgorithm(HMACAlgorithm.SHA256).sign(f"{head}.{body}".encode(), secret)
    return f"{head}.{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


async def test_tokens_that_anybody_could_make(api: Api, provider: Provider) -> None:
    public = private_key("first").public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for token in (forged(provider, "none", b""), forged(provider, "HS256", pem)):
        assert "is not signed with RS256 or ES256 or EdDSA" in await refusal(api, token)
    head, _, signature = provider.token().split(".")
    other_body = provider.token(groupsms_role="OPERATOR").split(".")[1]
    assert "its signature is wrong" in await refusal(api, f"{head}.{other_body}.{signature}")
    stolen_id = jwt.encode({}, private_key("not published"), "RS256", headers={"kid": "first"})
    assert "its signature is wrong" in await refusal(api, stolen_id)
    assert "its signature is wrong" in await refusal(api, "ey.ey.ey")


WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"iss": "https://elsewhere.example.com"}, "is of another issuer"),
    ({"aud": "another-service"}, "is for another audience"),
    ({"aud": None}, "lacks the claim 'aud'"),
    ({"exp": 1_000_000_000}, "has expired"),
    ({"exp": None}, "lacks the claim 'exp'"),
    ({"exp": 10**30}, "has an exp that is no moment"),
    ({"nbf": 32_000_000_000}, "is not valid yet"),
    ({"iat": 32_000_000_000}, "is not valid yet"),
    ({"sub": None}, "lacks the claim 'sub'"),
    ({"sub": "a\0b"}, "has no sub of 1 to 255 characters"),
    ({"groupsms_account": None}, "names no account: its claim 'groupsms_account'"),
    ({"groupsms_account": ["Acme"]}, "names no account"),
    ({"groupsms_account": "Ac\0me"}, "names no account"),
    ({"groupsms_role": None}, "names no role: its claim 'groupsms_role'"),
    ({"groupsms_role": "admin"}, "is to be one of VIEWER, SENDER, MANAGER, OPERATOR"),
    ({"groupsms_role": {"SENDER": True}}, "names no role"),
)


async def test_tokens_that_say_the_wrong_thing(api: Api, provider: Provider) -> None:
    for claims, fault in WRONG:
        code, message = await api.holding(provider.token(**claims)).refusal(WHO)
        assert code == "UNAUTHENTICATED", claims
        assert fault in message, claims


async def test_an_account_that_is_not_here(api: Api, provider: Provider) -> None:
    token = provider.token(groupsms_account="Nobody Ltd")
    message = await refusal(api, token)
    assert "There is no account named 'Nobody Ltd'" in message
    assert "groupsms account create" in message
    await accounts.create_account("Nobody Ltd")
    found = await api.holding(token).run(WHO)
    assert found["viewer"]["account"]["name"] == "Nobody Ltd"


# --- nothing of one token for another -------------------------------------------------------------


async def test_answers_given_again_keep_accounts_and_roles_apart(api: Api, provider: Provider) -> None:
    await accounts.create_account("Rival")
    sender = api.holding(provider.token())
    viewer = api.holding(provider.token(groupsms_role="VIEWER"))
    rival = api.holding(provider.token(groupsms_account="Rival"))
    ours = await api.client(Role.MANAGER, "Acme")
    for _ in range(3):
        for client, role, account in (
            (sender, "SENDER", "Acme"),
            (viewer, "VIEWER", "Acme"),
            (rival, "SENDER", "Rival"),
            (ours, "MANAGER", "Acme"),
        ):
            found = (await client.run(WHO))["viewer"]
            assert (found["role"], found["account"]["name"]) == (role, account)
            assert (await client.run(TASKS))["tasks"]["totalCount"] == 0
    await db.fetch("DELETE FROM account WHERE name = 'Rival'")
    assert (await rival.refusal(TASKS))[0] == "UNAUTHENTICATED"


async def test_sockets_and_streams_end_when_the_token_does_and_what_was_remembered_of_it(
    api: Api, provider: Provider
) -> None:
    client = api.holding(provider.token(exp=int(time.time()) - 28))  # 30 seconds of leeway
    assert await client.run(TASKS)
    async with client.socket() as socket, following(client, TASKS_CHANGED) as stream:
        assert (await socket.receive())["type"] == "connection_ack"
        told = await stream.next()
        assert told["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        assert await socket.close_code() == 4403
        assert socket.connection.close_reason == "Forbidden: the token has expired"
    assert (await client.refusal(TASKS))[0] == "UNAUTHENTICATED"


# --- the provider's keys --------------------------------------------------------------------------


async def test_keys_rotate(api: Api, provider: Provider) -> None:
    old = api.holding(provider.token())
    assert await old.run(WHO)
    assert provider.fetches == 1
    provider.published = ["EC second"]
    # Within seconds of the last time the provider is not asked again.
    assert "a key that the provider doesn't have" in await refusal(api, provider.token(key="EC second"))
    assert provider.fetches == 1
    assert await old.run(WHO)


async def test_a_provider_that_is_away(api: Api, provider: Provider) -> None:
    provider.away = True
    code, message = await api.holding(provider.token()).refusal(WHO)
    assert code == "UNAVAILABLE"
    assert "can't be reached" in message
    ours = await api.client(Role.VIEWER, "Acme")
    assert (await ours.run(WHO))["viewer"]["role"] == "VIEWER"


class Clock:
    """Seconds, as the test has them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_an_unknown_key_is_looked_for_but_not_too_often(provider: Provider) -> None:
    clock = Clock()
    keys = SigningKeys(provider.issuer, None, clock=clock)
    first = await keys.find("first", "RS256")
    assert await keys.find(None, "RS256") is first
    for _ in range(3):
        with pytest.raises(UnknownKeyError):
            await keys.find("EC second", "ES256")
    assert provider.fetches == 1
    provider.published = ["first", "EC second"]
    clock.now += BETWEEN_FETCHES
    assert (await keys.find("EC second", "ES256")).algorithm_name == "ES256"
    assert (provider.fetches, keys.generation) == (2, 2)
    for key, algorithm in (("first", "ES256"), ("EC second", "RS256"), (None, "RS256")):
        with pytest.raises(UnknownKeyError):
            await keys.find(key, algorithm)


async def test_withdrawn_keys_go_after_a_while_but_stay_when_the_provider_is_away(
    provider: Provider, tmp_path: Path
) -> None:
    clock = Clock()
    keys = SigningKeys(provider.issuer, None, clock=clock)
    settings = Settings(data_dir=tmp_path, oidc_issuer=provider.issuer, oidc_audience=AUDIENCE)
    checking = IdentityProvider(settings, keys)
    token = provider.token()

    async def known() -> bool:
        try:
            vouched = await checking.vouch(token, access.hash_of(token))
        except NotVouchedError as refused:
            assert "a key that the provider doesn't have" in refused.message  # noqa: PT017 - it may come later
            return False
        return vouched.account_name == "Acme"

    async def unknown() -> bool:
        return not await known()

    assert await known()
    provider.published, provider.away = ["EC second"], True
    clock.now += FRESH_FOR + 1
    assert await known()
    await eventually(provider.was_asked)
    assert await known()
    provider.away = False
    clock.now += BETWEEN_FETCHES
    await eventually(unknown)


async def test_a_discovery_document_of_somebody_else_is_not_believed(provider: Provider) -> None:
    provider.claims_to_be = "https://elsewhere.example.com"
    with pytest.raises(ProviderUnreachableError):
        await SigningKeys(provider.issuer, None).find("first", "RS256")
    assert provider.fetches == 0
