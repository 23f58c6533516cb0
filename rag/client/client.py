"""RagClient: one method per thing that ragmesh can be asked for."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any, BinaryIO, Self

from rag.client.sending import ATTEMPTS, FIRST_PAUSE_S, MOST_PAUSE_S, Sending, repeated, upload_header
from rag.metadata import Scalar
from rag.runtime import context
from rag.runtime.backoff import asked_s, full_jitter
from rag.runtime.errors import DeadlineExceeded, Overloaded, Unavailable
from rag.runtime.peers import Peer, open_peer
from rag.v1 import generator_pb2, ingestor_pb2, passage_pb2, retriever_pb2
from rag.v1.generator_pb2_grpc import GeneratorServiceStub
from rag.v1.ingestor_pb2_grpc import IngestorServiceStub
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub

_WATCH_S = 3_600.0
_GENERATOR = "rag.v1.GeneratorService"
_RETRIEVER = "rag.v1.RetrieverService"
_INGESTOR = "rag.v1.IngestorService"


class RagClient:
    """A connection to a gateway. Open it with `async with` in the event loop that uses it.

    Args:
        address: `host:port` of the gateway's gRPC port.
        timeout_s: How long an answer or an upload may take, in seconds, with its repetitions. Watching a job takes as long
            as the job.
        pause: Waits so many seconds before something is repeated.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:50050",
        timeout_s: float = 120.0,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._address = address
        self._pause = pause
        self._timeout_s = timeout_s
        self._stack = AsyncExitStack()
        self._peer: Peer

    async def __aenter__(self) -> Self:
        self._peer = await self._stack.enter_async_context(open_peer(self._address, _GENERATOR, _RETRIEVER, _INGESTOR))
        self._peer.name = "gateway"  # which of its services is asked makes no difference to who cannot be reached
        channel = self._peer.channel
        self._generator = GeneratorServiceStub(channel)
        self._retriever = RetrieverServiceStub(channel)
        self._ingestor = IngestorServiceStub(channel)
        return self

    async def __aexit__(self, *_error: object) -> None:
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
        history: Sequence[generator_pb2.Turn] = (),
        use_cache: bool | None = None,
    ) -> AsyncGenerator[generator_pb2.GenerateResponse, None]:
        """Stream an answer as events, in the order that the contract gives. Leaving the stream stops the model."""
        request = generator_pb2.GenerateRequest(
            question=question,
            top_k=top_k,
            mode=mode,
            min_score=min_score,
            filter=search_filter,
            history=history,
            use_cache=use_cache,
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
        self,
        path: Path,
        *,
        document_id: str = "",
        title: str = "",
        metadata: Mapping[str, Scalar] | None = None,
        request_id: str = "",
        password: str = "",
    ) -> ingestor_pb2.Job:
        """Upload a file; return the job that makes it searchable. The upload is durable when this returns.

        It is repeated when the server was away or too busy. All repetitions carry one `request_id`, so that they are one job
        even when an answer got lost; a program that may itself be repeated gives one of its own.

        Raises:
            OSError: the file cannot be read.
        """
        header = upload_header(path.name, metadata, request_id, document_id=document_id, title=title, password=password)
        return await self._submit(header, lambda: path.open("rb"))

    async def ingest_text(
        self,
        text: str,
        name: str,
        *,
        document_id: str = "",
        title: str = "",
        metadata: Mapping[str, Scalar] | None = None,
        request_id: str = "",
    ) -> ingestor_pb2.Job:
        """Upload a text under a name such as `notes.md`, whose ending tells the kind of text. See `ingest`."""
        header = upload_header(name, metadata, request_id, document_id=document_id, title=title)
        return await self._submit(header, lambda: io.BytesIO(text.encode()))

    async def ingest_url(
        self,
        url: str,
        *,
        name: str = "",
        document_id: str = "",
        title: str = "",
        metadata: Mapping[str, Scalar] | None = None,
        request_id: str = "",
        password: str = "",
    ) -> ingestor_pb2.Job:
        """Have the server fetch a document from the web, which it must allow. See `ingest`."""
        header = upload_header(name, metadata, request_id, document_id=document_id, title=title, password=password)
        request = ingestor_pb2.SubmitUrlRequest(url=url, header=header)
        self._begin()
        response = await repeated(lambda: self._peer.unary(self._ingestor.SubmitUrl, request), self._pause)
        return response.job

    async def watch(self, job_id: str, after_sequence: int = 0) -> AsyncGenerator[ingestor_pb2.WatchJobResponse, None]:
        """Stream the progress of a job until it is finished. A stream that breaks off is resumed after its last event."""
        failures = 0
        while True:
            self._begin(_WATCH_S)
            request = ingestor_pb2.WatchJobRequest(job_id=job_id, after_sequence=after_sequence)
            try:
                async with aclosing(self._peer.stream(self._ingestor.WatchJob, request)) as events:
                    async for event in events:
                        after_sequence, failures = event.sequence, 0
                        yield event
            except (Unavailable, Overloaded, DeadlineExceeded) as error:
                failures += 1
                if failures == ATTEMPTS:
                    raise
                await self._pause(asked_s(error) + full_jitter(failures, FIRST_PAUSE_S, MOST_PAUSE_S))
            else:
                return

    async def job(self, job_id: str) -> ingestor_pb2.Job:
        """Return a job."""
        self._begin()
        return (await self._peer.unary(self._ingestor.GetJob, ingestor_pb2.GetJobRequest(job_id=job_id))).job

    async def jobs(
        self, state: ingestor_pb2.JobState.ValueType = ingestor_pb2.JOB_STATE_UNSPECIFIED
    ) -> AsyncGenerator[ingestor_pb2.Job, None]:
        """List the jobs in a state, newest first; all jobs when none is given."""
        request = ingestor_pb2.ListJobsRequest(state=state)
        async with aclosing(self._pages(self._ingestor.ListJobs, request)) as pages:
            async for page in pages:
                for job in page.jobs:
                    yield job

    async def cancel(self, job_id: str) -> ingestor_pb2.Job:
        """End a job that is not finished; nothing of it is or will be searchable when this returns."""
        self._begin()
        return (await self._peer.unary(self._ingestor.CancelJob, ingestor_pb2.CancelJobRequest(job_id=job_id))).job

    async def retry(self, job_id: str, password: str = "") -> ingestor_pb2.Job:
        """Put a job that failed or is dead back in the queue, with a password when it lacked one."""
        self._begin()
        request = ingestor_pb2.RetryJobRequest(job_id=job_id, password=password)
        return (await self._peer.unary(self._ingestor.RetryJob, request)).job

    async def documents(self) -> AsyncGenerator[retriever_pb2.Document, None]:
        """List all documents, newest first."""
        async with aclosing(self._pages(self._retriever.ListDocuments, retriever_pb2.ListDocumentsRequest())) as pages:
            async for page in pages:
                for document in page.documents:
                    yield document

    async def document(self, document_id: str) -> retriever_pb2.Document:
        """Return a document as the catalogue has it."""
        self._begin()
        request = retriever_pb2.GetDocumentRequest(document_id=document_id)
        return (await self._peer.unary(self._retriever.GetDocument, request)).document

    async def passages(self, document_id: str) -> AsyncGenerator[passage_pb2.Passage, None]:
        """List the passages of a document's live version, in their order."""
        request = retriever_pb2.ListPassagesRequest(document_id=document_id)
        async with aclosing(self._pages(self._retriever.ListPassages, request)) as pages:
            async for page in pages:
                for passage in page.passages:
                    yield passage

    async def delete(self, document_id: str) -> None:
        """Delete a document and end its jobs; it is gone for every reader when this returns."""
        self._begin()
        request = retriever_pb2.DeleteDocumentRequest(document_id=document_id)
        await self._peer.unary(self._retriever.DeleteDocument, request)

    def _begin(self, timeout_s: float | None = None) -> None:
        context.use(context.new_call("", timeout_s or self._timeout_s))

    async def _pages(self, method: Any, request: Any) -> AsyncGenerator[Any, None]:
        more = True
        while more:
            self._begin()
            page = await self._peer.unary(method, request)
            yield page
            request.page_token = page.next_page_token
            more = bool(page.next_page_token)

    async def _submit(
        self, header: ingestor_pb2.SubmitDocumentHeader, opened: Callable[[], BinaryIO]
    ) -> ingestor_pb2.Job:
        async def once() -> ingestor_pb2.SubmitDocumentResponse:
            with opened() as file, Sending(header, file) as sending:
                return await self._peer.upload(self._ingestor.SubmitDocument, sending.parts())

        self._begin()
        return (await repeated(once, self._pause)).job
