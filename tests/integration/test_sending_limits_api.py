"""Sending limits as clients, operators and the command line meet them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.states import Role
from tests.integration.api_client import Api, serving
from tests.integration.api_operations import SET_SENDING_LIMITS as SET
from tests.integration.api_operations import do, prepare
from tests.integration.test_cli import groupsms

ACCOUNT = """{ viewer { account { id sendingLimits { dailyMessages monthlySegments alarmPercent }
  usage { alarm today { messages segments startsAt endsAt } thisMonth { messages segments } } } } }"""
CREATE = """mutation ($input: CreateTaskInput!) { createTask(input: $input) {
  task { id } message warnings { code message }
  errors { __typename code message path ... on QuotaError { retryAt } } } }"""
PREVIEW = """mutation ($input: CreateTaskInput!) { previewTask(input: $input) {
  preview { hash } warnings { code } errors { __typename code path ... on QuotaError { retryAt } } } }"""


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(database_url, redis_url, tmp_path) as running:
        yield running


async def test_an_operator_limits_another_account_and_its_users_see_it(api: Api) -> None:
    operator, viewer = await api.client(), await api.client(Role.VIEWER, "Other")
    account = (await viewer.run(ACCOUNT))["viewer"]["account"]
    assert account["sendingLimits"] == {"dailyMessages": None, "monthlySegments": None, "alarmPercent": 80}
    set_to = await do(operator, SET, accountId=account["id"], dailyMessages=5, monthlySegments=9)
    assert set_to["limits"] == {
        "dailyMessages": 5,
        "dailySegments": None,
        "monthlyMessages": None,
        "monthlySegments": 9,
        "alarmPercent": 80,
    }
    await do(operator, SET, accountId=account["id"], monthlySegments=None, alarmPercent=50)
    found = (await viewer.run(ACCOUNT))["viewer"]["account"]["sendingLimits"]
    assert found == {"dailyMessages": 5, "monthlySegments": None, "alarmPercent": 50}
    for role in (Role.VIEWER, Role.SENDER, Role.MANAGER):
        code, _ = await (await api.client(role, "Other")).refusal(SET, input={"accountId": account["id"]})
        assert code == "FORBIDDEN"


async def test_what_cannot_be_a_limit_is_said_by_its_field(api: Api) -> None:
    operator = await api.client()
    account_id = (await operator.run(ACCOUNT))["viewer"]["account"]["id"]
    for wanted, expected in (
        ({"accountId": "nobody"}, ("NotFoundError", "NOT_FOUND", ["input", "accountId"])),
        ({"dailyMessages": -1}, ("InvalidInputError", "INVALID", ["input", "dailyMessages"])),
        ({"alarmPercent": 101}, ("InvalidInputError", "INVALID", ["input", "alarmPercent"])),
    ):
        answer = await operator.run(SET, input={"accountId": account_id, **wanted})
        (error,) = answer["setSendingLimits"]["errors"]
        assert (error["__typename"], error["code"], error["path"]) == expected
        assert answer["setSendingLimits"]["limits"] is None


async def test_tasks_count_warn_and_are_refused_with_the_time_to_come_back(api: Api) -> None:
    operator = await api.client()
    made_from = await prepare(operator)
    account = (await operator.run(ACCOUNT))["viewer"]["account"]
    await do(operator, SET, accountId=account["id"], dailyMessages=2, alarmPercent=100)

    async def ask(document: str, count: int) -> dict[str, Any]:
        numbers = [f"1380013800{digit}" for digit in range(count)]
        wanted = {"name": "News", "recipients": {"numbers": numbers}, **made_from}
        (payload,) = (await operator.run(document, input=wanted)).values()
        found: dict[str, Any] = payload
        return found

    assert (await ask(PREVIEW, 1))["errors"] == []
    assert "SENDING_LIMIT_NEAR" not in str((await ask(CREATE, 1))["warnings"])
    assert "SENDING_LIMIT_NEAR" in str((await ask(PREVIEW, 1))["warnings"])
    today = account["usage"]["today"]
    for document in (PREVIEW, CREATE):
        (error,) = (await ask(document, 2))["errors"]
        assert (error["__typename"], error["code"]) == ("QuotaError", "QUOTA")
        assert error["path"] == ["input", "recipients"]
        assert error["retryAt"] == today["endsAt"]
        (error,) = (await ask(document, 3))["errors"]
        assert error["retryAt"] is None
    assert "SENDING_LIMIT_NEAR" in str((await ask(CREATE, 1))["warnings"])
    usage = (await operator.run(ACCOUNT))["viewer"]["account"]["usage"]
    assert usage["alarm"] is True
    assert (usage["today"]["messages"], usage["thisMonth"]["segments"]) == (2, 2)
    lasts = datetime.fromisoformat(today["endsAt"]) - datetime.fromisoformat(today["startsAt"])
    assert lasts == timedelta(days=1)


async def test_the_command_line_sets_and_shows_limits(api: Api) -> None:
    operator = await api.client()

    async def limits(*arguments: str) -> tuple[int, str]:
        urls = {"database_url": api.database_url, "redis_url": api.redis_url}
        done = await asyncio.to_thread(groupsms, "account", "limits", *arguments, **urls)
        return done.returncode, done.stdout + done.stderr

    code, shown = await limits("Acme", "--daily-messages", "1000", "--monthly-segments", "none")
    assert code == 0
    assert "messages today: 0 (limit 1,000)" in shown
    assert "segments this month: 0 (no limit)" in shown
    assert "alarm at 80 %: no" in shown
    found = (await operator.run(ACCOUNT))["viewer"]["account"]["sendingLimits"]
    assert found["dailyMessages"] == 1000
    code, shown = await limits("Nobody")
    assert code == 1
    assert "There is no account 'Nobody'." in shown
