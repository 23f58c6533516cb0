"""Erases all that is kept of a document's jobs."""

from __future__ import annotations

from typing import Protocol

from rag.runtime import failpoints
from rag.runtime.errors import NotFound, Unavailable
from rag.runtime.logs import get_logger
from services.ingestor.blobs import BlobStore, blob_name
from services.ingestor.cancelling import Cancelling
from services.ingestor.forgetting import VectorCache

log = get_logger(__name__)

_MOST_TRIES = 3


class DocumentJobs(Protocol):
    """The jobs of one document. Raises `Unavailable` when the queue cannot be reached."""

    async def of_document(self, tenant: str, document_id: str, until_us: int) -> list[str]:
        """The ids of the jobs that were accepted up to a moment, finished ones too."""
        ...

    async def erase(self, tenant: str, document_id: str, job_id: str) -> bool:
        """Forget a finished job with all that is kept of it; False while it is not finished."""
        ...


class Erasing:
    """Ends and erases the jobs of documents that were deleted."""

    def __init__(self, jobs: DocumentJobs, cancelling: Cancelling, blobs: BlobStore, vectors: VectorCache) -> None:
        self._jobs = jobs
        self._cancelling = cancelling
        self._blobs = blobs
        self._vectors = vectors

    async def erase(self, tenant: str, document_id: str, until_us: int) -> int:
        """Erase the jobs that were accepted up to a moment, and return how many there were. Repeating it does no harm.

        Raises:
            Unavailable: something could not be erased yet.
        """
        job_ids = await self._jobs.of_document(tenant, document_id, until_us)
        for job_id in job_ids:
            await self._erase(tenant, document_id, job_id)
        await self._vectors.forget(document_id)
        failpoints.reach("jobs_erased")
        log.info("jobs_erased", document_id=document_id, jobs=len(job_ids))
        return len(job_ids)

    async def _erase(self, tenant: str, document_id: str, job_id: str) -> None:
        for _ in range(_MOST_TRIES):
            try:
                # Its watchers are told of an end before it vanishes. The index refuses its versions already.
                await self._cancelling.call_off(tenant, job_id, revoking=False)
            except NotFound:
                log.info("job_expired", job_id=job_id)
            await self._blobs.remove(blob_name(tenant, job_id))
            if await self._jobs.erase(tenant, document_id, job_id):
                return
        message = "A job of the document is brought back all the time; try again."
        raise Unavailable(message, "JOB_RESTLESS", job_id=job_id)
