"""Search: what the cache knows, or else what is found; equal searches at the same time are one."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace

from rag.runtime.errors import DeadlineExceeded, Unavailable
from rag.runtime.single_flight import SingleFlight
from services.retriever.metrics import DEGRADED, SHARED_SEARCHES
from services.retriever.retrieval.caching import Looked, RetrievalCache
from services.retriever.retrieval.finding import Finding, Findings
from services.retriever.retrieval.legs import PassageIndex
from services.retriever.retrieval.query import Event, Hit, Progress, Query, Stage, Summary, check_query

Found = AsyncGenerator[Stage | Findings, None]


class Search:
    """Answers queries.

    Args:
        index: Returns the index in use.
        finding: Searches.
        cache: Knows what was found before.
        clock: Seconds.
    """

    def __init__(
        self,
        index: Callable[[], PassageIndex],
        finding: Finding,
        cache: RetrievalCache,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._index = index
        self._finding = finding
        self._cache = cache
        self._clock = clock
        self._flights: SingleFlight[tuple[str, str, int], Stage | Findings] = SingleFlight(SHARED_SEARCHES.inc)

    async def retrieve(self, tenant: str, query: Query) -> AsyncGenerator[Event, None]:
        """Yield progress, then the hits in rank order, then one summary.

        Raises:
            InvalidInput: as check_query.
            FailedPrecondition: MODEL_MISMATCH, for a dense search.
            Unavailable: the index or the catalogue is away, or the index is not open yet; for a dense search, the embedder.
        """
        began = self._clock()
        async with aclosing(self._found(tenant, check_query(query))) as found:
            async for event in found:
                if isinstance(event, Stage):
                    yield Progress(event, self._since(began))
                    continue
                for hit in _hits(event):
                    yield hit
                yield self._summary(event, began)

    async def forget(self, tenant: str) -> int:
        """Erase what the cache knows of a tenant's searches; return how many there were. Raises Unavailable."""
        return await self._cache.forget(tenant)

    async def _found(self, tenant: str, query: Query) -> Found:
        """Search, and again when another index came into use meanwhile: what is live by now may only be in that one."""
        while True:
            index = self._index()
            async with aclosing(self._found_in(index, tenant, query)) as found:
                async for event in found:
                    if isinstance(event, Findings) and not self._is_in_use(index):
                        break
                    yield event
                else:
                    return

    def _is_in_use(self, index: PassageIndex) -> bool:
        return self._index().index.collection == index.index.collection

    async def _found_in(self, index: PassageIndex, tenant: str, query: Query) -> Found:
        looked = await self._cache.look_up(tenant, query, index.index, self._finding.reranker(query))
        if looked.ranking is not None:
            began = self._clock()
            yield Stage.SEARCH
            recalled = await self._cache.recall(tenant, looked.ranking, index)
            if recalled is not None:
                yield replace(recalled, search_ms=self._since(began))
                return
        stage = None
        async with aclosing(self._searched(tenant, query, index, looked)) as found:
            try:
                async for event in found:
                    stage = event
                    yield event
            except DeadlineExceeded as error:
                if stage is Stage.SEARCH:
                    raise Unavailable("The index did not answer in time.", "INDEX_UNAVAILABLE") from error
                raise

    def _searched(self, tenant: str, query: Query, index: PassageIndex, looked: Looked) -> Found:
        """Search alone, or with those who want the same and have seen the same commits and deletions."""

        def start() -> Found:
            return self._find_and_keep(tenant, query, index, looked)

        if looked.changes is None:
            return start()
        return self._flights.follow((tenant, looked.key, looked.changes), start)

    async def _find_and_keep(self, tenant: str, query: Query, index: PassageIndex, looked: Looked) -> Found:
        async with aclosing(self._finding.find(tenant, query, index)) as found:
            async for event in found:
                if isinstance(event, Findings) and self._is_in_use(index):
                    await self._cache.keep(tenant, looked, event)
                yield event

    def _summary(self, findings: Findings, began: float) -> Summary:
        for notice in findings.notices:
            DEGRADED.labels(notice.code).inc()
        return Summary(
            len(findings.found),
            findings.dense_candidates,
            findings.keyword_candidates,
            findings.embedding_ms,
            findings.search_ms,
            self._since(began),
            findings.notices,
            findings.rerank_ms,
            findings.from_cache,
        )

    def _since(self, moment: float) -> float:
        return (self._clock() - moment) * 1000


def _hits(findings: Findings) -> Iterator[Hit]:
    for rank, one in enumerate(findings.found, start=1):
        ranked, row = one.picked.ranked, one.picked.row
        yield Hit(rank, ranked.score, ranked.dense, ranked.keyword, row.passage, one.title, ranked.rerank)
