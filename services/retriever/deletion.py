"""Deletion: gone for readers in one step; then its text is erased everywhere, and that is repeated until it worked."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rag.ids import check_id
from rag.runtime import failpoints
from rag.runtime.errors import RagError, Unavailable
from rag.runtime.logs import get_logger
from services.retriever.catalogue import not_found
from services.retriever.erasure import Erasable, Wake
from services.retriever.metrics import DELETIONS_DONE, DELETIONS_PENDING
from services.retriever.rounds import Rounds

log = get_logger(__name__)

Step = Callable[["Deletion"], Awaitable[None]]


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


class Scrubber(Protocol):
    """The files of the index."""

    def note(self) -> None:
        """Take note that rows were erased."""

    async def scrub(self) -> None:
        """Return when nothing is left of what was erased before the call; at once when nothing was."""


class CatalogueLog(Protocol):
    """The file in which the catalogue's store keeps every write."""

    async def rewrite(self) -> None:
        """Return when the file holds nothing any more of what was deleted before the call, as far as the store allows."""


class Deleting:
    """Deletes documents."""

    def __init__(self, deletions: Deletions, jobs: Jobs, *workers: Wake) -> None:
        self._deletions = deletions
        self._jobs = jobs
        self._workers = workers

    async def delete(self, tenant: str, document_id: str) -> int:
        """Delete a document; return the version that was live, 0 when it existed only as jobs.

        Raises:
            InvalidInput: BAD_ID.
            NotFound: DOCUMENT_NOT_FOUND, for another tenant's document too.
            Unavailable: the catalogue is away; or there is no such document and nobody knows whether there are jobs of it.
        """
        deleted = await self._deletions.delete(tenant, check_id(document_id, "document_id"))
        failpoints.reach("document_deleted")
        if not deleted.version:
            await self._erase_jobs(tenant, document_id, deleted)
        for worker in self._workers:
            worker.wake()
        return deleted.version

    async def _erase_jobs(self, tenant: str, document_id: str, deleted: Deleted) -> None:
        if await self._jobs.erase(tenant, document_id, deleted.until_us):
            await self._deletions.hasten(tenant, document_id)
            return
        if deleted.due_us:
            await self._deletions.done(tenant, document_id, deleted.due_us)
        raise not_found(document_id)


class DeletionWorker:
    """Erases what was deleted: jobs, rows, the bytes of both in files.

    Args:
        deletions: What is to be done.
        jobs: Erased first.
        index: Erased beside them.
        files: Scrubbed when the rows are gone.
        catalogue_log: Rewritten when the jobs are gone.
        idle_s: How often to look, in seconds.
        most_backoff_s: The longest pause after failures.
        sweep_pause_s: The least time between two sweeps of the files; the deletions of that time share one.
    """

    def __init__(
        self,
        deletions: Deletions,
        jobs: Jobs,
        index: Erasable,
        files: Scrubber,
        catalogue_log: CatalogueLog,
        *,
        idle_s: float = 2.0,
        most_backoff_s: float = 10.0,
        sweep_pause_s: float = 20.0,
        batch: int = 1_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._deletions = deletions
        self._files = files
        self._catalogue_log = catalogue_log
        self._steps: Mapping[str, Step] = {"rows": _erase_rows(index, files), "jobs": _erase_jobs(jobs)}
        self._sweep_pause_s = sweep_pause_s
        self._batch = batch
        self._clock = clock
        self._rounds = Rounds(idle_s, most_backoff_s)
        self._cleared: set[tuple[str, Deletion]] = set()
        self._swept: set[tuple[str, Deletion]] = set()
        self._next_sweep = clock()

    def wake(self) -> None:
        """Look for deletions now."""
        self._rounds.wake()

    async def run(self) -> None:
        """Erase until cancelled; failures are tried again, later and later."""
        await self._rounds.run(self._round)

    async def _round(self) -> bool:
        """Do what can be done now; return whether nothing failed."""
        try:
            pending = await self._deletions.pending(self._batch)
            DELETIONS_PENDING.set(len(pending))
            self._cleared &= {(name, deletion) for name in self._steps for deletion in pending}
            self._swept &= self._cleared
            worked = [await self._clear(deletion) for deletion in pending]
            if self._cleared != self._swept and self._clock() >= self._next_sweep:
                await self._sweep(pending)
        except RagError as error:
            log.warning("deletions_unfinished", reason=error.reason, cause=repr(error.__cause__))
            return False
        return all(worked)

    async def _clear(self, deletion: Deletion) -> bool:
        """Erase what is left of one document; one step that fails does not keep the other from being done."""
        failed = False
        for name, step in self._steps.items():
            if (name, deletion) in self._cleared:
                continue
            try:
                await step(deletion)
                self._cleared.add((name, deletion))
            except RagError as error:
                failed = True
                fields = {"document_id": deletion.document_id, "step": name, "reason": error.reason}
                log.warning("deletion_unfinished", **fields, cause=repr(error.__cause__))
        return not failed

    async def _sweep(self, pending: Sequence[Deletion]) -> None:
        """Remove the bytes of what was cleared from files; many deletions share it, since it grows with the stores."""
        self._next_sweep = self._clock() + self._sweep_pause_s
        cleared = set(self._cleared)
        await self._files.scrub()
        await self._catalogue_log.rewrite()
        self._swept |= cleared
        for deletion in pending:
            if all((name, deletion) in cleared for name in self._steps):
                await self._deletions.done(deletion.tenant, deletion.document_id, deletion.due_us)
                DELETIONS_DONE.inc()


def _erase_rows(index: Erasable, files: Scrubber) -> Step:
    async def erase(deletion: Deletion) -> None:
        if not deletion.last:
            return
        left = await index.erase(deletion.tenant, deletion.document_id, 1, deletion.last)
        if left:
            raise Unavailable(f"{left} rows are left.", "ROWS_LEFT")
        files.note()

    return erase


def _erase_jobs(jobs: Jobs) -> Step:
    async def erase(deletion: Deletion) -> None:
        await jobs.erase(deletion.tenant, deletion.document_id, deletion.until_us)

    return erase
