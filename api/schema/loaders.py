"""What objects refer to, read for many of them in one query.

Loaders are made for one answer, or for one event of a subscription, and go stale with it.
"""

from __future__ import annotations

from functools import cached_property

from strawberry.dataloader import DataLoader

from api.limits.execution import in_time
from domain import billing, message_reads, resource_reads, task_reads
from domain.billing import Charges, FailureReason
from domain.message_reads import SegmentView
from domain.models import Application
from domain.resource_reads import JudgedSignature, JudgedTemplate, SignatureKey, TemplateKey
from domain.task_reads import TaskView


class Loaders:
    """Reads what one account has."""

    def __init__(self, account_id: int) -> None:
        self.account_id = account_id

    @cached_property
    def applications(self) -> DataLoader[int, Application | None]:
        """Applications by their keys."""
        return DataLoader(in_time(self._applications))

    @cached_property
    def signatures(self) -> DataLoader[SignatureKey, JudgedSignature | None]:
        """Signatures, judged."""
        return DataLoader(in_time(self._signatures))

    @cached_property
    def templates(self) -> DataLoader[TemplateKey, JudgedTemplate | None]:
        """Templates, judged."""
        return DataLoader(in_time(self._templates))

    @cached_property
    def tasks(self) -> DataLoader[int, TaskView | None]:
        """Tasks by their keys."""
        return DataLoader(in_time(self._tasks))

    @cached_property
    def segments(self) -> DataLoader[tuple[int, int], list[SegmentView]]:
        """The segments of messages, by task and position."""
        return DataLoader(in_time(self._segments))

    @cached_property
    def charges(self) -> DataLoader[int, Charges]:
        """What tasks have cost, by their keys."""
        return DataLoader(in_time(self._charges))

    @cached_property
    def failure_reasons(self) -> DataLoader[int, list[FailureReason]]:
        """Why messages of tasks failed, by the tasks' keys."""
        return DataLoader(in_time(self._failure_reasons))

    async def _applications(self, keys: list[int]) -> list[Application | None]:
        found = await resource_reads.find_applications(self.account_id, keys)
        return [found.get(key) for key in keys]

    async def _signatures(self, keys: list[SignatureKey]) -> list[JudgedSignature | None]:
        found = await resource_reads.judge_signatures(self.account_id, keys)
        return [found.get(key) for key in keys]

    async def _templates(self, keys: list[TemplateKey]) -> list[JudgedTemplate | None]:
        found = await resource_reads.judge_templates(self.account_id, keys)
        return [found.get(key) for key in keys]

    async def _tasks(self, keys: list[int]) -> list[TaskView | None]:
        found = await task_reads.find_tasks(self.account_id, keys)
        return [found.get(key) for key in keys]

    async def _segments(self, keys: list[tuple[int, int]]) -> list[list[SegmentView]]:
        by_task: dict[int, list[int]] = {}
        for task_id, position in keys:
            by_task.setdefault(task_id, []).append(position)
        found = {
            task_id: await message_reads.segments_of(task_id, positions)
            for task_id, positions in by_task.items()
        }
        return [found[task_id].get(position, []) for task_id, position in keys]

    async def _charges(self, keys: list[int]) -> list[Charges]:
        found = await billing.find_charges(keys)
        return [found.get(key, Charges()) for key in keys]

    async def _failure_reasons(self, keys: list[int]) -> list[list[FailureReason]]:
        found = await billing.find_failure_reasons(keys)
        return [found.get(key, []) for key in keys]
