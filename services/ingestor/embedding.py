"""Vectors for one document, whatever the embedder goes through meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rag.runtime.backoff import retrying
from rag.runtime.errors import DeadlineExceeded, Overloaded, Unavailable
from rag.runtime.logs import get_logger
from rag.vectors import Vectors
from services.ingestor.busy import BusyClock
from services.ingestor.metrics import EMBED, EMBED_WAITS

log = get_logger(__name__)

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 15.0
MOST_ABSENCE_S = 60.0
_OWN_LOAD = {"EMBEDDER_BUSY", "TOO_MANY_CALLS"}
"""Too much to do, but not because a provider limits us."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of shape (texts, dimension) and where they came from."""

    vectors: Vectors
    model: str
    revision: str
    cached: int
    computed: int


class Embedder(Protocol):
    """Turns texts into vectors of one model, and keeps them for the next time."""

    async def embed(self, document_id: str, texts: Sequence[str]) -> Embedded:
        """One vector per text of a document, in order.

        Raises `Overloaded` when it has too much to do or its provider says so, `Unavailable` when it is away.
        """
        ...

    async def forget(self, document_id: str) -> None:
        """Drop what is kept of a document's texts. Doing it twice does no harm."""
        ...


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What was lost to rate limits so far: how many waits, how many seconds."""

    waits: int = 0
    seconds: float = 0.0


class PatientEmbedder:
    """Asks for one document's vectors and waits out rate limits and short absences, so that no work done is lost to them.

    Args:
        embedder: Is asked.
        document_id: Whose texts they are.
        on_limit: Hears when a wait for a rate limit begins and when it ends.
        on_trouble: Hears of each error that is waited out.
        most_absence_s: How long the embedder may be away before its error is raised.
        pause: Waits so many seconds.
        clock: Seconds.
    """

    def __init__(
        self,
        embedder: Embedder,
        document_id: str,
        on_limit: Callable[[RateLimits], None],
        on_trouble: Callable[[Exception], None],
        *,
        most_absence_s: float = MOST_ABSENCE_S,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._embedder = embedder
        self._document_id = document_id
        self._on_limit = on_limit
        self._on_trouble = on_trouble
        self._most_absence_s = most_absence_s
        self._pause = pause
        self._clock = clock
        self._limited = BusyClock(clock)
        self._away_since: float | None = None

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """One vector per text, in order. Several calls at once are fine.

        Raises:
            RagError: what the embedder raised and no patience helps, or no time is left for.
        """
        trouble: Exception | None = None

        def note(error: Exception, pause_s: float) -> None:
            nonlocal trouble
            trouble = error
            self._on_trouble(error)
            EMBED_WAITS.labels(getattr(error, "reason", "")).inc()
            log.info("embed_waits", reason=getattr(error, "reason", ""), pause_s=round(pause_s, 2))

        async def pause(seconds: float) -> None:
            await (self._wait_for_limit(seconds) if _is_limit(trouble) else self._pause(seconds))

        return await retrying(
            lambda: self._ask(texts), self._passes, _FIRST_PAUSE_S, _LONGEST_PAUSE_S, before_pause=note, pause=pause
        )

    async def _ask(self, texts: Sequence[str]) -> Embedded:
        with EMBED.running():
            embedded = await self._embedder.embed(self._document_id, texts)
        self._away_since = None
        return embedded

    def _passes(self, error: Exception) -> bool:
        if isinstance(error, Overloaded):
            self._away_since = None
            return True
        if not isinstance(error, Unavailable | DeadlineExceeded):
            return False
        if self._away_since is None:
            self._away_since = self._clock()
        return self._clock() - self._away_since < self._most_absence_s

    async def _wait_for_limit(self, seconds: float) -> None:
        with self._limited.running():
            self._tell()
            await self._pause(seconds)
        self._tell()

    def _tell(self) -> None:
        self._on_limit(RateLimits(self._limited.stretches, self._limited.seconds))


def _is_limit(error: Exception | None) -> bool:
    return isinstance(error, Overloaded) and error.reason not in _OWN_LOAD
