"""What a task is made from: applications, signatures, templates, and what keeps them from being used."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from api.schema import global_ids
from api.schema.connections import PAGE, After, Connection, First, connect, refusing_bad_input, size
from api.schema.enums import BlockerCode, Region, ReviewStatus, SmsType
from api.schema.fields import field
from api.schema.loaders import Loaders
from api.schema.node import Node
from api.top_level_errors import TopLevelCode, TopLevelError
from domain import errors, models, resource_reads
from domain.resource_reads import JudgedSignature, JudgedTemplate
from domain.selection import variables


@strawberry.type(description="Why something can't be used here, and what to do about it.")
class Blocker:
    code: BlockerCode = strawberry.field(description="For client code to branch on.")
    message: str = strawberry.field(description="What is in the way, for people.")
    fix: str = strawberry.field(description="What to do about it, for people.")

    @staticmethod
    def all_of(blockers: tuple[errors.Blocker, ...]) -> list[Blocker]:
        """The domain's blockers as the API shows them."""
        return [Blocker(code=b.code, message=b.message, fix=b.fix) for b in blockers]


@strawberry.type(
    description=(
        "The sender's name in full-width brackets that a mainland message begins with. Named inside an "
        "application, `selectable` and `blockers` answer for a group task of that application; "
        "elsewhere, for the application it was made for."
    )
)
class Signature(Node):
    name: str = strawberry.field(description="What stands in the brackets.")
    type: SmsType = strawberry.field(description="What it may be used for.")
    status: ReviewStatus = strawberry.field(description="What an operator decided about it.")
    review_note: str | None = strawberry.field(description="What the operator said about it.")
    channel_number: str | None = strawberry.field(
        description="The number that messages with this signature come from."
    )
    universal: bool = strawberry.field(description="Whether every template of its applications fits it.")
    selectable: bool = strawberry.field(
        description=("Whether a group task can use it: there are no blockers.")
    )
    blockers: list[Blocker] = strawberry.field(
        description="Everything that keeps a group task from using it."
    )
    created_at: datetime = strawberry.field(description="When it was made.")

    @staticmethod
    def of(judged: JudgedSignature) -> Signature:
        """The signature as the API shows it."""
        signature = judged.signature
        return Signature(
            id=global_ids.encode("Signature", signature.id),
            name=signature.name,
            type=signature.type,
            status=signature.status,
            review_note=signature.review_note,
            channel_number=signature.channel_number,
            universal=signature.universal,
            selectable=not judged.blockers,
            blockers=Blocker.all_of(judged.blockers),
            created_at=signature.created_at,
        )


@strawberry.type(
    description=(
        "The text of a message, to be approved. Named inside an application, `selectable` and `blockers` "
        "answer for a group task of that application; elsewhere, for the application it was made for."
    )
)
class Template(Node):
    name: str = strawberry.field(description="What people call it; recipients don't see it.")
    type: SmsType = strawberry.field(description="What it may be used for.")
    status: ReviewStatus = strawberry.field(description="What an operator decided about it.")
    review_note: str | None = strawberry.field(description="What the operator said about it.")
    active: bool = strawberry.field(description="Whether it is switched on: see setTemplateActive.")
    content: str = strawberry.field(description="The text, without the signature.")
    variables: list[str] = strawberry.field(
        description="The names of the `${…}` in the text. A group task takes only templates without."
    )
    universal: bool = strawberry.field(description="Whether it fits every signature of its applications.")
    selectable: bool = strawberry.field(
        description=(
            "Whether a group task can use it: there are no blockers. Whether it fits the signature "
            "counts only where that is given."
        )
    )
    blockers: list[Blocker] = strawberry.field(
        description="Everything that keeps a group task from using it."
    )
    created_at: datetime = strawberry.field(description="When it was made.")
    signature_id: strawberry.Private[int | None]
    application_id: strawberry.Private[int | None]
    loaders: strawberry.Private[Loaders]

    @field("The signature it belongs to; null for a universal or international one.")
    async def signature(self) -> Signature | None:
        if self.signature_id is None:
            return None
        judged = await self.loaders.signatures.load((self.signature_id, self.application_id))
        return Signature.of(judged) if judged else None

    @staticmethod
    def of(judged: JudgedTemplate, application_id: int | None, loaders: Loaders) -> Template:
        """The template as the API shows it; `application_id` is what its signature is judged for."""
        template = judged.template
        return Template(
            id=global_ids.encode("Template", template.id),
            name=template.name,
            type=template.type,
            status=template.status,
            review_note=template.review_note,
            active=template.active,
            content=template.content,
            variables=variables(template.content),
            universal=template.universal,
            selectable=not judged.blockers,
            blockers=Blocker.all_of(judged.blockers),
            created_at=template.created_at,
            signature_id=template.signature_id,
            application_id=application_id,
            loaders=loaders,
        )


@strawberry.type(
    description=(
        "What tasks are sent through: a region, a gateway and a sender. Choose an application first, "
        "then a signature, then a template."
    )
)
class Application(Node):
    name: str = strawberry.field(description="What people call it.")
    region: Region = strawberry.field(description="Where its messages go.")
    sender_number: str | None = strawberry.field(
        description=(
            "What an international message shows as its sender. A mainland one shows the signature's "
            "channelNumber."
        )
    )
    gateway: str = strawberry.field(
        description="The name of the way out to the carriers, as the service is set up."
    )
    suspended: bool = strawberry.field(description="Whether it may send nothing for now.")
    created_at: datetime = strawberry.field(description="When it was made.")
    model: strawberry.Private[models.Application]
    loaders: strawberry.Private[Loaders]

    @field(
        "The account's signatures, those associated with this application first, each with what keeps "
        "a task of this application from using it."
    )
    async def signatures(self, first: First = PAGE, after: After = strawberry.UNSET) -> Connection[Signature]:
        with refusing_bad_input():
            page = await resource_reads.list_signatures(self.model, first=size(first), after=after or None)
        return connect(page, Signature.of, lambda: resource_reads.count_signatures(self.model.account_id))

    @field(
        "The account's templates, those associated with this application first, each with what keeps "
        "a task of this application from using it."
    )
    async def templates(
        self,
        signature_id: Annotated[
            strawberry.ID | None,
            strawberry.argument(
                description=(
                    "Judge them for a task with this signature. Left out, whether they fit a signature "
                    "is left open."
                )
            ),
        ] = strawberry.UNSET,
        first: First = PAGE,
        after: After = strawberry.UNSET,
    ) -> Connection[Template]:
        signature = await self._signature(signature_id) if signature_id else None
        with refusing_bad_input():
            page = await resource_reads.list_templates(
                self.model, signature, any_signature=signature is None, first=size(first), after=after or None
            )
        return connect(
            page,
            lambda judged: Template.of(judged, self.model.id, self.loaders),
            lambda: resource_reads.count_templates(self.model.account_id),
        )

    async def _signature(self, signature_id: str) -> models.Signature:
        key = global_ids.key_of("Signature", signature_id)
        judged = await self.loaders.signatures.load((key, self.model.id))
        if judged is None:
            raise TopLevelError("signatureId: there is no such signature.", TopLevelCode.BAD_USER_INPUT)
        return judged.signature

    @staticmethod
    def of(application: models.Application, loaders: Loaders) -> Application:
        """The application as the API shows it."""
        return Application(
            id=global_ids.encode("Application", application.id),
            name=application.name,
            region=application.region,
            sender_number=application.sender_number,
            gateway=application.gateway,
            suspended=application.suspended,
            created_at=application.created_at,
            model=application,
            loaders=loaders,
        )
