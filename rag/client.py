"""The typed async client of ragmesh, for other Python backends.

    async with RagClient("127.0.0.1:50050") as rag:
        job = await rag.ingest(Path("report.pdf"))
        async for event in rag.watch(job.id):
            print(event.job.state)
        async for event in rag.ask("What does the report conclude?"):
            print(event.token.text, end="")

Every method raises the errors of `rag.runtime.errors`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from types import TracebackType
from typing import Self

from rag.ids import new_id
from rag.metadata import Scalar, to_proto
from rag.runtime import context
from rag.runtime.context import CallContext
from rag.runtime.peers import Peer, open_peer
from rag.v1 import (
    generator_pb2,
    generator_pb2_grpc,
    ingestor_pb2,
    ingestor_pb2_grpc,
    passage_pb2,
    retriever_pb2,
    retriever_pb2_grpc,
)

CHUNK_BYTES = 128 * 1024
_WATCH_S = 3_600.0
_GENERATOR = "rag.v1.GeneratorService"
_RETRIEVER = "rag.v1.RetrieverService"
_INGESTOR = "rag.v1.IngestorService"


class RagClient:
    """A connection to a gateway. Open it with `async with` in the event loop that uses it.

    Args:
        address: `host:port` of the gateway's gRPC port.
        timeout_s: How long an answer or an upload may take, in seconds. Watching a job may take an hour.
    """

    def __init__(self, address: str = "127.0.0.1:50050", timeout_s: float = 120.0) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._stack = AsyncExitStack()
        self._peer: Peer

    async def __aenter__(self) -> Self:
        self._peer = await self._stack.enter_async_context(open_peer(self._address, _GENERATOR, _RETRIEVER, _INGESTOR))
        channel = self._peer.channel
        self._generator = generator_pb2_grpc.GeneratorServiceStub(channel)
        self._retriever = retriever_pb2_grpc.RetrieverServiceStub(channel)
        self._ingestor = ingestor_pb2_grpc.IngestorServiceStub(channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def is_serving(self) -> bool:
        """Tell whether the gateway and all services behind it are ready."""
        return await self._peer.is_serving()

    async def ask(
        self,
        question: str,
        *,
        top_k: int | None = None,
        mode: retriever_pb2.RetrievalMode.ValueType = retriever_pb2.RETRIEVAL_MODE_UNSPECIFIED,
        min_score: float | None = None,
        search_filter: passage_pb2.Filter | None = None,
    ) -> AsyncGenerator[generator_pb2.GenerateResponse, None]:
        """Stream an answer as events, in the order that the contract gives. Leaving the stream stops the model."""
        request = generator_pb2.GenerateRequest(
            question=question, top_k=top_k, mode=mode, min_score=min_score, filter=search_filter
        )
        self._begin()
        async with aclosing(self._peer.stream(self._generator.Generate, request)) as events:
            async for event in events:
                yield event

    async def search(
        self, query: str, *, top_k: int | None = None, search_filter: passage_pb2.Filter | None = None
    ) -> list[retriever_pb2.Hit]:
        """Return the passages that match a query, best first."""
        request = retriever_pb2.RetrieveRequest(query=query, top_k=top_k, filter=search_filter)
        self._begin()
        async with aclosing(self._peer.stream(self._retriever.Retrieve, request)) as events:
            return [event.hit async for event in events if event.HasField("hit")]

    async def ingest(
        self, path: Path, *, document_id: str = "", title: str = "", metadata: Mapping[str, Scalar] | None = None
    ) -> ingestor_pb2.Job:
        """Upload a file; return the job that makes it searchable. The upload is durable when this returns."""
        header = ingestor_pb2.SubmitDocumentHeader(document_id=document_id, name=path.name, title=title)
        to_proto(metadata or {}, header.metadata)
        self._begin()
        response = await self._peer.upload(self._ingestor.SubmitDocument, _upload(header, path))
        return response.job

    async def watch(self, job_id: str, after_sequence: int = 0) -> AsyncGenerator[ingestor_pb2.WatchJobResponse, None]:
        """Stream the progress of a job until it is finished."""
        self._begin(_WATCH_S)
        request = ingestor_pb2.WatchJobRequest(job_id=job_id, after_sequence=after_sequence)
        async with aclosing(self._peer.stream(self._ingestor.WatchJob, request)) as events:
            async for event in events:
                yield event

    async def documents(self) -> AsyncGenerator[retriever_pb2.Document, None]:
        """List all documents, newest first."""
        token, more = "", True
        while more:
            self._begin()
            request = retriever_pb2.ListDocumentsRequest(page_token=token)
            page = await self._peer.unary(self._retriever.ListDocuments, request)
            for document in page.documents:
                yield document
            token = page.next_page_token
            more = bool(token)

    async def delete(self, document_id: str) -> None:
        """Delete a document; it is gone for every reader when this returns."""
        self._begin()
        request = retriever_pb2.DeleteDocumentRequest(document_id=document_id)
        await self._peer.unary(self._retriever.DeleteDocument, request)

    def _begin(self, timeout_s: float | None = None) -> None:
        deadline = time.monotonic() + (timeout_s or self._timeout_s)
        context.use(CallContext(new_id("req"), "", deadline))


async def _upload(
    header: ingestor_pb2.SubmitDocumentHeader, path: Path
) -> AsyncIterator[ingestor_pb2.SubmitDocumentRequest]:
    yield ingestor_pb2.SubmitDocumentRequest(header=header)
    size = 0
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield ingestor_pb2.SubmitDocumentRequest(chunk=chunk)
            size += len(chunk)
    yield ingestor_pb2.SubmitDocumentRequest(commit=ingestor_pb2.SubmitDocumentCommit(size_bytes=size))
