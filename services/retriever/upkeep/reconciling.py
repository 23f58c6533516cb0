"""Reconciling: what the catalogue says and what the index holds are compared, and what nobody needs is erased."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, Protocol

from rag.runtime.errors import RagError
from rag.runtime.logs import get_logger
from services.retriever.metrics import RECONCILED
from services.retriever.upkeep.erasure import Wake

log = get_logger(__name__)

_ROWS_AT_ONCE = 2_000
_AGAIN_S = 30.0


class Key(NamedTuple):
    """A version of a tenant's document."""

    tenant: str
    document_id: str
    version: int


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """A live version and how many passages it was committed with."""

    key: Key
    passages: int


@dataclass(frozen=True, slots=True)
class Findings:
    """What one comparison found."""

    documents: int = 0
    rows: int = 0
    orphans: int = 0
    """Versions that were neither live nor being written: now being erased."""
    damaged: int = 0
    """Live documents with another number of rows than of passages."""
    repaired: int = 0
    """Entries of the listing that named nothing, or documents that it did not name."""


class Inventory(Protocol):
    """The catalogue, of all tenants, for its upkeep."""

    async def repair(self) -> int:
        """Make the listing of documents and the documents agree; return how many entries did not."""

    def entries(self) -> AsyncIterator[Sequence[Entry]]:
        """Yield all live versions, page by page."""

    async def unneeded(self, keys: Collection[Key]) -> Collection[Key]:
        """Return those of `keys` that are neither live nor being written, in one reading."""

    async def erase(self, keys: Collection[Key]) -> None:
        """Queue the erasure of versions."""


class Rows(Protocol):
    """The rows of the index. An id is `tenant/document/version/ordinal`."""

    async def count(self, tenant: str = "", document_id: str = "", version: int = 0) -> int:
        """Return how many rows there are, of one version or of all."""

    async def row_ids(self, after: str, limit: int) -> list[str]:
        """Return the ids of up to `limit` rows in their order, those after the id `after`."""


class Reconciler:
    """Compares totals first, and looks closer only when they differ."""

    def __init__(self, inventory: Inventory, live: Callable[[], Rows], erasure: Wake, every_s: float) -> None:
        self._inventory = inventory
        self._live = live
        self._erasure = erasure
        self._every_s = every_s
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Reconcile now."""
        self._woken.set()

    async def run(self) -> None:
        """Reconcile now and again until cancelled."""
        while True:
            pause_s = self._every_s
            self._woken.clear()
            try:
                _report(await self.reconcile())
            except RagError as error:
                log.warning("not_reconciled", reason=error.reason, cause=repr(error.__cause__))
                pause_s = min(_AGAIN_S, pause_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._woken.wait()

    async def reconcile(self) -> Findings:
        """Compare once and repair what can be repaired.

        Raises:
            Unavailable: the index or the catalogue is away.
        """
        repaired = await self._inventory.repair()
        documents, expected = 0, 0
        async for page in self._inventory.entries():
            documents += len(page)
            expected += sum(entry.passages for entry in page)
        rows = await self._live().count()
        if rows == expected:
            return Findings(documents, rows, repaired=repaired)
        counts = await counts_of(self._live)
        orphans = await self._erase_orphans(list(counts))
        return Findings(documents, rows, orphans, await self._damaged(counts), repaired)

    async def _erase_orphans(self, keys: Sequence[Key]) -> int:
        """Queue the erasure of what nobody needs. The rows were seen first: a version is open before it has any."""
        found = 0
        for start in range(0, len(keys), _ROWS_AT_ONCE):
            unneeded = await self._inventory.unneeded(keys[start : start + _ROWS_AT_ONCE])
            await self._inventory.erase(unneeded)
            found += len(unneeded)
        if found:
            self._erasure.wake()
        return found

    async def _damaged(self, counts: Mapping[Key, int]) -> int:
        damaged = 0
        async for page in self._inventory.entries():
            for entry in page:
                if counts.get(entry.key) != entry.passages and await self._is_damaged(entry):
                    log.error("document_damaged", document_id=entry.key.document_id, version=entry.key.version)
                    damaged += 1
        return damaged

    async def _is_damaged(self, entry: Entry) -> bool:
        """Look again: it may have been written or replaced since its rows were counted."""
        rows = await self._live().count(*entry.key)
        return rows != entry.passages and not await self._inventory.unneeded([entry.key])


async def counts_of(index: Callable[[], Rows]) -> dict[Key, int]:
    """Return how many rows each version has in an index; `index` is asked for each page, because another may take its place."""
    counts: dict[Key, int] = {}
    last = ""
    while ids := await index().row_ids(last, _ROWS_AT_ONCE):
        for key, group in groupby(ids, key=_key_of):
            counts[key] = counts.get(key, 0) + sum(1 for _ in group)
        last = ids[-1]
    return counts


def _key_of(row_id: str) -> Key:
    """Return the version that a row is of."""
    tenant, document_id, version, _ = row_id.split("/")
    return Key(tenant, document_id, int(version))


def _report(found: Findings) -> None:
    counts = {"orphans": found.orphans, "damaged": found.damaged, "repaired": found.repaired}
    for name, count in counts.items():
        RECONCILED.labels(name).inc(count)
    log.info("reconciled", documents=found.documents, rows=found.rows, **counts)
