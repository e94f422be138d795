"""Reading applications, and signatures and templates as they are judged for an application.

A signature or template read outside any application is judged for the one it was made for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from domain import db, paging
from domain.errors import Blocker
from domain.gateway_needs import gateways_needing_external_id
from domain.models import (
    Application,
    ApplicationSignature,
    ApplicationTemplate,
    Signature,
    Template,
)
from domain.paging import Page
from domain.selection import signature_blockers, template_blockers


@dataclass(frozen=True, slots=True)
class JudgedSignature:
    """A signature, and why it can't be chosen for a task of an application."""

    signature: Signature
    blockers: tuple[Blocker, ...]


@dataclass(frozen=True, slots=True)
class JudgedTemplate:
    """A template, and why it can't be chosen for a task of an application."""

    template: Template
    blockers: tuple[Blocker, ...]


async def list_applications(
    account_id: int, *, first: int = 50, after: str | None = None
) -> Page[Application]:
    """A page of the account's applications, oldest first. Raises `InvalidInput`."""
    paging.check_size(first)
    key = paging.decode_cursor("applications", after, (int,))
    found = (
        await Application.filter(account_id=account_id, id__gt=key[0] if key else 0)
        .order_by("id")
        .limit(first + 1)
    )
    return paging.page_of(
        found, first, "applications", item=lambda a: a, key=lambda a: [a.id], after=key is not None
    )


async def count_applications(account_id: int) -> int:
    """How many applications the account has."""
    return await Application.filter(account_id=account_id).count()


async def list_signatures(
    application: Application, *, first: int = 50, after: str | None = None
) -> Page[JudgedSignature]:
    """A page of the account's signatures, those associated with the application first, oldest first.

    Raises `InvalidInput`.
    """
    page = await _listed("signature", application, first, after)
    found = await Signature.in_bulk([item.id for item in page.items], "id")
    judged = [
        JudgedSignature(
            found[item.id],
            tuple(signature_blockers(application, found[item.id], associated=item.associated)),
        )
        for item in page.items
    ]
    return Page(judged, page.cursors, page.has_next, page.has_previous)


async def count_signatures(account_id: int) -> int:
    """How many signatures the account has."""
    return await Signature.filter(account_id=account_id).count()


async def list_templates(
    application: Application,
    signature: Signature | None,
    *,
    any_signature: bool,
    first: int = 50,
    after: str | None = None,
) -> Page[JudgedTemplate]:
    """A page of the account's templates, those associated with the application first, oldest first.

    They are judged for a task with this signature; with `any_signature` whether one fits it is left open.
    Raises `InvalidInput`.
    """
    page = await _listed("template", application, first, after)
    found = await _templates([item.id for item in page.items])
    external_id_gateways = await gateways_needing_external_id()
    judged = [
        JudgedTemplate(
            found[item.id],
            tuple(
                template_blockers(
                    application,
                    found[item.id],
                    associated=item.associated,
                    signature=signature,
                    signature_of_template=found[item.id].signature,
                    external_id_gateways=external_id_gateways,
                    any_signature=any_signature,
                )
            ),
        )
        for item in page.items
    ]
    return Page(judged, page.cursors, page.has_next, page.has_previous)


async def count_templates(account_id: int) -> int:
    """How many templates the account has."""
    return await Template.filter(account_id=account_id).count()


@dataclass(frozen=True, slots=True)
class _Listed:
    id: int
    associated: bool


async def _listed(kind: str, application: Application, first: int, after: str | None) -> Page[_Listed]:
    paging.check_size(first)
    list_name = f"{kind}s:{application.id}"
    key = paging.decode_cursor(list_name, after, (int, int))
    rows = await db.fetch(
        f"""
        SELECT o.id, a.id IS NOT NULL AS associated
        FROM {kind} o LEFT JOIN application_{kind} a ON a.{kind}_id = o.id AND a.application_id = $2
        WHERE o.account_id = $1 AND ((a.id IS NULL)::int, o.id) > ($3, $4)
        ORDER BY (a.id IS NULL)::int, o.id LIMIT $5
        """,
        application.account_id,
        application.id,
        *(key or (0, 0)),
        first + 1,
    )
    return paging.page_of(
        rows,
        first,
        list_name,
        item=lambda row: _Listed(row["id"], row["associated"]),
        key=lambda row: [int(not row["associated"]), row["id"]],
        after=key is not None,
    )


