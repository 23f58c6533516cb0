"""Finding: what a search does when no cache knows its answer."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from rag.vectors import Vectors
from services.retriever.retrieval.legs import Catalogue, Legs, PassageIndex, Scope, Wanted, index_in_time, run_legs
from services.retriever.retrieval.picking import Picked, Picking
from services.retriever.retrieval.query import Mode, Notice, Query, Stage
from services.retriever.retrieval.query_vector import QueryVectors
from services.retriever.retrieval.ranking import rank
from services.retriever.retrieval.reranking import Reranking

CATALOGUE_STALE = Notice(
    "CATALOGUE_STALE", "The catalogue cannot be reached: documents are shown as they were when it was last read."
)
_ROUNDS = 16
"""A document that is replaced several times a second can slip away between search and reading; it must not seem to be gone."""
_LEAST_CANDIDATES = 100
_MOST_CANDIDATES = 1_600


@dataclass(frozen=True, slots=True)
class Titled:
    """A passage found, its scores, and its document's title."""

    picked: Picked
    title: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What a search found, best first, how much it looked through, and how long that took."""

    found: Sequence[Titled]
    dense_candidates: int
    keyword_candidates: int
    notices: Sequence[Notice] = ()
    embedding_ms: float = 0.0
    search_ms: float = 0.0
    rerank_ms: float = 0.0
    from_cache: bool = False


class Finding:
    """Finds passages: embeds the query, runs the legs, picks the best, ranks them again.

    Args:
        catalogue: Tells what is live.
        vectors: Makes vectors of queries.
        reranking: Ranks again what was found.
        clock: Seconds.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        vectors: QueryVectors,
        reranking: Reranking,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._catalogue = catalogue
        self._vectors = vectors
        self._reranking = reranking
        self._clock = clock

    def reranker(self, query: Query) -> str:
        """Return what ranks the passages of this query again, empty for nothing."""
        return self._reranking.name if query.rerank else ""

    async def find(self, tenant: str, query: Query, index: PassageIndex) -> AsyncGenerator[Stage | Findings, None]:
        """Yield the stages as they begin, then the findings.

        Raises:
            FailedPrecondition: MODEL_MISMATCH, for a dense search.
            Unavailable: the index, the catalogue or, for a dense search, the embedder is away.
        """
        began = self._clock()
        notices: list[Notice] = []
        vector = None
        if query.mode is not Mode.KEYWORD:
            yield Stage.EMBEDDING
            answer = await self._vectors.of(query, index.index.model)
            vector = None if isinstance(answer, Notice) else answer
            notices += [answer] if isinstance(answer, Notice) else []
        embedded = self._clock()
        yield Stage.SEARCH
        wanted = self._reranking.candidates(query.top_k) if self.reranker(query) else query.top_k
        legs, picked = await self._search(tenant, query, index, vector, wanted)
        notices += [] if legs.is_current else [CATALOGUE_STALE]
        searched = self._clock()
        if self.reranker(query) and picked:
            yield Stage.RERANK
            ranked = await self._reranking.rerank(query.text, picked)
            notices += [ranked] if isinstance(ranked, Notice) else []
            picked = picked if isinstance(ranked, Notice) else ranked
        yield Findings(
            [Titled(one, legs.live[one.ranked.place.document_id].title) for one in picked[: query.top_k]],
            len(legs.dense),
            len(legs.keyword),
            notices,
            embedding_ms=(embedded - began) * 1000,
            search_ms=(searched - embedded) * 1000,
            rerank_ms=(self._clock() - searched) * 1000,
        )

    async def _search(
        self, tenant: str, query: Query, index: PassageIndex, vector: Vectors | None, wanted: int
    ) -> tuple[Legs, list[Picked]]:
        """Search, and again when a passage was erased before it could be read: a new version of it may be live by now."""
        scope = Scope(tenant, query.filter)
        limit = max(4 * wanted, _LEAST_CANDIDATES)
        async with index_in_time():
            for _ in range(_ROUNDS):
                legs = await run_legs(index, self._catalogue, scope, Wanted(query, vector, limit))
                picking = Picking(index, tenant, query, vector)
                await picking.pick(rank(legs, query, index.index, with_vector=vector is not None), wanted)
                is_short = legs.is_full and picking.is_short(wanted) and limit < _MOST_CANDIDATES
                if not picking.has_missed and not is_short:
                    break
                limit *= 4 if is_short else 1
        return legs, picking.picked
