"""Metrics of the HTTP side; those of the gRPC side are the runtime's."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

REQUESTS = Counter("gateway_http_requests_total", "HTTP requests answered.", ("method", "route", "status"))
SECONDS = Histogram(
    "gateway_http_request_seconds",
    "Seconds from an HTTP request to the end of its answer.",
    ("method", "route"),
    buckets=_SECONDS,
)
STREAMS = Gauge("gateway_sse_streams", "Event streams open.")
