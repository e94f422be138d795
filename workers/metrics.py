"""What a worker measures, beside `domain.metrics`."""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Iterable, Sequence
from typing import Protocol

from prometheus_client import Counter, Gauge, Histogram

from domain.metrics import REGISTRY, SECONDS
from domain.ports import Gateway, Handover, Link, Outcome

OUTCOMES = {
    Outcome.ACCEPTED: "accepted",
    Outcome.REFUSED: "refused",
    Outcome.IN_DOUBT: "in_doubt",
    Outcome.NOT_HANDED_OVER: "given_back",
}
THROTTLED_STATUSES = ("ESME_RTHROTTLED", "ESME_RMSGQFUL")
BIND_FAILURES = (
    "smpp_not_connected",
    "smpp_bind_refused",
    "smpp_bind_beyond_limit",
    "smpp_credentials_refused",
    "smpp_certificate_refused",
    "smpp_attempt_failed",
)
"""Why a bind did not come up: the events of the log."""

HANDED_OVER = Counter(
    "groupsms_messages_handed_over_total",
    "Messages that came back from the gateway, by what it said; given_back ones never left and go again.",
    ["gateway", "outcome"],
    registry=REGISTRY,
)
SUBMITTED = Counter(
    "groupsms_segments_submitted_total",
    "Segments put on the wire, once their message came back.",
    ["gateway"],
    registry=REGISTRY,
)
SETTLE_SECONDS = Histogram(
    "groupsms_settle_seconds",
    "How long it took to store the answers of one chunk's messages.",
    ["gateway"],
    buckets=SECONDS,
    registry=REGISTRY,
)
UP = Gauge(
    "groupsms_gateway_up",
    "1 where messages can go out; 0 while it connects, stands by, or is told to come back later.",
    ["gateway"],
    registry=REGISTRY,
)
WINDOW = Gauge(
    "groupsms_gateway_window",
    "Messages this worker may have under way at the gateway.",
    ["gateway"],
    registry=REGISTRY,
)
WINDOW_USED = Gauge(
    "groupsms_gateway_window_used",
    "Messages this worker has under way at the gateway, or is settling.",
    ["gateway"],
    registry=REGISTRY,
)
RATE = Gauge(
    "groupsms_gateway_rate",
    "Segments a second this worker may send: its share of the contracted rate, or what the centre takes.",
    ["gateway"],
    registry=REGISTRY,
)
CHUNKS_HELD = Gauge("groupsms_chunks_held", "Chunks this worker has claimed.", ["gateway"], registry=REGISTRY)
LEASES_LOST = Counter(
    "groupsms_leases_lost_total",
    "Chunks this worker lost before it had settled them: it or the database was away for too long.",
    ["gateway"],
    registry=REGISTRY,
)
BINDS = Gauge(
    "groupsms_gateway_binds",
    "Binds of this worker that are up; a transmitter and a receiver count as two.",
    ["gateway"],
    registry=REGISTRY,
)
BIND_FAILED = Counter(
    "groupsms_bind_failures_total",
    "Tries to bind that came to nothing, by reason.",
    ["gateway", "reason"],
    registry=REGISTRY,
)
BIND_LOST = Counter(
    "groupsms_bind_losses_total", "Binds that were lost, not ended by us.", ["gateway"], registry=REGISTRY
)
THROTTLED = Counter(
    "groupsms_throttled_total",
    'Answers of the message centre that mean "not now".',
    ["gateway", "status"],
    registry=REGISTRY,
)
LOOP_FAILURES = Counter(
    "groupsms_worker_loop_failures_total",
    "Times one of the worker's loops failed and was run again.",
    ["loop"],
    registry=REGISTRY,
)


class Dispatching(Protocol):
    """What is shown of a dispatcher."""

    @property
    def unsettled(self) -> int:
        """Messages under way, or not yet settled."""
        ...

    @property
    def chunks(self) -> int:
        """Chunks held."""
        ...


def begin(gateways: Iterable[str], loops: Iterable[str]) -> None:
    """Show what has not happened yet as 0, so that the first time is seen as a rise."""
    for loop in loops:
        LOOP_FAILURES.labels(loop)
    for name in gateways:
        for outcome in OUTCOMES.values():
            HANDED_OVER.labels(name, outcome)
        for status in THROTTLED_STATUSES:
            THROTTLED.labels(name, status)
        for reason in BIND_FAILURES:
            BIND_FAILED.labels(name, reason)
        for metric in (SUBMITTED, SETTLE_SECONDS, LEASES_LOST, BINDS, BIND_LOST):
            metric.labels(name)


def came_back(gateway: str, handovers: Sequence[Handover]) -> None:
    """Count what a gateway said of some messages."""
    for outcome, count in Count(handover.outcome for handover in handovers).items():
        HANDED_OVER.labels(gateway, OUTCOMES[outcome]).inc(count)
    segments = sum(
        len(handover.segments) for handover in handovers if handover.outcome is not Outcome.NOT_HANDED_OVER
    )
    SUBMITTED.labels(gateway).inc(segments)


def watch(gateway: Gateway, dispatcher: Dispatching) -> None:
    """Show how a gateway and its dispatcher stand, as of whenever somebody asks."""
    name = gateway.name
    UP.labels(name).set_function(lambda: gateway.link is Link.UP)
    WINDOW.labels(name).set_function(lambda: gateway.window)
    WINDOW_USED.labels(name).set_function(lambda: dispatcher.unsettled)
    RATE.labels(name).set_function(lambda: gateway.rate)
    CHUNKS_HELD.labels(name).set_function(lambda: dispatcher.chunks)
