"""The metrics there are, and which of them no whole line of processes moves in a test's time."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from api import metrics as of_api
from domain import queue_gauges
from domain.metrics import REGISTRY
from workers import metrics as of_workers

MODULES = (of_api, queue_gauges, of_workers)
"""They have registered what is looked at here."""

MOVED_ELSEWHERE = {
    "groupsms_accounts_near_sending_limit",
    "groupsms_deletions_oldest_seconds",
    "groupsms_deletions_waiting",
    "groupsms_leases_lapsed",
    "groupsms_leases_lost",
    "groupsms_leases_recovered",
    "groupsms_messages",
    "groupsms_queue_messages",
    "groupsms_queue_oldest_seconds",
    "groupsms_rate_limited",
    "groupsms_receipts_overdue_seconds",
    "groupsms_receipts_waiting",
    "groupsms_sending_limit_alarms",
    "groupsms_task_overdue_seconds",
    "groupsms_tasks",
}
"""By tests/integration/test_metrics.py, or test_rate_limits.py and test_sending_limits.py beside it: the
database's are read too seldom, leases last too long, and limits are wide.
"""


def registered() -> dict[str, set[str]]:
    """Each metric of ours, with the names of its samples."""
    assert isinstance(REGISTRY, CollectorRegistry)
    return {
        metric.name: {metric.name, f"{metric.name}_total", f"{metric.name}_count"}
        for metric in REGISTRY.collect()
        if metric.name.startswith("groupsms_")
    }
