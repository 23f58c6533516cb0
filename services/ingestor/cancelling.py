"""Calls jobs off: when it is done, nothing of the job is or will be searchable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from rag.runtime.context import CallContext, bound
from rag.runtime.errors import DeadlineExceeded, FailedPrecondition, Overloaded, Unavailable
from rag.runtime.logs import get_logger
from rag.runtime.tasks import unbroken
from services.ingestor.blobs import BlobStore, discard
from services.ingestor.forgetting import Leftovers
from services.ingestor.jobs import Job, JobQueue, JobState, JobStore, Lease, LeaseLostError, Upload
from services.ingestor.metrics import JOBS

log = get_logger(__name__)

_REVOKE_S = 1.0
"""The longest that the index is waited for: who calls a job off has an answer within 2 seconds."""
_LOOK_AGAIN_S = 0.05
_MOST_LOOKS = 30


class Takeovers(Protocol):
    """Takes jobs from their workers. Raises `Unavailable` when the queue cannot be reached."""

    async def take_over(self, tenant: str, job_id: str) -> Lease:
        """Take an unfinished job from its worker, to call it off; a finished one is returned as it is.

        Whoever dies after this is followed by a worker, whose lease says `cancelling`. `NotFound` when there is no such job.
        """
        ...

    async def is_called_off(self, tenant: str, job_id: str) -> bool:
        """Whether the job was taken over, however far its end is, or is gone."""
        ...


class Versions(Protocol):
    """What may become searchable of a job."""

    async def revoke(self, document_id: str, accepted_us: int) -> int:
        """Refuse every version of one upload from now on; the version when it is live already, else 0."""
        ...


@dataclass(frozen=True, slots=True)
class Remains:
    """Where something of a job may be left."""

    blobs: BlobStore
    versions: Versions
    leftovers: Leftovers


class Cancelling:
    """Ends jobs before their time.

    Args:
        takeovers: Where jobs are taken from their workers.
        queue: Where their end is written.
        jobs: Where it is seen that somebody else ended one.
        remains: What is cleaned up.
        clock: Unix seconds.
        pause: Waits so many seconds.
    """

    def __init__(
        self,
        takeovers: Takeovers,
        queue: JobQueue,
        jobs: JobStore,
        remains: Remains,
        *,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._takeovers = takeovers
        self._queue = queue
        self._jobs = jobs
        self._remains = remains
        self._clock = clock
        self._pause = pause

    async def cancel(self, tenant: str, job_id: str) -> Job:
        """Return the job, cancelled.

        Raises:
            NotFound: JOB_NOT_FOUND.
            FailedPrecondition: JOB_FINISHED, when it ended in another way before.
            Unavailable: CANCEL_PENDING: the job is stopped, and it is cancelled when the services it worked with are back.
        """
        job = await self.call_off(tenant, job_id)
        if job.state is not JobState.CANCELLED:
            message = f"The job {job_id} is finished: it is {job.state.value}."
            raise FailedPrecondition(message, "JOB_FINISHED", job_id=job_id)
        return job

    async def call_off(self, tenant: str, job_id: str, *, revoking: bool = True) -> Job:
        """Return the job at its end, whatever that is. Raises as `cancel` and `finish`."""
        lease = await self._takeovers.take_over(tenant, job_id)
        if lease.job.state.is_final:
            return lease.job
        try:
            return await unbroken(self.finish(lease, revoking=revoking))
        except LeaseLostError:  # another call, or a worker after a pause of ours: it ends the job as we would
            return await self._seen_ended(tenant, job_id)
        except (Unavailable, DeadlineExceeded, Overloaded) as error:
            raise _pending() from error

    async def finish(self, lease: Lease, *, revoking: bool = True) -> Job:
        """End a job that was taken over, and return it. What is done so far may be repeated after a crash.

        Args:
            lease: The job.
            revoking: Whether the index still has to be told. Not needed when its document was deleted there.

        Raises:
            LeaseLostError: somebody else ends it.
        """
        version = await self._revoked(lease) if revoking and lease.begun else 0
        now = self._clock()
        job = lease.job.ready(version, now) if version else lease.job.cancelled(now)
        # What is left of it is found without it: the upload by the reconciler, the vectors by a note that is written with it.
        await self._queue.write(lease, job)
        JOBS.labels(job.state.value, "").inc()
        log.info("job_called_off", job_id=job.id, state=job.state.value)
        await discard(self._remains.blobs, lease.upload.blob)
        return job

    async def tidy(self, upload: Upload) -> None:
        """Have dropped what a worker still left behind after its job was taken from it, if that was to call it off."""
        if await self._takeovers.is_called_off(upload.tenant, upload.job_id):
            await self._remains.leftovers.add(upload.tenant, upload.document_id)

    async def _revoked(self, lease: Lease) -> int:
        upload = lease.upload
        with bound(CallContext(upload.job_id, upload.tenant, time.monotonic() + _REVOKE_S)):
            return await self._remains.versions.revoke(upload.document_id, upload.accepted_us)

    async def _seen_ended(self, tenant: str, job_id: str) -> Job:
        for _ in range(_MOST_LOOKS):
            job = await self._jobs.get(tenant, job_id)
            if job.state.is_final:
                return job
            await self._pause(_LOOK_AGAIN_S)
        raise _pending()


def _pending() -> Unavailable:
    message = "The job is stopped; it will be cancelled when the services that it worked with are back."
    return Unavailable(message, "CANCEL_PENDING")
