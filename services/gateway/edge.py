"""The services' own gRPC for outsiders: the methods of the contract, passed through byte for byte.

Who calls is decided at the door, not by what the caller's metadata says, and what a caller may by the contract's option
`requires`; deadline, request id and trace travel on like in every other call of the mesh, and so do errors with their details.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from rag.runtime.peers import Peer

Forward = Callable[[AsyncIterator[bytes], object], AsyncGenerator[bytes, None]]


class PassThrough(grpc.GenericRpcHandler):
    """Serves all methods of one service by forwarding them to a peer.

    A unary call is a stream of one message on the wire, so one way of forwarding serves all four kinds.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        service = descriptor_pool.Default().FindServiceByName(peer.full_name)
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            f"/{peer.full_name}/{method.name}": grpc.stream_stream_rpc_method_handler(self._forward(method))
            for method in service.methods
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the handler of a call, None when the contract has no such method."""
        return self._handlers.get(handler_call_details.method)

    def _forward(self, method: MethodDescriptor) -> Forward:
        path = f"/{self._peer.full_name}/{method.name}"
        # No serialisers: bytes in, bytes out.
        raw: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self._peer.channel.stream_stream(path)

        async def forward(requests: AsyncIterator[bytes], _context: object) -> AsyncGenerator[bytes, None]:
            async with aclosing(self._peer.exchange(raw, requests)) as responses:
                async for response in responses:
                    yield response

        return forward
