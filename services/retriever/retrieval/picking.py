"""Picking: the best of a ranking that may be shown, read back from the index only as far as they are needed."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from rag.vectors import Vectors
from services.retriever.passages import Place, Row
from services.retriever.retrieval.duplicates import without_near_copies
from services.retriever.retrieval.legs import PassageIndex
from services.retriever.retrieval.query import Query
from services.retriever.retrieval.ranking import Ranked

_SPARE = 4
"""Some are near copies, or below the least score: so many more are read at once, because reading again costs more."""


@dataclass(frozen=True, slots=True)
class Picked:
    """A passage that was picked, and its scores."""

    ranked: Ranked
    row: Row


class Picking:
    """Picks passages for one query.

    Left out are those below the least score, near copies of better ones, and more of one document than wanted.

    Args:
        index: Where they are.
        tenant: Whose they are.
        query: What is wanted of them.
        vector: The query's; without it no similarity is known, and no least score holds.
    """

    def __init__(self, index: PassageIndex, tenant: str, query: Query, vector: Vectors | None) -> None:
        self._index = index
        self._tenant = tenant
        self._query = query
        self._vector = vector
        self._of_document: Counter[str] = Counter()
        self._seen = 0
        self.picked: list[Picked] = []
        self.has_missed = False
        """Whether a passage of the ranking was not there any more."""

    async def pick(self, ranking: Sequence[Ranked], wanted: int) -> None:
        """Pick `wanted` passages of a ranking, best first, or as many as there are."""
        self._seen = len(ranking)
        waiting = deque(ranking)
        while waiting and len(self.picked) < wanted:
            page = self._page(waiting, wanted - len(self.picked) + _SPARE)
            rows = await self._fetch(page) if page else {}
            self.has_missed = self.has_missed or len(rows) < len(page)
            found = ((ranked, rows[ranked.place]) for ranked in page if ranked.place in rows)
            await self._take(
                (Picked(_with_similarity(ranked, row, self._vector), row) for ranked, row in found), wanted
            )

    def is_short(self, wanted: int) -> bool:
        """Tell whether a longer ranking may bring more: what is further down is not more similar, but may be less alike."""
        return len(self.picked) < wanted <= self._seen and self._query.min_score is None

    def _page(self, waiting: deque[Ranked], size: int) -> list[Ranked]:
        page: list[Ranked] = []
        while waiting and len(page) < size:
            ranked = waiting.popleft()
            if not self._has_enough_of(ranked):
                page.append(ranked)
        return page

    async def _take(self, read: Iterable[Picked], wanted: int) -> None:
        kept = list(self.picked)
        distinct = without_near_copies(chain(kept, self._allowed(read)), lambda one: one.row.passage.text)
        for number, one in enumerate(islice(distinct, wanted)):
            if number >= len(kept):
                self.picked.append(one)
                self._of_document[one.ranked.place.document_id] += 1
            await asyncio.sleep(0)  # comparing a long text holds the event loop for a millisecond or two

    def _allowed(self, read: Iterable[Picked]) -> Iterator[Picked]:
        for one in read:
            if self._is_similar(one.ranked) and not self._has_enough_of(one.ranked):
                yield one

    def _is_similar(self, ranked: Ranked) -> bool:
        if self._query.min_score is None or self._vector is None:
            return True
        return ranked.dense is not None and ranked.dense >= self._query.min_score

    def _has_enough_of(self, ranked: Ranked) -> bool:
        most = self._query.per_document
        return most is not None and self._of_document[ranked.place.document_id] >= most

    async def _fetch(self, page: Sequence[Ranked]) -> dict[Place, Row]:
        """Read a page, with vectors when a similarity in it is not known yet: one reading costs less than two."""
        unknown = self._vector is not None and any(ranked.dense is None for ranked in page)
        places = [ranked.place for ranked in page]
        return await self._index.fetch(self._tenant, places, with_vectors=unknown)


def _with_similarity(ranked: Ranked, row: Row, vector: Vectors | None) -> Ranked:
    if ranked.dense is not None or vector is None or row.vector is None:
        return ranked
    lengths = float(np.linalg.norm(vector)) * float(np.linalg.norm(row.vector))
    return ranked._replace(dense=float(np.dot(vector, row.vector)) / lengths if lengths else 0.0)
