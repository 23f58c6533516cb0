"""A user of ingestion who does not give up: everything is repeated until the services are back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from rag.runtime.early_status import with_early_status
from rag.v1 import ingestor_pb2 as pb
from rag.v1 import passage_pb2, retriever_pb2
from rag.v1.ingestor_pb2_grpc import IngestorServiceStub
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub
from tests.chaos.mesh import Mesh

PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
"""What a killed service looks like to its client."""
FINAL = {pb.JOB_STATE_READY, pb.JOB_STATE_FAILED, pb.JOB_STATE_CANCELLED, pb.JOB_STATE_DEAD}
_LIMIT_S = 90.0
_PAUSE_S = 0.1

Passage = tuple[int, int, str]
"""Version, ordinal, text."""


@dataclass
class Client:
    """One tenant."""

    ingestor: IngestorServiceStub
    retriever: RetrieverServiceStub
    tenant: str

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("x-rag-tenant", self.tenant),)

    async def submit_once(
        self, content: bytes, document_id: str, request_id: str, *, name: str = "text.md", **more: Any
    ) -> pb.Job:
        """Upload; `more` are other fields of the header."""

        async def requests() -> AsyncIterator[pb.SubmitDocumentRequest]:
            header = pb.SubmitDocumentHeader(document_id=document_id, name=name, request_id=request_id, **more)
            yield pb.SubmitDocumentRequest(header=header)
            yield pb.SubmitDocumentRequest(chunk=content)
            yield pb.SubmitDocumentRequest(commit=pb.SubmitDocumentCommit(size_bytes=len(content)))

        answer = await with_early_status(self.ingestor.SubmitDocument(requests(), metadata=self.metadata, timeout=10))
        return answer.job

    async def submit(self, content: bytes, document_id: str, request_id: str, **header: Any) -> pb.Job:
        return await persistently(lambda: self.submit_once(content, document_id, request_id, **header))

    async def job(self, job_id: str) -> pb.Job:
        """The job as it is now."""
        request = pb.GetJobRequest(job_id=job_id)
        return (await persistently(lambda: self.ingestor.GetJob(request, metadata=self.metadata, timeout=5))).job

    async def ended(self, job_id: str) -> pb.Job:
        """The job at its end."""
        async with asyncio.timeout(_LIMIT_S):
            while (job := await self.job(job_id)).state not in FINAL:
                await asyncio.sleep(_PAUSE_S)
        return job

    async def delete_once(self, document_id: str) -> None:
        request = retriever_pb2.DeleteDocumentRequest(document_id=document_id)
        await self.retriever.DeleteDocument(request, metadata=self.metadata, timeout=10)

    async def delete(self, document_id: str) -> None:
        """Delete; NOT_FOUND is what a repeated delete says whose first answer was lost."""

        async def ask() -> None:
            try:
                await self.delete_once(document_id)
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.NOT_FOUND:
                    raise

        await persistently(ask)

    async def document(self, document_id: str) -> retriever_pb2.Document | None:
        async def ask() -> retriever_pb2.Document | None:
            request = retriever_pb2.GetDocumentRequest(document_id=document_id)
            try:
                return (await self.retriever.GetDocument(request, metadata=self.metadata, timeout=5)).document
            except grpc.aio.AioRpcError as error:
                if error.code() == grpc.StatusCode.NOT_FOUND:
                    return None
                raise

        return await persistently(ask)

    async def passages(self, document_id: str) -> list[Passage]:
        """All passages of the live version, in order; none when there is no document."""

        async def ask() -> list[Passage]:
            found: list[Passage] = []
            request = retriever_pb2.ListPassagesRequest(document_id=document_id, page_size=500)
            try:
                while True:
                    page = await self.retriever.ListPassages(request, metadata=self.metadata, timeout=10)
                    found += [(p.version, p.ordinal, p.text) for p in page.passages]
                    if not page.next_page_token:
                        return found
                    request.page_token = page.next_page_token
            except grpc.aio.AioRpcError as error:
                if error.code() == grpc.StatusCode.NOT_FOUND:
                    return []
                raise

        return await persistently(ask)

    async def search(self, query: str, document_id: str = "") -> list[tuple[str, int, int, str]]:
        """What a search shows now: document, version, ordinal, text. Raises what the call raises."""
        only = passage_pb2.Filter(document_ids=[document_id] if document_id else [])
        request = retriever_pb2.RetrieveRequest(
            query=query, top_k=100, mode=retriever_pb2.RETRIEVAL_MODE_KEYWORD, filter=only
        )
        call = self.retriever.Retrieve(request, metadata=self.metadata, timeout=10)
        hits = [event.hit.passage async for event in call if event.HasField("hit")]
        return [(hit.document_id, hit.version, hit.ordinal, hit.text) for hit in hits]


async def persistently(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until there is an answer that no crash explains."""
    async with asyncio.timeout(_LIMIT_S):
        while True:
            try:
                return await ask()
            except grpc.aio.AioRpcError as error:
                if error.code() not in PASSING and "DOCUMENT_CHANGED" not in str(error.trailing_metadata()):
                    raise
            await asyncio.sleep(_PAUSE_S)


@contextmanager
def suppress_passing() -> Iterator[None]:
    """Whether the victim dies before or after its answer is not what is tested."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        if error.code() not in PASSING:
            raise


@asynccontextmanager
async def client_of(mesh: Mesh, tenant: str, ingestor: str = "ingestor") -> AsyncIterator[Client]:
    options = (("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 50))
    async with (
        grpc.aio.insecure_channel(mesh.address(ingestor), options=options) as to_ingestor,
        grpc.aio.insecure_channel(mesh.address("retriever"), options=options) as to_retriever,
    ):
        yield Client(IngestorServiceStub(to_ingestor), RetrieverServiceStub(to_retriever), tenant)
