"""An account that can send, and hands to play the workers and the message centre with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import gettempdir
from uuid import uuid4

from domain import access, accounts, db, dispatch, receipts, resources, task_creation, task_reads, tasks
from domain.access import Viewer
from domain.dispatch import Claim, Settlement
from domain.ports import Handover, Outcome, Receipt, ReceiptState, SegmentHandover
from domain.recipient_file import ReadLimits
from domain.states import SEND_RESULTS, TASK_TRANSITIONS, Region, Role, SmsType, TaskStatus
from domain.task_orders import Intake, TaskOrder
from domain.task_reads import TaskView

GATEWAY = "default"
LONG_TEXT = "测试" * 70
"""With a signature, three segments of a mainland message."""
_RESULT_OF = {
    ReceiptState.DELIVERED: "DELIVRD",
    ReceiptState.FAILED: "UNDELIV",
    ReceiptState.NOT_FINAL: "ENROUTE",
}


class Bell:
    """A `domain.ports.Doorbell` that writes down what it was asked for."""

    def __init__(self) -> None:
        self.changed: list[tuple[int, int]] = []
        self.due: list[tuple[int, datetime]] = []

    async def task_changed(self, account_id: int, task_id: int) -> None:
        """Note it."""
        self.changed.append((account_id, task_id))

    async def task_due(self, task_id: int, send_at: datetime) -> None:
        """Note it."""
        self.due.append((task_id, send_at))


@dataclass(frozen=True, slots=True)
class Materials:
    """What a task is made from."""

    application_id: int
    signature_id: int | None
    template_id: int


@dataclass
class World:
    """One account; its tasks are made, sent and watched through the functions the product uses."""

    viewer: Viewer
    mainland: Materials
    international: Materials
    bell: Bell = field(default_factory=Bell)
    intake: Intake = field(default_factory=lambda: Intake(ReadLimits(), {}, Path(gettempdir())))
    _seen: dict[int, TaskView] = field(default_factory=dict)

    @classmethod
    async def make(cls, name: str) -> World:
        """Make an account with an approved set of materials of each region."""
        viewer = await access.viewer_of(await accounts.create_token(name, Role.MANAGER))
        assert viewer is not None
        return cls(viewer, await mainland(viewer), await international(viewer))

    async def create(
        self,
        numbers: Sequence[str] | int,
        *,
        materials: Materials | None = None,
        after: timedelta | None = None,
        name: str = "A task",
    ) -> int:
        """Create a task of these numbers, or of so many, to be sent at once or some time from now."""
        now: datetime = await db.fetchval("SELECT groupsms_now()")
        order = self.order(numbers, materials=materials, send_at=now + after if after else None, name=name)
        return (await task_creation.create_task(self.viewer, order, self.intake, self.bell)).task_id

    def order(
        self,
        numbers: Sequence[str] | int,
        *,
        materials: Materials | None = None,
        send_at: datetime | None = None,
        name: str = "A task",
    ) -> TaskOrder:
        """What `create` asks for."""
        chosen = materials or self.mainland
        return TaskOrder(
            name=name,
            application_id=chosen.application_id,
            signature_id=chosen.signature_id,
            template_id=chosen.template_id,
            recipients=phones(numbers) if isinstance(numbers, int) else numbers,
            send_at=send_at,
        )

    async def running(self, numbers: Sequence[str] | int, *, materials: Materials | None = None) -> int:
        """Create a task and start it."""
        task_id = await self.create(numbers, materials=materials)
        assert await tasks.start_task(task_id, self.bell) is TaskStatus.SENDING
        return task_id

    async def sent(self, numbers: Sequence[str] | int, *, materials: Materials | None = None) -> int:
        """Create a task and hand all of it over."""
        task_id = await self.running(numbers, materials=materials)
        while (claim := await dispatch.claim(task_id, uuid4())) is not None:
            await self.hand_over(claim)
        await self.advance(task_id)
        return task_id

    async def claim(self, task_id: int) -> Claim:
        """Claim a chunk as a worker of its own."""
        claim = await dispatch.claim(task_id, uuid4())
        assert claim is not None
        return claim

    async def hand_over(self, claim: Claim, outcome: Outcome = Outcome.ACCEPTED) -> None:
        """Mark, settle and finish a whole chunk."""
        assert await dispatch.mark(claim, max(claim.numbers), [])
        assert await dispatch.settle(claim, settlements(claim, claim.numbers, outcome), shard=0)
        assert await dispatch.finish(claim)

    async def receive(self, *received: Receipt, shard: int = 0) -> set[int]:
        """Store receipts and apply them, as a worker does."""
        return await receipts.apply_stored(await receipts.store(GATEWAY, received), shard)

    async def advance(self, task_id: int) -> TaskView:
        """Move the task on if it is ready."""
        await tasks.advance_task(task_id, self.bell)
        return await self.check(task_id)

    async def read(self, task_id: int) -> TaskView:
        """The task as it stands."""
        task = await task_reads.find_task(self.viewer.account_id, task_id)
        assert task is not None
        return task

    async def check(self, task_id: int) -> TaskView:
        """Read a task and hold it against its messages, and against what was seen of it before."""
        async with db.transaction() as snapshot:
            # Workers may be settling meanwhile: both sides of the comparison are of one moment.
            await snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            task = await self.read(task_id)
            grouped = await self._grouped(task_id)
            in_doubt = await db.fetchval(
                "SELECT count(*) FROM message WHERE task_id = $1 AND handover = 2", task_id
            )
        counts = task.counts
        parts = (counts.waiting, counts.unknown, counts.delivered, counts.failed, counts.not_sent)
        assert sum(parts) == counts.total == task.recipients.imported
        assert dict(zip(SEND_RESULTS, parts, strict=True)) == grouped
        assert counts.in_doubt == in_doubt
        if (before := self._seen.get(task_id)) is not None:
            assert task.revision >= before.revision
            assert task.status in reachable(before.status)
            assert task.counts.not_sent >= before.counts.not_sent
            if (task.counts, task.status) != (before.counts, before.status):
                assert task.revision > before.revision
        self._seen[task_id] = task
        return task

    async def _grouped(self, task_id: int) -> dict[str, int]:
        rows = await db.fetch(
            """
            SELECT CASE WHEN m.result = 0 AND t.rest_not_sent THEN 4 ELSE m.result END AS result, count(*)
            FROM message m JOIN task t ON t.id = m.task_id WHERE t.id = $1 GROUP BY 1
            """,
            task_id,
        )
        found = {SEND_RESULTS[row["result"]]: row["count"] for row in rows}
        return {result: found.get(result, 0) for result in SEND_RESULTS}


async def eventually(condition: Callable[[], Awaitable[object]], seconds: float = 15.0) -> None:
    """Return once the condition holds, by looking again and again; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        await asyncio.sleep(0.01)


