"""The search over ports of our own: what the real index shows only now and then."""

from __future__ import annotations

import numpy as np
import pytest

from rag.passage import Passage
from rag.runtime.errors import Overloaded, Unavailable
from services.retriever.query import Hit, Mode, Query, Summary
from services.retriever.search import Found, Live, Search

ONE = np.array([1, 0], dtype=np.float32)
OTHER = np.array([0.6, 0.8], dtype=np.float32)


def found(document_id: str, version: int, score: float, ordinal: int = 0) -> Found:
    passage = Passage(
        id=f"p{ordinal}",
        document_id=document_id,
        version=version,
        ordinal=ordinal,
        text="text",
        heading="",
        page=0,
        char_start=0,
        char_end=4,
        token_count=1,
    )
    return Found(passage, score, OTHER)


class ListedIndex:
    """Answers from two lists, honouring scope and limit as an index does."""

    def __init__(self, dense=(), keyword=()):
        self._dense, self._keyword = dense, keyword
        self.rounds = 0

    def _cut(self, hits, scope, limit):
        self.rounds += 1
        return [hit for hit in hits if (hit.passage.document_id, hit.passage.version) not in scope.stale][:limit]

    async def nearest(self, vector, scope, limit):
        return self._cut(self._dense, scope, limit)

    async def matching(self, words, scope, limit, *, with_vectors):
        return self._cut(self._keyword, scope, limit)


class ListedVersions:
    def __init__(self, **live: int):
        self._live = {name: Live(version, name.upper()) for name, version in live.items()}

    async def live(self, tenant, document_ids):
        return {name: self._live[name] for name in document_ids if name in self._live}


class OneVector:
    def __init__(self, error: Exception | None = None):
        self._error = error

    async def embed(self, text):
        if self._error:
            raise self._error
        return ONE


async def run(index, versions, query: Query | None = None, embedder=None) -> tuple[list[Hit], Summary]:
    search = Search(index, versions, embedder or OneVector())
    events = [event async for event in search.retrieve("t", query or Query("words"))]
    return [event for event in events if isinstance(event, Hit)], events[-1]


async def test_hits_of_versions_that_are_not_live_are_dropped() -> None:
    index = ListedIndex([found("a", 1, 0.9), found("a", 2, 0.8), found("gone", 1, 0.7)])
    hits, summary = await run(index, ListedVersions(a=2), Query("words", mode=Mode.DENSE))
    assert [(hit.passage.version, hit.title) for hit in hits] == [(2, "A")]
    assert (summary.hits, summary.dense_candidates) == (1, 1)


@pytest.mark.parametrize("mode", list(Mode))
async def test_stale_passages_do_not_crowd_out_live_ones(mode: Mode) -> None:
    stale = [found(f"gone{number % 3}", 1, 0.9, number) for number in range(1000)]
    everything = [*stale, *(found("a", 1, 0.1, number) for number in range(20))]
    index = ListedIndex(everything, everything)
    hits, _ = await run(index, ListedVersions(a=1), Query("words", mode=mode, top_k=10))
    assert [hit.passage.document_id for hit in hits] == ["a"] * 10
    assert index.rounds <= 8


async def test_the_search_for_live_passages_ends() -> None:
    index = ListedIndex([found(f"gone{number}", 1, 0.9) for number in range(10_000)])
    hits, _ = await run(index, ListedVersions(), Query("words", mode=Mode.DENSE))
    assert hits == []
    assert index.rounds == 4


async def test_the_similarity_of_what_only_the_words_found_is_computed() -> None:
    index = ListedIndex([found("a", 1, 0.9)], [found("b", 1, 3.0)])
    hits, _ = await run(index, ListedVersions(a=1, b=1))
    assert [(hit.passage.document_id, hit.dense_score, hit.keyword_score) for hit in hits] == [
        ("a", 0.9, None),
        ("b", pytest.approx(0.6), 3.0),
    ]
    hits, _ = await run(index, ListedVersions(a=1, b=1), Query("words", min_score=0.7))
    assert [hit.passage.document_id for hit in hits] == ["a"]


@pytest.mark.parametrize("error", [Unavailable("away", "AWAY"), Overloaded("busy", "BUSY")])
async def test_without_the_embedder_the_words_are_searched_and_the_summary_says_so(error: Exception) -> None:
    index = ListedIndex([found("a", 1, 0.9)], [found("b", 1, 3.0)])
    hits, summary = await run(index, ListedVersions(a=1, b=1), embedder=OneVector(error))
    assert [hit.passage.document_id for hit in hits] == ["b"]
    assert [notice.code for notice in summary.notices] == ["KEYWORD_ONLY"]


async def test_without_the_embedder_a_dense_search_fails() -> None:
    query = Query("words", mode=Mode.DENSE)
    with pytest.raises(Unavailable):
        await run(ListedIndex(), ListedVersions(), query, OneVector(Unavailable("away", "AWAY")))


async def test_without_the_embedder_no_similarity_is_known_and_none_is_asked_for() -> None:
    index = ListedIndex([], [found("b", 1, 3.0)])
    query = Query("words", min_score=0.9)
    hits, summary = await run(index, ListedVersions(b=1), query, OneVector(Unavailable("away", "AWAY")))
    assert [(hit.passage.document_id, hit.dense_score) for hit in hits] == [("b", None)]
    assert [notice.code for notice in summary.notices] == ["KEYWORD_ONLY"]


async def test_keyword_mode_does_not_ask_the_embedder() -> None:
    index = ListedIndex(keyword=[found("b", 1, 3.0)])
    query = Query("words", mode=Mode.KEYWORD)
    hits, summary = await run(index, ListedVersions(b=1), query, OneVector(AssertionError("asked")))
    assert [(hit.score, hit.dense_score) for hit in hits] == [(3.0, None)]
    assert not summary.notices


class ReplacedWhileSearching:
    """The second version is written and made live between the legs and the look at the catalogue."""

    def __init__(self):
        self.version = 1

    async def nearest(self, vector, scope, limit):
        rows = [found("a", 1, 0.9), *([found("a", 2, 0.8)] if self.version == 2 else [])]
        return [hit for hit in rows if ("a", hit.passage.version) not in scope.stale]

    async def live(self, tenant, document_ids):
        self.version = 2
        return {"a": Live(2, "A")}


async def test_a_document_replaced_during_the_search_is_found_in_its_new_version() -> None:
    index = ReplacedWhileSearching()
    hits, _ = await run(index, index, Query("words", mode=Mode.DENSE))
    assert [hit.passage.version for hit in hits] == [2]
