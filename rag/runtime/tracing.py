"""Traces: W3C trace context on every call, spans sent by OTLP when an endpoint is set."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry import context, propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

Metadata = Sequence[tuple[str, str | bytes]]


def configure(service: str, otlp_endpoint: str) -> None:
    """Give this process a tracer. Without an endpoint there are no spans, and a caller's trace is carried on as it is."""
    if not otlp_endpoint:
        return
    # Imported only when asked for: it brings a gRPC channel and a thread of its own.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": f"ragmesh-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_endpoint, insecure=True)))
    trace.set_tracer_provider(provider)


def continue_trace(metadata: Metadata, name: str) -> Span:
    """Start the span of a served call, child of the caller's, and make it current for the rest of this task."""
    carrier = {key: value for key, value in metadata if isinstance(value, str)}
    parent = propagate.extract(carrier)
    span = trace.get_tracer("ragmesh").start_span(name, context=parent, kind=SpanKind.SERVER)
    context.attach(trace.set_span_in_context(span, parent))  # never detached: see context.use
    return span


def end_span(span: Span, code: str) -> None:
    """End a span with the gRPC status of its call."""
    span.set_attribute("rpc.grpc.status_code", code)
    if code != "OK":
        span.set_status(Status(StatusCode.ERROR))
    span.end()


def outgoing() -> dict[str, str]:
    """Return the metadata that carries the current trace to the next hop."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier
