"""What a tenant stores and waits for, asked of the services that know."""

from __future__ import annotations

from collections.abc import AsyncIterator

from rag.runtime.errors import InvalidInput, NotFound
from rag.runtime.peers import Peer
from rag.v1 import ingestor_pb2, retriever_pb2
from rag.v1.ingestor_pb2_grpc import IngestorServiceStub
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub
from services.gateway.limits.quota import Stored

_UNFINISHED = (ingestor_pb2.JOB_STATE_QUEUED, ingestor_pb2.JOB_STATE_RUNNING)
_PAGE = 500


class GrpcStock:
    """Asks on behalf of the tenant of the current call.

    Args:
        retriever: Knows what is stored; a peer that may ask what is internal, and has no gate.
        ingestor: Knows what was accepted; such a peer too.
    """

    def __init__(self, retriever: Peer, ingestor: Peer) -> None:
        self._retriever = retriever
        self._retriever_stub = RetrieverServiceStub(retriever.channel)
        self._ingestor = ingestor
        self._ingestor_stub = IngestorServiceStub(ingestor.channel)

    async def unfinished(self) -> Stored:
        """Return what was accepted and is not stored yet."""
        sizes = [job.size_bytes for state in _UNFINISHED async for job in self._jobs(state)]
        return Stored(len(sizes), sum(sizes))

    async def stored(self) -> Stored:
        """Return what is stored."""
        request = retriever_pb2.GetStoredRequest()
        answer = await self._retriever.unary(self._retriever_stub.GetStored, request)
        return Stored(answer.documents, answer.bytes)

    async def has(self, document_id: str) -> bool:
        """Tell whether a document is stored."""
        request = retriever_pb2.GetDocumentRequest(document_id=document_id)
        try:
            await self._retriever.unary(self._retriever_stub.GetDocument, request)
        except (NotFound, InvalidInput):
            return False
        return True

    async def _jobs(self, state: ingestor_pb2.JobState.ValueType) -> AsyncIterator[ingestor_pb2.Job]:
        token = ""
        while True:
            request = ingestor_pb2.ListJobsRequest(page_size=_PAGE, page_token=token, state=state)
            page = await self._ingestor.unary(self._ingestor_stub.ListJobs, request)
            for job in page.jobs:
                yield job
            token = page.next_page_token
            if not token:
                return
