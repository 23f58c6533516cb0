"""The four services behind the gateway, as small real gRPC servicers that tests can steer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import grpc

from rag.runtime import context
from rag.runtime.context import CallContext
from rag.runtime.errors import InvalidInput, NotFound
from rag.runtime.server import Mount, Room
from rag.v1 import (
    embedder_pb2,
    embedder_pb2_grpc,
    generator_pb2,
    generator_pb2_grpc,
    ingestor_pb2,
    ingestor_pb2_grpc,
    passage_pb2,
    retriever_pb2,
    retriever_pb2_grpc,
)

Context = grpc.aio.ServicerContext
HOLD = object()
"""In a script: wait until the test releases the stream."""


@dataclass
class Stage:
    """What a servicer saw, and what it is told to do."""

    script: Sequence[object] = ()
    requests: list[object] = field(default_factory=list)
    calls: list[CallContext] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    serving: bool = True

    async def is_serving(self) -> bool:
        return self.serving

    def enter(self, request: object, grpc_context: Context) -> None:
        self.requests.append(request)
        self.calls.append(context.current())
        self.metadata = {
            key: value for key, value in grpc_context.invocation_metadata() or () if isinstance(value, str)
        }
        self.entered.set()

    async def play(self) -> AsyncIterator[object]:
        try:
            for step in self.script:
                if step is HOLD:
                    await self.release.wait()
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


class Generator(generator_pb2_grpc.GeneratorServiceServicer):
    def __init__(self) -> None:
        self.stage = Stage(answer("Hello", " world"))

    async def Generate(self, request, context_):
        self.stage.enter(request, context_)
        async for event in self.stage.play():
            yield event


class Embedder(embedder_pb2_grpc.EmbedderServiceServicer):
    def __init__(self) -> None:
        self.stage = Stage([embedder_pb2.EmbedResponse(offset=0, count=1, dimension=1, values=b"\x00\x00\x80\x3f")])

    async def Embed(self, request, context_):
        self.stage.enter(request, context_)
        async for event in self.stage.play():
            yield event

    async def GetModel(self, request, context_):
        self.stage.enter(request, context_)
        return embedder_pb2.GetModelResponse(model="m", revision="r", dimension=1)


class Retriever(retriever_pb2_grpc.RetrieverServiceServicer):
    def __init__(self) -> None:
        self.stage = Stage(hits())
        self.documents = {"doc-1": document("doc-1")}

    async def Retrieve(self, request, context_):
        self.stage.enter(request, context_)
        async for event in self.stage.play():
            yield event

    async def Index(self, request_iterator, context_):
        self.stage.enter(None, context_)
        written = 0
        async for part in request_iterator:
            if part.HasField("passages"):
                written += len(part.passages.passages)
                yield retriever_pb2.IndexResponse(progress=retriever_pb2.IndexProgress(passages_written=written))
        yield retriever_pb2.IndexResponse(document=document("doc-2"))

    async def ListDocuments(self, request, context_):
        self.stage.enter(request, context_)
        return retriever_pb2.ListDocumentsResponse(documents=self.documents.values(), next_page_token="next")

    async def GetDocument(self, request, context_):
        self.stage.enter(request, context_)
        return retriever_pb2.GetDocumentResponse(document=self._found(request.document_id))

    async def ListPassages(self, request, context_):
        self.stage.enter(request, context_)
        self._found(request.document_id)
        return retriever_pb2.ListPassagesResponse(passages=[passage_pb2.Passage(id="p-1", text="text", page=3)])

    async def DeleteDocument(self, request, context_):
        self.stage.enter(request, context_)
        self._found(request.document_id)
        async for _ in self.stage.play() if self.stage.script and self.stage.script[0] is HOLD else _nothing():
            pass
        return retriever_pb2.DeleteDocumentResponse(version=1)

    def _found(self, document_id: str) -> retriever_pb2.Document:
        if document_id not in self.documents:
            raise NotFound("There is no such document.", "DOCUMENT_NOT_FOUND", document_id=document_id)
        return self.documents[document_id]


class Ingestor(ingestor_pb2_grpc.IngestorServiceServicer):
    def __init__(self) -> None:
        self.stage = Stage(job_events("queued", "running", "ready"))
        self.header: ingestor_pb2.SubmitDocumentHeader | None = None
        self.content = b""
        self.largest = 0
        self.refuse: Exception | None = None
        self.first_bytes = asyncio.Event()
        self.committed = False
        self.ended = asyncio.Event()

    async def SubmitDocument(self, request_iterator, context_):
        self.stage.enter(None, context_)
        try:
            async for part in request_iterator:
                self._take(part)
            if self.stage.script[:1] == [HOLD]:  # what makes an upload durable takes its time
                await self.stage.release.wait()
        except asyncio.CancelledError:
            self.stage.cancelled.set()
            raise
        finally:
            self.ended.set()
        if not self.committed:
            raise InvalidInput("The upload broke off.", "COMMIT_MISSING")
        if not self.content:
            raise InvalidInput("The file is empty.", "EMPTY_FILE")
        return ingestor_pb2.SubmitDocumentResponse(job=job("queued", size_bytes=len(self.content)))

    def _take(self, part: ingestor_pb2.SubmitDocumentRequest) -> None:
        if part.HasField("header"):
            self.header, self.content = part.header, b""
            if self.refuse:
                raise self.refuse
        elif part.HasField("commit"):
            assert part.commit.size_bytes == len(self.content)
            self.committed = True
        else:
            self.content += part.chunk
            self.largest = max(self.largest, len(part.chunk))
            self.first_bytes.set()

    async def WatchJob(self, request, context_):
        self.stage.enter(request, context_)
        async for event in self.stage.play():
            if event.sequence > request.after_sequence:
                yield event

    async def GetJob(self, request, context_):
        self.stage.enter(request, context_)
        if request.job_id != "job-1":
            raise NotFound("There is no such job.", "JOB_NOT_FOUND")
        return ingestor_pb2.GetJobResponse(job=job("running"))

    async def ListJobs(self, request, context_):
        self.stage.enter(request, context_)
        return ingestor_pb2.ListJobsResponse(jobs=[job("ready")])


@dataclass
class Backends:
    """All four, for one server."""

    embedder: Embedder = field(default_factory=Embedder)
    retriever: Retriever = field(default_factory=Retriever)
    generator: Generator = field(default_factory=Generator)
    ingestor: Ingestor = field(default_factory=Ingestor)

    def room(self) -> Room:
        def mount(name, servicer, add):
            return Mount(f"rag.v1.{name}", lambda server: add(servicer, server), is_ready=servicer.stage.is_serving)

        async def ready() -> bool:
            return True

        return Room(
            "backends",
            [
                mount("EmbedderService", self.embedder, embedder_pb2_grpc.add_EmbedderServiceServicer_to_server),
                mount("RetrieverService", self.retriever, retriever_pb2_grpc.add_RetrieverServiceServicer_to_server),
                mount("GeneratorService", self.generator, generator_pb2_grpc.add_GeneratorServiceServicer_to_server),
                mount("IngestorService", self.ingestor, ingestor_pb2_grpc.add_IngestorServiceServicer_to_server),
            ],
            is_ready=ready,
        )


def answer(*texts: str, last: object = None) -> list[generator_pb2.GenerateResponse]:
    """The events of an answer of these tokens."""
    source = generator_pb2.Source(
        number=1, passage=passage_pb2.Passage(id="p-1", char_end=2**53 - 1), title="T", score=0.5
    )
    events = [
        {"accepted": generator_pb2.Accepted(answer_id="ans-1", request_id="req-from-generator")},
        {"progress": generator_pb2.Progress(stage=generator_pb2.STAGE_RETRIEVAL, elapsed_ms=1.5)},
        {"sources": generator_pb2.Sources(sources=[source])},
        *({"token": generator_pb2.Token(text=text)} for text in texts),
        {"citation": generator_pb2.Citation(number=1, passage_id="p-1", page=2, char_start=3, char_end=6, quote="q")},
        {"notice": passage_pb2.Notice(code="KEYWORD_ONLY", message="Only words were searched.")},
        {
            "usage": generator_pb2.Usage(
                input_tokens=7, provider="extractive", cache_layer=generator_pb2.CACHE_LAYER_NONE
            )
        },
        {"done": generator_pb2.Done(finish_reason=generator_pb2.FINISH_REASON_STOP)},
    ]
    return [generator_pb2.GenerateResponse(sequence=n, **event) for n, event in enumerate(events, 1)]


def hits() -> list[retriever_pb2.RetrieveResponse]:
    """The events of a search with one hit."""
    hit = retriever_pb2.Hit(rank=1, score=0.25, keyword_score=2.0, passage=passage_pb2.Passage(id="p-1"), title="T")
    summary = retriever_pb2.RetrieveSummary(hits=1, total_ms=3.0)
    return [retriever_pb2.RetrieveResponse(hit=hit), retriever_pb2.RetrieveResponse(summary=summary)]


def document(document_id: str) -> retriever_pb2.Document:
    """A document of the catalogue."""
    made = retriever_pb2.Document(id=document_id, version=2**40, name="a.pdf", size_bytes=2**40)
    made.metadata["year"].number = 2024
    made.metadata["team"].text = "ops"
    made.metadata["public"].flag = True
    made.created_at.FromJsonString("2026-01-02T03:04:05Z")
    return made


def job(state: str, **fields: int) -> ingestor_pb2.Job:
    """A job in a state."""
    value = ingestor_pb2.JobState.Value(f"JOB_STATE_{state.upper()}")
    return ingestor_pb2.Job(id="job-1", document_id="doc-1", name="a.pdf", state=value, **fields)


def job_events(*states: str) -> list[ingestor_pb2.WatchJobResponse]:
    """One event of a job per state."""
    return [ingestor_pb2.WatchJobResponse(sequence=n, job=job(state)) for n, state in enumerate(states, 1)]


async def _nothing() -> AsyncIterator[object]:
    for never in ():
        yield never
