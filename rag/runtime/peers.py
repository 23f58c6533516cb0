"""Calls to another service of the mesh: who asks, until when, how many at once, and what an error means."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import MethodOptions
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rag.runtime import context, tracing
from rag.runtime.calls import REQUEST_ID
from rag.runtime.early_status import with_early_status
from rag.runtime.errors import DeadlineExceeded, Overloaded
from rag.runtime.gates import Caller, Gate, Open, Pass
from rag.runtime.metrics import CLIENT, CallMetrics, method_of
from rag.runtime.status import from_rpc_error

Req = TypeVar("Req")
Resp = TypeVar("Resp")

MARGIN_S = 0.02
"""A call ends this much before its caller's own deadline, so that the caller can still say why."""
_DEFAULT_TIMEOUT_S = 30.0
_HEALTH_TIMEOUT_S = 1.0
_WAITING_PER_CALL = 4
_REPEATABLE = {MethodOptions.NO_SIDE_EFFECTS, MethodOptions.IDEMPOTENT}

_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Despite its name: how long one attempt to connect may take. A busy server or a long way needs more than the first pause.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Without these two a reader that does not read holds megabytes, or a quarter of one.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 16_384),
    ("grpc.enable_retries", 1),
)


class Peer:
    """One service that this process calls. Build it in the event loop that uses it."""

    def __init__(
        self, channel: grpc.aio.Channel, full_name: str, max_calls: int, *, health_name: str, caller: Caller, gate: Gate
    ) -> None:
        self.channel = channel
        self._caller = caller
        self._gate = gate
        self._health_name = health_name
        self.full_name = full_name
        self.name = full_name.rsplit(".", 1)[-1].removesuffix("Service").lower()
        self._slots = asyncio.Semaphore(max_calls)
        self._max_waiting = max_calls * _WAITING_PER_CALL
        self._waiting = 0

    async def unary(self, method: grpc.aio.UnaryUnaryMultiCallable[Req, Resp], request: Req) -> Resp:
        """Ask once and get one answer."""
        async with self._call(method) as call:
            await call.passage.sent(request)
            response = await method(request, timeout=_timeout(), metadata=self._metadata())
            call.saw(response)
            return response

    async def stream(
        self, method: grpc.aio.UnaryStreamMultiCallable[Req, Resp], request: Req
    ) -> AsyncGenerator[Resp, None]:
        """Ask once and get a stream; leaving it early cancels the call. Use it inside `aclosing`."""
        async with self._call(method) as call:
            await call.passage.sent(request)
            rpc = method(request, timeout=_timeout(), metadata=self._metadata())
            try:
                async for response in rpc:
                    call.saw(response)
                    yield response
            finally:
                rpc.cancel()

    async def exchange(
        self, method: grpc.aio.StreamStreamMultiCallable[Req, Resp], requests: AsyncIterator[Req]
    ) -> AsyncGenerator[Resp, None]:
        """Send a stream and get a stream; leaving it early cancels the call. Use it inside `aclosing`."""
        async with self._call(method) as call:
            rpc = with_early_status(method(call.noting(requests), timeout=_timeout(), metadata=self._metadata()))
            try:
                async for response in rpc:
                    call.saw(response)
                    yield response
            finally:
                rpc.cancel()

    async def upload(self, method: grpc.aio.StreamUnaryMultiCallable[Req, Resp], requests: AsyncIterator[Req]) -> Resp:
        """Send a stream and get one answer."""
        async with self._call(method) as call:
            response = await with_early_status(
                method(call.noting(requests), timeout=_timeout(), metadata=self._metadata())
            )
            call.saw(response)
            return response

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        call = context.current()
        return ((REQUEST_ID, call.request_id), self._caller.outgoing(call), *tracing.outgoing().items())

    async def is_serving(self) -> bool:
        """Tell whether the service says SERVING; several at one address are asked as a whole."""
        stub = health_pb2_grpc.HealthStub(self.channel)
        try:
            answer = await stub.Check(
                health_pb2.HealthCheckRequest(service=self._health_name), timeout=_HEALTH_TIMEOUT_S
            )
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    @asynccontextmanager
    async def _call(self, method: Any) -> AsyncIterator[_Call]:
        path = _path(method)
        metrics = CallMetrics(CLIENT, _method(method, path))
        code = "CANCELLED"
        try:
            async with self._gate.enter(path) as passage, self._slot():
                yield _Call(metrics, passage)
            code = "OK"
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            raise from_rpc_error(error, self.name) from error
        finally:
            metrics.end(code)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._slots.locked() and self._waiting >= self._max_waiting:
            message = f"Too many calls are waiting for the {self.name}."
            raise Overloaded(message, "TOO_MANY_CALLS", 1.0)
        self._waiting += 1
        try:
            async with asyncio.timeout(_timeout()):
                await self._slots.acquire()
        except TimeoutError as error:
            message = f"The deadline passed while waiting to call the {self.name}."
            raise DeadlineExceeded(message, "DEADLINE_EXCEEDED") from error
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()


