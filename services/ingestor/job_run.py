"""One job in the hands of a worker: indexed again and again while others are away, and ended in one of two ways."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from rag.runtime.errors import DeadlineExceeded, Internal, NotFound, Overloaded, RagError, Unavailable
from rag.runtime.logs import get_logger
from rag.runtime.tasks import beside
from services.ingestor.blobs import BlobStore
from services.ingestor.jobs import Job, JobError, JobQueue, Lease, LeaseLostError, Progress
from services.ingestor.metrics import JOB_SECONDS, JOBS, RETRIES
from services.ingestor.pipeline import Observer, Pipeline, Stages

log = get_logger(__name__)

# Not Conflict: somebody committed a newer version or deleted the document; doing it again would undo that.
_PASSING = (Unavailable, DeadlineExceeded, Overloaded)
_MOST_INTERNAL_RETRIES = 2
_LONGEST_PAUSE_S = 15.0

Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class WorkerRules:
    """How many jobs at once, and how long things may take, in seconds."""

    concurrency: int = 2
    heartbeat_s: float = 3.0
    progress_s: float = 0.25
    job_deadline_s: float = 1800.0


@dataclass(frozen=True, slots=True)
class WorkRoom:
    """What every job of a worker is done with."""

    queue: JobQueue
    blobs: BlobStore
    stages: Stages
    rules: WorkerRules
    pause: Pause


class JobRun:
    """One job in the hands of this worker."""

    def __init__(self, lease: Lease, room: WorkRoom) -> None:
        self._lease = lease
        self._queue = room.queue
        self._blobs = room.blobs
        self._stages = room.stages
        self._rules = room.rules
        self._pause = room.pause
        self._clock = time.time
        self._job = lease.job
        self._progress = Progress()

    async def process(self) -> None:
        """Bring the job to its end. Raises `LeaseLostError` when it is another's by now."""
        began = time.monotonic()
        await beside(self._to_its_end(), self._beat())
        await self._remove_blob()
        ended = self._job
        reason = ended.error.reason if ended.error else ""
        JOBS.labels(ended.state.value, reason).inc()
        JOB_SECONDS.observe(time.monotonic() - began)
        log.info("job_ended", state=ended.state.value, reason=reason, passages=ended.progress.passages)

    async def _to_its_end(self) -> None:
        await self._keep(self._job.running(self._lease.attempts, self._clock()))
        await self._keep(await beside(self._end(), self._publish()))

    async def give_back(self) -> None:
        """Put the job back in the queue, unless it is at its end."""
        if self._job.state.is_final:
            return
        try:
            await self._queue.release(self._lease, self._job.queued(self._clock()))
        except (LeaseLostError, Unavailable) as error:
            # Another worker takes it when the lease runs out.
            log.warning("job_not_given_back", error=repr(error))

    async def _end(self) -> Job:
        """The job as it ends."""
        if self._lease.exhausted:
            message = f"The work on the document broke off {self._lease.attempts} times, so it is not tried again."
            return self._job.failed(JobError("ATTEMPTS_EXHAUSTED", message), self._clock())
        try:
            version = await self._version()
        except RagError as error:
            log.info("job_failed", reason=error.reason, cause=repr(error.__cause__))
            job = self._job.advanced(self._progress, self._clock())
            return job.failed(JobError(error.reason, error.message), self._clock())
        return self._job.advanced(self._progress, self._clock()).ready(version, self._clock())

    async def _version(self) -> int:
        """Index the document, again and again while another service is away and the job's time lasts."""
        retries = internal = 0
        trouble = "none"
        try:
            async with asyncio.timeout(self._rules.job_deadline_s):
                while True:
                    try:
                        return await self._attempt()
                    except (*_PASSING, Internal) as error:
                        internal += isinstance(error, Internal)
                        if internal > _MOST_INTERNAL_RETRIES:
                            raise
                        trouble = error.message
                        retries += 1
                        await self._wait(error, retries)
        except TimeoutError as error:
            limit_s = self._rules.job_deadline_s
            message = f"The document was not indexed within {limit_s:g} seconds; the last trouble: {trouble}"
            raise DeadlineExceeded(message, "JOB_TIMEOUT") from error

    async def _attempt(self) -> int:
        upload = self._lease.upload
        try:
            async with self._blobs.local(upload.blob) as path:
                return await self._pipeline(path).run()
        except (RagError, LeaseLostError):
            raise
        except Exception as error:
            log.error("unexpected_error", exc_info=error)
            raise Internal("An internal error kept the document from being indexed.", "INTERNAL") from error

    def _pipeline(self, path: Path) -> Pipeline:
        observer = Observer(progress=self._note, before_commit=self._still_ours)
        return Pipeline(self._stages, self._lease.upload, path, observer)

    def _note(self, progress: Progress) -> None:
        self._progress = progress

    async def _still_ours(self) -> None:
        await self._queue.renew(self._lease)

    async def _wait(self, error: RagError, retries: int) -> None:
        asked = error.retry_after_s if isinstance(error, Overloaded) else 0.0
        # Full jitter: workers that failed together must not come back together.
        pause = max(asked, random.uniform(0, min(_LONGEST_PAUSE_S, 0.5 * 2**retries)))  # noqa: S311
        RETRIES.labels(error.reason).inc()
        log.warning("job_waits", reason=error.reason, pause_s=round(pause, 2), cause=repr(error.__cause__))
        await self._pause(pause)

    async def _beat(self) -> None:
        while True:
            await self._pause(self._rules.heartbeat_s)
            try:
                await self._queue.renew(self._lease)
            except Unavailable as error:
                log.warning("heartbeat_missed", cause=repr(error.__cause__))

    async def _publish(self) -> None:
        while True:
            await self._pause(self._rules.progress_s)
            job = self._job.advanced(self._progress, self._clock())
            if job.progress != self._job.progress:
                await self._keep(job)

    async def _keep(self, job: Job) -> None:
        """Write the job; while the queue is away, again and again: the fence tells if that took too long."""
        while True:
            try:
                await self._queue.write(self._lease, job)
            except Unavailable as error:
                log.warning("job_not_written", cause=repr(error.__cause__))
                await self._pause(1.0)
            else:
                self._job = job
                return

    async def _remove_blob(self) -> None:
        try:
            await self._blobs.remove(self._lease.upload.blob)
        except (Unavailable, NotFound) as error:
            log.warning("blob_not_removed", reason=error.reason)
