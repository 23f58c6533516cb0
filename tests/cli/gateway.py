"""A small real gRPC server that takes documents in like a gateway, in memory, and goes wrong when it is told to."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from rag.runtime.access import OPERATOR_SCOPES, Identity
from rag.runtime.errors import FailedPrecondition, InvalidInput, NotFound, Unauthenticated, Unavailable
from rag.runtime.server import Door, Mount, Room, serving
from rag.runtime.settings import ServiceSettings
from rag.v1 import gateway_pb2 as door
from rag.v1 import gateway_pb2_grpc, generator_pb2_grpc, ingestor_pb2_grpc, passage_pb2, retriever_pb2_grpc
from rag.v1 import generator_pb2 as generator
from rag.v1 import ingestor_pb2 as pb
from rag.v1 import retriever_pb2 as index

PAGE = 2
PAGES = 3


@dataclass
class Gateway:
    """What was taken in, what is live, and how the next calls go."""

    jobs: dict[str, pb.Job] = field(default_factory=dict)
    """Oldest first."""
    documents: dict[str, index.Document] = field(default_factory=dict)
    events: dict[str, list[pb.WatchJobResponse]] = field(default_factory=dict)
    headers: list[pb.SubmitDocumentHeader] = field(default_factory=list)
    """Of the uploads that were accepted, repetitions included."""
    contents: list[bytes] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    passwords: list[str] = field(default_factory=list)
    refusals: list[Exception] = field(default_factory=list)
    """Raised by the next uploads, one each, before anything is taken in."""
    lose_answers: int = 0
    """How many uploads are taken in whose answer gets lost."""
    break_watches: int = 0
    """How many watches break off after their first event."""
    unwatchable: bool = False
    fails: Callable[[str], str] = lambda _name: ""
    """The reason why the document of a name fails; empty when it does not."""
    hold: Callable[[str], bool] = lambda _name: False
    """Tells of a name whether its job stays under way until `let_go`."""
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    under_way: int = 0
    most_under_way: int = 0
    address: str = ""
    key: str = ""
    """What callers must bring; nothing when empty."""
    certificate: tuple[bytes, bytes] | None = None
    """Key and certificate, to be reached by TLS only."""
    authorizations: list[str] = field(default_factory=list)
    """What callers brought."""
    script: list[generator.GenerateResponse | Exception] = field(default_factory=list)
    """The events of the next answers."""
    hold_answer: asyncio.Event | None = None
    """Awaited before the last event of an answer."""
    questions: list[generator.GenerateRequest] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """Questions whose asker left before the end."""
    hits: list[index.Hit] = field(default_factory=list)
    searches: list[index.RetrieveRequest] = field(default_factory=list)
    usage: door.GetUsageResponse = field(default_factory=door.GetUsageResponse)
    ratings: list[door.SubmitFeedbackRequest] = field(default_factory=list)
    keys: list[door.CreateKeyRequest] = field(default_factory=list)
    unavailable: int = 0
    """How many of the next calls to GatewayService fail."""

    async def identify(self, metadata: Mapping[str, str], _address: str) -> Identity:
        """Everybody with the key is one tenant."""
        self.authorizations.append(metadata.get("authorization", ""))
        if self.key and metadata.get("authorization") != f"Bearer {self.key}":
            raise Unauthenticated("The key is not known.", "BAD_CREDENTIAL")
        return Identity("tests", OPERATOR_SCOPES)

    def of(self, document_id: str) -> index.Document:
        if document_id not in self.documents:
            raise NotFound("There is no such document.", "DOCUMENT_NOT_FOUND")
        return self.documents[document_id]

    def job(self, job_id: str) -> pb.Job:
        if job_id not in self.jobs:
            raise NotFound("There is no such job.", "JOB_NOT_FOUND")
        return self.jobs[job_id]

    def add(self, job: pb.Job) -> None:
        self.jobs[job.id] = job
        self.events[job.id] = []
        self.tell(job)

    def tell(self, job: pb.Job) -> None:
        told = self.events[job.id]
        told.append(pb.WatchJobResponse(sequence=len(told) + 1, job=job))


class Ingestor(ingestor_pb2_grpc.IngestorServiceServicer):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._requests: dict[str, str] = {}

    async def SubmitDocument(self, request_iterator, context):
        header, content = pb.SubmitDocumentHeader(), b""
        async for part in request_iterator:
            match part.WhichOneof("part"):
                case "header":
                    header = part.header
                case "chunk":
                    content += part.chunk
                case "commit":
                    assert part.commit.size_bytes == len(content)
                    return pb.SubmitDocumentResponse(job=self._accept(header, content))
        raise InvalidInput("The upload broke off.", "COMMIT_MISSING")

    async def SubmitUrl(self, request, context):
        self._gateway.urls.append(request.url)
        request.header.name = request.header.name or request.url.rsplit("/", 1)[-1]
        return pb.SubmitUrlResponse(job=self._accept(request.header, request.url.encode()))

    def _accept(self, header: pb.SubmitDocumentHeader, content: bytes) -> pb.Job:
        gateway = self._gateway
        if gateway.refusals:
            raise gateway.refusals.pop(0)
        if not content:
            raise InvalidInput("The file is empty.", "EMPTY_FILE")
        gateway.headers.append(header)
        gateway.contents.append(content)
        job_id = self._requests.setdefault(header.request_id, f"job-{len(gateway.jobs) + 1}")
        if job_id not in gateway.jobs:
            gateway.add(self._work(job_id, header, content))
        if gateway.lose_answers:
            gateway.lose_answers -= 1
            raise Unavailable("The answer got lost.", "INGESTOR_UNAVAILABLE")
        return gateway.events[job_id][0].job

    def _work(self, job_id: str, header: pb.SubmitDocumentHeader, content: bytes) -> pb.Job:
        digest = hashlib.sha256(content).hexdigest()
        job = pb.Job(id=job_id, document_id=header.document_id or f"doc-{digest[:8]}", name=header.name)
        job.state = pb.JOB_STATE_QUEUED
        job.created_at.GetCurrentTime()
        self._gateway.documents.setdefault(f"{job_id}/next", _document(job, header, content, digest))
        return job

    async def WatchJob(self, request, context):
        gateway, job = self._gateway, self._gateway.job(request.job_id)
        if gateway.unwatchable:
            raise Unavailable("Nobody watches today.", "INGESTOR_UNAVAILABLE")
        if len(gateway.events[job.id]) == 1 and job.state == pb.JOB_STATE_QUEUED:
            await self._run(job)
        for event in list(gateway.events[job.id]):
            if event.sequence > request.after_sequence:
                yield event
                if gateway.break_watches:
                    gateway.break_watches -= 1
                    raise Unavailable("The ingestor is going away.", "INGESTOR_UNAVAILABLE")

    async def _run(self, job: pb.Job) -> None:
        gateway = self._gateway
        gateway.under_way += 1
        gateway.most_under_way = max(gateway.most_under_way, gateway.under_way)
        try:
            if gateway.hold(job.name):
                await gateway.let_go.wait()
            await asyncio.sleep(0.01)  # the others get their turn
            self._finish(job)
        finally:
            gateway.under_way -= 1

    def _finish(self, job: pb.Job) -> None:
        gateway = self._gateway
        job.state = pb.JOB_STATE_RUNNING
        for done in range(1, PAGES + 1):
            job.progress.MergeFrom(
                pb.JobProgress(pages_done=done, pages_total=PAGES, passages=2 * done, seconds_left=3.0)
            )
            job.progress.passages_indexed = 2 * done
            gateway.tell(job)
        document = gateway.documents.pop(f"{job.id}/next")
        if reason := gateway.fails(job.name):
            job.state = pb.JOB_STATE_FAILED
            job.error.CopyFrom(pb.JobError(reason=reason, message="It cannot be indexed."))
        else:
            live = gateway.documents.get(job.document_id)
            job.unchanged = live is not None and live.content_hash == document.content_hash
            gateway.documents[job.document_id] = document
            job.state = pb.JOB_STATE_READY
        gateway.tell(job)

    async def GetJob(self, request, context):
        return pb.GetJobResponse(job=self._gateway.job(request.job_id))

    async def ListJobs(self, request, context):
        wanted = [job for job in reversed(self._gateway.jobs.values()) if request.state in {0, job.state}]
        found, token = page(wanted, request.page_token)
        return pb.ListJobsResponse(jobs=found, next_page_token=token)

    async def CancelJob(self, request, context):
        job = self._gateway.job(request.job_id)
        if job.state not in {pb.JOB_STATE_QUEUED, pb.JOB_STATE_RUNNING, pb.JOB_STATE_CANCELLED}:
            raise FailedPrecondition("The job is finished.", "JOB_FINISHED")
        job.state = pb.JOB_STATE_CANCELLED
        self._gateway.tell(job)
        return pb.CancelJobResponse(job=job)

    async def RetryJob(self, request, context):
        job = self._gateway.job(request.job_id)
        if job.state not in {pb.JOB_STATE_FAILED, pb.JOB_STATE_DEAD}:
            raise FailedPrecondition("The job did not fail.", "JOB_NOT_FAILED")
        self._gateway.passwords.append(request.password)
        job.state = pb.JOB_STATE_QUEUED
        job.ClearField("error")
        return pb.RetryJobResponse(job=job)


class Retriever(retriever_pb2_grpc.RetrieverServiceServicer):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def Retrieve(self, request, context):
        self._gateway.searches.append(request)
        for hit in self._gateway.hits:
            yield index.RetrieveResponse(hit=hit)
        summary = index.RetrieveSummary(hits=len(self._gateway.hits), dense_candidates=40, keyword_candidates=7)
        yield index.RetrieveResponse(summary=summary)

    async def ListDocuments(self, request, context):
        live = [document for key, document in self._gateway.documents.items() if "/" not in key]
        found, token = page(live, request.page_token)
        return index.ListDocumentsResponse(documents=found, next_page_token=token)

    async def GetDocument(self, request, context):
        return index.GetDocumentResponse(document=self._gateway.of(request.document_id))

    async def ListPassages(self, request, context):
        self._gateway.of(request.document_id)
        passages = [passage_pb2.Passage(id=f"p-{n}", text=f"text {n}") for n in range(5)]
        found, token = page(passages, request.page_token)
        return index.ListPassagesResponse(passages=found, next_page_token=token)

    async def DeleteDocument(self, request, context):
        gateway = self._gateway
        jobs = [job.id for job in gateway.jobs.values() if job.document_id == request.document_id]
        if not jobs and request.document_id not in gateway.documents:
            raise NotFound("There is no such document.", "DOCUMENT_NOT_FOUND")
        gateway.documents.pop(request.document_id, None)
        for job_id in jobs:
            del gateway.jobs[job_id]
            gateway.documents.pop(f"{job_id}/next", None)
        gateway.deleted.append(request.document_id)
        return index.DeleteDocumentResponse(version=1)


class Generator(generator_pb2_grpc.GeneratorServiceServicer):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def Generate(self, request, context):
        gateway = self._gateway
        gateway.questions.append(request)
        complete = False
        try:
            for sequence, event in enumerate(gateway.script, 1):
                if gateway.hold_answer and sequence == len(gateway.script):
                    await gateway.hold_answer.wait()
                if isinstance(event, Exception):
                    raise event
                event.sequence = sequence
                yield event
            complete = True
        finally:
            if not complete:
                gateway.left.append(request.question)


class Own(gateway_pb2_grpc.GatewayServiceServicer):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def GetUsage(self, request, context):
        self._check()
        return self._gateway.usage

    async def SubmitFeedback(self, request, context):
        self._check()
        self._gateway.ratings.append(request)
        return door.SubmitFeedbackResponse()

    async def ListFeedback(self, request, context):
        wanted = [rated for rated in self._gateway.ratings if request.rating in {0, rated.rating}]
        found, token = page(wanted, request.page_token)
        said = [door.Feedback(answer_id=rated.answer_id, rating=rated.rating) for rated in found]
        return door.ListFeedbackResponse(feedback=said, next_page_token=token)

    async def CreateKey(self, request, context):
        self._gateway.keys.append(request)
        self._check()
        return door.CreateKeyResponse(secret="rmk_once", key=door.ApiKey(id="key-1", name=request.name))

    async def ListKeys(self, request, context):
        return door.ListKeysResponse(keys=[door.ApiKey(id="key-1", name=key.name) for key in self._gateway.keys])

    async def RevokeKey(self, request, context):
        return door.RevokeKeyResponse(key=door.ApiKey(id=request.key_id))

    async def InvalidateCache(self, request, context):
        return door.InvalidateCacheResponse(answers=3, rankings=4)

    def _check(self) -> None:
        if self._gateway.unavailable:
            self._gateway.unavailable -= 1
            raise Unavailable("Not now.", "LIMITS_UNAVAILABLE")


def page(rows: Sequence[object], token: str) -> tuple[Sequence[object], str]:
    begin = int(token or 0)
    more = begin + PAGE < len(rows)
    return rows[begin : begin + PAGE], str(begin + PAGE) if more else ""


def _document(job: pb.Job, header: pb.SubmitDocumentHeader, content: bytes, digest: str) -> index.Document:
    document = index.Document(
        id=job.document_id,
        version=1,
        name=header.name,
        title=header.title,
        content_hash=digest,
        size_bytes=len(content),
    )
    document.passage_count = 2 * PAGES
    for key, value in header.metadata.items():
        document.metadata[key].CopyFrom(value)
    return document


def _mounts(gateway: Gateway) -> list[Mount]:
    ingestor, retriever, asked, own = Ingestor(gateway), Retriever(gateway), Generator(gateway), Own(gateway)
    return [
        Mount("rag.v1.IngestorService", lambda s: ingestor_pb2_grpc.add_IngestorServiceServicer_to_server(ingestor, s)),
        Mount(
            "rag.v1.RetrieverService", lambda s: retriever_pb2_grpc.add_RetrieverServiceServicer_to_server(retriever, s)
        ),
        Mount("rag.v1.GeneratorService", lambda s: generator_pb2_grpc.add_GeneratorServiceServicer_to_server(asked, s)),
        Mount("rag.v1.GatewayService", lambda s: gateway_pb2_grpc.add_GatewayServiceServicer_to_server(own, s)),
    ]


@asynccontextmanager
async def running_gateway(**settings: Any) -> AsyncIterator[Gateway]:
    """Serve on a port of its own for the length of a block."""
    gateway = Gateway(**settings)

    async def ready() -> bool:
        return True

    credentials = grpc.ssl_server_credentials([gateway.certificate]) if gateway.certificate else None
    room = Room("gateway", _mounts(gateway), is_ready=ready, door=Door(gateway.identify, credentials))
    async with serving(ServiceSettings(lame_duck_ms=0, drain_grace_ms=500, port=0), room) as port:
        gateway.address = f"127.0.0.1:{port}"
        yield gateway
