"""Rule of previewTask: everything createTask would do and cost, without doing it; and the warnings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from domain import db, previews, sweep, task_creation
from domain.errors import NotFound, PreviewChanged, Refused, WarningsRefused
from domain.pricing import parse_prices
from domain.task_creation import Conditions
from domain.task_orders import TaskOrder
from domain.task_warnings import WarningCode
from tests.integration.conftest import Travel
from tests.integration.world import World, international, phones

PRICES = parse_prices('{"CNY": {"CHINESE_MAINLAND": {"*": "0.05"}, "INTERNATIONAL": {"*": {"34": "0.30"}}}}')
SPANISH = [f"+3461234{index:04}" for index in range(8)]

Preview = Callable[[TaskOrder], Awaitable[previews.Preview]]


@pytest.fixture
def preview(world: World) -> Preview:
    world.intake = replace(world.intake, prices=PRICES)
    return lambda order: previews.preview_task(world.viewer, order, world.intake)


async def create(world: World, order: TaskOrder, **conditions: object) -> task_creation.Created:
    wanted = Conditions(**conditions)  # type: ignore[arg-type]
    return await task_creation.create_task(world.viewer, order, world.intake, world.bell, wanted)


async def test_a_preview_shows_what_would_be_and_stores_no_task(world: World, preview: Preview) -> None:
    shown = await preview(world.order([*phones(3), "nobody", phones(1)[0]]))
    prepared = shown.prepared
    assert (prepared.summary.imported, prepared.summary.invalid, prepared.summary.duplicates) == (3, 1, 1)
    assert [row.value for row in prepared.recipients.rejected] == ["nobody", phones(1)[0]]
    assert prepared.content.text.startswith("【")
    assert prepared.estimate.amount == Decimal("0.15")
    assert prepared.estimate.segments == 3
    assert await db.fetchval("SELECT count(*) FROM task") == 0
    assert world.bell.changed == []


async def test_the_kept_upload_makes_the_same_task(world: World, preview: Preview, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("\n".join(["Number", *phones(5), "nobody"]))
    order = replace(world.order(1), recipients=file)
    shown = await preview(order)
    file.unlink()
    created = await create(
        world, replace(order, recipients=shown.upload_id), preview_hash=shown.prepared.hash()
    )
    assert created.recipients == shown.prepared.summary


async def test_an_upload_is_kept_for_an_hour(world: World, preview: Preview, travel: Travel) -> None:
    shown = await preview(world.order(phones(2)))
    again = replace(world.order(1), recipients=shown.upload_id)
    await travel(timedelta(minutes=59))
    assert (await preview(again)).upload_id == shown.upload_id
    await travel(timedelta(minutes=118))
    await create(world, again)
    await travel(timedelta(minutes=120))
    with pytest.raises(NotFound, match="Upload the file again"):
        await create(world, again)
    await sweep.tidy()
    assert await db.fetchval("SELECT count(*) FROM kept_list") == 0


async def test_another_accounts_upload_is_not_found(world: World, preview: Preview) -> None:
    shown = await preview(world.order(phones(2)))
    other = await World.make("other")
    with pytest.raises(NotFound):
        await create(other, replace(other.order(1), recipients=shown.upload_id))


async def test_what_would_be_different_is_refused(world: World, preview: Preview) -> None:
    order = world.order(phones(3))
    shown = (await preview(order)).prepared.hash()
    with pytest.raises(PreviewChanged):
        await create(world, replace(order, recipients=phones(4)), preview_hash=shown)
    now = await db.fetchval("SELECT groupsms_now()")
    with pytest.raises(PreviewChanged):
        await create(world, replace(order, send_at=now + timedelta(hours=1)), preview_hash=shown)
    world.intake = replace(world.intake, prices={})
    with pytest.raises(PreviewChanged):
        await create(world, order, preview_hash=shown)
    world.intake = replace(world.intake, prices=PRICES)
    await create(world, order, preview_hash=shown)
    assert await db.fetchval("SELECT count(*) FROM task") == 1


async def test_a_preview_refuses_what_create_would(world: World, preview: Preview) -> None:
    with pytest.raises(Refused) as refused:
        await preview(replace(world.order(phones(1)), name="", signature_id=None))
    assert [error.path for error in refused.value.errors] == [("name",), ("signatureId",)]


async def test_unicode_characters_and_what_replacing_them_saves(world: World, preview: Preview) -> None:
    materials = await international(world.viewer, content="Sale’s on" + "." * 70)
    shown = await preview(world.order(SPANISH, materials=materials))
    assert shown.unicode_characters == ("’",)
    assert len(shown.prepared.content.segments) == 2
    assert shown.segments_if_replaced == 1
    assert WarningCode.UNICODE_FORCED in _codes(shown)


async def test_a_country_without_a_price_counts_as_zero_with_a_warning(
    world: World, preview: Preview
) -> None:
    shown = await preview(world.order([*SPANISH, "+447400123456"], materials=world.international))
    assert {c.region: c.unit_price for c in shown.prepared.estimate.countries} == {
        "ES": Decimal("0.30"),
        "GB": None,
    }
    assert shown.prepared.estimate.amount == Decimal("2.40")
    assert WarningCode.NO_PRICE in _codes(shown)


@pytest.mark.parametrize(("rejected", "warned"), [(1, False), (2, True)])
async def test_more_than_a_tenth_rejected_is_a_warning(
    world: World, preview: Preview, rejected: int, warned: bool
) -> None:
    shown = await preview(world.order([*phones(10 - rejected), *["nobody"] * rejected]))
    assert (WarningCode.LARGE_REJECTION in _codes(shown)) is warned


@pytest.mark.parametrize(
    ("clock", "warned"), [("07:59", True), ("08:00", False), ("21:00", False), ("21:01", True)]
)
async def test_outside_the_advised_hours_is_a_warning(
    world: World, preview: Preview, clock: str, warned: bool
) -> None:
    now: datetime = await db.fetchval("SELECT groupsms_now()")
    hour, minute = map(int, clock.split(":"))
    day = (now + timedelta(days=2)).astimezone(ZoneInfo("Asia/Shanghai"))
    send_at = day.replace(hour=hour, minute=minute, second=0, microsecond=0)
    shown = await preview(world.order(phones(1), send_at=send_at))
    assert (WarningCode.OUTSIDE_ADVISED_HOURS in _codes(shown)) is warned


async def test_the_same_text_to_most_of_the_numbers_within_a_week_is_a_warning(
    world: World, preview: Preview, travel: Travel
) -> None:
    await world.sent(phones(6))
    assert WarningCode.SENT_RECENTLY in _codes(await preview(world.order(phones(11))))
    assert WarningCode.SENT_RECENTLY not in _codes(await preview(world.order(phones(12))))
    other_text = await international(world.viewer)
    assert WarningCode.SENT_RECENTLY not in _codes(await preview(world.order(SPANISH, materials=other_text)))
    await travel(timedelta(days=7, minutes=1))
    assert WarningCode.SENT_RECENTLY not in _codes(await preview(world.order(phones(6))))


async def test_warnings_refuse_when_asked_to(world: World, preview: Preview) -> None:
    order = world.order([*phones(1), "nobody"])
    with pytest.raises(WarningsRefused, match="more than a tenth"):
        await create(world, order, refuse_on_warnings=True)
    assert await db.fetchval("SELECT count(*) FROM task") == 0
    created = await create(world, order)
    assert WarningCode.LARGE_REJECTION in {warning.code for warning in created.warnings}


def _codes(shown: previews.Preview) -> set[WarningCode]:
    return {warning.code for warning in shown.prepared.warnings}
