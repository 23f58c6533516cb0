"""Forgets the vectors of jobs that were called off, whoever dies or is away meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from rag.ids import new_id
from rag.runtime.context import CallContext, bound
from rag.runtime.logs import get_logger
from services.ingestor.draining import drain
from services.ingestor.indexing import Live

log = get_logger(__name__)

_FORGET_S = 5.0


@dataclass(frozen=True, slots=True)
class Leftover:
    """A document of which a job was called off, under a name of its own.

    `held_until` tells whether it was noted anew meanwhile. A `busy` document has jobs that are not at their end.
    """

    name: str
    tenant: str
    document_id: str
    held_until: int
    busy: bool


class Leftovers(Protocol):
    """The documents of which vectors may be left. Raises `Unavailable` when they cannot be reached."""

    async def add(self, tenant: str, document_id: str) -> None:
        """Note a document, due at once."""
        ...

    async def due(self) -> Leftover | None:
        """The next one, held for some seconds: whoever has it may die or fail, and it is due again."""
        ...

    async def done(self, leftover: Leftover) -> None:
        """Drop the note, unless it was made anew since it was given out."""
        ...


class LiveVersions(Protocol):
    """What readers see of documents."""

    async def live(self, document_id: str) -> Live | None:
        """The live version of a document; None when it has none."""
        ...


class VectorCache(Protocol):
    """The vectors that are kept of documents' texts."""

    async def forget(self, document_id: str) -> None:
        """Drop the vectors of a document's texts."""
        ...


class Forgetting:
    """Drops what is due, one document at a time.

    Args:
        leftovers: What is due.
        versions: Where it is seen whether a document is searchable: its vectors will be asked for again.
        vectors: Where they are dropped.
        pause: Waits so many seconds.
    """

    def __init__(
        self,
        leftovers: Leftovers,
        versions: LiveVersions,
        vectors: VectorCache,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._leftovers = leftovers
        self._versions = versions
        self._vectors = vectors
        self._pause = pause

    async def run(self, idle_s: float = 0.5) -> None:
        """Forget until cancelled."""
        await drain(self._next, "vectors_not_forgotten", self._pause, idle_s)

    async def _next(self) -> bool:
        leftover = await self._leftovers.due()
        if leftover is None:
            return False
        # While another job of the document is at work, its end decides.
        if not leftover.busy:
            with bound(CallContext(new_id("forget"), leftover.tenant, time.monotonic() + _FORGET_S)):
                await self._forget(leftover.document_id)
            await self._leftovers.done(leftover)
        return True

    async def _forget(self, document_id: str) -> None:
        if await self._versions.live(document_id) is None:
            await self._vectors.forget(document_id)
