"""Signed links: good for one path, one account and a short time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.signed_links import LinkExpiredError, LinkRefusedError, LinkSigner

NOW = datetime(2026, 5, 4, 3, 2, 1, 500_000, tzinfo=UTC)
PATH = "/downloads/tasks/7/failed.xlsx"
SIGNER = LinkSigner(b"a secret of the deployment, long enough")


def signature(lifetime: timedelta = timedelta(minutes=10), account_id: int = 42) -> str:
    link = SIGNER.sign(PATH, account_id=account_id, now=NOW, lifetime=lifetime)
    path, _, query = link.partition("?")
    assert path == PATH
    return query.removeprefix("signature=")


def test_a_link_tells_the_account_until_it_expires() -> None:
    signed = signature(timedelta(seconds=10))
    assert SIGNER.verify(PATH, signed, now=NOW) == 42
    assert SIGNER.verify(PATH, signed, now=NOW + timedelta(seconds=10)) == 42
    with pytest.raises(LinkExpiredError):
        SIGNER.verify(PATH, signed, now=NOW + timedelta(seconds=11))


def test_a_link_is_good_for_its_path_only() -> None:
    with pytest.raises(LinkRefusedError):
        SIGNER.verify("/downloads/tasks/8/failed.xlsx", signature(), now=NOW)


def test_a_link_of_another_deployment_is_refused() -> None:
    with pytest.raises(LinkRefusedError):
        LinkSigner(b"another secret, also long enough ....").verify(PATH, signature(), now=NOW)


def test_every_changed_character_is_refused() -> None:
    signed = signature()
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
        SIGNER.sign(f"{PATH}?format=csv", account_id=1, now=NOW, lifetime=timedelta(minutes=1))
