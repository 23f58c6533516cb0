"""The ingestor as a small real gRPC servicer that tests can steer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from rag.runtime.errors import AlreadyExists, InvalidInput, NotFound
from rag.v1 import ingestor_pb2, ingestor_pb2_grpc
from tests.gateway.messages import job, job_events
from tests.gateway.stage import HOLD, Stage


@dataclass
class Received:
    """What came of one upload."""

    header: ingestor_pb2.SubmitDocumentHeader | None = None
    content: bytes = b""
    largest: int = 0
    committed: bool = False
    ended: bool = False


class Ingestor(ingestor_pb2_grpc.IngestorServiceServicer):
    def __init__(self) -> None:
        self.stage = Stage(job_events("queued", "running", "ready"))
        self.uploads: list[Received] = []
        self.kept: dict[str, bytes] = {}
        """By request id."""
        self.refuse: Exception | None = None
        self.refuse_names: dict[str, Exception] = {}
        self.job_error: Exception | None = None
        self.jobs_in: dict[str, list[ingestor_pb2.Job]] | None = None
        """By the state that is asked for; one job whatever is asked when not set."""
        self.first_bytes = asyncio.Event()
        self.second_bytes = asyncio.Event()
        self.ended = asyncio.Event()
        self.reading = asyncio.Event()
        """Cleared by tests of a slow ingestor."""
        self.reading.set()

    @property
    def header(self) -> ingestor_pb2.SubmitDocumentHeader | None:
        return self.uploads[-1].header

    @property
    def content(self) -> bytes:
        return self.uploads[-1].content

    @property
    def largest(self) -> int:
        return self.uploads[-1].largest

    @property
    def committed(self) -> list[str]:
        return [one.header.name for one in self.uploads if one.committed]

    async def SubmitDocument(self, request_iterator, context_):
        self.stage.enter(None, context_)
        upload = Received()
        self.uploads.append(upload)
        try:
            async for part in request_iterator:
                self._take(upload, part)
                await self.reading.wait()
            if self.stage.script[:1] == [HOLD]:  # what makes an upload durable takes its time
                await self.stage.release.wait()
        except asyncio.CancelledError:
            self.stage.cancelled.set()
            raise
        finally:
            upload.ended = True
            self.ended.set()
        if not upload.committed:
            raise InvalidInput("The upload broke off.", "COMMIT_MISSING")
        if not upload.content:
            raise InvalidInput("The file is empty.", "EMPTY_FILE")
        self._keep(upload)
        return ingestor_pb2.SubmitDocumentResponse(job=job("queued", size_bytes=len(upload.content)))

    def _take(self, upload: Received, part: ingestor_pb2.SubmitDocumentRequest) -> None:
        if part.HasField("header"):
            upload.header = part.header
            refused = self.refuse_names.get(part.header.name, self.refuse)
            if refused:
                raise refused
        elif part.HasField("commit"):
            assert part.commit.size_bytes == len(upload.content)
            upload.committed = True
        else:
            upload.content += part.chunk
            upload.largest = max(upload.largest, len(part.chunk))
            self.first_bytes.set()
            if len(self.uploads) > 1:
                self.second_bytes.set()

    def _keep(self, upload: Received) -> None:
        request_id = upload.header.request_id
        if request_id and self.kept.setdefault(request_id, upload.content) != upload.content:
            raise AlreadyExists("The key was used for another content.", "IDEMPOTENCY_KEY_REUSED")

    async def SubmitUrl(self, request, context_):
        self.stage.enter(request, context_)
        if self.refuse:
            raise self.refuse
        return ingestor_pb2.SubmitUrlResponse(job=job("queued"))

    async def WatchJob(self, request, context_):
        self.stage.enter(request, context_)
        async for event in self.stage.play():
            if event.sequence > request.after_sequence:
                yield event

    async def GetJob(self, request, context_):
        self._enter_job(request, context_)
        return ingestor_pb2.GetJobResponse(job=job("running"))

    async def ListJobs(self, request, context_):
        self.stage.enter(request, context_)
        if self.jobs_in is not None:
            name = ingestor_pb2.JobState.Name(request.state).removeprefix("JOB_STATE_").lower()
            return ingestor_pb2.ListJobsResponse(jobs=self.jobs_in.get(name, []))
        return ingestor_pb2.ListJobsResponse(jobs=[job("ready")])

    async def CancelJob(self, request, context_):
        self._enter_job(request, context_)
        return ingestor_pb2.CancelJobResponse(job=job("cancelled"))

    async def RetryJob(self, request, context_):
        self._enter_job(request, context_)
        return ingestor_pb2.RetryJobResponse(job=job("queued"))

    async def EraseJobs(self, request, context_):
        self.stage.enter(request, context_)
        return ingestor_pb2.EraseJobsResponse(jobs=1)

    def _enter_job(self, request, context_) -> None:
        self.stage.enter(request, context_)
        if self.job_error:
            raise self.job_error
        if request.job_id != "job-1":
            raise NotFound("There is no such job.", "JOB_NOT_FOUND")
