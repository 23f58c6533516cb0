"""The cache of rankings: where the passages stand that answered a query, and nothing of what they say.

A ranking holds as long as nothing was committed or deleted for its tenant since before its search began. It is
checked against the catalogue once more when it is used, and its passages are read from the index.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rag.runtime.errors import RagError
from rag.runtime.logs import get_logger
from services.retriever.metrics import RETRIEVALS
from services.retriever.opening import Index
from services.retriever.retrieval.contact import Contact
from services.retriever.retrieval.filters import AnyOf, Condition
from services.retriever.retrieval.finding import Findings, Titled
from services.retriever.retrieval.legs import Catalogue, PassageIndex, index_in_time, is_live
from services.retriever.retrieval.picking import Picked
from services.retriever.retrieval.query import Query
from services.retriever.retrieval.ranking import VERSION, Ranked

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a search found while the tenant's count of changes was `changes`."""

    changes: int
    ranked: Sequence[Ranked]
    dense_candidates: int
    keyword_candidates: int


@dataclass(frozen=True, slots=True)
class Kept:
    """The tenant's count of changes, and what is kept under a key; both in one reading."""

    changes: int
    ranking: Ranking | None
    epoch: str = ""
    """Another one since all rankings of the tenant were forgotten."""


class Retrievals(Protocol):
    """Keeps rankings for a while. Counts commits and deletions: the count of a tenant grows in the same step as they happen."""

    async def read(self, tenant: str, key: str) -> Kept:
        """Return the tenant's count of changes now, and what is kept under `key`."""

    async def keep(self, tenant: str, key: str, ranking: Ranking, epoch: str = "") -> None:
        """Keep a ranking under `key`, unless its search began in another epoch."""

    async def forget(self, tenant: str) -> int:
        """Begin another epoch and erase all rankings, some at a time; return how many were erased."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What the cache knows about a query. Without `changes` it could not be asked, or was not to be."""

    key: str = ""
    changes: int | None = None
    ranking: Ranking | None = None
    """Set when it is valid."""
    epoch: str = ""


class RetrievalCache:
    """Finds and keeps rankings; none of its failures fails a search.

    Args:
        retrievals: Where they are kept.
        contact: Tells whether that can be reached.
        catalogue: Tells what is live.
    """

    def __init__(self, retrievals: Retrievals, contact: Contact, catalogue: Catalogue) -> None:
        self._retrievals = retrievals
        self._contact = contact
        self._catalogue = catalogue

    async def look_up(self, tenant: str, query: Query, index: Index, reranker: str) -> Looked:
        """Return what is known about a query before it is searched for."""
        if not query.use_cache or self._contact.is_lost:
            RETRIEVALS.labels("bypass").inc()
            return Looked()
        key = key_of(query, index, reranker)
        try:
            kept = await self._contact.ask(lambda: self._retrievals.read(tenant, key))
        except RagError as error:
            RETRIEVALS.labels("bypass").inc()
            log.warning("cache_not_read", reason=error.reason)
            return Looked()
        is_valid = kept.ranking is not None and kept.ranking.changes == kept.changes
        if not is_valid:
            RETRIEVALS.labels("stale" if kept.ranking else "miss").inc()
        return Looked(key, kept.changes, kept.ranking if is_valid else None, kept.epoch)

    async def recall(self, tenant: str, ranking: Ranking, index: PassageIndex) -> Findings | None:
        """Return what a ranking stands for; None when any of it is not live, or not there, any more.

        Raises:
            Unavailable: INDEX_UNAVAILABLE.
        """
        places = [ranked.place for ranked in ranking.ranked]
        async with index_in_time():
            reading = await self._catalogue.live(tenant, {place.document_id for place in places})
            live = reading.versions
            are_live = reading.is_current and all(is_live(place, live) for place in places)
            rows = await index.fetch(tenant, places) if places and are_live else {}
        if not are_live or len(rows) < len(places):
            RETRIEVALS.labels("stale").inc()
            return None
        RETRIEVALS.labels("hit").inc()
        picked = [Picked(ranked, rows[ranked.place]) for ranked in ranking.ranked]
        found = [Titled(one, live[one.ranked.place.document_id].title) for one in picked]
        return Findings(found, ranking.dense_candidates, ranking.keyword_candidates, from_cache=True)

    async def keep(self, tenant: str, looked: Looked, findings: Findings) -> None:
        """Keep what a search found, unless something was left out of it."""
        if looked.changes is None or findings.notices:
            return
        ranked = [one.picked.ranked for one in findings.found]
        ranking = Ranking(looked.changes, ranked, findings.dense_candidates, findings.keyword_candidates)
        try:
            await self._contact.ask(lambda: self._retrievals.keep(tenant, looked.key, ranking, looked.epoch))
        except RagError as error:
            log.warning("cache_not_written", reason=error.reason)

    async def forget(self, tenant: str) -> int:
        """Erase all rankings of a tenant, and keep none that are in the making; return how many there were.

        Raises:
            Unavailable: it could not be done; do it again.
        """
        return await self._contact.ask(lambda: self._retrievals.forget(tenant))


def key_of(query: Query, index: Index, reranker: str) -> str:
    """Return the key of all that a ranking depends on beside the tenant and the documents."""
    parts: list[Any] = [
        VERSION,
        index.collection,
        index.analyzer,
        query.text,
        query.mode.value,
        query.top_k,
        query.min_score,
        query.per_document,
        reranker,
        sorted(set(query.filter.document_ids)),
        sorted({_canonical(condition) for condition in query.filter.conditions}),
    ]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def _canonical(condition: Condition) -> str:
    """Return a condition as text: the same for those that hold for the same documents, as far as is easily seen."""
    test = condition.test
    values = sorted({repr(value) for value in test.values}) if isinstance(test, AnyOf) else repr(test)
    return f"{condition.key} {type(test).__name__} {values}"
