"""Prometheus metrics of answers. No label holds a tenant or a text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Histogram

from rag.runtime.errors import RagError
from services.generator.events import CacheLayer, Stage, Usage

_SEARCHING = {Stage.EMBEDDING, Stage.RETRIEVAL}
_WRITING = {Stage.GENERATION, Stage.EXTRACTION}
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 30, 60)

QUERIES = Counter("rag_queries_total", "Questions, by how they ended.", ("outcome",))
ERRORS = Counter("rag_errors_total", "Questions that ended with an error, by its reason.", ("type",))
DURATION = Histogram("rag_query_duration_seconds", "Seconds from a question to its last event.", buckets=_SECONDS)
RETRIEVAL = Histogram("rag_retrieval_latency_seconds", "Seconds that finding passages took.", buckets=_SECONDS)
LLM = Histogram("rag_llm_latency_seconds", "Seconds that writing the answer took.", ("provider",), buckets=_SECONDS)
FIRST_TOKEN = Histogram("rag_first_token_seconds", "Seconds from a question to its first text.", buckets=_SECONDS)
MARKERS_DROPPED = Counter("rag_markers_dropped_total", "Citation markers that resolved to no source.")
LINKS_REMOVED = Counter(
    "rag_links_removed_total", "Links and images of a model made inactive: no source holds their address."
)
UNSUPPORTED = Counter("rag_unsupported_sentences_total", "Sentences of answers without a citation that supports them.")
SHARED = Counter(
    "rag_answers_shared_total", "Questions that shared the answer to the same question, asked at the same time."
)
ANSWER_CACHE = Counter(
    "rag_answer_cache_total",
    "Questions by what a layer of the answer cache said: hit, miss, stale (the answer was not true any more), bypass (it could "
    "not be asked).",
    ("layer", "result"),
)
ALIKE_OBJECTIONS = Counter(
    "rag_answer_cache_objections_total",
    "Kept answers to similar questions that were not used, by what differs in the questions.",
    ("difference",),
)
ANSWERS_FORGOTTEN = Counter(
    "rag_answers_forgotten_total", "Cached answers that were erased because a document of theirs was deleted."
)
TOKENS = Counter("rag_llm_tokens_total", "Tokens of the language model.", ("direction", "provider"))
FALLBACKS = Counter("rag_llm_fallbacks_total", "Models that were replaced before their first token.", ("reason",))


class Outcome:
    """How one question ended."""

    name = "error"


@contextmanager
def question() -> Iterator[Outcome]:
    """Count the question of this block: how it ended, after how long."""
    outcome, began = Outcome(), time.perf_counter()
    try:
        yield outcome
    except (GeneratorExit, asyncio.CancelledError):
        outcome.name = "cancelled"
        raise
    except Exception as error:
        ERRORS.labels(error.reason if isinstance(error, RagError) else "INTERNAL").inc()
        raise
    finally:
        QUERIES.labels(outcome.name).inc()
        DURATION.observe(time.perf_counter() - began)


def observe(usage: Usage) -> None:
    """Count what an answer took; of an answer that was made before, only how long its reader waited."""
    if usage.first_token_ms is not None:
        FIRST_TOKEN.observe(usage.first_token_ms / 1_000)
    if usage.cache_layer is not CacheLayer.NONE:
        return
    for stage in usage.stages:
        if stage.stage in _WRITING:
            LLM.labels(usage.provider).observe(stage.elapsed_ms / 1_000)
    RETRIEVAL.observe(sum(s.elapsed_ms for s in usage.stages if s.stage in _SEARCHING) / 1_000)
    MARKERS_DROPPED.inc(usage.checks.dropped_markers)
    LINKS_REMOVED.inc(usage.checks.removed_links)
    UNSUPPORTED.inc(usage.checks.unsupported_sentences)
    TOKENS.labels("input", usage.provider).inc(usage.input_tokens)
    TOKENS.labels("output", usage.provider).inc(usage.output_tokens)
