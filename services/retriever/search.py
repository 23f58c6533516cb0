"""Search: two legs, fused by rank, of what is live."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from rag.passage import Passage
from rag.runtime.errors import Overloaded, Unavailable
from rag.runtime.tasks import together
from rag.vectors import Vectors
from services.retriever.filters import Filter
from services.retriever.fusion import fuse
from services.retriever.metrics import HITS_DROPPED
from services.retriever.query import Event, Hit, Mode, Notice, Progress, Query, Stage, Summary, check_query

_KEYWORD_ONLY = Notice(
    "KEYWORD_ONLY", "The embedder is away: the passages were found by their words only, without a least score."
)
_ROUNDS = 4

Version = tuple[str, int]
"""A document's id and version."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a leg looks through: a tenant's passages that pass the filter, without those of the stale versions."""

    tenant: str
    filter: Filter
    stale: frozenset[Version] = frozenset()


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that one leg found, and the leg's score: higher is better. `vector` has shape (dimension,)."""

    passage: Passage
    score: float
    vector: Vectors | None = None


@dataclass(frozen=True, slots=True)
class Live:
    """The live version of a document, and its title or, without one, its name."""

    version: int
    title: str


class PassageIndex(Protocol):
    """Finds passages of any version. Both legs answer best first."""

    async def nearest(self, vector: Vectors, scope: Scope, limit: int) -> list[Found]:
        """Return the passages nearest to `vector` by cosine similarity, which is their score."""

    async def matching(self, words: str, scope: Scope, limit: int, *, with_vectors: bool) -> list[Found]:
        """Return the passages that match words best, by BM25; `with_vectors` fills in their vectors."""


class LiveVersions(Protocol):
    """Tells what is live."""

    async def live(self, tenant: str, document_ids: Collection[str]) -> Mapping[str, Live]:
        """Return the live versions of these documents, in one reading; those that do not exist are left out."""


class QueryEmbedder(Protocol):
    """Turns a query into a vector."""

    async def embed(self, text: str) -> Vectors:
        """Return the vector, shape (dimension,), of the index's model; FailedPrecondition when it is of another one."""


@dataclass(frozen=True, slots=True)
class _Legs:
    dense: Sequence[Found]
    keyword: Sequence[Found]
    titles: Mapping[str, str]


