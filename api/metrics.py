"""What the API measures, beside `domain.metrics`."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from domain.metrics import REGISTRY, SECONDS

METHODS = ("GET", "HEAD", "POST", "OPTIONS")
OTHER = "other"
"""The label of what a client made up."""
LONG_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Bounds of imports' durations: a million numbers take some seconds."""
IMPORT_OUTCOMES = ("created", "refused", "failed")

REQUESTS = Counter(
    "groupsms_http_requests_total",
    "HTTP requests answered, by the route they found.",
    ["method", "route", "status"],
    registry=REGISTRY,
)
REQUEST_SECONDS = Histogram(
    "groupsms_http_request_seconds",
    "How long HTTP requests took, to the last octet of their answers.",
    ["route"],
    buckets=SECONDS,
    registry=REGISTRY,
)
OPERATIONS = Counter(
    "groupsms_operations_total",
    "GraphQL operations executed, by their first field; not by the names that clients give them.",
    ["operation", "field", "outcome"],
    registry=REGISTRY,
)
OPERATION_SECONDS = Histogram(
    "groupsms_operation_seconds",
    "How long the execution of queries and mutations took.",
    ["operation"],
    buckets=SECONDS,
    registry=REGISTRY,
)
ERRORS = Counter(
    "groupsms_errors_total",
    "Top-level errors told to clients; each INTERNAL one is a defect.",
    ["code"],
    registry=REGISTRY,
)
ANSWERS_REUSED = Counter(
    "groupsms_answers_reused_total",
    "Requests that were given an answer made for another, which was still true.",
    registry=REGISTRY,
)
SOCKETS = Gauge("groupsms_sockets", "WebSockets open in this process.", registry=REGISTRY)
SUBSCRIPTIONS = Gauge(
    "groupsms_subscriptions", "Subscriptions that this process is serving.", registry=REGISTRY
)
IMPORTS_RUNNING = Gauge(
    "groupsms_imports_running", "Recipient lists being read and stored by this process.", registry=REGISTRY
)
IMPORTS = Counter(
    "groupsms_imports_total",
    "Recipient lists read: a task was created, it was refused for what the client asked, or we failed.",
    ["outcome"],
    registry=REGISTRY,
)
IMPORT_SECONDS = Histogram(
    "groupsms_import_seconds",
    "How long it took to read a list and store the task.",
    buckets=LONG_SECONDS,
    registry=REGISTRY,
)
IMPORTED = Counter(
    "groupsms_imported_messages_total", "Numbers of the tasks that were created.", registry=REGISTRY
)

RATE_LIMITS = ("requests", "anonymous", "imports", "sockets", "subscriptions")
RATE_LIMITED = Counter(
    "groupsms_rate_limited_total",
    "What was refused because a token, or an address without one, asked too often or for too much at once.",
    ["limit"],
    registry=REGISTRY,
)

for _limit in RATE_LIMITS:
    RATE_LIMITED.labels(_limit)
for _outcome in IMPORT_OUTCOMES:
    IMPORTS.labels(_outcome)
