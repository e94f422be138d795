"""What can be read."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import strawberry

from api import auth
from api.context import Info
from api.downloads import SAMPLE_PATH
from api.schema import global_ids
from api.schema.account import Account, Viewer
from api.schema.audit import AuditEntry, AuditLogFilterInput
from api.schema.connections import PAGE, After, Connection, First, connect, refusing_bad_input, size
from api.schema.fields import field
from api.schema.loaders import Loaders
from api.schema.messages import Message
from api.schema.node import Node
from api.schema.opt_outs import OptOut
from api.schema.replies import Reply, ReplyFilterInput
from api.schema.resources import Application, Signature, Template
from api.schema.reviews import PendingReview, ReviewedAccounts
from api.schema.task_lists import TaskConnection, TaskFilterInput, TaskOrder, list_tasks
from api.schema.tasks import Task
from api.schema.tokens import AccessToken
from api.sealed_cursors import SealedCursors
from domain import (
    access,
    access_tokens,
    audit_reads,
    message_reads,
    opt_outs,
    replies,
    resource_reads,
    reviews,
    task_reads,
)
from domain.audit_reads import AuditFilter
from domain.replies import ReplyFilter
from domain.states import Role
from domain.task_reads import TaskFilter

Id = Annotated[strawberry.ID, strawberry.argument(description="The object's id.")]


async def _account(viewer: access.Viewer, key: str) -> Account | None:
    return Viewer.of(viewer).account if key == str(viewer.account_id) else None


async def _application(viewer: access.Viewer, key: str) -> Application | None:
    loaders = Loaders(viewer.account_id)
    found = await loaders.applications.load(int(key))
    return Application.of(found, loaders) if found else None


async def _signature(viewer: access.Viewer, key: str) -> Signature | None:
    judged = await Loaders(viewer.account_id).signatures.load((int(key), None))
    return Signature.of(judged) if judged else None


async def _template(viewer: access.Viewer, key: str) -> Template | None:
    loaders = Loaders(viewer.account_id)
    judged = await loaders.templates.load((int(key), None, None))
    return Template.of(judged, None, loaders) if judged else None


async def _task(viewer: access.Viewer, key: str) -> Task | None:
    view = await task_reads.find_task(viewer.account_id, int(key))
    return Task.of(view, Loaders(viewer.account_id)) if view else None


async def _message(viewer: access.Viewer, key: str) -> Message | None:
    task_id, _, position = key.partition(".")
    task = await task_reads.find_task(viewer.account_id, int(task_id))
    if task is None or not position:
        return None
    view = await message_reads.find_message(viewer.account_id, task.id, int(position))
    if view is None:
        return None
    return Message.of(view, task.region, task.segments_per_message, Loaders(viewer.account_id))


async def _reply(viewer: access.Viewer, key: str) -> Reply | None:
    view = await replies.find_reply(viewer.account_id, int(key))
    return Reply.of(view, Loaders(viewer.account_id)) if view else None


async def _audit_entry(viewer: access.Viewer, key: str) -> AuditEntry | None:
    if not auth.includes(viewer.role, Role.MANAGER):
        return None
    view = await audit_reads.find_entry(viewer.account_id, int(key))
    return AuditEntry.of(view) if view else None


async def _access_token(viewer: access.Viewer, key: str) -> AccessToken | None:
    if not auth.includes(viewer.role, Role.MANAGER):
        return None
    view = await access_tokens.find_token(viewer.account_id, int(key))
    return AccessToken.of(view) if view else None


_FINDERS = {
    "Account": _account,
    "Application": _application,
    "Signature": _signature,
    "Template": _template,
    "Task": _task,
    "Message": _message,
    "Reply": _reply,
    "AuditEntry": _audit_entry,
    "AccessToken": _access_token,
}
_WITH_TWO_PARTS = {"Message"}


@strawberry.type(description="What can be read. Every list is of the account that the token opens.")
class Query:
    @field("Any object by its id; null if there is none.")
    async def node(self, info: Info, id: Id) -> Node | None:  # noqa: A002 - the public name
        viewer = info.context.require()
        found = global_ids.decode(id)
        if found is None:
            return None
        type_name, key = found
        if type_name not in _FINDERS or ("." in key) != (type_name in _WITH_TWO_PARTS):
            return None
        return await _FINDERS[type_name](viewer, key)

    @field("Who is asking.")
    async def viewer(self, info: Info) -> Viewer:
        return Viewer.of(info.context.require())

    @field("The account's applications, oldest first.")
    async def applications(
        self, info: Info, first: First = PAGE, after: After = strawberry.UNSET
    ) -> Connection[Application]:
        account_id = info.context.require().account_id
        with refusing_bad_input():
            page = await resource_reads.list_applications(account_id, first=size(first), after=after or None)
        loaders = Loaders(account_id)
        return connect(
            page,
            lambda found: Application.of(found, loaders),
            lambda: resource_reads.count_applications(account_id),
        )

    @field("An application; null if there is none with this id.")
    async def application(self, info: Info, id: Id) -> Application | None:  # noqa: A002
        return await _application(info.context.require(), str(global_ids.key_of("Application", id)))

    @field("The account's tasks, newest first unless ordered otherwise.")
    async def tasks(
        self,
        info: Info,
        first: First = PAGE,
        after: After = strawberry.UNSET,
        filter: Annotated[  # noqa: A002
            TaskFilterInput | None, strawberry.argument(description="Which of them to list.")
        ] = strawberry.UNSET,
        order_by: Annotated[
            TaskOrder | None, strawberry.argument(description="In what order; left out: newest first.")
        ] = strawberry.UNSET,
    ) -> TaskConnection:
        info.context.require()
        chosen = filter.chosen() if filter else TaskFilter()
        return await list_tasks(info.context, chosen, order_by or None, size(first), after or None)

    @field("A task; null if there is none with this id.")
    async def task(self, info: Info, id: Id) -> Task | None:  # noqa: A002
        viewer = info.context.require()
        view = await task_reads.find_task(viewer.account_id, global_ids.key_of("Task", id))
        if view is None:
            return None
        info.context.show(view)
        return Task.of(view, Loaders(viewer.account_id))

    @field("The numbers that the account never texts, in the order of the numbers.")
    async def opt_outs(
        self,
        info: Info,
        first: First = PAGE,
        after: After = strawberry.UNSET,
        number_ends_with: Annotated[
            str | None, strawberry.argument(description="Only those that end with these digits.")
        ] = strawberry.UNSET,
    ) -> Connection[OptOut]:
        account_id = info.context.require().account_id
        ending = number_ends_with or None
        info.context.check_ending(ending)
        seal = info.context.services.cursor_seal
        with refusing_bad_input():
            place = seal.open(after or None)
            page = await opt_outs.list_opt_outs(account_id, ending, first=size(first), after=place)
        page = replace(page, cursors=SealedCursors(page.cursors, seal))
        return connect(page, OptOut.of, lambda: opt_outs.count_opt_outs(account_id, ending))

    @field("What people answered, newest first.")
    async def replies(
        self,
        info: Info,
        first: First = PAGE,
        after: After = strawberry.UNSET,
        filter: Annotated[  # noqa: A002
            ReplyFilterInput | None, strawberry.argument(description="Which of them to list.")
        ] = strawberry.UNSET,
    ) -> Connection[Reply]:
        account_id = info.context.require().account_id
        chosen = filter.chosen() if filter else ReplyFilter()
        info.context.check_ending(chosen.number_ends_with)
        with refusing_bad_input():
            page = await replies.list_replies(account_id, chosen, first=size(first), after=after or None)
        loaders = Loaders(account_id)
        return connect(
            page,
            lambda view: Reply.of(view, loaders),
            lambda: replies.count_replies(account_id, chosen),
        )

    @field("Who did what, from where, to which object: newest first. Needs the role MANAGER.")
    async def audit_log(
        self,
        info: Info,
        first: First = PAGE,
        after: After = strawberry.UNSET,
        filter: Annotated[  # noqa: A002
            AuditLogFilterInput | None, strawberry.argument(description="Which entries to list.")
        ] = strawberry.UNSET,
    ) -> Connection[AuditEntry]:
        account_id = info.context.require(Role.MANAGER).account_id
        chosen = filter.chosen() if filter else AuditFilter()
        with refusing_bad_input():
            page = await audit_reads.list_entries(account_id, chosen, first=size(first), after=after or None)
        return connect(page, AuditEntry.of, lambda: audit_reads.count_entries(account_id, chosen))

    @field(
        "The account's tokens, newest first, also those that have expired or were revoked. Needs the role "
        "MANAGER."
    )
    async def tokens(
        self, info: Info, first: First = PAGE, after: After = strawberry.UNSET
    ) -> Connection[AccessToken]:
        account_id = info.context.require(Role.MANAGER).account_id
        with refusing_bad_input():
            page = await access_tokens.list_tokens(account_id, first=size(first), after=after or None)
        return connect(page, AccessToken.of, lambda: access_tokens.count_tokens(account_id))

    @field(
        "The signatures and templates that wait for reviewSignature and reviewTemplate, in all accounts, the "
        "oldest first. Needs the role OPERATOR."
    )
    async def pending_reviews(
        self, info: Info, first: First = PAGE, after: After = strawberry.UNSET
    ) -> Connection[PendingReview]:
        info.context.require(Role.OPERATOR)
        with refusing_bad_input():
            page = await reviews.list_pending(first=size(first), after=after or None)
        return connect(page, ReviewedAccounts().show, reviews.count_pending)

    @field(
        "Where an Excel file to fill in with numbers can be downloaded. The link needs no token and is "
        "good for 15 minutes."
    )
    async def sample_recipient_file_url(self, info: Info) -> str:
        return info.context.services.link(SAMPLE_PATH, info.context.require())
