"""Events as they leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rag.passage_proto import to_proto as passage_to_proto
from rag.v1 import generator_pb2 as pb
from rag.v1 import passage_pb2
from services.generator import events

_STAGES = {
    events.Stage.CACHE: pb.STAGE_CACHE,
    events.Stage.REWRITING: pb.STAGE_REWRITING,
    events.Stage.EMBEDDING: pb.STAGE_EMBEDDING,
    events.Stage.RETRIEVAL: pb.STAGE_RETRIEVAL,
    events.Stage.GENERATION: pb.STAGE_GENERATION,
    events.Stage.EXTRACTION: pb.STAGE_EXTRACTION,
}
_REASONS = {
    events.FinishReason.STOP: pb.FINISH_REASON_STOP,
    events.FinishReason.LENGTH: pb.FINISH_REASON_LENGTH,
    events.FinishReason.NO_CONTEXT: pb.FINISH_REASON_NO_CONTEXT,
}
_LAYERS = {
    events.CacheLayer.NONE: pb.CACHE_LAYER_NONE,
    events.CacheLayer.EXACT: pb.CACHE_LAYER_EXACT,
    events.CacheLayer.SEMANTIC: pb.CACHE_LAYER_SEMANTIC,
    events.CacheLayer.SHARED: pb.CACHE_LAYER_SHARED,
}


def from_event(sequence: int, event: events.Event) -> pb.GenerateResponse:
    """Return an event as its message."""
    return _TO_MESSAGE[type(event)](sequence, event)


def _accepted(sequence: int, event: events.Accepted) -> pb.GenerateResponse:
    accepted = pb.Accepted(answer_id=event.answer_id, request_id=event.request_id)
    return pb.GenerateResponse(sequence=sequence, accepted=accepted)


def _progress(sequence: int, event: events.Progress) -> pb.GenerateResponse:
    progress = pb.Progress(stage=_STAGES[event.stage], elapsed_ms=event.elapsed_ms)
    return pb.GenerateResponse(sequence=sequence, progress=progress)


def _sources(sequence: int, event: events.Sources) -> pb.GenerateResponse:
    sources = pb.Sources(sources=[_source(source) for source in event.sources])
    return pb.GenerateResponse(sequence=sequence, sources=sources)


def _source(source: events.Source) -> pb.Source:
    passage = passage_to_proto(source.passage)
    return pb.Source(
        number=source.number,
        passage=passage,
        title=source.title,
        score=source.score,
        dense_score=source.dense_score,
        keyword_score=source.keyword_score,
        rerank_score=source.rerank_score,
    )


def _token(sequence: int, event: events.Token) -> pb.GenerateResponse:
    return pb.GenerateResponse(sequence=sequence, token=pb.Token(text=event.text))


def _citation(sequence: int, event: events.Citation) -> pb.GenerateResponse:
    citation = pb.Citation(
        number=event.number,
        passage_id=event.passage_id,
        page=event.page,
        char_start=event.char_start,
        char_end=event.char_end,
        quote=event.quote,
        quote_start=event.quote_start,
        quote_end=event.quote_end,
        document_id=event.document_id,
        version=event.version,
        support=event.support,
    )
    return pb.GenerateResponse(sequence=sequence, citation=citation)


def _notice(sequence: int, event: events.Notice) -> pb.GenerateResponse:
    notice = passage_pb2.Notice(code=event.code, message=event.message)
    return pb.GenerateResponse(sequence=sequence, notice=notice)


def _usage(sequence: int, event: events.Usage) -> pb.GenerateResponse:
    usage = pb.Usage(
        input_tokens=event.input_tokens,
        output_tokens=event.output_tokens,
        estimated=event.estimated,
        cost_usd=event.cost_usd,
        model=event.model,
        provider=event.provider,
        cache_layer=_LAYERS[event.cache_layer],
        stages=[pb.StageTime(stage=_STAGES[s.stage], elapsed_ms=s.elapsed_ms) for s in event.stages],
        first_token_ms=event.first_token_ms,
        total_ms=event.total_ms,
        from_cache=event.cache_layer is not events.CacheLayer.NONE,
        fallback_used=event.fallback_used,
        unsupported_sentences=event.checks.unsupported_sentences,
        dropped_markers=event.checks.dropped_markers,
        removed_links=event.checks.removed_links,
        cached_input_tokens=event.cached_input_tokens,
    )
    return pb.GenerateResponse(sequence=sequence, usage=usage)


def _done(sequence: int, event: events.Done) -> pb.GenerateResponse:
    return pb.GenerateResponse(sequence=sequence, done=pb.Done(finish_reason=_REASONS[event.finish_reason]))


_TO_MESSAGE: dict[type[Any], Callable[[int, Any], pb.GenerateResponse]] = {
    events.Accepted: _accepted,
    events.Progress: _progress,
    events.Sources: _sources,
    events.Token: _token,
    events.Citation: _citation,
    events.Notice: _notice,
    events.Usage: _usage,
    events.Done: _done,
}
