"""Who may do what: every field of Query, Mutation and Subscription, every id that is taken, every URL.

A new field, argument or route needs an entry here: see `test_access_walk`, which tries them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from domain.states import Role
from tests.integration import api_operations as operations


@dataclass(frozen=True)
class Own:
    """Stands for the id of something that the caller's account has."""

    kind: str


@dataclass(frozen=True)
class Tried:
    """Stands for the id that is tried: the other account's, or one that never existed."""

    kind: str


@dataclass(frozen=True)
class Needs:
    """The least role for a field, and how to use it; a query without a document asks for all it has."""

    role: Role
    document: str = ""
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Attempt:
    """How to come with an id, and what became of one that is not there."""

    document: str
    variables: Mapping[str, Any]
    path: tuple[str, ...] = ()
    """For a mutation: the input field that its NOT_FOUND names."""


class Behind(Enum):
    """What stands before a URL."""

    NOTHING = auto()
    TOKENS = auto()
    """Whose fields are in the tables above."""
    LINK = auto()
    """A link signed for one account."""
    CALLBACK_ADDRESS = auto()
    """An address signed for one gateway."""


CREATE_TOKEN = """mutation ($input: CreateTokenInput!) { createToken(input: $input) {
  token { id } secret errors { code message path } } }"""
REVOKE_TOKEN = """mutation ($input: RevokeTokenInput!) { revokeToken(input: $input) {
  token { id } errors { code message path } } }"""
TASK_UPDATED = "subscription ($id: ID!) { taskUpdated(id: $id) { id } }"
TASKS_CHANGED = "subscription ($since: String) { tasksChanged(since: $since) { kind taskId } }"
NODE = "query ($id: ID!) { node(id: $id) { __typename id } }"

NOTHING = ""
"""An id of nothing: a mutation with it is refused, but only to who may use it."""
NO_TASK: Mapping[str, Any] = {
    "name": "",
    "applicationId": "",
    "templateId": "",
    "recipients": {"numbers": []},
}
FIELDS: Mapping[str, Needs] = {
    # What can be read.
    "Query.application": Needs(Role.VIEWER, variables={"id": Own("application")}),
    "Query.applications": Needs(Role.VIEWER),
    "Query.auditLog": Needs(Role.MANAGER),
    "Query.node": Needs(Role.VIEWER, variables={"id": Own("account")}),
    "Query.optOuts": Needs(Role.VIEWER),
    "Query.pendingReviews": Needs(Role.OPERATOR),
    "Query.replies": Needs(Role.VIEWER),
    "Query.sampleRecipientFileUrl": Needs(Role.VIEWER),
    "Query.task": Needs(Role.VIEWER, variables={"id": Own("task")}),
    "Query.tasks": Needs(Role.VIEWER),
    "Query.tokens": Needs(Role.MANAGER),
    "Query.viewer": Needs(Role.VIEWER),
    # Tasks.
    "Mutation.cancelTask": Needs(Role.SENDER, operations.CANCEL_TASK, {"id": NOTHING}),
    "Mutation.createTask": Needs(Role.SENDER, operations.CREATE_TASK, NO_TASK),
    "Mutation.deleteTask": Needs(Role.SENDER, operations.DELETE_TASK, {"id": NOTHING}),
    "Mutation.pauseTask": Needs(Role.SENDER, operations.PAUSE_TASK, {"id": NOTHING}),
    "Mutation.previewTask": Needs(Role.SENDER, operations.PREVIEW_TASK, NO_TASK),
    "Mutation.rescheduleTask": Needs(
        Role.SENDER, operations.RESCHEDULE_TASK, {"id": NOTHING, "sendAt": "2019-11-25T08:00:00+08:00"}
    ),
    "Mutation.resendFailed": Needs(Role.SENDER, operations.RESEND_FAILED, {"taskId": NOTHING, "name": ""}),
    "Mutation.resumeTask": Needs(Role.SENDER, operations.RESUME_TASK, {"id": NOTHING}),
    "Mutation.stopTask": Needs(Role.SENDER, operations.STOP_TASK, {"id": NOTHING}),
    # What tasks are made from, opt-outs, tokens.
    "Mutation.addOptOuts": Needs(Role.MANAGER, operations.ADD_OPT_OUTS, {"numbers": []}),
    "Mutation.associate": Needs(Role.MANAGER, operations.ASSOCIATE, {"applicationId": NOTHING}),
    "Mutation.createApplication": Needs(
        Role.MANAGER, operations.CREATE_APPLICATION, {"name": "", "region": "INTERNATIONAL"}
    ),
    "Mutation.createSignature": Needs(
        Role.MANAGER,
        operations.CREATE_SIGNATURE,
        {"applicationId": NOTHING, "name": "", "type": "NOTIFICATION"},
    ),
    "Mutation.createTemplate": Needs(
        Role.MANAGER,
        operations.CREATE_TEMPLATE,
        {"applicationId": NOTHING, "name": "", "type": "NOTIFICATION", "content": ""},
    ),
    "Mutation.createToken": Needs(Role.MANAGER, CREATE_TOKEN, {"name": "", "role": "VIEWER"}),
    "Mutation.removeOptOuts": Needs(Role.MANAGER, operations.REMOVE_OPT_OUTS, {"numbers": []}),
    "Mutation.revokeToken": Needs(Role.MANAGER, REVOKE_TOKEN, {"id": NOTHING}),
    "Mutation.setApplicationSuspended": Needs(
        Role.MANAGER, operations.SET_APPLICATION_SUSPENDED, {"id": NOTHING, "suspended": True}
    ),
    "Mutation.setTemplateActive": Needs(
        Role.MANAGER, operations.SET_TEMPLATE_ACTIVE, {"id": NOTHING, "active": True}
    ),
    # What is decided about accounts.
    "Mutation.reviewSignature": Needs(
        Role.OPERATOR, operations.REVIEW_SIGNATURE, {"id": NOTHING, "approve": True}
    ),
    "Mutation.reviewTemplate": Needs(
        Role.OPERATOR, operations.REVIEW_TEMPLATE, {"id": NOTHING, "approve": True}
    ),
    "Mutation.setSendingLimits": Needs(
        Role.OPERATOR, operations.SET_SENDING_LIMITS, {"accountId": NOTHING, "dailyMessages": 1}
    ),
    # What can be followed.
    "Subscription.taskUpdated": Needs(Role.VIEWER, TASK_UPDATED, {"id": Own("task")}),
    "Subscription.tasksChanged": Needs(Role.VIEWER, TASKS_CHANGED, {"since": Own("place")}),
}
NODES: Mapping[str, Role] = {
    "AccessToken": Role.MANAGER,
    "Account": Role.VIEWER,
    "Application": Role.VIEWER,
    "AuditEntry": Role.MANAGER,
    "Message": Role.VIEWER,
    "Reply": Role.VIEWER,
    "Signature": Role.VIEWER,
    "Task": Role.VIEWER,
    "Template": Role.VIEWER,
}
"""The objects that `node` finds, and the least role to which they exist."""

