"""The events of an answer, in plain Python.

Their order: Accepted, Progress*, Sources, (Token | Citation | Notice | Progress)*, Usage, Done.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rag.passage import Passage


class Stage(StrEnum):
    """A stage of an answer."""

    CACHE = "cache"
    REWRITING = "rewriting"
    EMBEDDING = "embedding"
    RETRIEVAL = "retrieval"
    GENERATION = "generation"
    EXTRACTION = "extraction"


class FinishReason(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    NO_CONTEXT = "no_context"


@dataclass(frozen=True, slots=True)
class Source:
    """A passage given to the model, under the number that markers refer to."""

    number: int
    passage: Passage
    title: str
    score: float
    dense_score: float | None = None
    keyword_score: float | None = None
    rerank_score: float | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The question was accepted; nothing was asked of anybody yet."""

    answer_id: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Progress:
    """A stage began, so many milliseconds after the question was accepted."""

    stage: Stage
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class Sources:
    """The passages the answer is made from, in the order of their numbers; empty when nothing relevant was found."""

    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Token:
    """The next piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Citation:
    """A marker in the text resolved to a source."""

    number: int
    passage_id: str
    page: int
    char_start: int
    """The first character of the marker in the answer's text, in code points."""
    char_end: int
    quote: str
    """The sentence of the passage nearest to the cited statement, character for character."""
    quote_start: int
    """The first character of the quote in the document's extracted text."""
    quote_end: int
    document_id: str
    version: int
    support: float
    """How much of what the statement says, by its words, stands in the quote: 0 to 1."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something was degraded: a code for programs, a sentence for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class StageTime:
    """What a stage took, in milliseconds."""

    stage: Stage
    elapsed_ms: float


class CacheLayer(StrEnum):
    """Where an answer came from."""

    NONE = "none"
    EXACT = "exact"
    SEMANTIC = "semantic"
    SHARED = "shared"


@dataclass(frozen=True, slots=True)
class Checks:
    """What an answer's text went through before it was released."""

    unsupported_sentences: int = 0
    """Sentences without a citation whose quote supports them."""
    dropped_markers: int = 0
    """Marker numbers that resolved to no source."""
    removed_links: int = 0
    """Links and images made inactive, because no source holds their address."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer cost."""

    input_tokens: int
    output_tokens: int
    estimated: bool
    cost_usd: float | None
    model: str
    provider: str
    stages: tuple[StageTime, ...]
    first_token_ms: float | None
    total_ms: float
    cached_input_tokens: int = 0
    """Those of the input tokens that the server had cached."""
    fallback_used: bool = False
    checks: Checks = Checks()
    cache_layer: CacheLayer = CacheLayer.NONE


@dataclass(frozen=True, slots=True)
class Done:
    """The last event."""

    finish_reason: FinishReason


Event = Accepted | Progress | Sources | Token | Citation | Notice | Usage | Done
