"""The search over ports of our own: what the real index shows only now and then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rag.passage import Passage
from rag.runtime.errors import DeadlineExceeded, FailedPrecondition, Internal, Overloaded, Unavailable
from services.retriever.opening import name_index
from services.retriever.passages import Candidate, Model, Place, Row
from services.retriever.retrieval.caching import Kept, RetrievalCache
from services.retriever.retrieval.contact import Contact
from services.retriever.retrieval.finding import Finding
from services.retriever.retrieval.last_known import LastKnown
from services.retriever.retrieval.query import Hit, Mode, Query, Summary
from services.retriever.retrieval.query_vector import QueryVectors
from services.retriever.retrieval.reranking import Limits, Reranking
from services.retriever.retrieval.search import Search
from services.retriever.retrieval.unchanged import Answer, Live

ONE = np.array([1, 0], dtype=np.float32)
OTHER = np.array([0.6, 0.8], dtype=np.float32)


def found(document_id: str, version: int, score: float, ordinal: int = 0) -> Candidate:
    return Candidate(Place(document_id, version, ordinal), score)


def row(place: Place) -> Row:
    passage = Passage(
        id=f"p{place.ordinal}",
        document_id=place.document_id,
        version=place.version,
        ordinal=place.ordinal,
        text=f"{place.document_id} says the number {place.ordinal} in words of its own: {hash(place)}",
        heading="",
        page=0,
        char_start=0,
        char_end=4,
        token_count=1,
    )
    return Row(passage, "title", OTHER)


class ListedIndex:
    """Answers from two lists, honouring scope and limit as an index does. `gone` is not there any more when it is read."""

    index = name_index(Model("words", "r1", 2), "multilingual")

    def __init__(self, dense=(), keyword=(), gone=()):
        self._dense, self._keyword, self.gone = dense, keyword, set(gone)
        self.rounds = 0
        self.fetched: list[Place] = []

    def _cut(self, hits, scope, limit):
        self.rounds += 1
        return [hit for hit in hits if hit.place[:2] not in scope.stale][:limit]

    async def nearest(self, vector, scope, limit):
        return self._cut(self._dense, scope, limit)

    async def matching(self, query, scope, limit):
        return self._cut(self._keyword, scope, limit)

    async def fetch(self, tenant, places, *, with_vectors=False):
        self.fetched += places
        rows = {place: row(place) for place in places if place not in self.gone}
        return rows if with_vectors else {place: replace(one, vector=None) for place, one in rows.items()}


class ListedVersions:
    def __init__(self, **live: int):
        self._live = {name: Live(version, name.upper()) for name, version in live.items()}

    async def live(self, tenant, document_ids, state):
        return Answer("only", {name: self._live[name] for name in document_ids if name in self._live})

    async def ping(self):
        return True


class OneVector:
    def __init__(self, error: Exception | None = None):
        self._error = error

    async def embed(self, text, wanted):
        if self._error:
            raise self._error
        return ONE


class NoCache:
    async def read(self, tenant, key):
        return Kept(0, None)

    async def keep(self, tenant, key, ranking, epoch):
        pass


def search_over(index, versions, embedder=None) -> Search:
    contact = Contact()
    known = LastKnown(versions, contact, 60)
    finding = Finding(known, QueryVectors(embedder or OneVector(), 5), Reranking(None, Limits()))
    return Search(lambda: index, finding, RetrievalCache(NoCache(), contact, known))


async def run(index, versions, query: Query | None = None, embedder=None) -> tuple[list[Hit], Summary]:
    search = search_over(index, versions, embedder)
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
    assert index.rounds == 8


async def test_a_version_that_goes_live_while_it_is_left_out_is_found() -> None:
    class Replaced(ListedVersions):
        """Version 1 is live, then 2; another commit each time."""

        readings = 0

        async def live(self, tenant, document_ids, state):
            self.readings += 1
            self._live = {"a": Live(min(self.readings, 2), "A")}
            return replace(await super().live(tenant, document_ids, state), state=str(self.readings))

    class Erasing(ListedIndex):
        """Version 1 is erased as soon as 2 is live; a version before makes the legs look again."""

        def _cut(self, hits, scope, limit):
            hits = [hit for hit in hits if self.rounds < 2 or hit.place.version == 2]
            return super()._cut(hits, scope, limit)

    index = Erasing([found("a", 0, 0.9), found("a", 1, 0.8), found("a", 2, 0.7)])
    hits, _ = await run(index, Replaced(), Query("words", mode=Mode.DENSE))
    assert [hit.passage.version for hit in hits] == [2]


async def test_the_similarity_of_what_only_the_words_found_is_computed() -> None:
    index = ListedIndex([found("a", 1, 0.9)], [found("b", 1, 3.0)])
    hits, _ = await run(index, ListedVersions(a=1, b=1))
    assert {hit.passage.document_id: (hit.dense_score, hit.keyword_score) for hit in hits} == {
        "a": (0.9, None),
        "b": (pytest.approx(0.6), 3.0),
    }
    hits, _ = await run(index, ListedVersions(a=1, b=1), Query("words", min_score=0.7))
    assert [hit.passage.document_id for hit in hits] == ["a"]


AWAY = [
    Unavailable("away", "AWAY"),
    Overloaded("busy", "BUSY"),
    DeadlineExceeded("slow", "SLOW"),
    Internal("bug", "BUG"),
]


@pytest.mark.parametrize("error", AWAY)
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


async def test_with_another_model_the_words_are_searched_and_the_summary_says_so() -> None:
    embedder = OneVector(FailedPrecondition("another", "MODEL_MISMATCH"))
    index = ListedIndex([found("a", 1, 0.9)], [found("b", 1, 3.0)])
    hits, summary = await run(index, ListedVersions(a=1, b=1), embedder=embedder)
    assert [hit.passage.document_id for hit in hits] == ["b"]
    assert [notice.code for notice in summary.notices] == ["MODEL_MISMATCH"]
    with pytest.raises(FailedPrecondition):
        await run(index, ListedVersions(a=1), Query("words", mode=Mode.DENSE), embedder)


async def test_only_the_passages_that_may_be_shown_are_read() -> None:
    everything = [found("a", 1, 1 - number / 1000, number) for number in range(200)]
    index = ListedIndex(everything, everything)
    hits, _ = await run(index, ListedVersions(a=1), Query("words", top_k=5))
    assert [hit.passage.ordinal for hit in hits] == list(range(5))
    assert len(index.fetched) < 12


@pytest.mark.parametrize("mode", [Mode.HYBRID, Mode.DENSE])
async def test_hits_of_one_document_are_bounded(mode: Mode) -> None:
    of_a = [found("a", 1, 0.9 - number / 1000, number) for number in range(90)]
    others = [found(name, 1, 0.5, number) for name in ("b", "c") for number in range(2)]
    index = ListedIndex([*of_a, *others], [*of_a, *others])
    query = Query("words", mode=mode, top_k=5, per_document=2)
    hits, _ = await run(index, ListedVersions(a=1, b=1, c=1), query)
    assert sorted(hit.passage.document_id for hit in hits) == ["a", "a", "b", "b", "c"]


async def test_one_large_document_does_not_hide_the_others_behind_what_a_leg_returns() -> None:
    index = ListedIndex([*(found("a", 1, 0.9, number) for number in range(700)), found("b", 1, 0.1)])
    query = Query("words", mode=Mode.DENSE, top_k=2, per_document=1)
    hits, _ = await run(index, ListedVersions(a=1, b=1), query)
    assert [hit.passage.document_id for hit in hits] == ["a", "b"]


async def test_a_passage_that_vanished_gives_its_place_to_the_next() -> None:
    everything = [found(name, 1, score) for name, score in (("a", 0.9), ("b", 0.8), ("c", 0.7))]
    index = ListedIndex(everything, gone=[Place("a", 1, 0)])
    hits, summary = await run(index, ListedVersions(a=1, b=1, c=1), Query("words", mode=Mode.DENSE, top_k=2))
    assert [(hit.rank, hit.passage.document_id) for hit in hits] == [(1, "b"), (2, "c")]
    assert summary.hits == 2


class ReplacedWhileReading(ListedIndex):
    """The second version is made live, and the first erased, between the look at the catalogue and the reading."""

    def __init__(self):
        super().__init__([found("a", 1, 0.9)])
        self.version = 1

    async def fetch(self, tenant, places, *, with_vectors=False):
        self.version, self._dense, self.gone = 2, [found("a", 2, 0.8)], {Place("a", 1, 0)}
        return await super().fetch(tenant, places, with_vectors=with_vectors)

    async def live(self, tenant, document_ids, state):
        return Answer(str(self.version), {"a": Live(self.version, "A")})


async def test_a_document_replaced_before_its_passages_are_read_is_found_in_its_new_version() -> None:
    index = ReplacedWhileReading()
    hits, _ = await run(index, index, Query("words", mode=Mode.DENSE))
    assert [hit.passage.version for hit in hits] == [2]


class ReplacedWhileSearching(ListedIndex):
    """The second version is written and made live between the legs and the look at the catalogue."""

    def __init__(self):
        super().__init__()
        self.version = 1

    async def nearest(self, vector, scope, limit):
        rows = [found("a", 1, 0.9), *([found("a", 2, 0.8)] if self.version == 2 else [])]
        return [hit for hit in rows if ("a", hit.place.version) not in scope.stale]

    async def live(self, tenant, document_ids, state):
        self.version = 2
        return Answer("2", {"a": Live(2, "A")})


async def test_a_document_replaced_during_the_search_is_found_in_its_new_version() -> None:
    index = ReplacedWhileSearching()
    hits, _ = await run(index, index, Query("words", mode=Mode.DENSE))
    assert [hit.passage.version for hit in hits] == [2]


class SwitchedWhileSearching(ListedIndex):
    """Another index comes into use while this one is searched, and the second version is committed to that one only."""

    is_replaced = False

    async def nearest(self, vector, scope, limit):
        self.is_replaced = True
        return await super().nearest(vector, scope, limit)


async def test_a_search_that_another_index_overtook_is_done_again_in_that_one() -> None:
    old, new = SwitchedWhileSearching([found("a", 1, 0.9)]), ListedIndex([found("a", 2, 0.8)])
    new.index = replace(old.index, collection="passages_2")
    known = LastKnown(ListedVersions(a=2), Contact(), 60)
    finding = Finding(known, QueryVectors(OneVector(), 5), Reranking(None, Limits()))
    search = Search(lambda: new if old.is_replaced else old, finding, RetrievalCache(NoCache(), Contact(), known))
    events = [event async for event in search.retrieve("t", Query("words", mode=Mode.DENSE))]
    assert [event.passage.version for event in events if isinstance(event, Hit)] == [2]
    assert len([event for event in events if isinstance(event, Summary)]) == 1
