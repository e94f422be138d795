"""The audit log: who did what, from where, to which object."""

from __future__ import annotations

from datetime import datetime

import strawberry

from api.schema import global_ids
from api.schema.enums import ActorKind, AuditAction, Role
from api.schema.node import Node
from domain.audit import AuditObject
from domain.audit_reads import AuditEntryView, AuditFilter

_IDS = {"resendOf": "Task", "signature": "Signature", "template": "Template"}
"""Details that name an object, with its type."""


@strawberry.input(
    name="AuditLogFilter", description="Which entries to list. What is left out lets all through."
)
class AuditLogFilterInput:
    action_in: list[AuditAction] | None = strawberry.field(
        default=strawberry.UNSET, description="Those of one of these actions."
    )
    object_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET,
        description="Those about this object: the id of a task, a token and so on, also of one that is gone.",
    )
    actor_kind_in: list[ActorKind] | None = strawberry.field(
        default=strawberry.UNSET, description="Those by actors of one of these kinds."
    )
    token_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="Those by whoever held this token."
    )
    actor_name: str | None = strawberry.field(
        default=strawberry.UNSET, description="Those by the actor of exactly this name."
    )
    from_: datetime | None = strawberry.field(
        default=strawberry.UNSET, name="from", description="Those from this moment on."
    )
    to: datetime | None = strawberry.field(default=strawberry.UNSET, description="Those before this moment.")

    def chosen(self) -> AuditFilter:
        """The filter as the domain takes it."""
        subject = None
        if self.object_id:
            type_name, key = global_ids.decode(self.object_id) or ("", "")
            subject = (type_name, int(key) if key.isdecimal() else global_ids.NO_KEY)
        return AuditFilter(
            actions=None if not isinstance(self.action_in, list) else tuple(self.action_in),
            subject=subject,
            actor_kinds=None if not isinstance(self.actor_kind_in, list) else tuple(self.actor_kind_in),
            token_id=global_ids.key_of(AuditObject.TOKEN, self.token_id) if self.token_id else None,
            actor_name=self.actor_name or None,
            since=self.from_ or None,
            until=self.to or None,
        )


@strawberry.type(description="Who did it.")
class AuditActor:
    kind: ActorKind = strawberry.field(description="What kind of actor it is.")
    token_id: strawberry.ID | None = strawberry.field(
        description="The id of the token it was done with; null for other kinds."
    )
    name: str | None = strawberry.field(
        description=(
            "The token's name at that time, the subject that an identity provider vouched for, or the login "
            "at the command line; null for tokens without a name and for the service itself."
        )
    )
    role: Role | None = strawberry.field(
        description="In what role; null at the command line and for the service itself."
    )


@strawberry.type(description="What else matters of an action.")
class AuditDetail:
    name: str = strawberry.field(description="What is told, such as oldSendAt, numbers, or decision.")
    value: str = strawberry.field(
        description="Its value as text: times in RFC 3339, objects by their id. Never a phone number."
    )


@strawberry.type(
    description=(
        "One entry of the audit log. Written together with what it tells of, so that neither exists without "
        "the other, and never changed."
    )
)
class AuditEntry(Node):
    at: datetime = strawberry.field(description="When.")
    action: AuditAction = strawberry.field(description="What was done.")
    actor: AuditActor = strawberry.field(description="Who did it.")
    object_type: str | None = strawberry.field(
        description="The type of the object it was done to, such as Task; null if it was done to none."
    )
    object_id: strawberry.ID | None = strawberry.field(
        description="The id of the object, which may be gone by now; null if it was done to none."
    )
    details: list[AuditDetail] = strawberry.field(description="What else matters, in the order of the names.")
    client_address: str | None = strawberry.field(
        description="The IP address of the client, as far as trusted proxies tell it; null if there was none."
    )
    user_agent: str | None = strawberry.field(
        description="What the client called itself; null if there was none."
    )
    request_id: str | None = strawberry.field(
        description="The id of the request, as in the answer's X-Request-Id; null if there was none."
    )

    @staticmethod
    def of(view: AuditEntryView) -> AuditEntry:
        """The entry as the API shows it."""
        return AuditEntry(
            id=global_ids.encode("AuditEntry", view.id),
            at=view.at,
            action=view.action,
            actor=AuditActor(
                kind=view.actor_kind,
                token_id=None
                if view.token_id is None
                else global_ids.encode(AuditObject.TOKEN, view.token_id),
                name=view.actor_name,
                role=view.role,
            ),
            object_type=view.subject[0].value if view.subject else None,
            object_id=global_ids.encode(*view.subject) if view.subject else None,
            details=[_detail(name, value) for name, value in sorted(view.details.items())],
            client_address=view.client_address or None,
            user_agent=view.user_agent or None,
            request_id=view.request_id or None,
        )


def _detail(name: str, value: str) -> AuditDetail:
    type_name = _IDS.get(name)
    return AuditDetail(name=name, value=global_ids.encode(type_name, value) if type_name else value)
