"""One job in the hands of a worker: indexed again and again while others are away, until it ends in one of three ways."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from rag.runtime import failpoints
from rag.runtime.backoff import asked_s, full_jitter
from rag.runtime.errors import (
    Conflict,
    DeadlineExceeded,
    Internal,
    InvalidInput,
    NotFound,
    Overloaded,
    RagError,
    TooLarge,
    Unavailable,
)
from rag.runtime.logs import get_logger
from rag.runtime.tasks import beside
from services.ingestor.blobs import BlobStore, discard
from services.ingestor.fingerprint import fingerprint
from services.ingestor.jobs import Job, JobError, JobQueue, JobState, Lease, LeaseLostError, Progress
from services.ingestor.metrics import JOB_SECONDS, JOBS, RETRIES
from services.ingestor.pipeline import Observer, Pipeline, Stages
from services.ingestor.slots import Slot

log = get_logger(__name__)

_PASSING = (Unavailable, DeadlineExceeded, Overloaded)
_AGAIN = {"VERSION_OUTRUN", "INDEX_SWITCHED"}
"""Another version went live first, but ours is the newer content: it only needs a later number. Or another index went live."""
_OF_THE_DOCUMENT = (InvalidInput, TooLarge, Conflict, NotFound)
"""Trying again would end the same way. All other errors are ours, and what they end may be retried."""
_MOST_INTERNAL_RETRIES = 2
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 15.0

Pause = Callable[[float], Awaitable[None]]
Change = Callable[[Job], Job]


@dataclass(frozen=True, slots=True)
class WorkerRules:
    """How many jobs at once, and how long things may take, in seconds."""

    concurrency: int = 2
    spare: int = 2
    heartbeat_s: float = 1.0
    progress_s: float = 0.25
    job_deadline_s: float = 1800.0


@dataclass(frozen=True, slots=True)
class WorkRoom:
    """What every job of a worker is done with."""

    queue: JobQueue
    blobs: BlobStore
    stages: Stages
    rules: WorkerRules
    pause: Pause = asyncio.sleep
    clock: Callable[[], float] = time.time
    random_unit: Callable[[], float] = random.random


class JobRun:
    """One job in the hands of this worker, in a place of its own."""

    def __init__(self, lease: Lease, room: WorkRoom, slot: Slot) -> None:
        self._lease = lease
        self._room = room
        self._slot = slot
        self._queue = room.queue
        self._rules = room.rules
        self._job = lease.job
        self._progress = Progress()
        self._trouble = lease.job.trouble
        self._writing = asyncio.Lock()

    async def process(self) -> None:
        """Bring the job to its end. Raises `LeaseLostError` when it is another's by now."""
        began = time.monotonic()
        failpoints.reach("job_taken")
        await beside(self._to_its_end(), self._beat())
        failpoints.reach("job_ended")
        ended = self._job
        if ended.state is JobState.READY:  # the others can be retried
            await discard(self._room.blobs, self._lease.upload.blob)
        reason = ended.error.reason if ended.error else ""
        JOBS.labels(ended.state.value, reason).inc()
        JOB_SECONDS.observe(time.monotonic() - began)
        log.info("job_ended", state=ended.state.value, reason=reason, passages=ended.progress.passages)

    async def give_back(self) -> None:
        """Put the job back in the queue, unless it is at its end."""
        if self._job.state.is_final:
            return
        try:
            await self._queue.release(self._lease, self._job.queued(self._now()))
        except (LeaseLostError, Unavailable) as error:
            # Another worker takes it when the lease runs out.
            log.warning("job_not_given_back", error=repr(error))

    async def _to_its_end(self) -> None:
        attempts, now = self._lease.attempts, self._now()
        await self._keep(lambda job: job.running(attempts, now))
        await self._keep(await beside(self._end(), self._publish()))

    async def _end(self) -> Change:
        """What the job becomes at its end."""
        try:
            self._check_worth_it()
            version, unchanged = await self._version()
        except RagError as error:
            log.info("job_failed", reason=error.reason, cause=repr(error.__cause__))
            why = JobError(error.reason, error.message)
            if isinstance(error, _OF_THE_DOCUMENT):
                return lambda job: self._advanced(job).failed(why, self._now())
            return lambda job: self._advanced(job).dead(why, self._now())
        failpoints.reach("version_committed")
        return lambda job: self._advanced(job).ready(version, self._now(), unchanged=unchanged)

    def _check_worth_it(self) -> None:
        if self._lease.exhausted:
            trouble = self._job.trouble
            last = f"; the last trouble: {trouble.reason}, {trouble.message}" if trouble else "."
            message = f"The work on the document broke off {self._lease.attempts} times, so it is not tried again{last}"
            raise Internal(message, "ATTEMPTS_EXHAUSTED")
        if self._lease.superseded:
            message = "Content of this document that was uploaded later is searchable already."
            raise Conflict(message, "VERSION_SUPERSEDED")

    async def _version(self) -> tuple[int, bool]:
        """Index the document, again and again while another service is away and the job's time lasts."""
        retries = internal = 0
        try:
            async with asyncio.timeout(self._rules.job_deadline_s):
                while True:
                    try:
                        return await self._attempt()
                    except (*_PASSING, Internal, Conflict) as error:
                        if isinstance(error, Conflict) and error.reason not in _AGAIN:
                            raise
                        internal += isinstance(error, Internal)
                        if internal > _MOST_INTERNAL_RETRIES:
                            raise
                        retries += 1
                        await self._wait(error, retries)
        except TimeoutError as error:
            limit_s = self._rules.job_deadline_s
            trouble = self._trouble.message if self._trouble else "none"
            message = f"The document was not indexed within {limit_s:g} seconds; the last trouble: {trouble}"
            raise DeadlineExceeded(message, "JOB_TIMEOUT") from error

    async def _attempt(self) -> tuple[int, bool]:
        """The version that is live with the document, and whether it was before any work was done."""
        upload, stages = self._lease.upload, self._room.stages
        try:
            live = await stages.index.live(upload.document_id)
            if live and live.fingerprint == fingerprint(upload, stages.sizes):
                return live.version, self._job.progress == Progress()
            async with self._room.blobs.local(upload.blob) as path:
                return await self._pipeline(path).run(), False
        except (RagError, LeaseLostError):
            raise
        except Exception as error:
            log.error("unexpected_error", exc_info=error)
            raise Internal("An internal error kept the document from being indexed.", "INTERNAL") from error

    def _pipeline(self, path: Path) -> Pipeline:
        # Written before the commit, progress tells a later worker that the version it finds live is this job's.
        observer = Observer(
            progress=self._note, trouble=self._note_trouble, before_commit=lambda: self._keep(self._advanced)
        )
        lease = self._lease
        return Pipeline(self._room.stages, lease.upload, lease.fence, path, observer=observer, slot=self._slot)

    def _note(self, progress: Progress) -> None:
        self._progress = progress

    def _note_trouble(self, error: Exception) -> None:
        if isinstance(error, RagError):
            self._trouble = JobError(error.reason, error.message)

    async def _wait(self, error: RagError, retries: int) -> None:
        jitter = full_jitter(retries, _FIRST_PAUSE_S, _LONGEST_PAUSE_S, self._room.random_unit)
        pause = max(asked_s(error), jitter)
        RETRIES.labels(error.reason).inc()
        log.warning("job_waits", reason=error.reason, pause_s=round(pause, 2), cause=repr(error.__cause__))
        trouble = self._trouble = JobError(error.reason, error.message)
        await self._keep(lambda job: self._advanced(job).troubled(trouble, self._now()))
        await self._room.pause(pause)

    async def _beat(self) -> None:
        while True:
            await self._room.pause(self._rules.heartbeat_s)
            try:
                await self._queue.renew(self._lease)
            except Unavailable as error:
                log.warning("heartbeat_missed", cause=repr(error.__cause__))

    async def _publish(self) -> None:
        while True:
            await self._room.pause(self._rules.progress_s)
            if self._advanced(self._job).progress != self._job.progress:
                await self._keep(self._advanced)

    def _advanced(self, job: Job) -> Job:
        return job.advanced(self._progress, self._now())

    async def _keep(self, change: Change) -> None:
        """Write the job; while the queue is away, again and again: the fence tells if that took too long."""
        async with self._writing:
            job = change(self._job)
            while True:
                try:
                    await self._queue.write(self._lease, job)
                except Unavailable as error:
                    log.warning("job_not_written", cause=repr(error.__cause__))
                    await self._room.pause(1.0)
                else:
                    self._job = job
                    return

    def _now(self) -> float:
        return self._room.clock()
