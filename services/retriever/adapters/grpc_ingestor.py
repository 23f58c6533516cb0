"""The ingestor over gRPC: the jobs of a document that is deleted."""

from __future__ import annotations

from rag.runtime.peers import Peer
from rag.v1 import ingestor_pb2 as pb
from rag.v1.ingestor_pb2_grpc import IngestorServiceStub
from services.retriever.adapters.grpc_upkeep import on_behalf_of


class GrpcIngestor:
    """Asks the ingestor, on behalf of the tenant whose document it is."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = IngestorServiceStub(peer.channel)

    async def erase(self, tenant: str, document_id: str, until_us: int) -> int:
        """End and erase the jobs accepted until then, their uploads and cached vectors; return how many there were."""
        request = pb.EraseJobsRequest(document_id=document_id, accepted_until_us=until_us)
        with on_behalf_of(tenant):
            return (await self._peer.unary(self._stub.EraseJobs, request)).jobs
