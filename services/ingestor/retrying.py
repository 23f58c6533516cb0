"""Brings failed jobs back into the queue."""

from __future__ import annotations

from typing import Protocol

from rag.runtime.errors import FailedPrecondition
from services.ingestor.blobs import BlobStore, blob_name
from services.ingestor.jobs import Job, JobState, JobStore


class Retries(Protocol):
    """Queues jobs once more. Raises `Unavailable` when the queue cannot be reached."""

    async def retry(self, tenant: str, job_id: str, password: str) -> Job:
        """Queue a job that is retryable; an empty password leaves the one there is.

        Raises as `check_retryable`, `Overloaded` QUEUE_FULL, and `NotFound` JOB_NOT_FOUND.
        """
        ...


class Retrying:
    """Retries jobs whose upload is still there."""

    def __init__(self, jobs: JobStore, retries: Retries, blobs: BlobStore) -> None:
        self._jobs = jobs
        self._retries = retries
        self._blobs = blobs

    async def retry(self, tenant: str, job_id: str, password: str) -> Job:
        """Return the job, queued, as if it had never been taken up.

        Raises:
            NotFound: JOB_NOT_FOUND.
            FailedPrecondition: JOB_NOT_RETRYABLE, UPLOAD_MISSING.
            Overloaded: QUEUE_FULL.
        """
        check_retryable(await self._jobs.get(tenant, job_id))
        if not await self._blobs.exists(blob_name(tenant, job_id)):
            message = "The uploaded file is gone; upload the document again."
            raise FailedPrecondition(message, "UPLOAD_MISSING", job_id=job_id)
        return await self._retries.retry(tenant, job_id, password)


def check_retryable(job: Job) -> None:
    """Raise `FailedPrecondition` JOB_NOT_RETRYABLE unless the job failed."""
    if job.state not in {JobState.FAILED, JobState.DEAD}:
        message = f"The job {job.id} did not fail: it is {job.state.value}."
        raise FailedPrecondition(message, "JOB_NOT_RETRYABLE", job_id=job.id)
