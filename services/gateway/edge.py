"""The services' own gRPC for outsiders: the methods of the contract, passed through byte for byte.

Who calls is decided by the runtime (the room's tenant), not by what the caller's metadata says; deadline, request id and
trace travel on like in every other call of the mesh, and so do errors with their details.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from rag.runtime.errors import PermissionDenied
from rag.runtime.peers import Peer

# One service's word to another in the middle of an answer, a cancel or a delete. From outside it would break what it serves: a
# version that is revoked while its job runs, jobs erased while their document stays. CancelJob and DeleteDocument are the
# doors to them.
# And an operator's word, which is about all tenants.
_INTERNAL = {
    "/rag.v1.EmbedderService/ForgetVectors",
    "/rag.v1.GeneratorService/ForgetAnswers",
    "/rag.v1.IngestorService/EraseJobs",
    "/rag.v1.IngestorService/SplitPages",
    "/rag.v1.RetrieverService/CheckDocuments",
    "/rag.v1.RetrieverService/ExportIndex",
    "/rag.v1.RetrieverService/GetIndex",
    "/rag.v1.RetrieverService/ListTenants",
    "/rag.v1.RetrieverService/RebuildIndex",
    "/rag.v1.RetrieverService/ReportEvaluation",
    "/rag.v1.RetrieverService/RevokeIndex",
    "/rag.v1.RetrieverService/SnapshotIndex",
}

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
        if path in _INTERNAL:
            return _refuse
        # No serialisers: bytes in, bytes out.
        raw: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self._peer.channel.stream_stream(path)

        async def forward(requests: AsyncIterator[bytes], _context: object) -> AsyncGenerator[bytes, None]:
            async with aclosing(self._peer.exchange(raw, requests)) as responses:
                async for response in responses:
                    yield response

        return forward


async def _refuse(_requests: AsyncIterator[bytes], _context: object) -> AsyncGenerator[bytes, None]:
    raise PermissionDenied("This method is for the services among themselves, or for an operator.", "INTERNAL_METHOD")
    yield b""  # never: it makes this the generator that a handler must be
