"""The two legs of a search, side by side, and what of their findings is live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from rag.runtime.context import until_s
from rag.runtime.errors import DeadlineExceeded, Unavailable
from rag.runtime.tasks import together
from rag.vectors import Vectors
from services.retriever.metrics import HITS_DROPPED
from services.retriever.opening import Index
from services.retriever.passages import Candidate, Place, Row
from services.retriever.retrieval.filters import Filter
from services.retriever.retrieval.last_known import Reading
from services.retriever.retrieval.query import Mode, Query
from services.retriever.retrieval.unchanged import Live

_ROUNDS = 8
_ROUNDS_FROM_MEMORY = 2
# Enough for a busy machine to still deliver the reason: with 50 ms the caller's own deadline sometimes spoke first.
_MARGIN_S = 0.5
_MARGIN_SHARE = 0.1

Version = tuple[str, int]
"""A document's id and version."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a leg looks through: a tenant's passages that pass the filter, without those of the stale versions."""

    tenant: str
    filter: Filter
    stale: frozenset[Version] = frozenset()


class PassageIndex(Protocol):
    """Finds passages of any version. Both legs answer best first."""

    @property
    def index(self) -> Index:
        """What the index is called, and what its rows depend on."""

    async def nearest(self, vector: Vectors, scope: Scope, limit: int) -> list[Candidate]:
        """Return the passages nearest to `vector` by cosine similarity, which is their score."""

    async def matching(self, query: str, scope: Scope, limit: int) -> list[Candidate]:
        """Return the passages that match the words of a query best, by BM25."""

    async def fetch(self, tenant: str, places: Sequence[Place], *, with_vectors: bool = False) -> dict[Place, Row]:
        """Return the passages at these places; those that are not there any more are left out."""


class Catalogue(Protocol):
    """Tells what is live."""

    async def live(self, tenant: str, document_ids: Collection[str]) -> Reading:
        """Return the live versions of these documents, in one reading; those that do not exist are left out."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the legs look for: a query, its vector when it has one, and how many passages each leg returns at most."""

    query: Query
    vector: Vectors | None
    limit: int


@dataclass(frozen=True, slots=True)
class Legs:
    """What the legs found of what is live."""

    dense: Sequence[Candidate]
    keyword: Sequence[Candidate]
    live: Mapping[str, Live] = field(default_factory=dict)
    is_current: bool = True
    is_full: bool = False
    """Whether a leg found as many as it was asked for, so that there may be more."""


@asynccontextmanager
async def index_in_time() -> AsyncIterator[None]:
    """Give up the index a little before the deadline, so that the caller can still be told why.

    Raises:
        Unavailable: INDEX_UNAVAILABLE.
    """
    try:
        async with asyncio.timeout(until_s(_MARGIN_S, _MARGIN_SHARE)):
            yield
    except (TimeoutError, DeadlineExceeded) as error:
        raise Unavailable("The index did not answer in time.", "INDEX_UNAVAILABLE") from error


def is_live(place: Place, live: Mapping[str, Live]) -> bool:
    """Tell whether a place is in the live version of its document."""
    entry = live.get(place.document_id)
    return entry is not None and entry.version == place.version


async def run_legs(index: PassageIndex, catalogue: Catalogue, scope: Scope, wanted: Wanted) -> Legs:
    """Run the legs, and again without the versions that are not live as long as those may hide live passages."""
    limit = wanted.limit
    for turn in range(1, _ROUNDS + 1):
        dense, keyword = await _both(index, scope, wanted)
        found = [candidate.place for candidate in (*dense, *keyword)]
        names = {place.document_id for place in found} | {document_id for document_id, _ in scope.stale}
        reading = await catalogue.live(scope.tenant, names) if names else Reading({})
        live = reading.versions
        legs = Legs(
            _only(dense, live), _only(keyword, live), live, reading.is_current, limit in {len(dense), len(keyword)}
        )
        HITS_DROPPED.inc(len(found) - len(legs.dense) - len(legs.keyword))
        crowded = _crowded(dense, legs.dense, limit) or _crowded(keyword, legs.keyword, limit)
        is_done = not crowded and not _replaced(found, live) and not _live_again(scope, live)
        if is_done or (not reading.is_current and turn == _ROUNDS_FROM_MEMORY):
            break
        # What was not live may have been on its way: it is left out only as long as it is not live.
        seen = scope.stale | {(place.document_id, place.version) for place in found}
        scope = replace(scope, stale=frozenset(version for version in seen if not _is_live_version(version, live)))
    return legs


async def _both(index: PassageIndex, scope: Scope, wanted: Wanted) -> tuple[list[Candidate], list[Candidate]]:
    vector, query, limit = wanted.vector, wanted.query, wanted.limit
    if vector is None:
        return [], await index.matching(query.text, scope, limit)
    if query.mode is Mode.DENSE:
        return await index.nearest(vector, scope, limit), []
    dense, keyword = await together(index.nearest(vector, scope, limit), index.matching(query.text, scope, limit))
    return dense, keyword


def _only(found: Sequence[Candidate], live: Mapping[str, Live]) -> list[Candidate]:
    return [candidate for candidate in found if is_live(candidate.place, live)]


def _replaced(found: Sequence[Place], live: Mapping[str, Live]) -> bool:
    """Whether a version was found whose successor is live by now: the legs may have looked before that was written."""
    return any(place.document_id in live and place.version < live[place.document_id].version for place in found)


def _live_again(scope: Scope, live: Mapping[str, Live]) -> bool:
    """Whether a version that was left out is live by now."""
    return any(_is_live_version(version, live) for version in scope.stale)


def _is_live_version(version: Version, live: Mapping[str, Live]) -> bool:
    document_id, number = version
    return document_id in live and live[document_id].version == number


def _crowded(found: Sequence[Candidate], kept: Sequence[Candidate], limit: int) -> bool:
    """Whether stale hits took places that live ones, further down, may deserve."""
    return len(found) == limit and len(kept) < len(found)
