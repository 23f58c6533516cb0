"""Takes jobs from the queue and holds each under its lease until it is ended, given back or lost."""

from __future__ import annotations

import asyncio
import time

from rag.runtime.context import CallContext, bound
from rag.runtime.errors import Unavailable
from rag.runtime.logs import get_logger
from rag.runtime.tasks import beside, together
from services.ingestor.blobs import BlobStore
from services.ingestor.job_run import JobRun, Pause, WorkerRules, WorkRoom
from services.ingestor.jobs import JobQueue, Lease, LeaseLostError
from services.ingestor.metrics import JOBS_RUNNING, LEASES_LOST
from services.ingestor.pipeline import Stages

log = get_logger(__name__)


class Worker:
    """Takes jobs until it is stopped; a job in hand then goes back to the queue at once."""

    def __init__(
        self, queue: JobQueue, blobs: BlobStore, stages: Stages, rules: WorkerRules, pause: Pause = asyncio.sleep
    ) -> None:
        self._queue = queue
        self._room = WorkRoom(queue, blobs, stages, rules, pause)
        self._rules = rules
        self._pause = pause
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Work until `stop`, or until cancelled."""
        try:
            await beside(self._stopping.wait(), self._serve_all())
        finally:
            self._stopping.set()

    async def _serve_all(self) -> None:
        await together(*(self._serve() for _ in range(self._rules.concurrency)))

    async def stop(self) -> None:
        """Take no more jobs and give those in hand back."""
        self._stopping.set()

    async def _serve(self) -> None:
        while not self._stopping.is_set():
            lease = await self._next()
            if lease is not None:
                await self._hold(lease)

    async def _next(self) -> Lease | None:
        try:
            return await self._queue.take()
        except Unavailable as error:
            log.warning("queue_away", reason=error.reason, cause=repr(error.__cause__))
            await self._pause(1.0)
            return None

    async def _hold(self, lease: Lease) -> None:
        upload = lease.upload
        deadline = time.monotonic() + self._rules.job_deadline_s
        run = JobRun(lease, self._room)
        with bound(CallContext(upload.job_id, upload.tenant, deadline)), JOBS_RUNNING.track_inprogress():
            try:
                await run.process()
            except asyncio.CancelledError:
                await run.give_back()
                raise
            except LeaseLostError:
                LEASES_LOST.inc()
                log.warning("lease_lost", job_id=upload.job_id)
