"""What may be chosen for a group task, and if not, why and what to do about it.

One piece of code answers the lists a user chooses from, createTask, and the check when a task falls due.
Source: "What a task needs" in the guide.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from domain.errors import Blocker, BlockerCode, NotFound, NotSelectable, Refused
from domain.gateway_needs import gateways_needing_external_id
from domain.models import Application, ApplicationSignature, ApplicationTemplate, Signature, Template
from domain.states import Region, ReviewStatus, SmsType

TEXT_LENGTH = 500
"""Characters of a message, signature and its brackets included."""
_VARIABLE = re.compile(r"\$\{([^{}]*)\}")


def variables(content: str) -> list[str]:
    """The names of a template's variables `${name}`, each once, in order."""
    return list(dict.fromkeys(_VARIABLE.findall(content)))


def message_text(application: Application, signature: Signature | None, template: Template) -> str:
    """What a phone shows: a mainland message begins with the signature in full-width brackets."""
    if application.region is Region.CHINESE_MAINLAND and signature is not None:
        return f"【{signature.name}】{template.content}"
    return template.content


def sender_of(application: Application, signature: Signature | None) -> str:
    """The number or name a phone shows as the sender; empty where the gateway decides."""
    if application.region is Region.CHINESE_MAINLAND:
        return (signature.channel_number if signature else None) or ""
    return application.sender_number or ""


def application_blockers(application: Application) -> list[Blocker]:
    """Every reason why this application can send no task now."""
    if not application.suspended:
        return []
    return [
        Blocker(
            BlockerCode.APPLICATION_SUSPENDED,
            f"The application {application.name} is suspended.",
            "Resume it with setApplicationSuspended, or choose another application.",
        )
    ]


def signature_blockers(
    application: Application, signature: Signature | None, *, associated: bool
) -> list[Blocker]:
    """Every reason why this signature, or none, can't be chosen for a task of this application."""
    if application.region is Region.INTERNATIONAL:
        return [] if signature is None else [_SIGNATURE_NOT_ALLOWED]
    if signature is None:
        return [_SIGNATURE_REQUIRED]
    blockers = [*_review_blockers("signature", signature)]
    if not signature.channel_number:
        blockers.append(
            Blocker(
                BlockerCode.NO_CHANNEL_NUMBER,
                f"The signature {signature.name} has no channel number.",
                "Have an operator set its channelNumber with reviewSignature.",
            )
        )
    if not associated:
        blockers.append(_not_associated("signature", signature.name, application.name))
    return blockers


def template_blockers(
    application: Application,
    template: Template,
    *,
    associated: bool,
    signature: Signature | None,
    signature_of_template: Signature | None,
    external_id_gateways: Collection[str],
    any_signature: bool = False,
) -> list[Blocker]:
    """Every reason why this template can't be chosen for a task of this application and signature.

    `external_id_gateways` are those for which it needs an externalId. With `any_signature` the signature is
    not chosen yet, and whether it fits is left open.
    """
    blockers = [*_review_blockers("template", template)]
    if not template.active:
        blockers.append(
            Blocker(
                BlockerCode.NOT_ACTIVE,
                f"The template {template.name} is not activated.",
                "Activate it with setTemplateActive.",
            )
        )
    if names := variables(template.content):
        blockers.append(
            Blocker(
                BlockerCode.HAS_VARIABLES,
                f"The template {template.name} has variables: {', '.join(names)}.",
                "Choose or create a template without variables: a group task sends everyone the same text.",
            )
        )
    if application.gateway in external_id_gateways and not template.external_id:
        blockers.append(
            Blocker(
                BlockerCode.NO_EXTERNAL_ID,
                f"The template {template.name} has no externalId, and the gateway {application.gateway} "
                "sends only templates of its own platform.",
                "Create it anew with the platform's template id as its externalId.",
            )
        )
    if not associated:
        blockers.append(_not_associated("template", template.name, application.name))
    if not any_signature and not _fits(application, template, signature, signature_of_template):
        blockers.append(
            Blocker(
                BlockerCode.OTHER_SIGNATURE,
                f"The template {template.name} belongs to another signature.",
                "Choose the signature it belongs to, or a universal template.",
            )
        )
    return blockers


def _fits(
    application: Application,
    template: Template,
    signature: Signature | None,
    signature_of_template: Signature | None,
) -> bool:
    if application.region is Region.INTERNATIONAL or template.universal:
        return True
    if signature_of_template is not None and signature_of_template.universal:
        return True
    return signature is not None and template.signature_id == signature.id


