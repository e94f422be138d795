"""Signed links: good for one path, one account and a short time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.signed_links import Grant, LinkExpiredError, LinkRefusedError, LinkSigner
from domain.audit import Actor, ActorKind
from domain.states import Role

NOW = datetime(2026, 5, 4, 3, 2, 1, 500_000, tzinfo=UTC)
PATH = "/downloads/tasks/7/failed.xlsx"
ACTOR = Actor(ActorKind.TOKEN, 7, None, Role.VIEWER)
SIGNER = LinkSigner(b"a secret of the deployment, long enough")


def signature(
    lifetime: timedelta = timedelta(minutes=10), actor: Actor = ACTOR, signer: LinkSigner = SIGNER
) -> str:
    link = signer.sign(PATH, Grant(42, actor), now=NOW, lifetime=lifetime)
    path, _, query = link.partition("?")
    assert path == PATH
    return query.removeprefix("signature=")


def test_a_link_tells_the_account_until_it_expires() -> None:
    signed = signature(timedelta(seconds=10))
    assert SIGNER.verify(PATH, signed, now=NOW) == Grant(42, ACTOR)
    assert SIGNER.verify(PATH, signed, now=NOW + timedelta(seconds=10)) == Grant(42, ACTOR)
    with pytest.raises(LinkExpiredError):
        SIGNER.verify(PATH, signed, now=NOW + timedelta(seconds=11))


def test_a_link_is_good_for_its_path_only() -> None:
    with pytest.raises(LinkRefusedError):
        SIGNER.verify("/downloads/tasks/8/failed.xlsx", signature(), now=NOW)


def test_a_link_of_another_deployment_is_refused() -> None:
    with pytest.raises(LinkRefusedError):
        LinkSigner(b"another secret, also long enough ....").verify(PATH, signature(), now=NOW)


@pytest.mark.parametrize(
    "actor", [ACTOR, Actor(ActorKind.USER, None, "auth0|赵", Role.MANAGER), Actor(ActorKind.SYSTEM)]
)
def test_a_link_says_who_asked_for_it(actor: Actor) -> None:
    assert SIGNER.verify(PATH, signature(actor=actor), now=NOW).actor == actor


def test_keys_are_changed_without_breaking_links() -> None:
    old, new = b"the key of yesterday, long enough...", b"the key of tomorrow, long enough...."
    before, meanwhile, after = LinkSigner(old, new), LinkSigner(new, old), LinkSigner(new)
    assert before.verify(PATH, signature(signer=meanwhile), now=NOW) == Grant(42, ACTOR)
    assert meanwhile.verify(PATH, signature(signer=before), now=NOW) == Grant(42, ACTOR)
    assert after.verify(PATH, signature(signer=meanwhile), now=NOW) == Grant(42, ACTOR)
    with pytest.raises(LinkRefusedError):
        after.verify(PATH, signature(signer=before), now=NOW)


@pytest.mark.parametrize("name", ["a", "ab", "abc"])
def test_every_changed_character_is_refused(name: str) -> None:
    signed = signature(actor=Actor(ActorKind.USER, None, name, Role.VIEWER))
    assert "=" not in signed
    for index, character in enumerate(signed):
        changed = signed[:index] + ("A" if character != "A" else "B") + signed[index + 1 :]
        with pytest.raises(LinkRefusedError):
            SIGNER.verify(PATH, changed, now=NOW)


@pytest.mark.parametrize(
    "garbage", ["", "x", "=", "*" * 64, "A" * 64, "A" * 68, "ÿ" * 64, "\ud800", "AAAA AAAA"]
)
def test_garbage_is_refused(garbage: str) -> None:
    with pytest.raises(LinkRefusedError):
        SIGNER.verify(PATH, garbage, now=NOW)


def test_a_query_string_is_not_signed() -> None:
    with pytest.raises(ValueError, match="only a path"):
        SIGNER.sign(f"{PATH}?format=csv", Grant(1, ACTOR), now=NOW, lifetime=timedelta(minutes=1))