class Search:
    """Answers queries."""

    def __init__(
        self,
        index: PassageIndex,
        live: LiveVersions,
        embedder: QueryEmbedder,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._index = index
        self._live = live
        self._embedder = embedder
        self._clock = clock

    async def retrieve(self, tenant: str, query: Query) -> AsyncGenerator[Event, None]:
        """Yield progress, then the hits in rank order, then one summary.

        Raises:
            InvalidInput: as check_query.
            FailedPrecondition: MODEL_MISMATCH.
            Unavailable: the index, the catalogue or the embedder is away, or the index is not open yet.
        """
        began = self._clock()
        check_query(query)
        notices: list[Notice] = []
        vector = None
        if query.mode is not Mode.KEYWORD:
            yield Progress(Stage.EMBEDDING, self._since(began))
            vector = await self._vector(query, notices)
        embedded = self._clock()
        yield Progress(Stage.SEARCH, self._since(began))
        searched_from = self._clock()
        legs = await self._search(Scope(tenant, query.filter), query, vector)
        hits = _rank(legs, query, vector)
        search_ms = self._since(searched_from)
        for hit in hits:
            yield hit
        embedding_ms = (embedded - began) * 1000
        total_ms = self._since(began)
        yield Summary(len(hits), len(legs.dense), len(legs.keyword), embedding_ms, search_ms, total_ms, notices)

    async def _vector(self, query: Query, notices: list[Notice]) -> Vectors | None:
        try:
            return await self._embedder.embed(query.text)
        except (Unavailable, Overloaded):
            if query.mode is Mode.DENSE:
                raise
            notices.append(_KEYWORD_ONLY)
            return None

    async def _search(self, scope: Scope, query: Query, vector: Vectors | None) -> _Legs:
        """Run the legs, and again without the versions found stale as long as those may hide live passages."""
        limit = max(4 * query.top_k, 50)
        for _ in range(_ROUNDS):
            dense, keyword = await self._run_legs(scope, query, vector, limit)
            found = {hit.passage.document_id for hit in (*dense, *keyword)}
            live = await self._live.live(scope.tenant, found) if found else {}
            legs = _Legs(_only(dense, live), _only(keyword, live), {key: value.title for key, value in live.items()})
            stale = _stale((*dense, *keyword), live)
            HITS_DROPPED.inc(len(dense) + len(keyword) - len(legs.dense) - len(legs.keyword))
            crowded = _crowded(dense, legs.dense, limit) or _crowded(keyword, legs.keyword, limit)
            if not crowded and not _replaced((*dense, *keyword), live):
                break
            scope = replace(scope, stale=scope.stale | stale)
        return legs

    async def _run_legs(
        self, scope: Scope, query: Query, vector: Vectors | None, limit: int
    ) -> tuple[list[Found], list[Found]]:
        if vector is None:
            return [], await self._index.matching(query.text, scope, limit, with_vectors=False)
        if query.mode is Mode.DENSE:
            return await self._index.nearest(vector, scope, limit), []
        dense, keyword = await together(
            self._index.nearest(vector, scope, limit),
            self._index.matching(query.text, scope, limit, with_vectors=True),
        )
        return dense, keyword

    def _since(self, moment: float) -> float:
        return (self._clock() - moment) * 1000


def _only(found: Sequence[Found], live: Mapping[str, Live]) -> list[Found]:
    return [hit for hit in found if _is_live(hit.passage, live)]


def _stale(found: Sequence[Found], live: Mapping[str, Live]) -> frozenset[Version]:
    passages = (hit.passage for hit in found)
    return frozenset((passage.document_id, passage.version) for passage in passages if not _is_live(passage, live))


def _is_live(passage: Passage, live: Mapping[str, Live]) -> bool:
    entry = live.get(passage.document_id)
    return entry is not None and entry.version == passage.version


def _replaced(found: Sequence[Found], live: Mapping[str, Live]) -> bool:
    """Whether a version was found whose successor is live by now: the legs may have looked before that was written."""
    passages = (hit.passage for hit in found)
    return any(
        passage.document_id in live and passage.version < live[passage.document_id].version for passage in passages
    )


def _crowded(found: Sequence[Found], kept: Sequence[Found], limit: int) -> bool:
    """Whether stale hits took places that live ones, further down, may deserve."""
    return len(found) == limit and len(kept) < len(found)


def _rank(legs: _Legs, query: Query, vector: Vectors | None) -> list[Hit]:
    """Return the hits of a search, best first."""
    dense = {_key(hit): hit for hit in legs.dense}
    keyword = {_key(hit): hit for hit in legs.keyword}
    rankings = [list(dense), list(keyword)]
    fused = fuse(rankings) if dense and keyword else [(key, hit.score) for key, hit in (dense or keyword).items()]
    hits: list[Hit] = []
    for key, score in fused:
        found = dense.get(key) or keyword[key]
        similarity = _similarity(dense.get(key), found, vector)
        if vector is not None and query.min_score is not None and (similarity is None or similarity < query.min_score):
            continue
        words = keyword[key].score if key in keyword else None
        title = legs.titles[found.passage.document_id]
        hits.append(Hit(len(hits) + 1, score, similarity, words, found.passage, title))
        if len(hits) == query.top_k:
            break
    return hits


def _similarity(dense: Found | None, found: Found, vector: Vectors | None) -> float | None:
    """Return the cosine similarity, computed here for a passage that only the keyword leg found."""
    if dense is not None:
        return dense.score
    if vector is None or found.vector is None:
        return None
    lengths = float(np.linalg.norm(vector)) * float(np.linalg.norm(found.vector))
    return float(np.dot(vector, found.vector)) / lengths if lengths else 0.0


def _key(found: Found) -> tuple[str, int]:
    return found.passage.document_id, found.passage.ordinal
