"""The ingestor over gRPC: the jobs of a document that is deleted."""

from __future__ import annotations

import time

from rag.ids import new_id
from rag.runtime.context import CallContext, bound, current, remaining_s
from rag.runtime.peers import Peer
from rag.v1 import ingestor_pb2 as pb
from rag.v1.ingestor_pb2_grpc import IngestorServiceStub

_ERASE_S = 5.0


class GrpcIngestor:
    """Asks the ingestor, on behalf of the tenant whose document it is."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = IngestorServiceStub(peer.channel)

    async def erase(self, tenant: str, document_id: str, until_us: int) -> int:
        """End and erase the jobs accepted until then, their uploads and cached vectors; return how many there were."""
        request = pb.EraseJobsRequest(document_id=document_id, accepted_until_us=until_us)
        deadline = time.monotonic() + min(remaining_s(_ERASE_S), _ERASE_S)
        with bound(CallContext(_request_id(), tenant, deadline)):
            return (await self._peer.unary(self._stub.EraseJobs, request)).jobs


def _request_id() -> str:
    try:
        return current().request_id
    except LookupError:  # the work of no caller
        return new_id("req")