def phones(count: int, first: int = 0) -> list[str]:
    """So many different mainland numbers."""
    return [f"+86138{first + index:08}" for index in range(count)]


def gateway_id(task_id: int, position: int, segment: int = 1) -> str:
    """The id the message centre of these tests gives a segment."""
    return f"{task_id}.{position}.{segment}"


def settlements(
    claim: Claim,
    positions: Iterable[int],
    outcome: Outcome = Outcome.ACCEPTED,
    error_code: str = "0x0000000B",
) -> list[Settlement]:
    """The same answer for some messages of a chunk."""
    return [
        Settlement(position, claim.numbers[position], _handover(claim, position, outcome, error_code))
        for position in positions
    ]


def _handover(claim: Claim, position: int, outcome: Outcome, error_code: str) -> Handover:
    accepted = outcome is Outcome.ACCEPTED
    return Handover(
        outcome,
        tuple(
            SegmentHandover(
                gateway_id(claim.task_id, position, index) if accepted else None,
                error_code if outcome is Outcome.REFUSED else None,
            )
            for index, _ in enumerate(claim.content.segments, start=1)
        ),
    )


def receipt(
    claim: Claim,
    position: int,
    state: ReceiptState = ReceiptState.DELIVERED,
    *,
    segment: int = 1,
    number: str | None = None,
    error_code: str | None = None,
) -> Receipt:
    """A delivery receipt for one segment of a claimed message."""
    return Receipt(
        gateway_message_id=gateway_id(claim.task_id, position, segment),
        number=number or claim.numbers[position],
        state=state,
        status=_RESULT_OF[state],
        error_code=error_code or ("001" if state is ReceiptState.FAILED else None),
        received_at=datetime.now(UTC),
    )


def reachable(status: TaskStatus) -> set[TaskStatus]:
    """Every status a task may have later, its present one included."""
    found = {status}
    while more := {after for each in found for after in TASK_TRANSITIONS[each]} - found:
        found |= more
    return found


async def mainland(
    viewer: Viewer, *, content: str = "您的预约已确认。", sms_type: SmsType = SmsType.NOTIFICATION
) -> Materials:
    """An application of the Chinese mainland with an approved signature and template."""
    application = await resources.create_application(
        viewer,
        name="Mainland",
        region=Region.CHINESE_MAINLAND,
        sender_number=None,
        gateway=GATEWAY,
        gateways=[GATEWAY],
    )
    signature = await resources.create_signature(
        viewer,
        application_id=application.id,
        name="测试公司",
        sms_type=sms_type,
        channel_number="10690001",
        universal=False,
    )
    await resources.review_signature(signature.id, approve=True, note=None, channel_number=None)
    template_id = await approved_template(viewer, application.id, signature.id, content, sms_type)
    return Materials(application.id, signature.id, template_id)


async def international(
    viewer: Viewer,
    *,
    content: str = "Your booking is confirmed.",
    sms_type: SmsType = SmsType.NOTIFICATION,
) -> Materials:
    """An international application with an approved template."""
    application = await resources.create_application(
        viewer,
        name="International",
        region=Region.INTERNATIONAL,
        sender_number="Acme",
        gateway=GATEWAY,
        gateways=[GATEWAY],
    )
    template_id = await approved_template(viewer, application.id, None, content, sms_type)
    return Materials(application.id, None, template_id)


async def approved_template(
    viewer: Viewer,
    application_id: int,
    signature_id: int | None,
    content: str,
    sms_type: SmsType = SmsType.NOTIFICATION,
) -> int:
    """A template, approved and activated; returns its id."""
    template = await resources.create_template(
        viewer,
        application_id=application_id,
        name="Notice",
        sms_type=sms_type,
        content=content,
        signature_id=signature_id,
        universal=False,
        external_id=None,
    )
    await resources.review_template(template.id, approve=True, note=None)
    return int(template.id)
