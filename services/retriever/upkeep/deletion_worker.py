"""The work of deletions: the text of what was deleted is erased everywhere, and that is repeated until it worked."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from rag.runtime.errors import RagError, Unavailable
from rag.runtime.logs import get_logger
from services.retriever.metrics import DELETIONS_DONE, DELETIONS_PENDING
from services.retriever.upkeep.deletion import Answers, Deletion, Deletions, Jobs
from services.retriever.upkeep.erasure import Erasable
from services.retriever.upkeep.rounds import Paused, Rounds, never

log = get_logger(__name__)

Step = Callable[[Deletion], Awaitable[None]]


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


class DeletionWorker:
    """Erases what was deleted: jobs, rows, answers, and the bytes of all in files.

    Args:
        deletions: What is to be done.
        jobs: Erased.
        answers: Erased beside them: those that hold text of the document.
        index: Erased beside them.
        files: Scrubbed when the rows are gone.
        catalogue_log: Rewritten when jobs and answers are gone.
        idle_s: How often to look, in seconds.
        most_backoff_s: The longest pause after failures.
        sweep_pause_s: The least time between two sweeps of the files; the deletions of that time share one.
        paused: Whether all of it must wait.
    """

    def __init__(
        self,
        deletions: Deletions,
        jobs: Jobs,
        answers: Answers,
        index: Erasable,
        files: Scrubber,
        *,
        catalogue_log: CatalogueLog,
        idle_s: float = 2.0,
        most_backoff_s: float = 10.0,
        sweep_pause_s: float = 20.0,
        batch: int = 1_000,
        paused: Paused = never,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._deletions = deletions
        self._paused = paused
        self._files = files
        self._catalogue_log = catalogue_log
        self._steps: Mapping[str, Step] = {
            "rows": _erase_rows(index, files),
            "jobs": _erase_jobs(jobs),
            "answers": _forget_answers(answers),
        }
        self._sweep_pause_s = sweep_pause_s
        self._batch = batch
        self._clock = clock
        self._rounds = Rounds(idle_s, most_backoff_s, "deletions_unfinished")
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
        pending = await self._deletions.pending(self._batch)
        DELETIONS_PENDING.set(len(pending))
        if await self._paused():
            return True
        self._cleared &= {(name, deletion) for name in self._steps for deletion in pending}
        self._swept &= self._cleared
        worked = [await self._clear(deletion) for deletion in pending]
        if self._cleared != self._swept and self._clock() >= self._next_sweep:
            await self._sweep(pending)
        return all(worked)

    async def _clear(self, deletion: Deletion) -> bool:
        """Erase what is left of one document; one step that fails does not keep the others from being done."""
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


def _forget_answers(answers: Answers) -> Step:
    async def forget(deletion: Deletion) -> None:
        if deletion.last:  # what never had a version was never answered from
            await answers.forget(deletion.tenant, deletion.document_id)

    return forget
