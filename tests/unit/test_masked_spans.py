"""What traces tell of errors: never a phone number."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from domain.masked_spans import without_numbers

NUMBER = "8613800138000"


def ended_span(error: Exception | None) -> ReadableSpan:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def work() -> None:
        with provider.get_tracer("test").start_as_current_span("INSERT", attributes={"groupsms.task_id": 7}):
            if error is not None:
                raise error

    if error is None:
        work()
    else:
        with pytest.raises(type(error)):
            work()
    provider.shutdown()
    (span,) = exporter.get_finished_spans()
    return span


def test_what_the_database_says_of_a_row_is_masked() -> None:
    span = ended_span(ValueError(f"DETAIL:  Failing row contains (1, {NUMBER}, API)."))
    assert NUMBER in span.to_json(), "there is something to mask"
    shown = without_numbers(span)
    assert NUMBER not in shown.to_json()
    (event,) = shown.events
    assert event.attributes is not None
    assert "861****00" in str(event.attributes["exception.message"])
    assert event.attributes["exception.type"] == "ValueError"
    assert shown.status.status_code is StatusCode.ERROR
    assert (shown.name, shown.context, shown.attributes) == (span.name, span.context, span.attributes)


def test_others_are_left_as_they_are() -> None:
    span = ended_span(None)
    assert without_numbers(span) is span
