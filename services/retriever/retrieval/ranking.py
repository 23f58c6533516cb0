"""One ranking of what the legs of a search found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from services.retriever.analysis import analyzer
from services.retriever.opening import Index
from services.retriever.passages import Candidate, Place
from services.retriever.retrieval.fusion import dense_share, fuse
from services.retriever.retrieval.legs import Legs
from services.retriever.retrieval.query import Mode, Query

VERSION = 1
"""Grows when equal queries are ranked in another way than before: what a cache holds of the old way is not used then."""


class Ranked(NamedTuple):
    """A passage with its scores: what it is ranked by, and those of the legs and of the reranker as far as known."""

    place: Place
    score: float
    dense: float | None = None
    keyword: float | None = None
    rerank: float | None = None


def rank(legs: Legs, query: Query, index: Index, *, with_vector: bool) -> list[Ranked]:
    """Return everything that the legs found, best first.

    Both legs together are weighed by how far vectors can be trusted for the language of the query; one leg alone ranks by its own scores.
    """
    dense, keyword = _scores(legs.dense), _scores(legs.keyword)
    if query.mode is Mode.HYBRID and with_vector:
        share = dense_share(analyzer(index.analyzer).language(query.text), index.model.name)
        scored = fuse(legs.dense, legs.keyword, share)
    else:
        scored = list((dense or keyword).items())
    return [Ranked(place, score, dense.get(place), keyword.get(place)) for place, score in scored]


def _scores(found: Sequence[Candidate]) -> dict[Place, float]:
    return dict(found)
