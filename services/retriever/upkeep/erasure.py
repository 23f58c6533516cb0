"""Erasure: what nobody may see any more is removed from the index, and looked for until none is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rag.runtime import failpoints
from rag.runtime.errors import RagError, Unavailable
from rag.runtime.logs import get_logger
from services.retriever.metrics import ERASURES_DONE, ERASURES_PENDING
from services.retriever.upkeep.rounds import Paused, Rounds, never

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Erasure:
    """The rows of a document's versions `first` to `last`, both included. `due_ms` tells one asking from the next."""

    tenant: str
    document_id: str
    first: int
    last: int
    due_ms: int = field(default=0, compare=False)


class ErasureQueue(Protocol):
    """The erasures still to be done. They survive a restart, and doing one twice does no harm."""

    async def due(self, limit: int) -> Sequence[Erasure]:
        """Return the erasures that are due, oldest first; versions that were left open come due after a while."""

    async def done(self, erasure: Erasure) -> None:
        """Forget an erasure, unless it was asked for again since."""

    async def pending(self) -> int:
        """Return how many there are."""


class Erasable(Protocol):
    """Removes rows."""

    async def erase(self, tenant: str, document_id: str, first: int, last: int) -> int:
        """Remove the rows of these versions; return how many are left."""


class Wake(Protocol):
    """Starts the erasures that are due."""

    def wake(self) -> None:
        """Return at once."""


class Residue(Protocol):
    """Takes note of what erased rows leave behind."""

    def note(self) -> None:
        """Return at once."""


class EraseWorker:
    """Does the erasures in the background, for as long as it takes."""

    def __init__(
        self,
        queue: ErasureQueue,
        index: Erasable,
        residue: Residue,
        *,
        idle_s: float = 1.0,
        batch: int = 100,
        most_backoff_s: float = 10.0,
        paused: Paused = never,
    ) -> None:
        self._queue = queue
        self._index = index
        self._residue = residue
        self._batch = batch
        self._paused = paused
        self._rounds = Rounds(idle_s, most_backoff_s, "erasures_unreadable")

    def wake(self) -> None:
        """Look for due erasures now."""
        self._rounds.wake()

    async def run(self) -> None:
        """Erase until cancelled; failures are tried again, later and later."""
        await self._rounds.run(self._round)

    async def _round(self) -> bool:
        """Do what is due; return whether all of it succeeded."""
        erasures = await self._queue.due(self._batch)
        if await self._paused():
            return True
        succeeded = [await self._erase(erasure) for erasure in erasures]
        ERASURES_PENDING.set(await self._queue.pending())
        if len(erasures) == self._batch and all(succeeded):
            self.wake()
        return all(succeeded)

    async def _erase(self, erasure: Erasure) -> bool:
        try:
            left = await self._index.erase(erasure.tenant, erasure.document_id, erasure.first, erasure.last)
            if left:
                raise Unavailable(f"{left} rows are left.", "ROWS_LEFT")
            self._residue.note()
            failpoints.reach("rows_erased")
            await self._queue.done(erasure)
        except RagError as error:
            fields = {"document_id": erasure.document_id, "last_version": erasure.last}
            log.warning("erasure_failed", reason=error.reason, cause=repr(error.__cause__), **fields)
            return False
        ERASURES_DONE.inc()
        return True
