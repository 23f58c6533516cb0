"""The workshop: where an index is filled and tried out beside the live one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Sequence
from contextlib import aclosing
from typing import Protocol

from rag.passage import Passage
from rag.runtime.context import bound, new_call
from rag.runtime.errors import Internal, Unavailable
from rag.vectors import Vectors
from services.retriever.embedders import Embedders
from services.retriever.opening import Index
from services.retriever.rebuild.comparing import Comparing, Entries, Passages, Verdict
from services.retriever.rebuild.copying import Copying, Documents, Ledger, Make, Target
from services.retriever.rebuild.remaking import Source, as_they_are, embedded_anew
from services.retriever.rebuild.resplitting import Cut, split_anew
from services.retriever.rebuild.standing import Standing, Wish
from services.retriever.retrieval.finding import Finding, Findings
from services.retriever.retrieval.legs import PassageIndex
from services.retriever.retrieval.query import Query
from services.retriever.retrieval.query_vector import KEYWORD_ONLY, MODEL_MISMATCH

_ANSWER_S = 30.0


class Collection(Target, Source, Passages, PassageIndex, Protocol):
    """A collection, whole."""


class Store(Protocol):
    """Where collections are."""

    async def open(self, index: Index) -> Collection:
        """Make the collection when it is missing, and make it ready for searches."""

    def opened(self, name: str) -> Collection | None:
        """Return a collection when it is open."""

    def forget(self, kept: Container[str]) -> None:
        """Close the collections that are not `kept`."""


class Catalogue(Ledger, Entries, Protocol):
    """The catalogue, of all tenants."""


class Workshop:
    """Knows how to fill and to ask an index.

    Args:
        store: Where collections are.
        live: The one that is in use.
        use: Has searches and writes use another one from now on.
        catalogue: What is live, of all tenants.
        documents: The same, one by one.
        embedders: Make vectors.
        cut: Cuts texts anew.
        finding: Asks, by all that a search does except for caches; a reranker is not asked.
    """

    def __init__(
        self,
        store: Store,
        live: Callable[[], Collection],
        use: Callable[[Index], Awaitable[None]],
        *,
        catalogue: Catalogue,
        documents: Documents,
        embedders: Embedders,
        cut: Cut,
        finding: Finding,
    ) -> None:
        self._store = store
        self._live = live
        self._use = use
        self._catalogue = catalogue
        self._documents = documents
        self._embedders = embedders
        self._cut = cut
        self._finding = finding

    async def copying(self, wish: Wish, standing: Standing) -> Copying:
        """Return the copy that a wish asks for, of the live index. Unavailable while this process uses another one."""
        source, target = self._live(), await self._store.open(wish.target)
        if standing.live != source.index:
            raise Unavailable("Another index went live just now.", "INDEX_SWITCHED")
        known = [index.collection for index in standing.indexes()]
        make = self._make(wish, source)
        return Copying(self._catalogue, self._documents, target, make, known, was_live=wish.rolls_back)

    async def compare(self, wish: Wish) -> Verdict:
        """Ask both indexes."""
        live = self._live()
        before, after = (_Respondent(self._finding, one) for one in (live, await self._store.open(wish.target)))
        return await Comparing(self._catalogue, live, before, after).compare(wish)

    async def use(self, index: Index) -> None:
        """Search and write in this one from now on."""
        await self._use(index)

    async def open(self, index: Index) -> Collection:
        """Make ready a collection, so that erasures reach it; at once when it is."""
        return await self._store.open(index)

    def forget(self, kept: Container[str]) -> None:
        """Close the collections that are not `kept`: another process dropped them."""
        self._store.forget(kept)

    async def rows(self, index: Index) -> int:
        """Return how many rows an index has, of all tenants."""
        collection = self._store.opened(index.collection)
        try:
            return await collection.count() if collection else 0
        except Internal:
            if self._store.opened(index.collection):
                raise
            return 0  # it was dropped just now

    def _make(self, wish: Wish, source: Collection) -> Make:
        model = wish.target.model

        async def embed(tenant: str, document_id: str, texts: Sequence[str]) -> Vectors:
            return await self._embedders.embed_passages(tenant, document_id, texts, model)

        if wish.resplit:
            return split_anew(source, self._cut, embed)
        return as_they_are(source) if source.index.model == model else embedded_anew(source, embed)


class _Respondent:
    def __init__(self, finding: Finding, index: PassageIndex) -> None:
        self._finding = finding
        self._index = index

    async def best(self, tenant: str, query: str, limit: int) -> Sequence[Passage] | None:
        """Return the best passages that are live, best first; None when nobody can make a vector for this index."""
        with bound(new_call(tenant, _ANSWER_S)):
            asked = Query(query, top_k=limit, rerank=False)
            async with aclosing(self._finding.find(tenant, asked, self._index)) as events:
                found = [event async for event in events if isinstance(event, Findings)][-1]
        if KEYWORD_ONLY in found.notices:
            raise Unavailable("The embedder is away.", "EMBEDDER_UNAVAILABLE")
        return None if MODEL_MISMATCH in found.notices else [one.picked.row.passage for one in found.found]
