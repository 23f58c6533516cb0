"""The servicer of the ingestor: protobuf to domain and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from rag import metadata, paging
from rag.ids import check_id
from rag.runtime.context import current
from rag.runtime.errors import InvalidInput
from rag.v1 import ingestor_pb2 as pb
from rag.v1.ingestor_pb2_grpc import IngestorServiceServicer
from services.ingestor.jobs import Job, JobEvents, JobState, JobStore
from services.ingestor.metrics import UPLOADED_BYTES, UPLOADS
from services.ingestor.submission import Header, Submissions

Context = grpc.aio.ServicerContext[Any, Any]

_STATES = {
    JobState.QUEUED: pb.JOB_STATE_QUEUED,
    JobState.RUNNING: pb.JOB_STATE_RUNNING,
    JobState.READY: pb.JOB_STATE_READY,
    JobState.FAILED: pb.JOB_STATE_FAILED,
}


class IngestorService(IngestorServiceServicer):
    """Takes documents in and tells what becomes of them."""

    def __init__(self, submissions: Submissions, jobs: JobStore, events: JobEvents) -> None:
        self._submissions = submissions
        self._jobs = jobs
        self._events = events

    async def SubmitDocument(
        self, request_iterator: AsyncIterator[pb.SubmitDocumentRequest], context: Context
    ) -> pb.SubmitDocumentResponse:
        """Take an upload in."""
        with UPLOADS.labels("refused").count_exceptions():
            header = await _header(request_iterator)
            job = await self._submissions.submit(current().tenant, header, _chunks(request_iterator))
        UPLOADS.labels("accepted").inc()
        UPLOADED_BYTES.inc(job.size_bytes)
        return pb.SubmitDocumentResponse(job=_job(job))

    async def WatchJob(self, request: pb.WatchJobRequest, context: Context) -> AsyncIterator[pb.WatchJobResponse]:
        """Follow a job to its end."""
        job_id = check_id(request.job_id, "job_id")
        async with aclosing(self._events.watch(current().tenant, job_id, request.after_sequence)) as events:
            async for event in events:
                yield pb.WatchJobResponse(sequence=event.sequence, job=_job(event.job))

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.GetJobResponse:
        """Return one job."""
        job = await self._jobs.get(current().tenant, check_id(request.job_id, "job_id"))
        return pb.GetJobResponse(job=_job(job))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        """List jobs, newest first."""
        size = paging.page_size(request.page_size)
        after = str(paging.decode_token(request.page_token, str)[0]) if request.page_token else ""
        jobs, following = await self._jobs.page(current().tenant, size, after)
        token = paging.encode_token(following) if following else ""
        return pb.ListJobsResponse(jobs=[_job(job) for job in jobs], next_page_token=token)


async def _header(requests: AsyncIterator[pb.SubmitDocumentRequest]) -> Header:
    async for request in requests:
        if request.HasField("header"):
            sent = request.header
            return Header(sent.document_id, sent.name, sent.title, metadata.to_python(sent.metadata))
        break
    raise InvalidInput("An upload begins with a header.", "HEADER_MISSING")


async def _chunks(requests: AsyncIterator[pb.SubmitDocumentRequest]) -> AsyncIterator[bytes]:
    size = 0
    async for request in requests:
        if request.HasField("commit"):
            if request.commit.size_bytes != size:
                message = f"The commit says {request.commit.size_bytes} bytes, and {size} were sent."
                raise InvalidInput(message, "SIZE_MISMATCH")
            return
        if not request.HasField("chunk"):
            raise InvalidInput("After its header an upload holds chunks, then a commit.", "CHUNK_EXPECTED")
        size += len(request.chunk)
        yield request.chunk
    # A call that its client cancels looks like one that it ended, for a moment: half a document is not a document.
    raise InvalidInput("The upload broke off: it ended without a commit.", "COMMIT_MISSING")


def _job(job: Job) -> pb.Job:
    message = pb.Job(
        id=job.id,
        document_id=job.document_id,
        name=job.name,
        state=_STATES[job.state],
        progress=_progress(job),
        attempts=job.attempts,
        document_version=job.document_version,
        size_bytes=job.size_bytes,
        created_at=_time(job.created_at),
        updated_at=_time(job.updated_at),
    )
    if job.error:
        message.error.CopyFrom(pb.JobError(reason=job.error.reason, message=job.error.message))
    if job.finished_at:
        message.finished_at.CopyFrom(_time(job.finished_at))
    return message


def _progress(job: Job) -> pb.JobProgress:
    progress = job.progress
    return pb.JobProgress(
        pages_done=progress.pages_done,
        pages_total=progress.pages_total,
        passages=progress.passages,
        passages_indexed=progress.passages_indexed,
        vectors_cached=progress.vectors_cached,
        vectors_computed=progress.vectors_computed,
        pages_skipped=progress.pages_skipped,
    )


def _time(seconds: float) -> Timestamp:
    time = Timestamp()
    time.FromMilliseconds(int(seconds * 1000))
    return time