TASK: Mapping[str, Any] = {
    "name": "T",
    "recipients": {"numbers": ["13800138000"]},
    "applicationId": Own("application"),
    "signatureId": Own("signature"),
    "templateId": Own("template"),
}
TEMPLATE: Mapping[str, Any] = {
    "applicationId": Own("application"),
    "name": "N",
    "type": "NOTIFICATION",
    "content": "Hi",
    "signatureId": Own("signature"),
}
ASSOCIATED: Mapping[str, Any] = {
    "applicationId": Own("application"),
    "signatureId": Own("signature"),
    "templateId": Own("template"),
}


def _change(document: str, wanted: Mapping[str, Any], *path: str) -> Attempt:
    """A mutation with an id at `path` of its input."""
    return Attempt(document, {"input": wanted}, path)


IDS: Mapping[str, Attempt] = {
    "Query.application(id)": Attempt(
        "query ($id: ID!) { application(id: $id) { id name } }", {"id": Tried("application")}
    ),
    "Query.node(id)": Attempt(NODE, {"id": Tried("task")}),
    "Query.task(id)": Attempt("query ($id: ID!) { task(id: $id) { id name } }", {"id": Tried("task")}),
    "TaskFilter.applicationId": Attempt(
        "query ($id: ID) { tasks(filter: {applicationId: $id}) { totalCount nodes { id } } }",
        {"id": Tried("application")},
    ),
    "AuditLogFilter.objectId": Attempt(
        "query ($id: ID) { auditLog(filter: {objectId: $id}) { totalCount nodes { id } } }",
        {"id": Tried("task")},
    ),
    "AuditLogFilter.tokenId": Attempt(
        "query ($id: ID) { auditLog(filter: {tokenId: $id}) { totalCount nodes { id } } }",
        {"id": Tried("token")},
    ),
    "Application.templates(signatureId)": Attempt(
        "query ($own: ID!, $id: ID) { application(id: $own) { templates(signatureId: $id) { totalCount } } }",
        {"own": Own("application"), "id": Tried("signature")},
    ),
    "CreateTaskInput.applicationId": _change(
        operations.CREATE_TASK, {**TASK, "applicationId": Tried("application")}, "applicationId"
    ),
    "CreateTaskInput.signatureId": _change(
        operations.CREATE_TASK, {**TASK, "signatureId": Tried("signature")}, "signatureId"
    ),
    "CreateTaskInput.templateId": _change(
        operations.CREATE_TASK, {**TASK, "templateId": Tried("template")}, "templateId"
    ),
    "RecipientsInput.uploadId": _change(
        operations.CREATE_TASK,
        {**TASK, "recipients": {"uploadId": Tried("upload")}},
        "recipients",
        "uploadId",
    ),
    "CancelTaskInput.id": _change(operations.CANCEL_TASK, {"id": Tried("task")}, "id"),
    "DeleteTaskInput.id": _change(operations.DELETE_TASK, {"id": Tried("task")}, "id"),
    "PauseTaskInput.id": _change(operations.PAUSE_TASK, {"id": Tried("task")}, "id"),
    "ResumeTaskInput.id": _change(operations.RESUME_TASK, {"id": Tried("task")}, "id"),
    "StopTaskInput.id": _change(operations.STOP_TASK, {"id": Tried("task")}, "id"),
    "RescheduleTaskInput.id": _change(
        operations.RESCHEDULE_TASK, {"id": Tried("task"), "sendAt": operations.in_minutes(900)}, "id"
    ),
    "ResendFailedInput.taskId": _change(
        operations.RESEND_FAILED, {"taskId": Tried("task"), "name": "T"}, "taskId"
    ),
    "SetApplicationSuspendedInput.id": _change(
        operations.SET_APPLICATION_SUSPENDED, {"id": Tried("application"), "suspended": True}, "id"
    ),
    "AssociateInput.applicationId": _change(
        operations.ASSOCIATE, {**ASSOCIATED, "applicationId": Tried("application")}, "applicationId"
    ),
    "AssociateInput.signatureId": _change(
        operations.ASSOCIATE, {**ASSOCIATED, "signatureId": Tried("signature")}, "signatureId"
    ),
    "AssociateInput.templateId": _change(
        operations.ASSOCIATE, {**ASSOCIATED, "templateId": Tried("template")}, "templateId"
    ),
    "CreateSignatureInput.applicationId": _change(
        operations.CREATE_SIGNATURE,
        {"applicationId": Tried("application"), "name": "公司", "type": "NOTIFICATION"},
        "applicationId",
    ),
    "CreateTemplateInput.applicationId": _change(
        operations.CREATE_TEMPLATE, {**TEMPLATE, "applicationId": Tried("application")}, "applicationId"
    ),
    "CreateTemplateInput.signatureId": _change(
        operations.CREATE_TEMPLATE, {**TEMPLATE, "signatureId": Tried("signature")}, "signatureId"
    ),
    "SetTemplateActiveInput.id": _change(
        operations.SET_TEMPLATE_ACTIVE, {"id": Tried("template"), "active": False}, "id"
    ),
    "RevokeTokenInput.id": _change(REVOKE_TOKEN, {"id": Tried("token")}, "id"),
    "ReviewSignatureInput.id": _change(
        operations.REVIEW_SIGNATURE, {"id": Tried("signature"), "approve": False}, "id"
    ),
    "ReviewTemplateInput.id": _change(
        operations.REVIEW_TEMPLATE, {"id": Tried("template"), "approve": False}, "id"
    ),
    "SetSendingLimitsInput.accountId": _change(
        operations.SET_SENDING_LIMITS, {"accountId": Tried("account"), "dailyMessages": 7}, "accountId"
    ),
    "Subscription.taskUpdated(id)": Attempt(TASK_UPDATED, {"id": Tried("task")}),
}
"""How to come with an id, at every place that takes one."""

IN_ALL_ACCOUNTS = {"ReviewSignatureInput.id", "ReviewTemplateInput.id", "SetSendingLimitsInput.accountId"}
"""Where an OPERATOR may name what belongs to another account; nobody else may come at all."""

URLS: Mapping[str, Behind] = {
    "/graphql": Behind.TOKENS,
    "/graphql/assets": Behind.NOTHING,
    "/healthz": Behind.NOTHING,
    "/readyz": Behind.NOTHING,
    "/downloads/sample-recipients.xlsx": Behind.LINK,
    "/downloads/tasks/{task_id:int}/failed-numbers.csv": Behind.LINK,
    "/downloads/tasks/{task_id:int}/failed-numbers.xlsx": Behind.LINK,
    "/downloads/tasks/{task_id:int}/rejected-rows.csv": Behind.LINK,
    "/downloads/tasks/{task_id:int}/rejected-rows.xlsx": Behind.LINK,
    "/callbacks/{gateway}": Behind.CALLBACK_ADDRESS,
}
