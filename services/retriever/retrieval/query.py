"""A question to the index, checked, and the events that answer it."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from rag.passage import Passage
from rag.runtime.errors import InvalidInput
from services.retriever.retrieval.filters import Filter, check_filter

MAX_QUERY = 8_192
MAX_TOP_K = 100
DEFAULT_TOP_K = 8


class Mode(Enum):
    """Which legs run."""

    HYBRID = "hybrid"
    DENSE = "dense"
    KEYWORD = "keyword"


class Stage(Enum):
    """A stage of a search."""

    EMBEDDING = "embedding"
    SEARCH = "search"
    RERANK = "rerank"


@dataclass(frozen=True, slots=True)
class Query:
    """What is wanted. `min_score` is a cosine similarity, -1 to 1; `per_document` bounds the hits of one document."""

    text: str
    top_k: int = DEFAULT_TOP_K
    mode: Mode = Mode.HYBRID
    min_score: float | None = None
    filter: Filter = field(default_factory=Filter)
    per_document: int | None = None
    use_cache: bool = True
    rerank: bool = True


@dataclass(frozen=True, slots=True)
class Progress:
    """A stage began, `elapsed_ms` after the call arrived."""

    stage: Stage
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class Hit:
    """One passage found; the fields are those of the contract."""

    rank: int
    score: float
    dense_score: float | None
    keyword_score: float | None
    passage: Passage
    title: str
    rerank_score: float | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something was skipped or replaced."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of a search."""

    hits: int
    dense_candidates: int
    keyword_candidates: int
    embedding_ms: float
    search_ms: float
    total_ms: float
    notices: Sequence[Notice]
    rerank_ms: float = 0.0
    from_cache: bool = False


Event = Progress | Hit | Summary


def check_query(query: Query) -> Query:
    """Return `query` when it can be answered, its text in the one form of equal texts (NFC, without spaces around it).

    Raises:
        InvalidInput: EMPTY_QUERY, QUERY_TOO_LONG, BAD_TOP_K, BAD_PER_DOCUMENT, BAD_MIN_SCORE, BAD_FILTER or BAD_ID.
    """
    if len(query.text) > MAX_QUERY:
        message = f"The query has {len(query.text)} characters; at most {MAX_QUERY} are allowed."
        raise InvalidInput(message, "QUERY_TOO_LONG")
    if not query.text.strip():
        raise InvalidInput("The query is empty.", "EMPTY_QUERY")
    if not 1 <= query.top_k <= MAX_TOP_K:
        raise InvalidInput(f"top_k is {query.top_k}; it must be 1 to {MAX_TOP_K}.", "BAD_TOP_K")
    if query.per_document is not None and query.per_document < 1:
        raise InvalidInput(f"per_document is {query.per_document}; it must be 1 or more.", "BAD_PER_DOCUMENT")
    _check_min_score(query)
    check_filter(query.filter)
    return replace(query, text=unicodedata.normalize("NFC", query.text.strip()))


def _check_min_score(query: Query) -> None:
    if query.min_score is None:
        return
    if query.mode is Mode.KEYWORD:
        raise InvalidInput("min_score is not allowed in keyword mode, which knows no similarity.", "BAD_MIN_SCORE")
    if not -1 <= query.min_score <= 1:  # false for NaN too
        raise InvalidInput("min_score must be a number from -1 to 1.", "BAD_MIN_SCORE")
