"""Takes jobs from the queue and holds each under its lease until it is ended, given back or lost."""

from __future__ import annotations

import asyncio
import time

from rag.runtime.context import CallContext, bound
from rag.runtime.errors import RagError, Unavailable
from rag.runtime.logs import get_logger
from rag.runtime.tasks import beside, together, unbroken
from services.ingestor.cancelling import Cancelling
from services.ingestor.job_run import JobRun, WorkRoom
from services.ingestor.jobs import Lease, LeaseLostError, Upload
from services.ingestor.metrics import JOBS_RUNNING, LEASES_LOST
from services.ingestor.slots import Slot, Slots

log = get_logger(__name__)


class Worker:
    """Takes jobs until it is stopped; a job in hand then goes back to the queue at once."""

    def __init__(self, room: WorkRoom, cancelling: Cancelling) -> None:
        self._room = room
        self._cancelling = cancelling
        self._slots = Slots(room.rules.concurrency, room.rules.spare)
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Work until `stop`, or until cancelled."""
        try:
            await beside(self._stopping.wait(), self._serve_all())
        finally:
            self._stopping.set()

    async def stop(self) -> None:
        """Take no more jobs and give those in hand back."""
        self._stopping.set()

    async def _serve_all(self) -> None:
        rules = self._room.rules
        await together(*(self._serve() for _ in range(rules.concurrency + rules.spare)))

    async def _serve(self) -> None:
        while not self._stopping.is_set():
            async with self._slots.slot() as slot:
                lease = await self._next()
                if lease is not None:
                    await self._hold(lease, slot)

    async def _next(self) -> Lease | None:
        try:
            return await self._room.queue.take()
        except Unavailable as error:
            log.warning("queue_away", reason=error.reason, cause=repr(error.__cause__))
            await self._room.pause(1.0)
            return None

    async def _hold(self, lease: Lease, slot: Slot) -> None:
        upload = lease.upload
        deadline = time.monotonic() + self._room.rules.job_deadline_s
        with bound(CallContext(upload.job_id, upload.tenant, deadline)), JOBS_RUNNING.track_inprogress():
            try:
                await (self._call_off(lease) if lease.cancelling else self._process(JobRun(lease, self._room, slot)))
            except LeaseLostError:
                LEASES_LOST.inc()
                log.warning("lease_lost", job_id=upload.job_id)
                await self._tidy(upload)

    @staticmethod
    async def _process(run: JobRun) -> None:
        try:
            await run.process()
        except asyncio.CancelledError:
            await run.give_back()
            raise

    async def _call_off(self, lease: Lease) -> None:
        try:
            await unbroken(self._cancelling.finish(lease))
        except RagError as error:
            log.warning("job_not_called_off", reason=error.reason, cause=repr(error.__cause__))
            await self._put_off(lease)

    async def _put_off(self, lease: Lease) -> None:
        """Let the job come back a whole lease from now.

        It goes before new jobs, which would never have a turn if waiting for the index took as long as the lease.
        """
        try:
            await self._room.queue.renew(lease)
        except Unavailable as error:
            log.warning("queue_away", reason=error.reason, cause=repr(error.__cause__))

    async def _tidy(self, upload: Upload) -> None:
        try:
            await self._cancelling.tidy(upload)
        except RagError as error:
            log.warning("not_tidied", reason=error.reason, cause=repr(error.__cause__))
