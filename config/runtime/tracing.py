"""Traces: W3C trace context always, OpenTelemetry spans where its packages and an endpoint are there.

Nobody outside decides what we record: a caller's context never becomes the parent of a span, it is linked to a new
root. Without OpenTelemetry the caller's own trace id stands in the log and travels on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from django.conf import settings

from config.runtime.logging import get_logger

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import SpanProcessor

EXPORT_TIMEOUT_S = 3

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_current: ContextVar[str] = ContextVar("traceparent", default="")


class Span:
    """What a span is told; this one, without OpenTelemetry, forgets it."""

    def name(self, name: str) -> None:
        """Name the span once the route is known."""

    def annotate(self, attributes: Mapping[str, str | int]) -> None:
        """Add attributes by their names in OpenTelemetry's conventions."""

    def fail(self, error: BaseException) -> None:
        """Record an exception and mark the span as failed."""


class _RecordedSpan(Span):
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def name(self, name: str) -> None:
        self._span.update_name(name)

    def annotate(self, attributes: Mapping[str, str | int]) -> None:
        self._span.set_attributes(attributes)

    def fail(self, error: BaseException) -> None:
        from opentelemetry.trace import StatusCode

        self._span.record_exception(error)
        self._span.set_status(StatusCode.ERROR)


_NOTHING = Span()


def trace_id() -> str:
    """Return the current trace id, 32 hexadecimal digits, or an empty string."""
    return _current.get()[3:35]


def outgoing_headers() -> dict[str, str]:
    """Return the headers, or the message's carrier, that hand the current trace on."""
    traceparent = _current.get()
    return {"traceparent": traceparent} if traceparent else {}


def span(name: str, *, kind: str, carrier: Mapping[str, str] | None = None) -> AbstractContextManager[Span]:
    """Work inside a new trace that is linked to the carrier's; `kind` is server, consumer or internal."""
    caller = well_formed_traceparent((carrier or {}).get("traceparent", ""))
    tracer = _tracer()
    return _At(caller) if tracer is None else _recorded(tracer, name, kind, caller)


@contextmanager
def _recorded(tracer: trace.Tracer, name: str, kind: str, caller: str) -> Iterator[Span]:
    started = _start(tracer, name, kind, caller)
    context = started.get_span_context()
    recorded = _RecordedSpan(started)
    with _At(f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"):
        try:
            yield recorded
        except BaseException as error:
            recorded.fail(error)
            raise
        finally:
            started.end()


class _At:
    """Be in a trace."""

    __slots__ = ("_token", "_traceparent")

    def __init__(self, traceparent: str) -> None:
        self._traceparent = traceparent

    def __enter__(self) -> Span:
        self._token = _current.set(self._traceparent)
        return _NOTHING

    def __exit__(self, *_failure: object) -> None:
        _current.reset(self._token)


def well_formed_traceparent(traceparent: str) -> str:
    """Return the version 00 form of a well-formed `traceparent` (W3C Trace Context §3.2), else an empty string."""
    head, rest = traceparent[:55], traceparent[55:]
    well_formed = _TRACEPARENT.fullmatch(head) and (not rest or (rest.startswith("-") and head[:2] != "00"))
    return f"00-{head[3:]}" if well_formed else ""


def _start(tracer: trace.Tracer, name: str, kind: str, caller: str) -> trace.Span:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags

    links = []
    if caller:
        _, trace_, span_, flags = caller.split("-")
        links = [
            Link(SpanContext(int(trace_, 16), int(span_, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))))
        ]
    return tracer.start_span(name, context=Context(), kind=SpanKind[kind.upper()], links=links)


# The tracer of this process: None where there is nothing to trace with, unset until the first span.
_made: list[trace.Tracer | None] = []
os.register_at_fork(after_in_child=_made.clear)


def _tracer() -> trace.Tracer | None:
    # Made at the first span and anew after a fork: the exporter's threads and sockets do not survive one.
    if not _made:
        endpoint = settings.OTEL_EXPORTER_OTLP_ENDPOINT
        install(_exporting_to(endpoint) if endpoint else None)
    return _made[0]


def install(processor: SpanProcessor | None) -> None:
    """Trace with `processor` from here on in this process; None stops tracing."""
    tracer = None
    if processor is not None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider

        resource = Resource.create({"service.name": "countinghouse", "service.version": settings.RELEASE})
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(processor)
        tracer = provider.get_tracer("countinghouse")
    _made[:] = [tracer]


def _exporting_to(endpoint: str) -> SpanProcessor | None:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        get_logger().warning("tracing.off", reason=f"OTEL_EXPORTER_OTLP_ENDPOINT is set, but there is no {error.name}")
        return None
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT_S)
    return BatchSpanProcessor(exporter)
