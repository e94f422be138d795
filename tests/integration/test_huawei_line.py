"""The whole line: tasks through a worker to Huawei Cloud's platform, and its reports through the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from domain import gateway_needs, resource_reads, resources, tasks
from domain.bus import Bus, open_bus
from domain.errors import BlockerCode, NotSelectable, Refused
from domain.models import Application
from domain.settings import Settings
from domain.states import CancelReason, SmsType, TaskStatus
from tests.integration.api_client import Api, serving
from tests.integration.dispatching import each_once, handed_over, is_at
from tests.integration.huawei_platform import (
    LONG_TEMPLATE,
    TEMPLATE,
    Answer,
    HuaweiPlatform,
    Posted,
    huawei_platform,
    said,
)
from tests.integration.message_centre import until
from tests.integration.world import GATEWAY, LONG_TEXT, Materials, World, eventually, phones
from workers.gateways.huawei_api import Difficulty
from workers.main import WorkerProcess

KEY = "a key of these tests, long enough"


@pytest.fixture
async def platform() -> AsyncIterator[HuaweiPlatform]:
    async with huawei_platform() as platform:
        yield platform


@pytest.fixture
async def api(connected: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(connected, redis_url, tmp_path, secret_key=KEY) as api:
        yield api


@asynccontextmanager
async def working(api: Api, platform: HuaweiPlatform, query: str = "") -> AsyncIterator[Bus]:
    """A worker whose gateway is the platform, which reports to the API."""
    settings = Settings(
        database_url=api.database_url,
        redis_url=api.redis_url,
        gateways={GATEWAY: platform.url(query)},
        public_url=api.url,
        secret_key=SecretStr(KEY),
        data_dir=api.settings.data_dir / "of-the-worker",
    )
    async with open_bus(api.redis_url) as bus:
        process = WorkerProcess(settings, bus, api.redis_url)
        running = asyncio.create_task(process.run())
        try:
            yield bus
        finally:
            process.stop()
            async with asyncio.timeout(15):
                await running


async def materials(world: World, external_id: str | None, content: str = "您的预约已确认。") -> Materials:
    """What a task is made from, with a template that the platform knows by this id."""
    template = await resources.create_template(
        world.viewer,
        application_id=world.mainland.application_id,
        name="Notice",
        sms_type=SmsType.NOTIFICATION,
        content=content,
        signature_id=world.mainland.signature_id,
        universal=False,
        external_id=external_id,
    )
    await resources.review_template(template.id, approve=True, note=None)
    return Materials(world.mainland.application_id, world.mainland.signature_id, template.id)


async def test_a_task_goes_out_by_the_hundreds_and_its_reports_complete_it(
    api: Api, world: World, platform: HuaweiPlatform
) -> None:
    numbers = phones(1200)
    async with working(api, platform, "window=2000"):
        task_id = await world.create(numbers, materials=await materials(world, TEMPLATE))
        await eventually(is_at(world, task_id, TaskStatus.SENT))
        each_once(numbers, platform.reached)
        assert max(len(posted.numbers) for posted in platform.posted) > 100
        assert platform.posted[0].form["from"] == "10690001"
        assert platform.posted[0].form["signature"] == "测试公司"

        gate = asyncio.Semaphore(20)

        async def report(number: str) -> None:
            status = "MK:0001" if number.endswith("7") else "DELIVRD"
            async with gate:
                response = await platform.call_back(platform.report(number, status))
            assert response.status_code == 200

        await asyncio.gather(*map(report, numbers))
        await eventually(is_at(world, task_id, TaskStatus.COMPLETED))

    counts = (await world.check(task_id)).counts
    assert (counts.delivered, counts.failed) == (1080, 120)


async def test_a_long_message_is_delivered_when_each_of_its_segments_is_reported(
    api: Api, world: World, platform: HuaweiPlatform
) -> None:
    first, second = phones(2)
    async with working(api, platform):
        chosen = await materials(world, LONG_TEMPLATE, LONG_TEXT)
        task_id = await world.create([first, second], materials=chosen)
        await eventually(is_at(world, task_id, TaskStatus.SENT))
        for number, sequences in ((first, (2, 3, 1)), (second, (3, 1))):
            for sequence in sequences:
                await platform.call_back(platform.report(number, sequence=sequence, total=3))
        await platform.call_back(platform.report(second, "UNDELIV", sequence=2, total=3))
        await eventually(is_at(world, task_id, TaskStatus.COMPLETED))

    counts = (await world.check(task_id)).counts
    assert (counts.delivered, counts.failed) == (1, 1)


async def test_what_the_platform_refuses_fails_with_its_code(
    api: Api, world: World, platform: HuaweiPlatform
) -> None:
    numbers = phones(3)
    platform.statuses[numbers[1]] = "E200028"
    async with working(api, platform):
        task_id = await world.create(numbers, materials=await materials(world, TEMPLATE))
        await eventually(is_at(world, task_id, TaskStatus.SENT))
        counts = (await world.check(task_id)).counts
        assert (counts.unknown, counts.failed) == (2, 1)


async def test_while_the_credentials_are_wrong_everything_waits(
    api: Api, world: World, platform: HuaweiPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.gateways.huawei_trouble.PAUSES", dict.fromkeys(Difficulty, (0.05, 0.1)))
    platform.answer = lambda _: said("E000102", "The app_key is invalid.", 400)
    numbers = phones(30)
    async with working(api, platform):
        task_id = await world.create(numbers, materials=await materials(world, TEMPLATE))
        await until(lambda: len(platform.posted) >= 3)
        assert (await world.check(task_id)).counts.waiting == 30
        platform.posted.clear()
        platform.answer = platform.by_the_book
        await eventually(handed_over(world, task_id, 30))

    taken = [number for posted in platform.posted for number in posted.numbers if number in platform.ids]
    assert sorted(set(taken)) == numbers
    assert len(platform.ids) == 30


async def test_an_answer_that_never_came_is_in_doubt_and_settled_by_its_report(
    api: Api, world: World, platform: HuaweiPlatform
) -> None:
    (number,) = phones(1)

    def taken_without_a_word(posted: Posted) -> Answer:
        return replace(platform.by_the_book(posted), octets=0)

    platform.answer = taken_without_a_word
    async with working(api, platform):
        task_id = await world.create([number], materials=await materials(world, TEMPLATE))
        await eventually(is_at(world, task_id, TaskStatus.SENT))
        assert (await world.check(task_id)).counts.in_doubt == 1
        assert (await platform.call_back(platform.report(number))).status_code == 200
        await eventually(is_at(world, task_id, TaskStatus.COMPLETED), 30)

    assert (await world.check(task_id)).counts.delivered == 1
    assert platform.reached == [number]


@pytest.mark.alone
async def test_workers_keep_to_the_rate_together(api: Api, world: World, platform: HuaweiPlatform) -> None:
    rate, numbers = 100, phones(400)
    async with working(api, platform, f"rate={rate}"), working(api, platform, f"rate={rate}"):
        task_id = await world.create(numbers, materials=await materials(world, TEMPLATE))
        await eventually(is_at(world, task_id, TaskStatus.SENT), 30)

    each_once(numbers, platform.reached)
    at = [posted.at for posted in platform.posted for _ in posted.numbers]
    assert all(sum(start <= moment < start + 1 for moment in at) <= rate for start in at)
    assert max(at) - min(at) < 2 * len(numbers) / rate


# --- what may be chosen ---------------------------------------------------------------------------


async def blockers(world: World, chosen: Materials) -> list[BlockerCode]:
    """Why the list of templates says the template cannot be chosen."""
    application = await Application.get(id=chosen.application_id)
    page = await resource_reads.list_templates(application, None, any_signature=True)
    (judged,) = [each for each in page.items if each.template.id == chosen.template_id]
    return [blocker.code for blocker in judged.blockers]


async def test_a_template_without_external_id_cannot_be_chosen_where_the_gateway_needs_one(
    api: Api, world: World, platform: HuaweiPlatform
) -> None:
    with_id, without = await materials(world, TEMPLATE), await materials(world, None)
    assert await blockers(world, without) == []
    async with working(api, platform):
        await eventually(gateway_needs.gateways_needing_external_id)

        assert await blockers(world, with_id) == []
        assert await blockers(world, without) == [BlockerCode.NO_EXTERNAL_ID]
        judged = await resource_reads.judge_templates(
            world.viewer.account_id, [(without.template_id, None, None)]
        )
        assert [b.code for each in judged.values() for b in each.blockers] == [BlockerCode.NO_EXTERNAL_ID]
        with pytest.raises(Refused) as refused:
            await world.create(2, materials=without)

    (error,) = refused.value.errors
    assert isinstance(error, NotSelectable)
    assert [blocker.code for blocker in error.blockers] == [BlockerCode.NO_EXTERNAL_ID]
    assert "externalId" in error.blockers[0].fix


async def test_a_task_whose_gateway_needs_one_by_the_time_it_is_due_is_canceled(
    connected: str, world: World
) -> None:
    without, other = await world.create(1), await world.create(1)
    await gateway_needs.note([GATEWAY], [GATEWAY])
    assert await tasks.start_task(without, world.bell) is TaskStatus.CANCELED
    task = await world.read(without)
    assert task.cancel_reason is CancelReason.NO_LONGER_ALLOWED
    assert [blocker.code for blocker in task.blockers] == [BlockerCode.NO_EXTERNAL_ID]

    await gateway_needs.note([GATEWAY], [])
    assert await tasks.start_task(other, world.bell) is TaskStatus.SENDING
