"""Accounts and what a task is made from, as Tortoise models.

What exists once a number (messages, segments, receipts) is no model: those tables have composite keys and are
touched only by set-wise SQL. They are created in the first migration and described there.
"""

from __future__ import annotations

from tortoise import fields
from tortoise.fields.base import OnDelete
from tortoise.indexes import Index
from tortoise.models import Model

from domain.states import CancelReason, Encoding, Region, ReviewStatus, Role, SmsType, TaskStatus


class Account(Model):
    """Who sends and pays. Everything but the operator's reviews stays inside one account."""

    id = fields.BigIntField(primary_key=True)
    name = fields.CharField(64, unique=True)
    time_zone = fields.CharField(64, default="Asia/Shanghai", description="IANA name")
    currency = fields.CharField(3, default="CNY", description="ISO 4217")
    change_seq = fields.BigIntField(default=0, description="Last place given in the account's change feed")
    feed_floor = fields.BigIntField(
        default=0, description="The newest place of a deletion that the change feed has forgotten"
    )
    created_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "account"


class AccessToken(Model):
    """A bearer token: only its SHA-256 is kept."""

    id = fields.BigIntField(primary_key=True)
    account: fields.ForeignKeyRelation[Account] = fields.ForeignKeyField("models.Account", "tokens")
    token_hash = fields.BinaryField(description="SHA-256, 32 bytes")
    role = fields.CharEnumField(Role, max_length=16)
    name = fields.CharField(64, default="")
    created_at = fields.DatetimeField(auto_now_add=True)
    created_by = fields.CharField(
        255, default="", description="A token's name, a person, or the command line"
    )
    expires_at = fields.DatetimeField(null=True)
    revoked_at = fields.DatetimeField(null=True)
    last_used_at = fields.DatetimeField(null=True, description="To the minute")

    class Meta:
        table = "access_token"
        indexes = (Index(fields=("account_id", "id")),)


class Application(Model):
    """An SMS application: a region, a gateway and a sender."""

    id = fields.BigIntField(primary_key=True)
    account: fields.ForeignKeyRelation[Account] = fields.ForeignKeyField(
        "models.Account", "applications", on_delete=OnDelete.RESTRICT
    )
    account_id: int
    name = fields.CharField(64)
    region = fields.CharEnumField(Region, max_length=16)
    sender_number = fields.CharField(21, null=True)
    gateway = fields.CharField(32, default="default")
    suspended = fields.BooleanField(default=False)
    created_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "application"


class Signature(Model):
    """The name in full-width brackets a mainland message begins with."""

    id = fields.BigIntField(primary_key=True)
    account: fields.ForeignKeyRelation[Account] = fields.ForeignKeyField(
        "models.Account", "signatures", on_delete=OnDelete.RESTRICT
    )
    account_id: int
    name = fields.CharField(32)
    type = fields.CharEnumField(SmsType, max_length=20)
    status = fields.CharEnumField(ReviewStatus, max_length=10, default=ReviewStatus.PENDING)
    review_note = fields.TextField(null=True)
    channel_number = fields.CharField(21, null=True)
    universal = fields.BooleanField(default=False)
    created_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "signature"


class Template(Model):
    """The approved text of a message."""

    id = fields.BigIntField(primary_key=True)
    account: fields.ForeignKeyRelation[Account] = fields.ForeignKeyField(
        "models.Account", "templates", on_delete=OnDelete.RESTRICT
    )
    account_id: int
    name = fields.CharField(64)
    type = fields.CharEnumField(SmsType, max_length=20)
    content = fields.TextField()
    status = fields.CharEnumField(ReviewStatus, max_length=10, default=ReviewStatus.PENDING)
    review_note = fields.TextField(null=True)
    active = fields.BooleanField(default=False)
    universal = fields.BooleanField(default=False)
    signature: fields.ForeignKeyNullableRelation[Signature] = fields.ForeignKeyField(
        "models.Signature", "templates", null=True, on_delete=OnDelete.RESTRICT
    )
    signature_id: int | None
    external_id = fields.CharField(64, null=True, description="The template's id at a gateway that needs one")
    created_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "template"


