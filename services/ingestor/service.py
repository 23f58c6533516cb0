"""The servicer of the ingestor: protobuf to domain and back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from rag import metadata, paging
from rag.ids import check_id
from rag.passage_proto import to_proto
from rag.runtime.context import current
from rag.runtime.errors import InvalidInput
from rag.v1 import ingestor_pb2 as pb
from rag.v1.ingestor_pb2_grpc import IngestorServiceServicer
from services.ingestor.cancelling import Cancelling
from services.ingestor.erasing import Erasing
from services.ingestor.fetching import UrlSubmissions, name_of
from services.ingestor.jobs import Job, JobEvents, JobState, JobStore
from services.ingestor.metrics import UPLOADED_BYTES, UPLOADS
from services.ingestor.pages import Page
from services.ingestor.resplitting import Resplitting, StoredText
from services.ingestor.retrying import Retrying
from services.ingestor.submission import Header, Submissions, check_password

Context = grpc.aio.ServicerContext[Any, Any]

_STATES = {
    JobState.QUEUED: pb.JOB_STATE_QUEUED,
    JobState.RUNNING: pb.JOB_STATE_RUNNING,
    JobState.READY: pb.JOB_STATE_READY,
    JobState.FAILED: pb.JOB_STATE_FAILED,
    JobState.CANCELLED: pb.JOB_STATE_CANCELLED,
    JobState.DEAD: pb.JOB_STATE_DEAD,
}
_STATES_ASKED = {number: state for state, number in _STATES.items()}


@dataclass(frozen=True, slots=True)
class Desks:
    """Who does what is asked for."""

    submissions: Submissions
    urls: UrlSubmissions
    jobs: JobStore
    events: JobEvents
    cancelling: Cancelling
    retrying: Retrying
    erasing: Erasing
    resplitting: Resplitting


class IngestorService(IngestorServiceServicer):
    """Takes documents in and tells what becomes of them."""

    def __init__(self, desks: Desks) -> None:
        self._desks = desks

    async def SubmitDocument(
        self, request_iterator: AsyncIterator[pb.SubmitDocumentRequest], context: Context
    ) -> pb.SubmitDocumentResponse:
        """Take an upload in."""
        with UPLOADS.labels("refused").count_exceptions():
            header = await _first(request_iterator)
            job = await self._desks.submissions.submit(current().tenant, header, _chunks(request_iterator))
        _count(job)
        return pb.SubmitDocumentResponse(job=_job(job))

    async def SubmitUrl(self, request: pb.SubmitUrlRequest, context: Context) -> pb.SubmitUrlResponse:
        """Take a document in from the web."""
        with UPLOADS.labels("refused").count_exceptions():
            header = _header(request.header, request.header.name or name_of(request.url))
            job = await self._desks.urls.submit(current().tenant, request.url, header)
        _count(job)
        return pb.SubmitUrlResponse(job=_job(job))

    async def WatchJob(self, request: pb.WatchJobRequest, context: Context) -> AsyncIterator[pb.WatchJobResponse]:
        """Follow a job to its end."""
        job_id = check_id(request.job_id, "job_id")
        async with aclosing(self._desks.events.watch(current().tenant, job_id, request.after_sequence)) as events:
            async for event in events:
                yield pb.WatchJobResponse(sequence=event.sequence, job=_job(event.job))

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.GetJobResponse:
        """Return one job."""
        job = await self._desks.jobs.get(current().tenant, check_id(request.job_id, "job_id"))
        return pb.GetJobResponse(job=_job(job))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        """List jobs, newest first."""
        size = paging.page_size(request.page_size)
        after = str(paging.decode_token(request.page_token, int)[0]) if request.page_token else ""
        state = _STATES_ASKED.get(request.state)
        if request.state and state is None:
            raise InvalidInput("There is no such state of jobs.", "BAD_STATE")
        jobs, following = await self._desks.jobs.page(current().tenant, size, after, state)
        token = paging.encode_token(int(following)) if following else ""
        return pb.ListJobsResponse(jobs=[_job(job) for job in jobs], next_page_token=token)

    async def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> pb.CancelJobResponse:
        """End a job before its time."""
        job_id = check_id(request.job_id, "job_id")
        return pb.CancelJobResponse(job=_job(await self._desks.cancelling.cancel(current().tenant, job_id)))

    async def RetryJob(self, request: pb.RetryJobRequest, context: Context) -> pb.RetryJobResponse:
        """Queue a failed job once more."""
        job_id, password = check_id(request.job_id, "job_id"), check_password(request.password)
        return pb.RetryJobResponse(job=_job(await self._desks.retrying.retry(current().tenant, job_id, password)))

    async def SplitPages(
        self, request_iterator: AsyncIterator[pb.SplitPagesRequest], context: Context
    ) -> AsyncIterator[pb.SplitPagesResponse]:
        """Cut stored text anew."""
        stored = await _stored(request_iterator)
        pages = _pages(request_iterator)
        async with aclosing(pages), aclosing(self._desks.resplitting.split(current().tenant, stored, pages)) as found:
            async for passages in found:
                yield pb.SplitPagesResponse(passages=[to_proto(passage) for passage in passages])

    async def EraseJobs(self, request: pb.EraseJobsRequest, context: Context) -> pb.EraseJobsResponse:
        """Erase what is kept of a deleted document's jobs."""
        document_id = check_id(request.document_id, "document_id")
        jobs = await self._desks.erasing.erase(current().tenant, document_id, request.accepted_until_us)
        return pb.EraseJobsResponse(jobs=jobs)


def _count(job: Job) -> None:
    UPLOADS.labels("accepted").inc()
    UPLOADED_BYTES.inc(job.size_bytes)


async def _first(requests: AsyncIterator[pb.SubmitDocumentRequest]) -> Header:
    async for request in requests:
        if request.HasField("header"):
            return _header(request.header, request.header.name)
        break
    raise InvalidInput("An upload begins with a header.", "HEADER_MISSING")


def _header(sent: pb.SubmitDocumentHeader, name: str) -> Header:
    return Header(
        document_id=sent.document_id,
        name=name,
        title=sent.title,
        metadata=metadata.to_python(sent.metadata),
        request_id=sent.request_id,
        password=sent.password,
    )


async def _stored(requests: AsyncIterator[pb.SplitPagesRequest]) -> StoredText:
    async for request in requests:
        if request.HasField("header"):
            return StoredText(request.header.document_id, request.header.content_hash, request.header.title)
        break
    raise InvalidInput("A text begins with a header.", "HEADER_MISSING")


async def _pages(requests: AsyncIterator[pb.SplitPagesRequest]) -> AsyncGenerator[Page, None]:
    async for request in requests:
        if not request.HasField("page"):
            raise InvalidInput("After its header a text holds pages.", "PAGE_EXPECTED")
        yield Page(request.page.number, request.page.text)


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
        unchanged=job.unchanged,
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
        rate_limit_waits=progress.rate_limit_waits,
        rate_limit_wait_s=progress.rate_limit_wait_s,
        seconds_left=progress.seconds_left,
    )


def _time(seconds: float) -> Timestamp:
    time = Timestamp()
    time.FromMilliseconds(int(seconds * 1000))
    return time
