"""What the catalogue says: which index is in use, and what became of documents."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from rag.catalogue_state import run_of
from services.generator.caching.aside import in_time
from services.generator.caching.entries import Stamp, Version

_INDEX_S = 5.0
"""How long what is known of the index in use is good enough."""


@dataclass(frozen=True, slots=True)
class Check:
    """What became of an answer's documents, all of it read in one step."""

    stamp: Stamp
    gone: Collection[Version] = ()
    """The versions that are not live any more."""
    committed: Collection[str] = ()
    """The documents that were committed since and are live."""
    has_more: bool = False
    """Whether there are more of them."""


class Catalogue(Protocol):
    """Knows what is live."""

    async def check(self, tenant: str, versions: Collection[Version], since: int | None) -> Check:
        """Return the state now, which of these versions are gone, and what was committed after `since` commits.

        Without `since` nothing is told to have been committed. Raises a RagError while the catalogue is away.
        """


class Freshness:
    """Asks the catalogue, within a second and a tenth of the time that the caller has.

    Args:
        catalogue: Knows what is live.
        clock: Seconds that never go back.
    """

    def __init__(self, catalogue: Catalogue, clock: Callable[[], float] = time.monotonic) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._index = self.run = ""
        self._asked = -math.inf

    async def index(self, tenant: str, run: str) -> str:
        """Return the index in use, as it was a few seconds ago: it changes how passages are found, and not what documents say.

        Args:
            tenant: On whose behalf the retriever is asked.
            run: The run of Redis that is known by now, empty when none is.

        Raises:
            RagError: the catalogue is away, or did not answer in time.
        """
        if run in {"", self.run} and self._index and self._clock() - self._asked < _INDEX_S:
            return self._index
        self._asked = self._clock()  # meanwhile the others go on with what is known
        stamp = (await self.check(tenant, (), None)).stamp
        self._index, self.run = stamp.index, run_of(stamp.state)
        return self._index

    async def check(self, tenant: str, versions: Collection[Version], since: int | None) -> Check:
        """Return what became of these versions, and what was committed after so many commits.

        Raises:
            RagError: the catalogue is away, or did not answer in time.
        """
        async with in_time("The catalogue did not answer in time.", "CATALOGUE_LATE"):
            return await self._catalogue.check(tenant, versions, since)
