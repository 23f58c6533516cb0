"""Prometheus metrics of every gRPC server and client, with the names that go-grpc-prometheus made standard."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram

_METHOD = ("grpc_type", "grpc_service", "grpc_method")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class _Side:
    """The metrics of one side of calls."""

    def __init__(self, side: str) -> None:
        self.started = Counter(f"grpc_{side}_started_total", f"Calls started on the {side}.", _METHOD)
        self.handled = Counter(f"grpc_{side}_handled_total", f"Calls ended on the {side}.", (*_METHOD, "grpc_code"))
        self.received = Counter(f"grpc_{side}_msg_received_total", f"Messages received by the {side}.", _METHOD)
        self.sent = Counter(f"grpc_{side}_msg_sent_total", f"Messages sent by the {side}.", _METHOD)
        self.seconds = Histogram(
            f"grpc_{side}_handling_seconds", f"Seconds a call took on the {side}.", _METHOD, buckets=_SECONDS
        )
        self.in_flight = Gauge(f"grpc_{side}_in_flight", f"Calls running on the {side}.", _METHOD)


SERVER = _Side("server")
CLIENT = _Side("client")


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC as metrics and logs name it."""

    kind: str
    """unary, server_stream, client_stream or bidi_stream."""
    service: str
    name: str

    @property
    def labels(self) -> tuple[str, str, str]:
        """The values of the labels grpc_type, grpc_service and grpc_method."""
        return self.kind, self.service, self.name


@lru_cache(maxsize=256)
def method_of(path: str, *, streams_in: bool, streams_out: bool) -> Method:
    """Return the RPC of a path such as `/rag.v1.EmbedderService/Embed`."""
    kind = {(False, False): "unary", (False, True): "server_stream", (True, False): "client_stream"}
    _, service, name = path.split("/", 2)
    return Method(kind.get((streams_in, streams_out), "bidi_stream"), service, name)


class _Children:
    """The metrics of one method on one side, with their labels looked up once: messages are counted on a hot path."""

    def __init__(self, side: _Side, method: Method) -> None:
        labels = method.labels
        self.started = side.started.labels(*labels)
        self.received = side.received.labels(*labels)
        self.sent = side.sent.labels(*labels)
        self.seconds = side.seconds.labels(*labels)
        self.in_flight = side.in_flight.labels(*labels)


@lru_cache(maxsize=512)
def _children(side: _Side, method: Method) -> _Children:
    return _Children(side, method)


@dataclass(slots=True)
class CallMetrics:
    """The metrics of one running call."""

    side: _Side
    method: Method
    received: int = 0
    sent: int = 0
    _began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        children = _children(self.side, self.method)
        children.started.inc()
        children.in_flight.inc()

    def end(self, code: str) -> float:
        """Count the call as ended with this status; return the seconds it took."""
        seconds = time.perf_counter() - self._began
        children = _children(self.side, self.method)
        children.in_flight.dec()
        children.seconds.observe(seconds)
        children.received.inc(self.received)
        children.sent.inc(self.sent)
        self.side.handled.labels(*self.method.labels, code).inc()
        return seconds
