"""Signatures and templates that are used by another application than the one they were made for."""

from __future__ import annotations

from domain import audit, db
from domain.access import Viewer
from domain.audit import AuditAction, AuditObject
from domain.db import Connection
from domain.errors import InvalidInput, NotFound, Refused, UserError
from domain.models import Application


async def associate(
    viewer: Viewer, application_id: int, *, signature_id: int | None, template_id: int | None
) -> Application:
    """Let a signature, a template or both be used by another application of their account and region.

    Doing it again changes nothing. Raises `Refused` with everything that is wrong.
    """
    errors: list[UserError] = []
    application = await Application.get_or_none(id=application_id, account_id=viewer.account_id)
    if application is None:
        errors.append(NotFound("There is no such application.", "applicationId"))
    if signature_id is None and template_id is None:
        errors.append(InvalidInput("Give a signatureId, a templateId, or both.", "signatureId"))
    for kind, wanted in (("signature", signature_id), ("template", template_id)):
        if wanted is not None:
            errors += await _association_errors(viewer, application, kind, wanted)
    if errors or application is None:
        raise Refused(errors)
    async with db.transaction() as conn:
        if signature_id is not None:
            await _associate(conn, "signature", application_id, signature_id)
        if template_id is not None:
            await _associate(conn, "template", application_id, template_id)
        await audit.record(
            conn,
            viewer.account_id,
            AuditAction.ASSOCIATED,
            (AuditObject.APPLICATION, application_id),
            signature=signature_id,
            template=template_id,
        )
    return application


async def _associate(conn: Connection, kind: str, application_id: int, wanted: int) -> None:
    await conn.execute(
        f"""
        INSERT INTO application_{kind} (application_id, {kind}_id) VALUES ($1, $2) ON CONFLICT DO NOTHING
        """,
        application_id,
        wanted,
    )


async def _association_errors(
    viewer: Viewer, application: Application | None, kind: str, wanted: int
) -> list[UserError]:
    region = await db.fetchval(
        f"""
        SELECT application.region
        FROM {kind} JOIN application_{kind} ON {kind}_id = {kind}.id
        JOIN application ON application.id = application_id
        WHERE {kind}.id = $1 AND {kind}.account_id = $2
        ORDER BY application_{kind}.id LIMIT 1
        """,
        wanted,
        viewer.account_id,
    )
    field = f"{kind}Id"
    if region is None:
        return [NotFound(f"There is no such {kind}.", field)]
    if application is not None and region != application.region:
        return [InvalidInput(f"This {kind} is for applications of the region {region}.", field)]
    return []
