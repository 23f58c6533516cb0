"""Documents on their way in: uploads, and the jobs that make them searchable."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO

from rag.client.connection import Connection
from rag.client.sending import ATTEMPTS, FIRST_PAUSE_S, MOST_PAUSE_S, Sending, repeated, upload_header
from rag.metadata import Scalar
from rag.runtime.backoff import asked_s, full_jitter
from rag.runtime.errors import DeadlineExceeded, Overloaded, Unavailable
from rag.v1 import ingestor_pb2 as pb

_WATCH_S = 3_600.0


class Jobs(Connection):
    """Uploads documents and follows their jobs."""

    async def ingest(
        self,
        path: Path,
        *,
        document_id: str = "",
        title: str = "",
        metadata: Mapping[str, Scalar] | None = None,
        request_id: str = "",
        password: str = "",
    ) -> pb.Job:
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
    ) -> pb.Job:
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
    ) -> pb.Job:
        """Have the server fetch a document from the web, which it must allow. See `ingest`."""
        header = upload_header(name, metadata, request_id, document_id=document_id, title=title, password=password)
        request = pb.SubmitUrlRequest(url=url, header=header)
        self._begin()
        response = await repeated(lambda: self._peer.unary(self._ingestor.SubmitUrl, request), self._pause)
        return response.job

    async def watch(self, job_id: str, after_sequence: int = 0) -> AsyncGenerator[pb.WatchJobResponse, None]:
        """Stream the progress of a job until it is finished. A stream that breaks off is resumed after its last event."""
        failures = 0
        while True:
            self._begin(_WATCH_S)
            request = pb.WatchJobRequest(job_id=job_id, after_sequence=after_sequence)
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

    async def job(self, job_id: str) -> pb.Job:
        """Return a job."""
        return (await self._once(self._ingestor.GetJob, pb.GetJobRequest(job_id=job_id))).job

    def jobs(self, state: pb.JobState.ValueType = pb.JOB_STATE_UNSPECIFIED) -> AsyncGenerator[pb.Job, None]:
        """List the jobs in a state, newest first; all jobs when none is given."""
        return self._listed(self._ingestor.ListJobs, pb.ListJobsRequest(state=state), "jobs")

    async def cancel(self, job_id: str) -> pb.Job:
        """End a job that is not finished; nothing of it is or will be searchable when this returns."""
        return (await self._once(self._ingestor.CancelJob, pb.CancelJobRequest(job_id=job_id))).job

    async def retry(self, job_id: str, password: str = "") -> pb.Job:
        """Put a job that failed or is dead back in the queue, with a password when it lacked one."""
        request = pb.RetryJobRequest(job_id=job_id, password=password)
        return (await self._once(self._ingestor.RetryJob, request)).job

    async def _submit(self, header: pb.SubmitDocumentHeader, opened: Callable[[], BinaryIO]) -> pb.Job:
        async def once() -> pb.SubmitDocumentResponse:
            with opened() as file, Sending(header, file) as sending:
                return await self._peer.upload(self._ingestor.SubmitDocument, sending.parts())

        self._begin()
        return (await repeated(once, self._pause)).job
