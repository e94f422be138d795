"""What a platform reports to the API: proven by its address, stored before it is answered, applied."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from domain import db, dispatch, receipts, strays
from domain.callback_urls import callback_url, is_local
from domain.dispatch import Claim, Settlement
from domain.huawei_reports import echo
from domain.ports import Handover, Outcome, SegmentHandover
from domain.settings import Settings
from domain.states import TaskStatus
from tests.integration.api_client import Api, serving
from tests.integration.dispatching import is_at
from tests.integration.world import (
    GATEWAY,
    LONG_TEXT,
    Materials,
    World,
    approved_template,
    eventually,
    phones,
)

KEY = "a key of these tests, long enough"


@pytest.fixture
async def api(connected: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(connected, redis_url, tmp_path, secret_key=KEY) as api:
        yield api


def address(api: Api, gateway: str = GATEWAY) -> str:
    """Where a platform is told to report."""
    return callback_url(api.settings, gateway)


async def report(api: Api, message_id: str, number: str, status: str = "DELIVRD", **more: str) -> int:
    """Report as the platform does; returns the HTTP status."""
    fields = {"smsMsgId": message_id, "status": status, "to": number, "total": "1", "sequence": "1", **more}
    return (await api.http.post(address(api), data=fields)).status_code


async def settle(claim: Claim, *ids: str, outcome: Outcome = Outcome.ACCEPTED) -> None:
    """Hand over a whole chunk, each message with the ids of its segments, or without."""
    parts = tuple(SegmentHandover(each) for each in ids) or (SegmentHandover(None),)
    settlements = [
        Settlement(position, number, Handover(outcome, parts)) for position, number in claim.numbers.items()
    ]
    assert await dispatch.mark(claim, max(claim.numbers), [])
    assert await dispatch.settle(claim, settlements, shard=0)
    assert await dispatch.finish(claim)


def counted(world: World, task_id: int, **counts: int) -> Callable[[], Awaitable[bool]]:
    """A condition: the task counts so many."""

    async def check() -> bool:
        found = (await world.read(task_id)).counts
        return all(getattr(found, name) == count for name, count in counts.items())

    return check


async def test_a_report_completes_the_task_at_once(api: Api, world: World) -> None:
    task_id = await world.running(1)
    claim = await world.claim(task_id)
    await settle(claim, "id-1")
    await world.advance(task_id)

    assert await report(api, "id-1", phones(1)[0]) == 200

    # Well before the sweep would come by, which is not even running here.
    await eventually(is_at(world, task_id, TaskStatus.COMPLETED), 3)
    assert (await world.check(task_id)).counts.delivered == 1


async def test_a_report_twice_counts_once_and_a_later_one_changes_nothing(api: Api, world: World) -> None:
    (number,) = phones(1)
    task_id = await world.running([number])
    await settle(await world.claim(task_id), "id-1")

    assert [await report(api, "id-1", number, "MK:0001") for _ in range(2)] == [200, 200]
    await eventually(counted(world, task_id, failed=1))
    assert await report(api, "id-1", number) == 200
    await eventually(inbox_is_empty)
    assert (await world.check(task_id)).counts.failed == 1


async def inbox_is_empty() -> bool:
    return bool(await db.fetchval("SELECT count(*) = 0 FROM receipt_inbox"))


async def test_a_report_before_the_answer_is_stored_waits_for_it(api: Api, world: World) -> None:
    task_id = await world.running(1)
    claim = await world.claim(task_id)
    assert await report(api, "id-1", phones(1)[0]) == 200

    await settle(claim, "id-1")
    await receipts.apply_waiting(["id-1"], shard=0)
    assert (await world.check(task_id)).counts.delivered == 1


async def test_three_segments_with_one_id_are_delivered_when_each_was_reported(
    api: Api, world: World
) -> None:
    (number,) = phones(1)
    template_id = await approved_template(
        world.viewer, world.mainland.application_id, world.mainland.signature_id, LONG_TEXT
    )
    task_id = await world.running([number], materials=_with(world, template_id))
    await settle(await world.claim(task_id), "id-1", "id-1", "id-1")

    for sequence in ("3", "1"):
        assert await report(api, "id-1", number, total="3", sequence=sequence) == 200
    await eventually(inbox_is_empty)
    assert (await world.check(task_id)).counts.unknown == 1
    assert await report(api, "id-1", number, total="3", sequence="2") == 200
    await eventually(counted(world, task_id, delivered=1))


async def test_one_report_for_a_message_that_was_not_split_settles_all_of_it(api: Api, world: World) -> None:
    (number,) = phones(1)
    task_id = await world.running([number])
    await settle(await world.claim(task_id), "id-1", "id-1")

    assert await report(api, "id-1", number) == 200
    await eventually(counted(world, task_id, delivered=1))


def _with(world: World, template_id: int) -> Materials:
    return Materials(world.mainland.application_id, world.mainland.signature_id, template_id)


async def test_a_report_settles_the_message_in_doubt_it_must_be_about(api: Api, world: World) -> None:
    (number,) = phones(1)
    task_id = await world.running([number])
    claim = await world.claim(task_id)
    await settle(claim, outcome=Outcome.IN_DOUBT)

    assert await report(api, "never-seen", number, extend=echo(claim.sender, datetime.now(UTC))) == 200
    await eventually(counted(world, task_id, in_doubt=1))
    await db.fetch("UPDATE receipt_inbox SET next_look = groupsms_now() - interval '1 minute'")
    await strays.examine(0)
    assert (await world.check(task_id)).counts.delivered == 1


async def test_reports_in_batches(api: Api, world: World) -> None:
    numbers = phones(50)
    task_id = await world.running(numbers)
    while claim := await dispatch.claim(task_id, uuid4()):
        await settle_each(claim)

    reports = [{"smsMsgId": f"id{number}", "status": "DELIVRD", "to": number} for number in numbers]
    response = await api.http.post(address(api), json={"statusReportList": reports})
    assert response.status_code == 200
    await eventually(counted(world, task_id, delivered=50))


async def settle_each(claim: Claim) -> None:
    settlements = [
        Settlement(position, number, Handover(Outcome.ACCEPTED, (SegmentHandover(f"id{number}"),)))
        for position, number in claim.numbers.items()
    ]
    assert await dispatch.mark(claim, max(claim.numbers), [])
    assert await dispatch.settle(claim, settlements, shard=0)
    assert await dispatch.finish(claim)


async def test_many_reports_at_once_are_all_stored_before_any_is_answered_wrongly(
    api: Api, world: World
) -> None:
    numbers = phones(200)
    task_id = await world.running(numbers)
    while claim := await dispatch.claim(task_id, uuid4()):
        await settle_each(claim)

    answers = await asyncio.gather(*(report(api, f"id{number}", number) for number in numbers))
    assert answers == [200] * 200
    await eventually(counted(world, task_id, delivered=200))
    await world.check(task_id)


async def test_a_reply_that_opts_out_is_stored_and_honoured(api: Api, world: World) -> None:
    (number,) = phones(1)
    await world.sent([number])
    body = {"from": number, "to": "10690001", "body": "退订", "smsMsgId": "up-1"}
    assert (await api.http.post(address(api), data=body)).status_code == 200

    assert await db.fetchval("SELECT count(*) FROM reply") == 1
    found = await db.fetchval("SELECT count(*) FROM opt_out WHERE number = $1", int(number[1:]))
    assert found == 1


# --- who may report, and what -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.partition("?")[0],
        lambda url: url + "x",
        lambda url: url[:-1],
        lambda url: url.replace("signature=", "signature=%F0%9F%98%80"),
        lambda url: url.replace(f"/{GATEWAY}?", "/other?"),
        lambda url: url.replace(f"/{GATEWAY}?", f"/{GATEWAY}%2Fx?"),
    ],
)
async def test_an_address_we_did_not_make_leads_nowhere(
    api: Api, connected: str, change: Callable[[str], str]
) -> None:
    with capture_logs() as logs:
        for _ in range(2):
            fields = {"smsMsgId": "a", "status": "DELIVRD"}
            assert (await api.http.post(change(address(api)), data=fields)).status_code == 404

    assert await inbox_is_empty()
    assert [entry["event"] for entry in logs].count("callback_to_another_address") <= 1
    assert "signature" not in str(logs)


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"", "application/x-www-form-urlencoded", 400),
        (b"\xff\x00garbage", "application/x-www-form-urlencoded", 400),
        (b"status=DELIVRD", "application/x-www-form-urlencoded", 400),
        (b"smsMsgId=a&status=DELIVRD", "application/json", 400),
        (b'{"statusReportList": [1]}', "application/json", 400),
        (b"smsMsgId=a&status=DELIVRD", "text/plain", 200),
        (b"smsMsgId=a%00b&status=DEL%00VRD&to=%00", "application/x-www-form-urlencoded", 200),
        (b"smsMsgId=%ED%A0%80&status=X", "application/x-www-form-urlencoded", 200),
        (b"smsMsgId=a&status=" + b"X" * 70_000, "application/x-www-form-urlencoded", 413),
    ],
)
async def test_whatever_is_posted_is_answered_plainly(
    api: Api, connected: str, content: bytes, media_type: str, status: int
) -> None:
    response = await api.http.post(address(api), content=content, headers={"Content-Type": media_type})
    assert (response.status_code, response.content) == (status, b"")


async def test_only_post_is_answered(api: Api) -> None:
    assert (await api.http.get(address(api))).status_code == 405


async def test_what_cannot_be_stored_for_now_is_not_acknowledged(api: Api, world: World) -> None:
    (number,) = phones(1)
    task_id = await world.running([number])
    await settle(await world.claim(task_id), "id-1")
    await db.fetch(
        """
        CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE SQLSTATE '53100' USING MESSAGE = 'no space left'; END $$
        """
    )
    await db.fetch("CREATE TRIGGER no_room BEFORE INSERT ON receipt_inbox EXECUTE FUNCTION full_disk()")
    assert await asyncio.gather(*(report(api, "id-1", number) for _ in range(3))) == [503] * 3

    await db.fetch("DROP TRIGGER no_room ON receipt_inbox")
    assert await report(api, "id-1", number) == 200
    await eventually(counted(world, task_id, delivered=1))


async def test_one_report_that_cannot_be_stored_takes_no_other_with_it(api: Api, world: World) -> None:
    numbers = phones(20)
    await db.fetch("ALTER TABLE receipt_inbox ADD CHECK (gateway_message_id <> 'poison')")
    answers = await asyncio.gather(
        *(report(api, "poison" if at == 7 else f"id{at}", number) for at, number in enumerate(numbers))
    )

    assert answers == [500 if at == 7 else 200 for at in range(20)]
    assert await db.fetchval("SELECT count(*) FROM receipt_inbox") == 19


async def test_the_address_is_the_same_in_every_process_with_the_key_and_in_no_other(
    api: Api, tmp_path: Path
) -> None:
    same = api.settings.model_copy(update={"data_dir": tmp_path / "elsewhere"})
    assert callback_url(same, GATEWAY) == address(api)
    assert address(api).startswith(f"{api.settings.public_url}/callbacks/{GATEWAY}?signature=")
    assert address(api, "other").partition("=")[2] != address(api).partition("=")[2]


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:8000/x", True),
        ("http://127.0.0.2/x", True),
        ("http://[::1]:8000/x", True),
        ("https://sms.example.com/x", False),
        ("http://10.0.0.1/x", False),
    ],
)
def test_an_address_that_only_this_machine_reaches_is_told(url: str, local: bool) -> None:
    assert is_local(url) is local


async def test_addresses_of_an_accepted_key_are_good(
    connected: str, redis_url: str, tmp_path: Path, world: World
) -> None:
    before = Settings(secret_key=SecretStr(KEY), data_dir=tmp_path)
    keys = {"secret_key": "the key that came after it, long enough", "accepted_secret_keys": [KEY]}
    async with serving(connected, redis_url, tmp_path, **keys) as api:
        for made_by in (before, api.settings):
            place = urlsplit(callback_url(made_by, GATEWAY))
            fields = {
                "smsMsgId": "1",
                "status": "DELIVRD",
                "to": "+8613800138000",
                "total": "1",
                "sequence": "1",
            }
            response = await api.http.post(f"{api.url}{place.path}?{place.query}", data=fields)
            assert response.status_code == 200
