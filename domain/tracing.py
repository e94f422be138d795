"""Traces by OpenTelemetry, where an address for them is set; else nothing is loaded and a span costs a call.

The variables are OpenTelemetry's own, as every collector's manual has them: OTEL_EXPORTER_OTLP_ENDPOINT (or
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT), OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER and the like. Spans go over
OTLP/HTTP. Their attributes are ids and counts: no texts, no numbers, no parameters of statements.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
DISABLED = "OTEL_SDK_DISABLED"
FAREWELL = 3_000
"""Milliseconds the last spans may take to be sent when the process ends."""

_NOTHING: AbstractContextManager[None] = nullcontext()
_tracer: Tracer | None = None


class TracingError(Exception):
    """Traces are asked for and can't be made. The text is one line."""


def is_asked_for() -> bool:
    """Whether the environment names somebody who collects traces."""
    return any(os.environ.get(name) for name in ENDPOINTS) and os.environ.get(DISABLED, "").lower() != "true"


@contextmanager
def tracing(service: str) -> Iterator[None]:
    """Trace this process, if that is asked for, under the name `service` unless OTEL_SERVICE_NAME is set.

    Raises `TracingError` where the packages are missing.
    """
    global _tracer  # noqa: PLW0603 - one a process, as the SDK has it
    if not is_asked_for():
        yield
        return
    try:
        from opentelemetry import trace  # noqa: PLC0415 - not loaded where it is off
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import ReadableSpan, TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        from domain.masked_spans import without_numbers  # noqa: PLC0415
    except ImportError as error:
        wanted = next(name for name in ENDPOINTS if os.environ.get(name))
        raise TracingError(f"{wanted} is set; install groupsms[otel] for it ({error})") from error
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": service}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)

    class OwnWork(BatchSpanProcessor):
        """Leaves out the statements of nobody's work, such as a worker's look for something to do."""

        def on_end(self, span: ReadableSpan) -> None:
            if span.parent is not None or span.kind is not trace.SpanKind.CLIENT:
                super().on_end(without_numbers(span))

    provider.add_span_processor(OwnWork(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    statements = AsyncPGInstrumentor()  # type: ignore[no-untyped-call]
    statements.instrument(tracer_provider=provider)
    _tracer = provider.get_tracer("groupsms")
    try:
        yield
    finally:
        _tracer = None
        statements.uninstrument()
        provider.force_flush(FAREWELL)
        provider.shutdown()


def span(name: str, **attributes: str | float) -> AbstractContextManager[Span | None]:
    """A span as long as the context; None where nothing is traced.

    An attribute `task_id` is shown as `groupsms.task_id`, and so are the others.
    """
    if _tracer is None:
        return _NOTHING
    named = {f"groupsms.{key}": value for key, value in attributes.items()}
    return _tracer.start_as_current_span(name, attributes=named)


@contextmanager
def working_on(task_id: int, what: str, **attributes: str | float) -> Iterator[None]:
    """A span of work on a task; every line logged meanwhile bears its id, too."""
    with structlog.contextvars.bound_contextvars(task_id=task_id), span(what, task_id=task_id, **attributes):
        yield


def server_span(name: str, headers: Mapping[str, str]) -> AbstractContextManager[Span | None]:
    """A span for a request, which goes on the trace that its headers name, if any."""
    if _tracer is None:
        return _NOTHING
    from opentelemetry.propagate import extract  # noqa: PLC0415
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    return _tracer.start_as_current_span(name, context=extract(dict(headers)), kind=SpanKind.SERVER)


def name_span(span: Span | None, name: str, **attributes: str | float) -> None:
    """Say what a span is about, once that is known, with attributes under OpenTelemetry's own names."""
    if span is None:
        return
    span.update_name(name)
    for key, value in attributes.items():
        span.set_attribute(key, value)


def add_trace_id(_: object, __: str, event: Any) -> Any:
    """Put the ids of the current trace and span into a line of the log; a structlog processor."""
    if _tracer is None:
        return event
    from opentelemetry.trace import get_current_span  # noqa: PLC0415

    context = get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event
