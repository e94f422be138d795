"""Spans as they may leave this process: what errors say in them, without phone numbers.

Only loaded where traces are asked for.
"""

from __future__ import annotations

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Status
from opentelemetry.util.types import Attributes

from domain.masking import masked


def without_numbers(span: ReadableSpan) -> ReadableSpan:
    """The span, masked in what it tells of errors: a database says which row it refused."""
    if not span.events and not span.status.description:
        return span
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        events=[Event(event.name, _masked(event.attributes), event.timestamp) for event in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code, masked(span.status.description or "") or None),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _masked(attributes: Attributes) -> Attributes:
    return {
        name: masked(value) if isinstance(value, str) else value for name, value in (attributes or {}).items()
    }