def _review_blockers(kind: str, reviewed: Signature | Template) -> list[Blocker]:
    name = reviewed.name
    blockers = []
    if reviewed.status is ReviewStatus.PENDING:
        blockers.append(
            Blocker(
                BlockerCode.NOT_APPROVED,
                f"The {kind} {name} is waiting for review.",
                "Wait for an operator to approve it, or choose an approved one.",
            )
        )
    elif reviewed.status is ReviewStatus.REJECTED:
        reason = f": {reviewed.review_note}" if reviewed.review_note else "."
        blockers.append(
            Blocker(
                BlockerCode.NOT_APPROVED,
                f"The {kind} {name} was rejected{reason}",
                "Choose an approved one, or create one that heeds the reviewer's note.",
            )
        )
    if reviewed.type is SmsType.VERIFICATION_CODE:
        blockers.append(
            Blocker(
                BlockerCode.VERIFICATION_CODE_TYPE,
                f"The {kind} {name} is for verification codes, which the assistant never sends.",
                f"Choose a {kind} of type NOTIFICATION or PROMOTION.",
            )
        )
    return blockers


def _not_associated(kind: str, name: str, application: str) -> Blocker:
    return Blocker(
        BlockerCode.NOT_ASSOCIATED,
        f"The {kind} {name} is not associated with the application {application}.",
        "Associate it with the mutation associate, or choose another.",
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """An application, a signature and a template, with every reason why they can't be used together."""

    application: Application
    signature: Signature | None
    template: Template
    of_application: tuple[Blocker, ...]
    of_signature: tuple[Blocker, ...]
    of_template: tuple[Blocker, ...]

    @property
    def text(self) -> str:
        """What a phone shows."""
        return message_text(self.application, self.signature, self.template)

    @property
    def sender(self) -> str:
        """What a phone shows as the sender."""
        return sender_of(self.application, self.signature)

    def blockers(self) -> list[Blocker]:
        """All of them; none means that a task may be sent."""
        return [*self.of_application, *self.of_signature, *self.of_template]

    def refusals(self) -> list[NotSelectable]:
        """The blockers as errors, one an input field."""
        return [
            NotSelectable(" ".join(blocker.message for blocker in blockers), field, blockers=blockers)
            for field, blockers in (
                ("applicationId", self.of_application),
                ("signatureId", self.of_signature),
                ("templateId", self.of_template),
            )
            if blockers
        ]


async def choose(account_id: int, application_id: int, signature_id: int | None, template_id: int) -> Choice:
    """Load what a task is to be made from, and judge it.

    Raises `Refused` with a `NotFound` for each object that this account does not have.
    """
    missing = []
    application = await Application.get_or_none(id=application_id, account_id=account_id)
    if application is None:
        missing.append(NotFound("There is no such application.", "applicationId"))
    signature = None
    if signature_id is not None:
        signature = await Signature.get_or_none(id=signature_id, account_id=account_id)
        if signature is None:
            missing.append(NotFound("There is no such signature.", "signatureId"))
    template = await Template.get_or_none(id=template_id, account_id=account_id).prefetch_related("signature")
    if template is None:
        missing.append(NotFound("There is no such template.", "templateId"))
    if missing or application is None or template is None:
        raise Refused(missing)
    signature_associated = signature is not None and await ApplicationSignature.exists(
        application_id=application.id, signature_id=signature.id
    )
    template_associated = await ApplicationTemplate.exists(
        application_id=application.id, template_id=template.id
    )
    return Choice(
        application=application,
        signature=signature,
        template=template,
        of_application=tuple(application_blockers(application)),
        of_signature=tuple(signature_blockers(application, signature, associated=signature_associated)),
        of_template=tuple(
            template_blockers(
                application,
                template,
                associated=template_associated,
                signature=signature,
                signature_of_template=template.signature,
                external_id_gateways=await gateways_needing_external_id(),
                any_signature=signature is None,
            )
        ),
    )


_SIGNATURE_REQUIRED = Blocker(
    BlockerCode.SIGNATURE_REQUIRED,
    "A Chinese mainland application needs a signature.",
    "Give the signatureId of an approved signature of this application.",
)
_SIGNATURE_NOT_ALLOWED = Blocker(
    BlockerCode.SIGNATURE_NOT_ALLOWED,
    "An international application sends without a signature.",
    "Leave signatureId out.",
)
