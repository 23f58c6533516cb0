"""The generator over gRPC: the cached answers that were made from a document that is deleted."""

from __future__ import annotations

from rag.runtime.peers import Peer
from rag.v1 import generator_pb2 as pb
from rag.v1.generator_pb2_grpc import GeneratorServiceStub
from services.retriever.adapters.grpc_upkeep import on_behalf_of


class GrpcGenerator:
    """Asks the generator, on behalf of the tenant whose document it is."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = GeneratorServiceStub(peer.channel)

    async def forget(self, tenant: str, document_id: str) -> int:
        """Erase the cached answers made from a document; return how many there were."""
        request = pb.ForgetAnswersRequest(document_id=document_id)
        with on_behalf_of(tenant):
            return (await self._peer.unary(self._stub.ForgetAnswers, request)).forgotten
