"""What every process of the service measures of itself, for Prometheus.

`api.metrics` and `workers.metrics` add to the same registry what only they do; `domain.queue_gauges` what the
database knows. Labels are bounded: gateways and loops by configuration, the rest by our own lists. None bears
an id, a number, or anything else that a client chooses. `.deploy/operations.md` tells what to alert on.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Count
from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from domain import db
from domain.ports import Inbound, Receipt, ReceiptState

disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()
"""Everything this process exposes."""
LAG_EVERY = 0.5
"""Seconds between two looks at how late the event loop is."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds of the histograms, in seconds: from a reused answer to the patience of a client."""

_RECEIPT_STATES = {state: state.value.replace(" ", "_") for state in ReceiptState}

EVENT_LOOP_LAG = Histogram(
    "groupsms_event_loop_lag_seconds",
    "How late the event loop came back to a timer: whatever is asked of this process waits as long.",
    buckets=SECONDS,
    registry=REGISTRY,
)
REDIS_CONNECTED = Gauge(
    "groupsms_redis_connected",
    "1 while hints come in over Redis, 0 while this process looks for itself every second.",
    registry=REGISTRY,
)
REDIS_CONNECTIONS = Counter(
    "groupsms_redis_connections_total",
    "How often this process began to listen to Redis: more than once is a connection lost.",
    registry=REGISTRY,
)
LEASES_RECOVERED = Counter(
    "groupsms_leases_recovered_total",
    "Chunks taken back from workers that died or were cut off; what they had on the wire is in doubt.",
    registry=REGISTRY,
)
SENDING_LIMIT_ALARMS = Counter(
    "groupsms_sending_limit_alarms_total",
    "Times an account came past the alarm threshold of one of its sending limits.",
    registry=REGISTRY,
)


RECEIPTS = Counter(
    "groupsms_receipts_total",
    "Delivery receipts stored, by what they say.",
    ["gateway", "state"],
    registry=REGISTRY,
)
REPLIES = Counter("groupsms_replies_total", "Replies stored.", ["gateway"], registry=REGISTRY)
RECEIPT_STORE_SECONDS = Histogram(
    "groupsms_receipt_store_seconds",
    "How long the carrier waited for a batch of receipts to be stored and acknowledged.",
    ["gateway"],
    buckets=SECONDS,
    registry=REGISTRY,
)
RECEIPT_APPLY_SECONDS = Histogram(
    "groupsms_receipt_apply_seconds",
    "How long it took to apply a batch of stored receipts to their messages.",
    ["gateway"],
    buckets=SECONDS,
    registry=REGISTRY,
)


def came_in(gateway: str, batch: Iterable[Inbound]) -> None:
    """Count receipts and replies that were stored."""
    states = Count(inbound.state if isinstance(inbound, Receipt) else None for inbound in batch)
    REPLIES.labels(gateway).inc(states.pop(None, 0))
    for state, count in states.items():
        assert state is not None
        RECEIPTS.labels(gateway, _RECEIPT_STATES[state]).inc(count)


def expect_from(gateways: Iterable[str]) -> None:
    """Show what has not come from these gateways yet as 0, so that the first time is seen as a rise."""
    for name in gateways:
        for state in _RECEIPT_STATES.values():
            RECEIPTS.labels(name, state)
        for metric in (REPLIES, RECEIPT_STORE_SECONDS, RECEIPT_APPLY_SECONDS):
            metric.labels(name)


class _DatabasePool(Collector):
    """The connections to PostgreSQL, as they are when somebody asks."""

    def collect(self) -> Iterable[Metric]:
        connections = GaugeMetricFamily(
            "groupsms_database_connections",
            "Connections of this process to PostgreSQL, by what they do.",
            labels=["state"],
        )
        limit = GaugeMetricFamily(
            "groupsms_database_connections_limit",
            "Connections this process opens at most; when all are used, requests wait.",
        )
        use = db.pool_use()
        if use is not None:
            connections.add_metric(["idle"], use.idle)
            connections.add_metric(["used"], use.used)
            limit.add_metric([], use.limit)
        return [connections, limit]


REGISTRY.register(_DatabasePool())
ProcessCollector(registry=REGISTRY)


async def watch_event_loop() -> None:
    """Measure, for ever, how late timers are."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_EVERY
        await asyncio.sleep(LAG_EVERY)
        EVENT_LOOP_LAG.observe(max(0.0, loop.time() - due))
