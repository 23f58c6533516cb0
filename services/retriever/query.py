"""A question to the index, checked, and the events that answer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from rag.passage import Passage
from rag.runtime.errors import InvalidInput
from services.retriever.filters import Filter, check_filter

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


@dataclass(frozen=True, slots=True)
class Query:
    """What is wanted. `min_score` is a cosine similarity, -1 to 1."""

    text: str
    top_k: int = DEFAULT_TOP_K
    mode: Mode = Mode.HYBRID
    min_score: float | None = None
    filter: Filter = field(default_factory=Filter)


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


Event = Progress | Hit | Summary


def check_query(query: Query) -> Query:
    """Return `query` when it can be answered.

    Raises:
        InvalidInput: EMPTY_QUERY, QUERY_TOO_LONG, BAD_TOP_K, BAD_MIN_SCORE, BAD_FILTER or BAD_ID.
    """
    if len(query.text) > MAX_QUERY:
        message = f"The query has {len(query.text)} characters; at most {MAX_QUERY} are allowed."
        raise InvalidInput(message, "QUERY_TOO_LONG")
    if not query.text.strip():
        raise InvalidInput("The query is empty.", "EMPTY_QUERY")
    if not 1 <= query.top_k <= MAX_TOP_K:
        raise InvalidInput(f"top_k is {query.top_k}; it must be 1 to {MAX_TOP_K}.", "BAD_TOP_K")
    _check_min_score(query)
    check_filter(query.filter)
    return query


def _check_min_score(query: Query) -> None:
    if query.min_score is None:
        return
    if query.mode is Mode.KEYWORD:
        raise InvalidInput("min_score is not allowed in keyword mode, which knows no similarity.", "BAD_MIN_SCORE")
    if not -1 <= query.min_score <= 1:  # false for NaN too
        raise InvalidInput("min_score must be a number from -1 to 1.", "BAD_MIN_SCORE")
