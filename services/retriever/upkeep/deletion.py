"""Deletion: gone for readers in one step; the rest is the work of `deletion_worker`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rag.backup import REMOVALS_PAUSED
from rag.ids import check_id
from rag.runtime import failpoints
from rag.runtime.errors import FailedPrecondition
from services.retriever.catalogue import not_found
from services.retriever.upkeep.erasure import Wake


@dataclass(frozen=True, slots=True)
class Deletion:
    """What is still to be erased: the document's versions up to `last`, and its jobs accepted up to `until_us`.

    `due_us` tells one asking from the next.
    """

    tenant: str
    document_id: str
    last: int
    until_us: int
    due_us: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """The version that was live, 0 for none, and when it was deleted.

    Without a live version the erasure is left to the caller until `due_us`; 0 when a worker is on it already.
    """

    version: int
    until_us: int
    due_us: int = 0


class Deletions(Protocol):
    """The deletions whose erasure is not finished. They survive a restart."""

    async def delete(self, tenant: str, document_id: str) -> Deleted:
        """Remove a document for every reader and begin its erasure, in one step.

        Content that was accepted until then can no longer be committed, for a document that never was too.
        """

    async def hasten(self, tenant: str, document_id: str) -> None:
        """Have what is left of a deletion done from now on."""

    async def pending(self, limit: int) -> Sequence[Deletion]:
        """Return those that are due, the oldest first."""

    async def done(self, tenant: str, document_id: str, due_us: int) -> None:
        """Forget a deletion, unless it was asked for again since."""


class Jobs(Protocol):
    """The jobs of documents, and what they keep."""

    async def erase(self, tenant: str, document_id: str, until_us: int) -> int:
        """End and erase the jobs accepted until then, their uploads and cached vectors; return how many there were.

        Raises Unavailable while the ingestor is away.
        """


class Answers(Protocol):
    """The cached answers that were made from documents."""

    async def forget(self, tenant: str, document_id: str) -> int:
        """Erase those made from a document that is gone, and keep no more of them; return how many there were.

        Raises Unavailable while the generator is away.
        """


class Deleting:
    """Deletes documents.

    Args:
        deletions: Does it.
        jobs: The jobs that would make them.
        workers: Woken to do the rest.
        on_delete: Told of every deletion, with the version that was live; None when nobody knows whether it happened.
    """

    def __init__(
        self,
        deletions: Deletions,
        jobs: Jobs,
        *workers: Wake,
        on_delete: Callable[[str, str, int | None], None] = lambda _tenant, _document_id, _version: None,
    ) -> None:
        self._deletions = deletions
        self._jobs = jobs
        self._workers = workers
        self._on_delete = on_delete

    async def delete(self, tenant: str, document_id: str) -> int:
        """Delete a document; return the version that was live, 0 when it existed only as jobs.

        Raises:
            InvalidInput: BAD_ID.
            NotFound: DOCUMENT_NOT_FOUND, for another tenant's document too.
            Unavailable: the catalogue is away; or there is no such document and nobody knows whether there are jobs of it.
        """
        deleted = await self._delete(tenant, check_id(document_id, "document_id"))
        failpoints.reach("document_deleted")
        if not deleted.version:
            await self._erase_jobs(tenant, document_id, deleted)
        for worker in self._workers:
            worker.wake()
        return deleted.version

    async def _delete(self, tenant: str, document_id: str) -> Deleted:
        try:
            deleted = await self._deletions.delete(tenant, document_id)
        except BaseException:
            self._on_delete(tenant, document_id, None)
            raise
        self._on_delete(tenant, document_id, deleted.version)
        return deleted

    async def _erase_jobs(self, tenant: str, document_id: str, deleted: Deleted) -> None:
        if await self._count_jobs(tenant, document_id, deleted.until_us):
            await self._deletions.hasten(tenant, document_id)
            return
        if deleted.due_us:
            await self._deletions.done(tenant, document_id, deleted.due_us)
        raise not_found(document_id)

    async def _count_jobs(self, tenant: str, document_id: str, until_us: int) -> int:
        try:
            return await self._jobs.erase(tenant, document_id, until_us)
        except FailedPrecondition as error:
            if error.reason != REMOVALS_PAUSED:
                raise
            return (
                1  # there are some, ended by now; a backup may need their uploads, so the worker erases them after it
            )
