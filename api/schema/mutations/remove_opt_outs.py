"""removeOptOuts: numbers that may be texted again."""

from __future__ import annotations

from typing import Annotated

import strawberry

from api.context import Info
from api.schema.enums import Role
from api.schema.errors import UserError, collecting
from api.schema.inputs import ERRORS, INPUT
from domain import opt_outs
from domain.recipient_file import LIST_LIMIT


@strawberry.input(description="The numbers to take off the list.")
class RemoveOptOutsInput:
    numbers: list[str] = strawberry.field(
        description=f"The numbers, at most {LIST_LIMIT:,}; if one is no number, none is taken off."
    )


@strawberry.type(description="What came of removeOptOuts.")
class RemoveOptOutsPayload:
    removed: int = strawberry.field(description="How many of them were on the list.")
    errors: list[UserError] = strawberry.field(description=ERRORS)


async def remove_opt_outs(info: Info, wanted: Annotated[RemoveOptOutsInput, INPUT]) -> RemoveOptOutsPayload:
    """Take them off."""
    viewer = info.context.require(Role.MANAGER)
    removed = 0
    with collecting() as errors:
        removed = await opt_outs.remove_opt_outs(viewer, wanted.numbers)
    return RemoveOptOutsPayload(removed=removed, errors=errors)
