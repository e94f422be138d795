"""Applications, signatures and templates: made by the account, reviewed by an operator.

Source: "What a task needs" in the guide, and the service's later rules on names and lengths.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from domain import audit, db, feed
from domain.access import Viewer
from domain.audit import AuditAction, AuditObject
from domain.db import Connection
from domain.errors import InvalidInput, NotFound, Refused, UserError
from domain.models import Application, ApplicationSignature, ApplicationTemplate, Signature, Template
from domain.names import NAME_LENGTH, name_errors
from domain.ports import Doorbell
from domain.schedule import OVERDUE_AFTER
from domain.selection import TEXT_LENGTH
from domain.states import Region, ReviewStatus, SmsType

_SIGNATURE_NAME = re.compile(r"[0-9A-Za-z\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003134f]{2,32}")
_SENDER = re.compile(r"\+?[0-9]{3,20}|[0-9A-Za-z][0-9A-Za-z ._-]{0,10}")
_CHANNEL_NUMBER = re.compile(r"[0-9]{3,20}")


async def create_application(
    viewer: Viewer,
    *,
    name: str,
    region: Region,
    sender_number: str | None,
    gateway: str,
    gateways: Collection[str],
) -> Application:
    """Make an application; `gateways` are those configured. Raises `Refused`."""
    errors = name_errors("A name", name)
    if sender_number is not None and not _SENDER.fullmatch(sender_number):
        errors.append(
            InvalidInput(
                "A sender is a number of 3 to 20 digits, or a name of up to 11 Latin letters and digits.",
                "senderNumber",
            )
        )
    if gateway not in gateways:
        errors.append(
            InvalidInput(
                f"There is no gateway {gateway!r}; configured are: {', '.join(sorted(gateways))}.", "gateway"
            )
        )
    if errors:
        raise Refused(errors)
    async with db.transaction() as conn:
        made = await Application.create(
            account_id=viewer.account_id,
            name=name.strip(),
            region=region,
            sender_number=sender_number,
            gateway=gateway,
        )
        await audit.record(
            conn,
            viewer.account_id,
            AuditAction.APPLICATION_CREATED,
            (AuditObject.APPLICATION, made.id),
            name=made.name,
        )
    return made


async def create_signature(
    viewer: Viewer,
    *,
    application_id: int,
    name: str,
    sms_type: SmsType,
    channel_number: str | None,
    universal: bool,
) -> Signature:
    """Make a signature of a mainland application, to be reviewed. Raises `NotFound` or `Refused`."""
    application = await find_application(viewer, application_id, "applicationId")
    errors: list[UserError] = []
    if application.region is Region.INTERNATIONAL:
        errors.append(InvalidInput("An international application takes no signature.", "applicationId"))
    if not _SIGNATURE_NAME.fullmatch(name) or name.isdigit():
        errors.append(
            InvalidInput(
                "A signature's name has 2 to 32 Chinese characters, letters or digits, and not digits only.",
                "name",
            )
        )
    errors += _channel_number_errors(channel_number)
    if errors:
        raise Refused(errors)
    async with db.transaction() as conn:
        signature = await Signature.create(
            account_id=viewer.account_id,
            name=name,
            type=sms_type,
            channel_number=channel_number,
            universal=universal,
        )
        await ApplicationSignature.create(application=application, signature=signature)
        await audit.record(
            conn,
            viewer.account_id,
            AuditAction.SIGNATURE_CREATED,
            (AuditObject.SIGNATURE, signature.id),
            name=name,
        )
    return signature


async def create_template(
    viewer: Viewer,
    *,
    application_id: int,
    name: str,
    sms_type: SmsType,
    content: str,
    signature_id: int | None,
    universal: bool,
    external_id: str | None,
) -> Template:
    """Make a template, to be reviewed. Raises `NotFound` or `Refused`."""
    application = await find_application(viewer, application_id, "applicationId")
    signature = None
    if signature_id is not None:
        signature = await Signature.get_or_none(id=signature_id, account_id=viewer.account_id)
        if signature is None:
            raise NotFound("There is no such signature.", "signatureId")
    errors = [*name_errors("A name", name), *_content_errors(content, signature)]
    if application.region is Region.CHINESE_MAINLAND and signature is None and not universal:
        errors.append(
            InvalidInput(
                "A template of a mainland application belongs to a signature or is universal.", "signatureId"
            )
        )
    if application.region is Region.INTERNATIONAL and signature is not None:
        errors.append(InvalidInput("An international application takes no signature.", "signatureId"))
    if external_id is not None and not (1 <= len(external_id) <= NAME_LENGTH and db.can_hold(external_id)):
        errors.append(InvalidInput(f"externalId has 1 to {NAME_LENGTH} characters.", "externalId"))
    if errors:
        raise Refused(errors)
    async with db.transaction() as conn:
        template = await Template.create(
            account_id=viewer.account_id,
            name=name.strip(),
            type=sms_type,
            content=content,
            signature=signature,
            universal=universal,
            external_id=external_id,
        )
        await ApplicationTemplate.create(application=application, template=template)
        await audit.record(
            conn,
            viewer.account_id,
            AuditAction.TEMPLATE_CREATED,
            (AuditObject.TEMPLATE, template.id),
            name=template.name,
        )
    return template


async def review_signature(
    signature_id: int, *, approve: bool, note: str | None, channel_number: str | None
) -> Signature:
    """Record an operator's decision, in any account; may set the channel number too.

    Raises `NotFound` or `Refused`.
    """
    if errors := [*_note_errors(note), *_channel_number_errors(channel_number)]:
        raise Refused(errors)
    async with db.transaction() as conn:
        account_id = await conn.fetchval(
            """
            UPDATE signature
            SET status = $2, review_note = $3, channel_number = coalesce($4, channel_number)
            WHERE id = $1 RETURNING account_id
            """,
            signature_id,
            _decision(approve),
            note,
            channel_number,
        )
        if account_id is None:
            raise NotFound("There is no such signature.", "id")
        await audit.record(
            conn,
            account_id,
            AuditAction.SIGNATURE_REVIEWED,
            (AuditObject.SIGNATURE, signature_id),
            decision=_decision(approve),
        )
    return await Signature.get(id=signature_id)


async def review_template(template_id: int, *, approve: bool, note: str | None) -> Template:
    """Record an operator's decision, in any account; approving also activates.

    Raises `NotFound` or `Refused`.
    """
    if errors := _note_errors(note):
        raise Refused(errors)
    async with db.transaction() as conn:
        account_id = await conn.fetchval(
            """
            UPDATE template
            SET status = $2, review_note = $3, active = CASE WHEN $4 THEN TRUE ELSE active END
            WHERE id = $1 RETURNING account_id
            """,
            template_id,
            _decision(approve),
            note,
            approve,
        )
        if account_id is None:
            raise NotFound("There is no such template.", "id")
        await audit.record(
            conn,
            account_id,
            AuditAction.TEMPLATE_REVIEWED,
            (AuditObject.TEMPLATE, template_id),
            decision=_decision(approve),
        )
    return await Template.get(id=template_id)


def _decision(approve: bool) -> str:
    return (ReviewStatus.APPROVED if approve else ReviewStatus.REJECTED).value


async def set_template_active(viewer: Viewer, template_id: int, *, active: bool) -> Template:
    """Activate or deactivate a template. Raises `NotFound`."""
    async with db.transaction() as conn:
        template = await Template.get_or_none(id=template_id, account_id=viewer.account_id)
        if template is None:
            raise NotFound("There is no such template.", "id")
        template.active = active
        await template.save(update_fields=["active"])
        await audit.record(
            conn,
            viewer.account_id,
            AuditAction.TEMPLATE_SWITCHED,
            (AuditObject.TEMPLATE, template_id),
            active=active,
        )
    return template


async def set_application_suspended(
    viewer: Viewer, application_id: int, *, suspended: bool, doorbell: Doorbell
) -> Application:
    """Suspend an application, which pauses its running tasks, or let it and just those go on.

    Like a resumed task, they then have 24 hours. Raises `NotFound`.
    """
    async with db.transaction() as conn:
        # The application is locked before its tasks, as by whoever starts or resumes one.
        changed = await conn.fetchval(
            "UPDATE application SET suspended = $3 WHERE id = $1 AND account_id = $2 RETURNING id",
            application_id,
            viewer.account_id,
            suspended,
        )
        if changed is None:
            raise NotFound("There is no such application.", "id")
        task_ids = await (_pause_all if suspended else _let_go_on)(conn, application_id)
        for task_id in task_ids:
            await feed.announce(conn, viewer.account_id, task_id)
        await audit.record(
            conn,
            viewer.account_id,
            AuditAction.APPLICATION_SUSPENDED if suspended else AuditAction.APPLICATION_RESUMED,
            (AuditObject.APPLICATION, application_id),
            runningTasks=len(task_ids),
        )
    for task_id in task_ids:
        await doorbell.task_changed(viewer.account_id, task_id)
    return await Application.get(id=application_id)


async def _pause_all(conn: Connection, application_id: int) -> list[int]:
    rows = await conn.fetch(
        """
        WITH running AS (
            SELECT id FROM task
            WHERE application_id = $1 AND status = 'SENDING' AND deadline_at > groupsms_now()
            ORDER BY id FOR NO KEY UPDATE
        )
        UPDATE task SET status = 'PAUSED', paused_by_suspension = TRUE, revision = revision + 1
        FROM running WHERE task.id = running.id
        RETURNING task.id
        """,
        application_id,
    )
    return [row["id"] for row in rows]


async def _let_go_on(conn: Connection, application_id: int) -> list[int]:
    rows = await conn.fetch(
        """
        WITH paused AS (
            SELECT id FROM task
            WHERE application_id = $1 AND status = 'PAUSED' AND paused_by_suspension
            ORDER BY id FOR NO KEY UPDATE
        )
        UPDATE task SET status = 'SENDING', paused_by_suspension = FALSE,
                        deadline_at = groupsms_now() + $2, revision = revision + 1
        FROM paused WHERE task.id = paused.id
        RETURNING task.id
        """,
        application_id,
        OVERDUE_AFTER,
    )
    return [row["id"] for row in rows]


async def find_application(viewer: Viewer, application_id: int, field: str) -> Application:
    """An application of the viewer's account. Raises `NotFound`, naming `field`."""
    application = await Application.get_or_none(id=application_id, account_id=viewer.account_id)
    if application is None:
        raise NotFound("There is no such application.", field)
    return application


def _note_errors(note: str | None) -> list[UserError]:
    if note is None or db.can_hold(note):
        return []
    return [InvalidInput("The note has characters that are no text.", "note")]


def _channel_number_errors(channel_number: str | None) -> list[UserError]:
    if channel_number is None or _CHANNEL_NUMBER.fullmatch(channel_number):
        return []
    return [InvalidInput("A channel number has 3 to 20 digits.", "channelNumber")]


def _content_errors(content: str, signature: Signature | None) -> list[UserError]:
    if not content.strip():
        return [InvalidInput("A template needs a text.", "content")]
    if not db.can_hold(content):
        return [InvalidInput("The text has characters that no phone can show.", "content")]
    brackets = len(signature.name) + 2 if signature else 0
    if len(content) + brackets > TEXT_LENGTH:
        return [
            InvalidInput(
                f"The text has {len(content) + brackets} characters with its signature; "
                f"{TEXT_LENGTH} are allowed.",
                "content",
            )
        ]
    return []
