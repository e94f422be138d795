"""Operations that several tests need, and what a task is made from."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from tests.integration.api_client import Client

CREATE_APPLICATION = """mutation ($input: CreateApplicationInput!) { createApplication(input: $input) {
  application { id name region gateway senderNumber suspended createdAt } errors { code message path } } }"""
CREATE_SIGNATURE = """mutation ($input: CreateSignatureInput!) { createSignature(input: $input) {
  signature { id name status selectable blockers { code message fix } } errors { code message path } } }"""
CREATE_TEMPLATE = """mutation ($input: CreateTemplateInput!) { createTemplate(input: $input) {
  template { id variables status active selectable blockers { code } signature { id name } }
  errors { code message path } } }"""
REVIEW_SIGNATURE = """mutation ($input: ReviewSignatureInput!) { reviewSignature(input: $input) {
  signature { id status reviewNote channelNumber selectable } errors { code message path } } }"""
REVIEW_TEMPLATE = """mutation ($input: ReviewTemplateInput!) { reviewTemplate(input: $input) {
  template { id status reviewNote active selectable } errors { code message path } } }"""
SET_SENDING_LIMITS = """mutation ($input: SetSendingLimitsInput!) { setSendingLimits(input: $input) {
  limits { dailyMessages dailySegments monthlyMessages monthlySegments alarmPercent }
  errors { __typename code message path } } }"""
SET_TEMPLATE_ACTIVE = """mutation ($input: SetTemplateActiveInput!) { setTemplateActive(input: $input) {
  template { id active selectable blockers { code fix } } errors { code message path } } }"""
CREATE_TASK = """mutation ($input: CreateTaskInput!) { createTask(input: $input) {
  message
  task { id name status text encoding segmentsPerMessage revision canCancel canDelete cancelDeadline
         sendAt createdAt startedAt finishedAt cancelReason failedNumbersUrl
         recipients { rows imported invalid duplicates optedOut message }
         counts { total waiting unknown delivered failed notSent inDoubt }
         progress { handedOver percent messagesPerSecond estimatedFinishAt }
         application { id name } signature { id name } template { id content signature { id } }
         messages { nodes { id smsId number result handover receivedAt failure { code }
                            segments { index } } totalCount }
         rejectedRows { nodes { row value reason suggestion } totalCount } }
  errors { __typename code message path
    ... on NotSelectableError { blockers { code message fix } }
    ... on RecipientFileError { recipients { rows imported invalid } }
    ... on SendTimeError { earliest latest } } } }"""
PREVIEW_TASK = """mutation ($input: CreateTaskInput!) { previewTask(input: $input) {
  preview { hash } errors { code message path } } }"""
CANCEL_TASK = """mutation ($input: CancelTaskInput!) { cancelTask(input: $input) {
  task { id status cancelReason canCancel canDelete counts { waiting notSent } finishedAt }
  errors { __typename code message path
    ... on TooLateError { deadline } ... on WrongStatusError { status } } } }"""
DELETE_TASK = """mutation ($input: DeleteTaskInput!) { deleteTask(input: $input) {
  deletedTaskId errors { __typename code message path ... on WrongStatusError { status } } } }"""
PAUSE_TASK = """mutation ($input: PauseTaskInput!) { pauseTask(input: $input) {
  task { id status finishedAt counts { total waiting unknown delivered failed notSent } }
  handedOver inFlight left
  errors { __typename code message path
    ... on WrongStatusError { status } ... on TooLateError { deadline }
    ... on NotSelectableError { blockers { code message fix } } } } }"""
RESUME_TASK = """mutation ($input: ResumeTaskInput!) { resumeTask(input: $input) {
  task { id status finishedAt counts { total waiting unknown delivered failed notSent } }
  handedOver inFlight left
  errors { __typename code message path
    ... on WrongStatusError { status } ... on TooLateError { deadline }
    ... on NotSelectableError { blockers { code message fix } } } } }"""
STOP_TASK = """mutation ($input: StopTaskInput!) { stopTask(input: $input) {
  task { id status finishedAt counts { total waiting unknown delivered failed notSent } }
  handedOver inFlight left
  errors { __typename code message path
    ... on WrongStatusError { status } ... on TooLateError { deadline }
    ... on NotSelectableError { blockers { code message fix } } } } }"""
RESCHEDULE_TASK = """mutation ($input: RescheduleTaskInput!) { rescheduleTask(input: $input) {
  task { id status sendAt cancelDeadline canCancel }
  errors { __typename code message path ... on TooLateError { deadline } ... on WrongStatusError { status }
    ... on SendTimeError { earliest latest } } } }"""
SET_APPLICATION_SUSPENDED = """mutation ($input: SetApplicationSuspendedInput!) {
  setApplicationSuspended(input: $input) { application { id suspended } errors { code message path } } }"""
ASSOCIATE = """mutation ($input: AssociateInput!) { associate(input: $input) {
  application { id signatures { nodes { id selectable blockers { code } } }
                templates { nodes { id selectable blockers { code } } } }
  errors { code message path } } }"""

ADD_OPT_OUTS = """mutation ($input: AddOptOutsInput!) { addOptOuts(input: $input) {
  added invalid rejectedRows { row value reason suggestion } errors { __typename code message path } } }"""
REMOVE_OPT_OUTS = """mutation ($input: RemoveOptOutsInput!) { removeOptOuts(input: $input) {
  removed errors { __typename code message path } } }"""
OPT_OUTS = """query ($first: Int, $after: String, $ending: String) {
  optOuts(first: $first, after: $after, numberEndsWith: $ending) {
    nodes { number since source } totalCount pageInfo { endCursor hasNextPage } } }"""

RESEND_FAILED = """mutation ($input: ResendFailedInput!) { resendFailed(input: $input) {
  message task { id name status text sendAt recipients { rows imported } resendOf { id name }
                 messages { nodes { number } } }
  warnings { code } errors { __typename code message path } } }"""


async def do(client: Client, document: str, **wanted: object) -> dict[str, Any]:
    """The payload of a mutation that must succeed."""
    (payload,) = (await client.run(document, input=wanted)).values()
    assert payload["errors"] == [], payload
    found: dict[str, Any] = payload
    return found


async def refused(client: Client, document: str, **wanted: object) -> list[dict[str, Any]]:
    """The errors of a mutation that must be refused."""
    (payload,) = (await client.run(document, input=wanted)).values()
    errors: list[dict[str, Any]] = payload.pop("errors")
    assert errors
    assert not any(value for name, value in payload.items() if name != "message")
    return errors


async def prepare(client: Client) -> dict[str, str]:
    """What a mainland task needs, made and approved; the ids as createTask takes them."""
    application = (await do(client, CREATE_APPLICATION, name="Shop", region="CHINESE_MAINLAND"))[
        "application"
    ]
    signature = (
        await do(
            client,
            CREATE_SIGNATURE,
            applicationId=application["id"],
            name="测试公司",
            type="NOTIFICATION",
            channelNumber="10690001",
        )
    )["signature"]
    template = (
        await do(
            client,
            CREATE_TEMPLATE,
            applicationId=application["id"],
            name="Notice",
            type="NOTIFICATION",
            content="您的预约已确认。",
            signatureId=signature["id"],
        )
    )["template"]
    await do(client, REVIEW_SIGNATURE, id=signature["id"], approve=True)
    await do(client, REVIEW_TEMPLATE, id=template["id"], approve=True, note="fine")
    return {
        "applicationId": application["id"],
        "signatureId": signature["id"],
        "templateId": template["id"],
    }


def in_minutes(minutes: int) -> str:
    """A time from now, written with an offset."""
    east = timezone(timedelta(hours=8))
    return (datetime.now(east) + timedelta(minutes=minutes)).isoformat(timespec="seconds")
