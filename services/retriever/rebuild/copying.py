"""Copying: every passage that is live is brought to another index, again and again until next to nothing is missing there."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from rag.runtime import failpoints
from rag.runtime.errors import Unavailable
from rag.runtime.logs import get_logger
from rag.runtime.tasks import together
from services.retriever.catalogue import Document
from services.retriever.opening import Index
from services.retriever.parts import Batch
from services.retriever.passages import Scalar
from services.retriever.rebuild.standing import Progress, Stage
from services.retriever.upkeep.reconciling import Entry, Key, counts_of

log = get_logger(__name__)

_ROWS_AT_ONCE = 2_000
_DOCUMENTS_AT_ONCE = 2
_ENGINE_SHARE = 0.5
"""The most of the time that copying may keep the index busy: searches have the rest for themselves."""


@dataclass(frozen=True, slots=True)
class Copied:
    """How many passages a version has in one collection: counted there, 0 for never, and when it was committed."""

    there: int = 0
    committed: int = 0


class Ledger(Protocol):
    """The catalogue, of all tenants, for a copy of it."""

    def committed(self, seen: MutableMapping[str, float]) -> AsyncIterator[Sequence[Entry]]:
        """Yield the live versions that were committed since `seen` was handed in before, all when it is empty."""

    async def counts(self, keys: Sequence[Key], collection: str) -> Sequence[Copied]:
        """Return how many passages each of these versions has in a collection."""

    async def count(self, key: Key, collection: str, passages: int, known: Collection[str]) -> bool:
        """Keep how many passages a version has in a collection; False when it is not live any more.

        What was kept of collections that are not `known` is forgotten.
        """

    async def unneeded(self, keys: Collection[Key]) -> Collection[Key]:
        """Return those of `keys` that are neither live nor being written, in one reading."""


class Documents(Protocol):
    """The entries of the catalogue."""

    async def get(self, tenant: str, document_id: str) -> Document | None:
        """Return the live version, None when there is none."""


class Target(Protocol):
    """The index that is being built."""

    @property
    def index(self) -> Index:
        """Which one it is."""

    async def write(self, tenant: str, batch: Batch, metadata: Mapping[str, Scalar]) -> None:
        """Write a batch; doing it twice has the effect of doing it once."""

    async def erase(self, tenant: str, document_id: str, first: int, last: int) -> int:
        """Remove the rows of these versions; return how many are left."""

    async def count(self, tenant: str = "", document_id: str = "", version: int = 0) -> int:
        """Return how many rows there are, of one version or of all."""

    async def row_ids(self, after: str, limit: int) -> list[str]:
        """Return the ids of up to `limit` rows in their order, those after the id `after`."""


Make = Callable[[str, Document], AsyncGenerator[Batch, None]]
"""Yields the passages that a tenant's document shall have in the new index."""


class Copying:
    """One copy, for one rebuild.

    Args:
        ledger: What is live.
        documents: The same, one by one, with metadata.
        target: Where to.
        make: What to write.
        known: The collections whose counts of passages are still of use.
        was_live: The target was live before: what was committed to it is there, though nobody counted it.
    """

    def __init__(
        self,
        ledger: Ledger,
        documents: Documents,
        target: Target,
        make: Make,
        known: Collection[str],
        *,
        was_live: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ledger = ledger
        self._documents = documents
        self._target = target
        self._make = make
        self._known = known
        self._was_live = was_live
        self._clock = clock
        self._sleep = sleep
        self._seen: dict[str, float] = {}
        self._there: dict[Key, int] = {}
        self._began = 0.0
        self._computed = 0
        self.progress = Progress()

    async def begin(self) -> None:
        """Look what there is to do and what is there already. Raises Unavailable, as all of it."""
        documents = passages = 0
        async for page in self._ledger.committed({}):
            documents += len(page)
            passages += sum(entry.passages for entry in page)
        self.progress = replace(self.progress, documents_total=documents, passages_total=passages)
        self._there = await counts_of(lambda: self._target)
        self._began = self._clock()

    async def run(self) -> None:
        """Copy until next to nothing is missing, then erase what nobody needs.

        While somebody writes all the time a little always is: as soon as looking again does not make it less, that is left to
        the switch.
        """
        before, found = sys.maxsize, await self.catch_up()
        while 0 < found < before:
            before, found = found, await self.catch_up()
        leftovers, self._there = list(self._there), {}
        for start in range(0, len(leftovers), _ROWS_AT_ONCE):
            for key in await self._ledger.unneeded(leftovers[start : start + _ROWS_AT_ONCE]):
                await self._erase(key)

    async def catch_up(self) -> int:
        """Copy what was committed since the last time; return how many versions that were."""
        found = 0
        async for page in self._ledger.committed(self._seen):
            missing = await self._missing(page)
            found += len(missing)
            waiting = iter(missing)
            await together(*(self._copy_all(waiting) for _ in range(_DOCUMENTS_AT_ONCE)))
        return found

    def at(self, stage: Stage) -> None:
        """Say which stage the rebuild is at."""
        self.progress = replace(self.progress, stage=stage, seconds_left=None)

    async def _missing(self, page: Sequence[Entry]) -> list[Entry]:
        """Return what is not in the target whole; count the rest as done."""
        copied = await self._ledger.counts([entry.key for entry in page], self._target.index.collection)
        missing = []
        for entry, count in zip(page, copied, strict=True):
            wanted = count.there or (count.committed if self._was_live else 0)
            if wanted and self._there.get(entry.key) == wanted:
                del self._there[entry.key]
                self._advance(1, wanted)
            else:
                missing.append(entry)
        return missing

    async def _copy_all(self, waiting: Iterator[Entry]) -> None:
        for entry in waiting:
            await self._copy(entry.key)

    async def _copy(self, key: Key) -> None:
        if self._there.pop(key, 0):
            await self._erase(key)  # a part, of a copy that broke off
        document = await self._documents.get(key.tenant, key.document_id)
        if document is None or document.version != key.version:
            return  # a later look at the catalogue finds the new one
        count = 0
        async with aclosing(self._make(key.tenant, document)) as batches:
            async for batch in batches:
                began = self._clock()
                await self._target.write(key.tenant, batch, document.metadata)
                count += len(batch.passages)
                self._computed += len(batch.passages)
                self._advance(0, len(batch.passages))
                await self._sleep((self._clock() - began) * (1 / _ENGINE_SHARE - 1))
        if await self._target.count(*key) != count:
            raise Unavailable("Rows that were written are not there.", "ROWS_MISSING")
        if not await self._ledger.count(key, self._target.index.collection, count, self._known):
            await self._erase(key)  # replaced or deleted while it was copied
            return
        self._advance(1, 0)
        failpoints.reach("rebuild_copied")

    async def _erase(self, key: Key) -> None:
        if await self._target.erase(key.tenant, key.document_id, key.version, key.version):
            raise Unavailable("Rows are left.", "ROWS_LEFT")

    def _advance(self, documents: int, passages: int) -> None:
        done = self.progress
        passages_done = done.passages_done + passages
        documents_done = done.documents_done + documents
        passages_total = max(done.passages_total, passages_done)
        took_s, left = self._clock() - self._began, passages_total - passages_done
        seconds_left = left * took_s / self._computed if self._computed else None
        documents_total = max(done.documents_total, documents_done)
        self.progress = Progress(
            done.stage, documents_done, documents_total, passages_done, passages_total, seconds_left
        )
