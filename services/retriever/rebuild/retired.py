"""Retired indexes: kept for a while, to go back to, then dropped."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from rag.runtime.logs import get_logger
from services.retriever.opening import Index
from services.retriever.rebuild.standing import Standing
from services.retriever.upkeep.erasure import Residue
from services.retriever.upkeep.rounds import Paused, Rounds, never

log = get_logger(__name__)


class Record(Protocol):
    """Where indexes are recorded."""

    async def standing(self) -> Standing:
        """Return where the indexes stand, in one reading."""

    async def forget(self, index: Index) -> None:
        """Forget a retired index: it was dropped."""


class Store(Protocol):
    """Where collections are."""

    async def drop(self, name: str) -> None:
        """Remove a collection with all its rows; repeating it does no harm."""

    async def names(self) -> Sequence[str]:
        """Return the names of all collections that hold passages."""

    def forget(self, kept: Collection[str]) -> None:
        """Close the collections that are not `kept`: others dropped them."""


class DropWorker:
    """Drops what is due, in the background."""

    def __init__(
        self,
        record: Record,
        store: Store,
        residue: Residue,
        *,
        idle_s: float = 1.0,
        most_backoff_s: float = 30.0,
        paused: Paused = never,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._paused = paused
        self._record = record
        self._store = store
        self._residue = residue
        self._clock = clock
        self._rounds = Rounds(idle_s, most_backoff_s, "index_not_dropped")

    async def run(self) -> None:
        """Drop until cancelled; failures are tried again, later and later."""
        await self._rounds.run(self._round)

    async def drop_leftovers(self) -> None:
        """Drop the collections that no record names. For an index that only this process writes to, before it does.

        Raises:
            Unavailable: the index or the catalogue is away.
        """
        recorded = {index.collection for index in (await self._record.standing()).indexes()}
        for name in await self._store.names():
            if name not in recorded:
                await self._drop(name)

    async def _round(self) -> bool:
        standing = await self._record.standing()
        if await self._paused():
            return True
        in_use = {index.collection for index in standing.in_use()}
        for retired in standing.retired:
            if retired.drop_at_ms <= self._clock() * 1000 and retired.index.collection not in in_use:
                await self._drop(retired.index.collection)
                await self._record.forget(retired.index)
        return True

    async def _drop(self, name: str) -> None:
        await self._store.drop(name)
        self._residue.note()
        log.info("index_dropped", collection=name)
