"""A gateway to the played platform, and messages for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from domain.ports import Gateway, Handover, Outcome, Submission
from domain.segments import segment
from domain.states import Region
from tests.integration.huawei_platform import (
    LONG_TEMPLATE,
    TEMPLATE,
    Answer,
    HuaweiPlatform,
    Posted,
)
from workers.gateways import open_gateway

SHORT = segment("【测试公司】您的预约已确认。", Region.CHINESE_MAINLAND)
LONG = segment("【测试公司】" + "测试" * 70, Region.CHINESE_MAINLAND)
CALLBACK = "https://sms.example.com/callbacks/default?signature=abc"


@asynccontextmanager
async def sending(platform: HuaweiPlatform, query: str = "", **keys: str) -> AsyncIterator[Gateway]:
    """A gateway to the platform, started and closed."""
    gateway = open_gateway("default", platform.url(query, **keys), own_address=lambda: CALLBACK)
    await gateway.start(nothing_comes_in)
    try:
        yield gateway
    finally:
        await gateway.close()


async def nothing_comes_in(_: object) -> None:
    raise AssertionError("the platform reports to the API")


def message(number: str, template: str | None = TEMPLATE) -> Submission:
    content = LONG if template == LONG_TEMPLATE else SHORT
    return Submission(content, number, "10690001", signature="测试公司", external_template_id=template)


async def handed(gateway: Gateway, *messages: Submission) -> list[Handover]:
    """What becomes of these messages, given at once."""
    async with asyncio.timeout(20):
        return list(await asyncio.gather(*(gateway.submit(each) for each in messages)))


async def outcomes(gateway: Gateway, *numbers: str) -> list[Outcome]:
    return [handover.outcome for handover in await handed(gateway, *map(message, numbers))]


def answering(*answers: Answer) -> Callable[[Posted], Answer]:
    """Answer so, one after the other, the last for ever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]
