"""previewTask: everything createTask would do and cost, without doing it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from domain import kept_lists, task_orders
from domain.access import Viewer
from domain.segments import is_gsm7, segment, unicode_characters
from domain.states import Encoding, Region
from domain.task_orders import Intake, PreparedTask, TaskOrder


@dataclass(frozen=True, slots=True)
class Preview:
    """A prepared order, and where its list is kept."""

    prepared: PreparedTask
    upload_id: UUID
    """For createTask, for an hour."""
    unicode_characters: tuple[str, ...]
    """Those that force UCS-2; none for the mainland, which counts characters whatever the alphabet."""
    segments_if_replaced: int
    """Segments of the text with each of them replaced by one character of the GSM alphabet."""


async def preview_task(viewer: Viewer, order: TaskOrder, intake: Intake) -> Preview:
    """Work an order out and keep its list.

    Raises what `createTask` would: `Refused`, `RecipientListError`, or `QuotaExceeded`.
    """
    prepared = await task_orders.prepare(viewer, order, intake)
    upload_id = await kept_lists.keep(viewer.account_id, order.recipients)
    content = prepared.content
    if prepared.choice.application.region is Region.CHINESE_MAINLAND or content.encoding is Encoding.GSM_7:
        return Preview(prepared, upload_id, (), len(content.segments))
    plain = "".join(character if is_gsm7(character) else "?" for character in content.text)
    replaced = segment(plain, Region.INTERNATIONAL)
    return Preview(prepared, upload_id, tuple(unicode_characters(content.text)), len(replaced.segments))
