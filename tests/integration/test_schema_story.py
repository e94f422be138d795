"""From nothing to a task, through the API alone."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from openpyxl import Workbook

from domain import sweep
from domain.states import Role
from tests.integration.api_client import Api, serving
from tests.integration.api_operations import (
    CANCEL_TASK,
    CREATE_APPLICATION,
    CREATE_SIGNATURE,
    CREATE_TASK,
    CREATE_TEMPLATE,
    DELETE_TASK,
    REVIEW_SIGNATURE,
    REVIEW_TEMPLATE,
    SET_TEMPLATE_ACTIVE,
    do,
    in_minutes,
    prepare,
    refused,
)


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(database_url, redis_url, tmp_path, upload_limit=200_000) as running:
        yield running


def workbook(*values: object) -> bytes:
    book = Workbook()
    for value in values:
        book.active.append([value])  # type: ignore[union-attr]
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


async def test_from_an_application_to_a_task_by_numbers(api: Api) -> None:
    client = await api.client()
    made_from = await prepare(client)
    numbers = ["138 0013-8000", "8613800138001", "13800138000", "008613800138002", "nobody"]
    payload = await do(client, CREATE_TASK, name=" Spring ", recipients={"numbers": numbers}, **made_from)
    sentence = (
        "2 phone number(s) imported. Redundant and invalid numbers have been deleted. "
        "You will not be charged for the 3 message(s) deleted."
    )
    assert payload["message"] == sentence
    task = payload["task"]
    assert (task["name"], task["status"], task["text"]) == (
        "Spring",
        "SCHEDULED",
        "【测试公司】您的预约已确认。",
    )
    assert task["recipients"] == {
        "rows": 5, "imported": 2, "invalid": 2, "duplicates": 1, "optedOut": 0, "message": sentence,
    }  # fmt: skip
    assert task["counts"] == {
        "total": 2, "waiting": 2, "unknown": 0, "delivered": 0, "failed": 0, "notSent": 0, "inDoubt": 0,
    }  # fmt: skip
    assert task["progress"] == {
        "handedOver": 0, "percent": 0, "messagesPerSecond": None, "estimatedFinishAt": None,
    }  # fmt: skip
    assert task["failedNumbersUrl"] is None
    assert task["application"] == {"id": made_from["applicationId"], "name": "Shop"}
    assert task["signature"] == {"id": made_from["signatureId"], "name": "测试公司"}
    assert task["template"]["signature"] == {"id": made_from["signatureId"]}
    assert task["sendAt"].endswith("+00:00")
    messages = task["messages"]
    assert [message["number"] for message in messages["nodes"]] == ["+8613800138000", "+8613800138001"]
    assert messages["totalCount"] == 2
    assert {(m["result"], m["handover"], m["failure"], len(m["segments"])) for m in messages["nodes"]} == {
        ("WAITING", "NONE", None, 0)
    }
    assert task["rejectedRows"]["nodes"] == [
        {"row": 3, "value": "13800138000", "reason": "DUPLICATE", "suggestion": None},
        {"row": 4, "value": "008613800138002", "reason": "WRONG_LENGTH", "suggestion": "+8613800138002"},
        {"row": 5, "value": "nobody", "reason": "NOT_A_NUMBER", "suggestion": None},
    ]


async def test_a_file_becomes_a_task(api: Api) -> None:
    client = await api.client(Role.OPERATOR)
    wanted = {"name": "File", **await prepare(client), "recipients": {"file": None}}
    content = workbook("手机号码", 13800138000.0, "13800138001", "bad")
    payload = (await client.upload(CREATE_TASK, content, input=wanted))["createTask"]
    assert payload["errors"] == []
    assert payload["task"]["recipients"]["imported"] == 2
    assert payload["task"]["rejectedRows"]["nodes"][0]["row"] == 4
    assert list((api.settings.data_dir / "uploads").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "code", "part"),
    [
        (b"%PDF-1.7 and so on", "FILE_UNREADABLE", "PDF"),
        (b"x" * 200_001, "FILE_TOO_LARGE", "0.19"),
        (workbook("123", "456"), "NO_VALID_NUMBERS", "includes invalid phone numbers"),
        (workbook("手机号码"), "FILE_UNREADABLE", "no numbers"),
    ],
)
async def test_a_file_that_cannot_be_used(api: Api, content: bytes, code: str, part: str) -> None:
    client = await api.client()
    wanted = {"name": "File", **await prepare(client), "recipients": {"file": None}}
    payload = (await client.upload(CREATE_TASK, content, input=wanted))["createTask"]
    (error,) = payload["errors"]
    assert (error["__typename"], error["code"]) == ("RecipientFileError", code)
    assert error["path"][:2] == ["input", "recipients"]
    assert part in error["message"]
    assert payload["message"] == error["message"]
    assert (error["recipients"] is not None) == (code == "NO_VALID_NUMBERS")
    assert payload["task"] is None
    assert (await client.run("{ tasks { totalCount } }"))["tasks"]["totalCount"] == 0


async def test_everything_wrong_is_said_at_once(api: Api) -> None:
    client = await api.client()
    made_from = await prepare(client)
    await do(client, SET_TEMPLATE_ACTIVE, id=made_from["templateId"], active=False)
    errors = await refused(
        client,
        CREATE_TASK,
        name="",
        recipients={"numbers": []},
        sendAt="2020-01-01T00:00:00+08:00",
        applicationId=made_from["applicationId"],
        templateId=made_from["templateId"],
    )
    by_path = {".".join(error["path"]): error for error in errors}
    assert by_path["input.name"]["__typename"] == "InvalidInputError"
    assert by_path["input.recipients.numbers"]["code"] == "INVALID"
    assert by_path["input.sendAt"]["__typename"] == "SendTimeError"
    assert by_path["input.sendAt"]["earliest"] < by_path["input.sendAt"]["latest"]
    (required,) = by_path["input.signatureId"]["blockers"]
    assert required["code"] == "SIGNATURE_REQUIRED"
    assert required["fix"]
    assert [blocker["code"] for blocker in by_path["input.templateId"]["blockers"]] == ["NOT_ACTIVE"]
    assert len(by_path) == 5


@pytest.mark.parametrize("field", ["applicationId", "signatureId", "templateId"])
@pytest.mark.parametrize(
    "wrong", ["", "garbage", "VGFzazox", "QXBwbGljYXRpb246OTk5OTk5OTk5OTk5OTk5OTk5", "%"]
)
async def test_an_id_of_nothing_is_not_found(api: Api, field: str, wrong: str) -> None:
    client = await api.client()
    made_from = {**await prepare(client), field: wrong}
    errors = await refused(
        client, CREATE_TASK, name="T", recipients={"numbers": ["13800138000"]}, **made_from
    )
    if field == "signatureId" and not wrong:
        assert [error["path"] for error in errors] == [["input", "signatureId"]]
        return
    assert [(error["__typename"], error["path"]) for error in errors] == [("NotFoundError", ["input", field])]


async def test_recipients_are_exactly_one_of_two(api: Api) -> None:
    client = await api.client()
    made_from = await prepare(client)
    for recipients in ({}, {"numbers": None}, {"numbers": ["1"], "file": None}):
        code, message = await client.refusal(
            CREATE_TASK, input={"name": "T", "recipients": recipients, **made_from}
        )
        assert code == "BAD_USER_INPUT"
        assert "RecipientsInput" in message or "recipients" in message
    (found,) = (await client.run('{ __type(name: "RecipientsInput") { isOneOf } }')).values()
    assert found == {"isOneOf": True}


async def test_a_time_without_an_offset_is_refused(api: Api) -> None:
    client = await api.client()
    wanted = {"name": "T", "recipients": {"numbers": ["1"]}, **await prepare(client)}
    code, message = await client.refusal(CREATE_TASK, input={**wanted, "sendAt": "2026-03-01T09:00:00"})
    assert code == "BAD_USER_INPUT"
    assert "no offset" in message
    code, message = await client.refusal(CREATE_TASK, input={**wanted, "sendAt": "tomorrow"})
    assert code == "BAD_USER_INPUT"
    assert "RFC 3339" in message


async def test_cancel_and_delete(api: Api) -> None:
    client = await api.client()
    made_from = await prepare(client)
    later = in_minutes(60)
    task = (
        await do(
            client, CREATE_TASK, name="T", recipients={"numbers": ["13800138000"]}, sendAt=later, **made_from
        )
    )["task"]
    assert task["canCancel"] is True
    assert task["canDelete"] is False
    (error,) = await refused(client, DELETE_TASK, id=task["id"])
    assert (error["__typename"], error["status"], error["path"]) == (
        "WrongStatusError", "SCHEDULED", ["input", "id"],
    )  # fmt: skip
    canceled = (await do(client, CANCEL_TASK, id=task["id"]))["task"]
    assert (canceled["status"], canceled["cancelReason"]) == ("CANCELED", "USER")
    assert canceled["counts"] == {"waiting": 0, "notSent": 1}
    assert canceled["canDelete"] is True
    (error,) = await refused(client, CANCEL_TASK, id=task["id"])
    assert error["status"] == "CANCELED"
    assert (await do(client, DELETE_TASK, id=task["id"]))["deletedTaskId"] == task["id"]
    assert (await client.run("query ($id: ID!) { task(id: $id) { id } }", id=task["id"]))["task"] is None
    (error,) = await refused(client, DELETE_TASK, id=task["id"])
    assert error["__typename"] == "NotFoundError"
    await sweep.tidy()


async def test_too_late_to_cancel(api: Api) -> None:
    client = await api.client()
    made_from = await prepare(client)
    soon = in_minutes(4)
    task = (
        await do(
            client, CREATE_TASK, name="T", recipients={"numbers": ["13800138000"]}, sendAt=soon, **made_from
        )
    )["task"]
    assert task["canCancel"] is False
    (error,) = await refused(client, CANCEL_TASK, id=task["id"])
    assert error["__typename"] == "TooLateError"
    assert error["deadline"] == task["cancelDeadline"]


async def test_resources_are_reviewed_and_say_what_keeps_them_from_being_used(api: Api) -> None:
    client = await api.client()
    application = (await do(client, CREATE_APPLICATION, name="Shop", region="CHINESE_MAINLAND"))[
        "application"
    ]
    signature = (
        await do(
            client, CREATE_SIGNATURE, applicationId=application["id"], name="测试公司", type="NOTIFICATION"
        )
    )["signature"]
    assert [blocker["code"] for blocker in signature["blockers"]] == ["NOT_APPROVED", "NO_CHANNEL_NUMBER"]
    assert signature["selectable"] is False
    template = (
        await do(
            client,
            CREATE_TEMPLATE,
            applicationId=application["id"],
            name="Code",
            type="VERIFICATION_CODE",
            content="Code ${code}, again ${code}, for ${name}",
            universal=True,
        )
    )["template"]
    assert template["variables"] == ["code", "name"]
    assert {blocker["code"] for blocker in template["blockers"]} == {
        "NOT_APPROVED", "VERIFICATION_CODE_TYPE", "NOT_ACTIVE", "HAS_VARIABLES",
    }  # fmt: skip
    rejected = await do(client, REVIEW_SIGNATURE, id=signature["id"], approve=False, note="Not yours.")
    assert rejected["signature"]["status"] == "REJECTED"
    assert rejected["signature"]["reviewNote"] == "Not yours."
    approved = await do(client, REVIEW_SIGNATURE, id=signature["id"], approve=True, channelNumber="10690001")
    assert approved["signature"] == {
        "id": signature["id"], "status": "APPROVED", "reviewNote": None, "channelNumber": "10690001",
        "selectable": True,
    }  # fmt: skip
    (error,) = await refused(client, REVIEW_SIGNATURE, id=signature["id"], approve=True, channelNumber="x")
    assert error["path"] == ["input", "channelNumber"]


async def test_resources_are_judged_for_the_application_they_are_named_in(api: Api) -> None:
    client = await api.client()
    made_from = await prepare(client)
    other = (await do(client, CREATE_APPLICATION, name="Other", region="CHINESE_MAINLAND"))["application"]
    abroad = (
        await do(client, CREATE_APPLICATION, name="Abroad", region="INTERNATIONAL", senderNumber="Acme")
    )["application"]
    lists = """query ($id: ID!, $signature: ID) { application(id: $id) {
      signatures { nodes { id selectable blockers { code } } totalCount }
      templates(signatureId: $signature) { nodes { id selectable blockers { code } signature { selectable } }
                                           totalCount } } }"""

    async def codes(application_id: str, signature_id: str | None) -> tuple[list[str], list[str]]:
        found = (await client.run(lists, id=application_id, signature=signature_id))["application"]
        (signature,), (template,) = found["signatures"]["nodes"], found["templates"]["nodes"]
        assert found["signatures"]["totalCount"] == found["templates"]["totalCount"] == 1
        assert signature["selectable"] == (not signature["blockers"])
        assert template["signature"]["selectable"] == signature["selectable"]
        return [b["code"] for b in signature["blockers"]], [b["code"] for b in template["blockers"]]

    assert await codes(made_from["applicationId"], None) == ([], [])
    assert await codes(made_from["applicationId"], made_from["signatureId"]) == ([], [])
    assert await codes(other["id"], None) == (["NOT_ASSOCIATED"], ["NOT_ASSOCIATED"])
    assert await codes(abroad["id"], None) == (["SIGNATURE_NOT_ALLOWED"], ["NOT_ASSOCIATED"])
    code, _ = await client.refusal(lists, id=other["id"], signature="nothing")
    assert code == "BAD_USER_INPUT"


async def test_wrong_resources_are_refused(api: Api) -> None:
    client = await api.client()
    errors = await refused(
        client,
        CREATE_APPLICATION,
        name=" ",
        region="INTERNATIONAL",
        senderNumber="way too long a name",
        gateway="x",
    )
    assert [error["path"] for error in errors] == [
        ["input", "name"], ["input", "senderNumber"], ["input", "gateway"],
    ]  # fmt: skip
    for document, wanted in (
        (CREATE_SIGNATURE, {"applicationId": "no", "name": "测试公司", "type": "NOTIFICATION"}),
        (CREATE_TEMPLATE, {"applicationId": "no", "name": "N", "type": "NOTIFICATION", "content": "Hi"}),
    ):
        (error,) = await refused(client, document, **wanted)
        assert (error["code"], error["path"]) == ("NOT_FOUND", ["input", "applicationId"])
    for document in (REVIEW_SIGNATURE, REVIEW_TEMPLATE):
        (error,) = await refused(client, document, id="no", approve=True)
        assert (error["code"], error["path"]) == ("NOT_FOUND", ["input", "id"])
    (error,) = await refused(client, SET_TEMPLATE_ACTIVE, id="no", active=True)
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["input", "id"])


async def test_texts_that_cannot_be_stored_are_refused(api: Api) -> None:
    client = await api.client()
    made_from = await prepare(client)
    template = {"applicationId": made_from["applicationId"], "type": "NOTIFICATION", "universal": True}
    for document, wanted, field in (
        (CREATE_APPLICATION, {"name": "\0", "region": "INTERNATIONAL"}, "name"),
        (CREATE_TEMPLATE, {**template, "name": "N", "content": "a\0b"}, "content"),
        (CREATE_TEMPLATE, {**template, "name": "N", "content": "ab", "externalId": "\0"}, "externalId"),
        (REVIEW_SIGNATURE, {"id": made_from["signatureId"], "approve": True, "note": "\0"}, "note"),
        (REVIEW_TEMPLATE, {"id": made_from["templateId"], "approve": True, "note": "\0"}, "note"),
    ):
        (error,) = await refused(client, document, **wanted)
        assert (error["code"], error["path"]) == ("INVALID", ["input", field])


async def test_a_template_is_switched_off_and_on(api: Api) -> None:
    client = await api.client()
    made_from = await prepare(client)
    off = (await do(client, SET_TEMPLATE_ACTIVE, id=made_from["templateId"], active=False))["template"]
    assert off["active"] is False
    assert off["blockers"] == [{"code": "NOT_ACTIVE", "fix": "Activate it with setTemplateActive."}]
    on = (await do(client, SET_TEMPLATE_ACTIVE, id=made_from["templateId"], active=True))["template"]
    assert on["selectable"] is True


async def test_what_is_given_empty_is_not_taken_for_left_out(api: Api) -> None:
    client = await api.client()
    made_from = await prepare(client)
    numbers = {"numbers": ["13800138000"]}
    (changed,) = await refused(client, CREATE_TASK, name="T", recipients=numbers, previewHash="", **made_from)
    assert (changed["code"], changed["path"]) == ("PREVIEW_CHANGED", ["input", "previewHash"])
    (missing,) = await refused(client, CREATE_TASK, name="T", recipients={"uploadId": ""}, **made_from)
    assert (missing["code"], missing["path"]) == ("NOT_FOUND", ["input", "recipients", "uploadId"])