@asynccontextmanager
async def open_peer(
    address: str,
    full_name: str,
    *others: str,
    caller: Caller | None = None,
    gate: Gate | None = None,
    max_calls: int = 100,
) -> AsyncIterator[Peer]:
    """Open a channel to a service for the length of a block.

    Args:
        address: `host:port`, or any gRPC target such as `dns:///host:port` or `unix:///path`.
        full_name: Such as `rag.v1.EmbedderService`; its module must be imported.
        caller: Says who calls, and how the channel is secured; by default a mesh without a secret.
        gate: Every call passes it; by default an open one.
        others: More services at the same address. Calls then do not wait for the health of any one of them.
        max_calls: Calls at once; a few times as many wait, one more is refused with Overloaded.
    """
    target = address if ":/" in address else f"dns:///{address}"
    options = (*_OPTIONS, ("grpc.service_config", json.dumps(service_config(full_name, *others))))
    if caller is None:
        from rag.runtime.mesh import Mesh  # what signs takes long to import, and clients do not need it

        caller = Mesh()
    async with caller.channel(target, options) as channel:
        yield Peer(
            channel, full_name, max_calls, health_name="" if others else full_name, caller=caller, gate=gate or Open()
        )


async def join(stack: AsyncExitStack, caller: Caller, address: str, full_name: str) -> Peer:
    """Open a channel to another service of the mesh for the life of a stack."""
    return await stack.enter_async_context(open_peer(address, full_name, caller=caller))


def service_config(full_name: str, *others: str) -> dict[str, Any]:
    """Return the gRPC service config of services: balancing over healthy servers, retries of what may be repeated."""
    repeatable = [
        {"service": name, "method": method.name}
        for name in (full_name, *others)
        for method in descriptor_pool.Default().FindServiceByName(name).methods
        if method.GetOptions().idempotency_level in _REPEATABLE
    ]
    retry = {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return {
        "loadBalancingConfig": [{"round_robin": {}}],
        **({} if others else {"healthCheckConfig": {"serviceName": full_name}}),
        "methodConfig": [{"name": repeatable, "retryPolicy": retry}],
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    }


def _timeout() -> float:
    return max(context.remaining_s(_DEFAULT_TIMEOUT_S) - MARGIN_S, MARGIN_S)


@dataclass(frozen=True, slots=True)
class _Call:
    metrics: CallMetrics
    passage: Pass

    async def noting(self, requests: AsyncIterator[Req]) -> AsyncIterator[Req]:
        async for request in requests:
            await self.passage.sent(request)
            yield request

    def saw(self, response: Any) -> None:
        self.metrics.received += 1
        self.passage.saw(response)


def _path(method: Any) -> str:
    path = method._method  # noqa: SLF001 - private in grpc.aio; the gate and the metrics of a call need it
    return path.decode() if isinstance(path, bytes) else str(path)


def _method(method: Any, path: str) -> Any:
    kind = type(method).__name__
    return method_of(path, streams_in=kind.startswith("Stream"), streams_out="StreamMulti" in kind)
