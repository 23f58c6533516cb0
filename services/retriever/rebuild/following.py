"""Following the record: every process opens the indexes that are recorded, and uses the one that is live."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container
from typing import Protocol

from rag.runtime.errors import RagError
from rag.runtime.logs import get_logger
from services.retriever.opening import Index
from services.retriever.rebuild.standing import Standing

log = get_logger(__name__)

FOLLOW_S = 0.5
_HOLD_ALONE_S = 0.5


class Record(Protocol):
    """Where indexes are recorded."""

    async def standing(self) -> Standing:
        """Return where the indexes stand, in one reading."""


class Shelf(Protocol):
    """The collections of this process."""

    async def open(self, index: Index) -> object:
        """Make ready a collection, so that erasures reach it; at once when it is."""

    async def use(self, index: Index) -> None:
        """Search and write in this one from now on."""

    def forget(self, kept: Container[str]) -> None:
        """Close the collections that are not `kept`."""


class Following:
    """Looks at the record again and again: another process may have switched, begun to build, or dropped."""

    def __init__(
        self,
        record: Record,
        shelf: Shelf,
        every_s: float = FOLLOW_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._record = record
        self._shelf = shelf
        self._every_s = every_s
        self._sleep = sleep
        self._open: set[str] = set()
        self._used = ""

    async def begin(self, leftovers: Callable[[], Awaitable[None]] | None = None, pause_s: float = 1.0) -> None:
        """Return when all that is recorded is open, and when `leftovers` has been done."""
        while True:
            try:
                await self.look()
                if leftovers:
                    await leftovers()
            except RagError as error:
                log.warning("indexes_not_open", reason=error.reason, cause=repr(error.__cause__))
                await self._sleep(pause_s)
            else:
                return

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                await self.look()
            except RagError as error:
                log.warning("index_not_followed", reason=error.reason, cause=repr(error.__cause__))
            await self._sleep(self._every_s)

    async def look(self) -> None:
        """Do once what the record says.

        Raises:
            Unavailable: the index or the catalogue is away.
        """
        standing = await self._record.standing()
        if standing.live and standing.live.collection != self._used:
            await self._shelf.use(standing.live)
            self._used = standing.live.collection
        recorded = {index.collection: index for index in standing.indexes()}
        for name in recorded.keys() - self._open:
            await self._shelf.open(recorded[name])
            self._open.add(name)
        if self._open - recorded.keys():
            self._shelf.forget(recorded.keys())
            self._open &= recorded.keys()


def hold_s(*, is_shared: bool) -> float:
    """Return how long commits wait after a switch: what they commit is only in the new index.

    Where other processes use the indexes too, until each has learnt of it; else until the searches have ended that began on
    the old one.
    """
    return 3 * FOLLOW_S if is_shared else _HOLD_ALONE_S
