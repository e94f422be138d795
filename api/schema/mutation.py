"""What can be changed, put together."""

from __future__ import annotations

import strawberry

from api.schema.mutations.add_opt_outs import AddOptOutsPayload, add_opt_outs
from api.schema.mutations.associate import AssociatePayload, associate
from api.schema.mutations.cancel_task import CancelTaskPayload, cancel_task
from api.schema.mutations.create_application import CreateApplicationPayload, create_application
from api.schema.mutations.create_signature import CreateSignaturePayload, create_signature
from api.schema.mutations.create_task import CreateTaskPayload, create_task
from api.schema.mutations.create_template import CreateTemplatePayload, create_template
from api.schema.mutations.create_token import CreateTokenPayload, create_token
from api.schema.mutations.delete_task import DeleteTaskPayload, delete_task
from api.schema.mutations.pause_task import PauseTaskPayload, pause_task
from api.schema.mutations.preview_task import PreviewTaskPayload, preview_task
from api.schema.mutations.remove_opt_outs import RemoveOptOutsPayload, remove_opt_outs
from api.schema.mutations.reschedule_task import RescheduleTaskPayload, reschedule_task
from api.schema.mutations.resend_failed import resend_failed
from api.schema.mutations.resume_task import ResumeTaskPayload, resume_task
from api.schema.mutations.review_signature import ReviewSignaturePayload, review_signature
from api.schema.mutations.review_template import ReviewTemplatePayload, review_template
from api.schema.mutations.revoke_token import RevokeTokenPayload, revoke_token
from api.schema.mutations.set_application_suspended import (
    SetApplicationSuspendedPayload,
    set_application_suspended,
)
from api.schema.mutations.set_sending_limits import SetSendingLimitsPayload, set_sending_limits
from api.schema.mutations.set_template_active import SetTemplateActivePayload, set_template_active
from api.schema.mutations.stop_task import StopTaskPayload, stop_task


@strawberry.type(
    description=(
        "What can be changed. Whatever the sender of the input can mend is answered in `errors`, as data."
    )
)
class Mutation:
    create_task: CreateTaskPayload = strawberry.mutation(
        resolver=create_task,
        description=(
            "Import a recipient list and send its numbers one text, now or at a set time. Needs the role "
            "SENDER."
        ),
    )
    preview_task: PreviewTaskPayload = strawberry.mutation(
        resolver=preview_task,
        description=(
            "Everything createTask would do and cost, without doing it. Keeps the recipient list for an "
            "hour, so that createTask can do with its uploadId. Needs the role SENDER."
        ),
    )
    cancel_task: CancelTaskPayload = strawberry.mutation(
        resolver=cancel_task,
        description="Cancel a scheduled task, at least five minutes before its time. Needs the role SENDER.",
    )
    delete_task: DeleteTaskPayload = strawberry.mutation(
        resolver=delete_task,
        description="Delete a canceled task for good, with its numbers. Needs the role SENDER.",
    )
    pause_task: PauseTaskPayload = strawberry.mutation(
        resolver=pause_task,
        description=(
            "Let a running task rest until it is resumed; it is felt within about a second. Needs the role "
            "SENDER."
        ),
    )
    resume_task: ResumeTaskPayload = strawberry.mutation(
        resolver=resume_task,
        description="Let a paused task go on, for 24 hours at most. Needs the role SENDER.",
    )
    stop_task: StopTaskPayload = strawberry.mutation(
        resolver=stop_task,
        description=(
            "End a running or paused task for good; it is felt within about a second. What was not handed "
            "over becomes NOT_SENT as soon as nothing is in flight any more. Needs the role SENDER."
        ),
    )
    reschedule_task: RescheduleTaskPayload = strawberry.mutation(
        resolver=reschedule_task,
        description=(
            "Put a scheduled task at another time, at least five minutes before its present one. Needs the "
            "role SENDER."
        ),
    )
    resend_failed: CreateTaskPayload = strawberry.mutation(
        resolver=resend_failed,
        description=(
            "Make a new task of just the numbers of a task that failed for a reason that may pass. Each of "
            "them can be resent once; those that opted out are left out. Needs the role SENDER."
        ),
    )
    add_opt_outs: AddOptOutsPayload = strawberry.mutation(
        resolver=add_opt_outs,
        description=(
            "Never text these numbers again. Rows of recipient lists with them are deleted from now on, and "
            "what waits to be sent to them is NOT_SENT. Needs the role MANAGER."
        ),
    )
    remove_opt_outs: RemoveOptOutsPayload = strawberry.mutation(
        resolver=remove_opt_outs,
        description="Let these numbers be texted again, by new tasks. Needs the role MANAGER.",
    )
    create_application: CreateApplicationPayload = strawberry.mutation(
        resolver=create_application,
        description="Make an application, the first thing a task needs. Needs the role MANAGER.",
    )
    set_application_suspended: SetApplicationSuspendedPayload = strawberry.mutation(
        resolver=set_application_suspended,
        description=(
            "Suspend an application, which pauses its running tasks, or resume it with just those. Needs "
            "the role MANAGER."
        ),
    )
    associate: AssociatePayload = strawberry.mutation(
        resolver=associate,
        description=(
            "Let an existing signature or template be used by another application of the same account and "
            "region. Needs the role MANAGER."
        ),
    )
    create_signature: CreateSignaturePayload = strawberry.mutation(
        resolver=create_signature,
        description="Make a signature for a mainland application, to be reviewed. Needs the role MANAGER.",
    )
    create_template: CreateTemplatePayload = strawberry.mutation(
        resolver=create_template,
        description="Make a template for an application, to be reviewed. Needs the role MANAGER.",
    )
    review_signature: ReviewSignaturePayload = strawberry.mutation(
        resolver=review_signature,
        description="Approve or reject a signature of any account. Needs the role OPERATOR.",
    )
    review_template: ReviewTemplatePayload = strawberry.mutation(
        resolver=review_template,
        description="Approve or reject a template of any account. Needs the role OPERATOR.",
    )
    set_sending_limits: SetSendingLimitsPayload = strawberry.mutation(
        resolver=set_sending_limits,
        description=(
            "Set how much an account, any account, may send in a day and in a month. Needs the role OPERATOR."
        ),
    )
    set_template_active: SetTemplateActivePayload = strawberry.mutation(
        resolver=set_template_active,
        description="Switch a template on or off. Needs the role MANAGER.",
    )
    create_token: CreateTokenPayload = strawberry.mutation(
        resolver=create_token,
        description=(
            "Make another token of the account, with no more rights than yours. Needs the role MANAGER."
        ),
    )
    revoke_token: RevokeTokenPayload = strawberry.mutation(
        resolver=revoke_token,
        description=(
            "Refuse a token from now on, and close the sockets and streams it has open. A token with more "
            "rights than yours stays. Needs the role MANAGER."
        ),
    )
