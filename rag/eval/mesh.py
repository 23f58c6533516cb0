"""The retriever and the ingestor, asked directly under a tenant of their own: the gateway would take the tenant from a key."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from rag.client.sending import Sending, repeated, upload_header
from rag.runtime import context
from rag.runtime.errors import RagError
from rag.runtime.gates import Caller
from rag.runtime.peers import Peer, open_peer
from rag.v1 import ingestor_pb2, passage_pb2, retriever_pb2
from rag.v1.ingestor_pb2_grpc import IngestorServiceStub
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub

MODES = {
    "hybrid": retriever_pb2.RETRIEVAL_MODE_HYBRID,
    "dense": retriever_pb2.RETRIEVAL_MODE_DENSE,
    "keyword": retriever_pb2.RETRIEVAL_MODE_KEYWORD,
}
_CALL_S, _JOB_S = 60.0, 3_600.0
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found, and how long it took: `took_ms` here, the others as the retriever tells them."""

    passages: list[passage_pb2.Passage] = field(default_factory=list)
    took_ms: float = 0.0
    embedding_ms: float = 0.0
    search_ms: float = 0.0
    notices: tuple[str, ...] = ()


class Mesh:
    """The two services under one tenant."""

    def __init__(self, retriever: Peer, ingestor: Peer, tenant: str) -> None:
        self._retriever_peer, self._ingestor_peer = retriever, ingestor
        self._retriever = RetrieverServiceStub(retriever.channel)
        self._ingestor = IngestorServiceStub(ingestor.channel)
        self.tenant = tenant

    async def is_serving(self) -> bool:
        """Tell whether both are ready."""
        return await self._retriever_peer.is_serving() and await self._ingestor_peer.is_serving()

    async def submit(self, document_id: str, name: str, title: str, text: str) -> ingestor_pb2.Job:
        """Upload a document, again while the server is too busy; return its job."""
        header = upload_header(name, None, "", document_id=document_id, title=title)
        data = bytes_of(text)

        async def once() -> ingestor_pb2.SubmitDocumentResponse:
            with Sending(header, io.BytesIO(data)) as sending:
                return await self._ingestor_peer.upload(self._ingestor.SubmitDocument, sending.parts())

        self._begin()
        return (await repeated(once, asyncio.sleep)).job

    async def finished(self, job: ingestor_pb2.Job) -> ingestor_pb2.Job:
        """Wait for the end of a job; return the job as it is then."""

        async def once() -> ingestor_pb2.Job:
            last, request = job, ingestor_pb2.WatchJobRequest(job_id=job.id)
            async with aclosing(self._ingestor_peer.stream(self._ingestor.WatchJob, request)) as events:
                async for event in events:
                    last = event.job
            return last

        self._begin(_JOB_S)
        return await repeated(once, asyncio.sleep)

    async def documents(self) -> AsyncGenerator[retriever_pb2.Document, None]:
        """List the tenant's documents."""
        request = retriever_pb2.ListDocumentsRequest(page_size=_PAGE)
        while True:
            self._begin()
            page = await self._retriever_peer.unary(self._retriever.ListDocuments, request)
            for document in page.documents:
                yield document
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def delete(self, document_id: str) -> None:
        """Delete a document."""
        self._begin()
        request = retriever_pb2.DeleteDocumentRequest(document_id=document_id)
        await self._retriever_peer.unary(self._retriever.DeleteDocument, request)

    async def retrieve(self, query: str, mode: str, top_k: int, per_document: int | None = None) -> Answer:
        """Ask a question; no answer comes from a cache of rankings."""
        request = retriever_pb2.RetrieveRequest(
            query=query, mode=MODES[mode], top_k=top_k, per_document=per_document, use_cache=False
        )
        self._begin()
        passages: list[passage_pb2.Passage] = []
        summary = retriever_pb2.RetrieveSummary()
        began = time.perf_counter()
        async with aclosing(self._retriever_peer.stream(self._retriever.Retrieve, request)) as events:
            async for event in events:
                if event.HasField("hit"):
                    passages.append(event.hit.passage)
                elif event.HasField("summary"):
                    summary = event.summary
        took_ms = (time.perf_counter() - began) * 1000
        notices = tuple(notice.code for notice in summary.notices)
        return Answer(passages, took_ms, summary.embedding_ms, summary.search_ms, notices)

    async def index(self) -> retriever_pb2.IndexVersion:
        """Return what is known of the index that answers."""
        self._begin()
        request = retriever_pb2.GetIndexRequest()
        return (await self._retriever_peer.unary(self._retriever.GetIndex, request)).live

    async def report(self, request: retriever_pb2.ReportEvaluationRequest) -> None:
        """Have the retriever keep figures and export them as metrics."""
        self._begin()
        await self._retriever_peer.unary(self._retriever.ReportEvaluation, request)

    def _begin(self, timeout_s: float = _CALL_S) -> None:
        context.use(context.new_call(self.tenant, timeout_s))


@asynccontextmanager
async def open_mesh(retriever: str, ingestor: str, tenant: str, caller: Caller | None = None) -> AsyncIterator[Mesh]:
    """Open connections to both for the length of a block; the addresses are `host:port`, the caller who asks them."""
    async with (
        open_peer(retriever, "rag.v1.RetrieverService", caller=caller) as retriever_peer,
        open_peer(ingestor, "rag.v1.IngestorService", caller=caller) as ingestor_peer,
    ):
        yield Mesh(retriever_peer, ingestor_peer, tenant)


def bytes_of(text: str) -> bytes:
    """Return a text as it is uploaded; half of a pair of surrogates, which JSON can hold, becomes a question mark."""
    return text.encode(errors="replace")


async def index_of(mesh: Mesh) -> dict[str, str]:
    """Return model, revision and analyzer of the index; nothing when the server does not tell."""
    try:
        live = await mesh.index()
    except RagError:  # an older server, or no index yet: the first search will say so
        return {}
    return {"collection": live.collection, "model": live.model, "revision": live.revision, "analyzer": live.analyzer}
