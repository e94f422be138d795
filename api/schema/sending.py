"""What an account may send in a day and in a month, and what it uses of that."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import sending_limits
from domain.sending_limits import LARGEST
from domain.sending_periods import Period, next_first_day, start_of
from domain.sending_reads import PresentUsage


@strawberry.type(
    description=(
        "How much the account may send. What counts is the time a task is to be sent at, in its account's "
        "time zone. null: no limit."
    )
)
class SendingLimits:
    daily_messages: int | None = strawberry.field(description="Messages a day.")
    daily_segments: int | None = strawberry.field(description="Segments a day.")
    monthly_messages: int | None = strawberry.field(description="Messages a calendar month.")
    monthly_segments: int | None = strawberry.field(description="Segments a calendar month.")
    alarm_percent: int = strawberry.field(
        description="From how many per cent of a limit on there are warnings and an alarm."
    )

    @staticmethod
    def of(limits: sending_limits.SendingLimits) -> SendingLimits:
        """The limits as the API shows them."""
        return SendingLimits(
            daily_messages=limits.daily_messages,
            daily_segments=limits.daily_segments,
            monthly_messages=limits.monthly_messages,
            monthly_segments=limits.monthly_segments,
            alarm_percent=limits.alarm_percent,
        )


@strawberry.type(
    description=(
        "What is planned for a period or was sent in it. What is canceled, stopped or left out is "
        f"given back. Counts end at {LARGEST}."
    )
)
class PeriodUsage:
    messages: int = strawberry.field(description="Messages of tasks to be sent in it.")
    segments: int = strawberry.field(description="Their segments.")
    starts_at: datetime = strawberry.field(description="When it begins in the account's time zone.")
    ends_at: datetime = strawberry.field(description="When the next one begins, and counts from nothing.")

    @staticmethod
    def of(usage: PresentUsage, period: Period, time_zone: str) -> PeriodUsage:
        """The present period of this kind as the API shows it."""
        first, load = usage.starts_on[period], usage.loads[period]
        return PeriodUsage(
            messages=min(load.messages, LARGEST),
            segments=min(load.segments, LARGEST),
            starts_at=start_of(first, time_zone),
            ends_at=start_of(next_first_day(period, first), time_zone),
        )


@strawberry.type(description="What the account uses of its sending limits.")
class SendingUsage:
    today: PeriodUsage = strawberry.field(description="Today, in the account's time zone.")
    this_month: PeriodUsage = strawberry.field(description="This calendar month.")
    alarm: bool = strawberry.field(
        description="Whether alarmPercent of a limit of today or of this month is reached."
    )

    @staticmethod
    def of(usage: PresentUsage, time_zone: str) -> SendingUsage:
        """The usage as the API shows it."""
        return SendingUsage(
            today=PeriodUsage.of(usage, Period.DAY, time_zone),
            this_month=PeriodUsage.of(usage, Period.MONTH, time_zone),
            alarm=usage.alarm,
        )
