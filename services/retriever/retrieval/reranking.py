"""Reranking: what was found is ranked again by a model that reads query and passage together, when there is one and it answers in time."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from rag.passage import in_context
from rag.runtime.breaker import Breaker
from rag.runtime.context import remaining_s
from rag.runtime.errors import RagError
from rag.runtime.logs import get_logger
from services.retriever.metrics import RERANK_SECONDS, RERANKS
from services.retriever.retrieval.picking import Picked
from services.retriever.retrieval.query import Notice

RERANK_SKIPPED = Notice(
    "RERANK_SKIPPED", "The reranker is away or too slow: the passages stand in the order in which they were found."
)
_SHARE = 0.5
_MOST_FAILURES = 3
_PAUSE_S = 10.0

log = get_logger(__name__)


class Reranker(Protocol):
    """Judges how well texts answer a query."""

    @property
    def name(self) -> str:
        """What the scores depend on, as one word."""

    async def scores(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """Return a finite score for each text, in their order, higher is better; RagError when it cannot."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many passages are ranked again, and how long that may take; never longer than half of the time that the caller has."""

    candidates: int = 40
    timeout_s: float = 1.0


class Reranking:
    """Ranks passages again. A reranker that failed several times in a row is left alone for a while.

    Args:
        reranker: Who judges; None for nobody.
        limits: Of each judgement.
        pause_s: How long it is left alone, in seconds; then one search tries it again.
        clock: Seconds.
    """

    def __init__(
        self,
        reranker: Reranker | None,
        limits: Limits,
        pause_s: float = _PAUSE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reranker = reranker
        self._limits = limits
        self._breaker = Breaker("reranker", _MOST_FAILURES, pause_s, clock=clock)

    @property
    def name(self) -> str:
        """What the ranking depends on, empty without a reranker."""
        return f"{self._reranker.name}/{self._limits.candidates}" if self._reranker else ""

    def candidates(self, top_k: int) -> int:
        """Return how many passages to rank for so many hits."""
        return max(top_k, self._limits.candidates)

    async def rerank(self, query: str, picked: Sequence[Picked]) -> list[Picked] | Notice:
        """Return the passages with their new scores, best first, or the notice that this was skipped."""
        attempt = self._breaker.enter() if self._reranker else None
        if self._reranker is None or attempt is None:
            RERANKS.labels("paused").inc()
            return RERANK_SKIPPED
        texts = [in_context(one.row.title, one.row.passage.heading, one.row.passage.text) for one in picked]
        try:
            with RERANK_SECONDS.time():
                async with asyncio.timeout(min(self._limits.timeout_s, remaining_s(math.inf) * _SHARE)):
                    scores = await self._reranker.scores(query, texts)
            attempt.succeeded()
        except (RagError, TimeoutError) as error:
            attempt.failed()
            RERANKS.labels("failed").inc()
            log.warning("rerank_skipped", reason=error.reason if isinstance(error, RagError) else "TOO_SLOW")
            return RERANK_SKIPPED
        finally:
            attempt.abandoned()  # changes nothing unless the search was left meanwhile
        RERANKS.labels("done").inc()
        scored = [
            replace(one, ranked=one.ranked._replace(rerank=score)) for one, score in zip(picked, scores, strict=True)
        ]
        return sorted(scored, key=lambda one: -(one.ranked.rerank or 0.0))
