"""The one interceptor of every server: each handler of ours runs inside a ServedCall."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

import grpc

from rag.runtime.calls import Admission, Context, ServedCall, parse
from rag.runtime.incoming import Incoming
from rag.runtime.metrics import Method, method_of

PACKAGE = "/rag.v1."


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handlers of our package; health and reflection are left as they are."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the handler of a call, wrapped."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(PACKAGE):
            return handler
        method = method_of(
            handler_call_details.method,
            streams_in=bool(handler.request_streaming),
            streams_out=bool(handler.response_streaming),
        )
        return _wrap(handler, method, self._admission)


def _wrap(handler: Any, method: Method, admission: Admission) -> grpc.RpcMethodHandler[Any, Any]:
    # Requests are parsed inside the call, so that bytes that do not parse are an error like any other.
    deserialize = handler.request_deserializer

    def one(call: ServedCall, raw: bytes) -> Any:
        call.metrics.received += 1
        return parse(deserialize, raw)

    def served(context: Context, incoming: Any) -> ServedCall:
        call = ServedCall(admission, method, context)
        if handler.request_streaming:
            call.incoming = Incoming(incoming, partial(one, call))
        return call

    def requests(call: ServedCall, incoming: Any) -> Any:
        return call.incoming or one(call, incoming)

    async def answer_once(incoming: Any, context: Context) -> Any:
        async with served(context, incoming) as call:
            response = await behaviour(requests(call, incoming), context)
            call.metrics.sent += 1
            return response

    async def answer_stream(incoming: Any, context: Context) -> AsyncIterator[Any]:
        async with (
            served(context, incoming) as call,
            aclosing(behaviour(requests(call, incoming), context)) as responses,
        ):
            async for response in responses:
                call.metrics.sent += 1
                yield response

    behaviour, make = _kind(handler)
    wrapped = answer_stream if handler.response_streaming else answer_once
    made: grpc.RpcMethodHandler[Any, Any] = make(
        wrapped, request_deserializer=None, response_serializer=handler.response_serializer
    )
    return made


def _kind(handler: Any) -> tuple[Any, Any]:
    if handler.request_streaming and handler.response_streaming:
        return handler.stream_stream, grpc.stream_stream_rpc_method_handler
    if handler.request_streaming:
        return handler.stream_unary, grpc.stream_unary_rpc_method_handler
    if handler.response_streaming:
        return handler.unary_stream, grpc.unary_stream_rpc_method_handler
    return handler.unary_unary, grpc.unary_unary_rpc_method_handler