class ApplicationSignature(Model):
    """This signature may be used by this application."""

    id = fields.BigIntField(primary_key=True)
    application: fields.ForeignKeyRelation[Application] = fields.ForeignKeyField("models.Application")
    signature: fields.ForeignKeyRelation[Signature] = fields.ForeignKeyField("models.Signature")

    class Meta:
        table = "application_signature"
        unique_together = (("application", "signature"),)


class ApplicationTemplate(Model):
    """This template may be used by this application."""

    id = fields.BigIntField(primary_key=True)
    application: fields.ForeignKeyRelation[Application] = fields.ForeignKeyField("models.Application")
    template: fields.ForeignKeyRelation[Template] = fields.ForeignKeyField("models.Template")

    class Meta:
        table = "application_template"
        unique_together = (("application", "template"),)


class Task(Model):
    """One text for one list of numbers. Its counters are in `task_counter`, its numbers in `message`."""

    id = fields.BigIntField(primary_key=True)
    account: fields.ForeignKeyRelation[Account] = fields.ForeignKeyField(
        "models.Account", "tasks", on_delete=OnDelete.RESTRICT
    )
    account_id: int
    name = fields.CharField(64)
    status = fields.CharEnumField(TaskStatus, max_length=10, default=TaskStatus.SCHEDULED)
    cancel_reason = fields.CharEnumField(CancelReason, max_length=20, null=True)
    blockers = fields.JSONField[list[dict[str, str]]](
        default=list, description="As they were when it was canceled as NO_LONGER_ALLOWED"
    )
    application: fields.ForeignKeyRelation[Application] = fields.ForeignKeyField(
        "models.Application", "tasks", on_delete=OnDelete.RESTRICT
    )
    application_id: int
    signature: fields.ForeignKeyNullableRelation[Signature] = fields.ForeignKeyField(
        "models.Signature", "tasks", null=True, on_delete=OnDelete.RESTRICT
    )
    signature_id: int | None
    template: fields.ForeignKeyRelation[Template] = fields.ForeignKeyField(
        "models.Template", "tasks", on_delete=OnDelete.RESTRICT
    )
    template_id: int
    region = fields.CharEnumField(Region, max_length=16)
    sms_type = fields.CharEnumField(SmsType, max_length=20)
    gateway = fields.CharField(32)
    sender = fields.CharField(21, default="")
    text = fields.TextField()
    encoding = fields.CharEnumField(Encoding, max_length=6)
    segments_per_message = fields.SmallIntField()
    send_at = fields.DatetimeField()
    deadline_at = fields.DatetimeField(description="What is still waiting then is never sent")
    created_at = fields.DatetimeField()
    started_at = fields.DatetimeField(null=True)
    sent_at = fields.DatetimeField(null=True, description="When the last message was handed over")
    finished_at = fields.DatetimeField(null=True)
    messages_purged_at = fields.DatetimeField(
        null=True, description="Since when its messages are no longer kept; its counts are"
    )
    imported = fields.IntField()
    invalid = fields.IntField()
    duplicates = fields.IntField()
    opted_out = fields.IntField(default=0)
    paused_by_suspension = fields.BooleanField(
        default=False,
        description="Paused because its application was suspended; goes on when that is resumed",
    )
    resend_of: fields.ForeignKeyNullableRelation[Task] = fields.ForeignKeyField(
        "models.Task", "resends", null=True, on_delete=OnDelete.SET_NULL
    )
    resend_of_id: int | None
    currency = fields.CharField(3)
    prices = fields.JSONField[dict[str, str]](
        default=dict, description="Of a segment, by leading digits, as configured when it was made"
    )
    estimated_amount = fields.DecimalField(
        max_digits=28, decimal_places=8, description="What it costs if every segment is charged"
    )
    rest_not_sent = fields.BooleanField(
        default=False, description="Messages still waiting count as NOT_SENT: nobody will send them"
    )
    revision = fields.BigIntField(
        default=1, description="Changes outside the counters; see task_counter.revision"
    )
    announced_revision = fields.BigIntField(
        default=0, description="The revision last put into the change feed"
    )
    change_seq = fields.BigIntField(default=0, description="The task's place in the account's change feed")
    created_seq = fields.BigIntField(default=0, description="Its first place in the feed")

    class Meta:
        table = "task"
        indexes = (
            Index(fields=("account_id", "created_at", "id")),
            Index(fields=("account_id", "send_at", "id")),
            Index(fields=("account_id", "name", "id")),
            Index(fields=("account_id", "change_seq")),
        )