async def _templates(ids: Sequence[int]) -> dict[int, Template]:
    found = await Template.filter(id__in=list(ids)).prefetch_related("signature")
    return {template.id: template for template in found}


async def find_applications(account_id: int, ids: Sequence[int]) -> dict[int, Application]:
    """Those of the applications that belong to this account, by id."""
    found = await Application.filter(id__in=list(ids), account_id=account_id)
    return {application.id: application for application in found}


SignatureKey = tuple[int, int | None]
"""A signature, and the application it is judged for; None: the one it was made for."""
TemplateKey = tuple[int, int | None, int | None]
"""A template, the application it is judged for, and the signature.

Without an application: the one it was made for, and any signature.
"""


async def judge_signatures(
    account_id: int, keys: Sequence[SignatureKey]
) -> dict[SignatureKey, JudgedSignature]:
    """Those of the signatures that belong to this account."""
    found = {s.id: s for s in await Signature.filter(id__in=[key[0] for key in keys], account_id=account_id)}
    associations = await _associations(ApplicationSignature, "signature_id", found)
    applications = await _applications(account_id, keys, associations)
    judged = {}
    for key in keys:
        application = applications.get(key)
        if (signature := found.get(key[0])) is not None and application is not None:
            associated = (signature.id, application.id) in associations
            blockers = signature_blockers(application, signature, associated=associated)
            judged[key] = JudgedSignature(signature, tuple(blockers))
    return judged


async def judge_templates(account_id: int, keys: Sequence[TemplateKey]) -> dict[TemplateKey, JudgedTemplate]:
    """Those of the templates that belong to this account."""
    found = await _templates([key[0] for key in keys])
    external_id_gateways = await gateways_needing_external_id()
    signature_ids = [key[2] for key in keys if key[2] is not None]
    signatures = {s.id: s for s in await Signature.filter(id__in=signature_ids, account_id=account_id)}
    associations = await _associations(ApplicationTemplate, "template_id", found)
    applications = await _applications(account_id, [key[:2] for key in keys], associations)
    judged = {}
    for key in keys:
        template_id, application_id, signature_id = key
        template = found.get(template_id)
        application = applications.get((template_id, application_id))
        if template is None or template.account_id != account_id or application is None:
            continue
        blockers = template_blockers(
            application,
            template,
            associated=(template.id, application.id) in associations,
            signature=signatures.get(signature_id) if signature_id is not None else None,
            signature_of_template=template.signature,
            external_id_gateways=external_id_gateways,
            any_signature=application_id is None,
        )
        judged[key] = JudgedTemplate(template, tuple(blockers))
    return judged


async def _associations(
    model: type[ApplicationSignature | ApplicationTemplate], column: str, ids: Iterable[int]
) -> list[tuple[int, int]]:
    """Which of them are associated with which application, first made first."""
    rows = (
        await model.filter(**{f"{column}__in": list(ids)})
        .order_by("id")
        .values_list(column, "application_id")
    )
    return [(owner, application_id) for owner, application_id in rows]


async def _applications(
    account_id: int, keys: Iterable[tuple[int, int | None]], associations: Sequence[tuple[int, int]]
) -> dict[tuple[int, int | None], Application]:
    made_for: dict[int, int] = {}
    for owner, application_id in associations:
        made_for.setdefault(owner, application_id)
    chosen = {key: made_for.get(key[0]) if key[1] is None else key[1] for key in keys}
    found = await find_applications(account_id, [wanted for wanted in chosen.values() if wanted is not None])
    return {key: found[wanted] for key, wanted in chosen.items() if wanted in found}
