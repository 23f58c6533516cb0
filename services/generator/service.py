"""The servicer of the generator: protobuf in, domain, protobuf out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from rag.passage_proto import to_proto as passage_to_proto
from rag.runtime.context import current
from rag.runtime.errors import InvalidInput
from rag.v1 import generator_pb2 as pb
from rag.v1 import generator_pb2_grpc, passage_pb2, retriever_pb2
from services.generator import events
from services.generator.answering import Answering
from services.generator.question import Asked, Defaults, Mode, checked

_MODES = {
    retriever_pb2.RETRIEVAL_MODE_UNSPECIFIED: Mode.HYBRID,
    retriever_pb2.RETRIEVAL_MODE_HYBRID: Mode.HYBRID,
    retriever_pb2.RETRIEVAL_MODE_DENSE: Mode.DENSE,
    retriever_pb2.RETRIEVAL_MODE_KEYWORD: Mode.KEYWORD,
}
_STAGES = {
    events.Stage.EMBEDDING: pb.STAGE_EMBEDDING,
    events.Stage.RETRIEVAL: pb.STAGE_RETRIEVAL,
    events.Stage.GENERATION: pb.STAGE_GENERATION,
}
_REASONS = {
    events.FinishReason.STOP: pb.FINISH_REASON_STOP,
    events.FinishReason.LENGTH: pb.FINISH_REASON_LENGTH,
    events.FinishReason.NO_CONTEXT: pb.FINISH_REASON_NO_CONTEXT,
}


class GeneratorServicer(generator_pb2_grpc.GeneratorServiceServicer):
    """Serves `rag.v1.GeneratorService`."""

    def __init__(self, answering: Answering, defaults: Defaults) -> None:
        self._answering = answering
        self._defaults = defaults

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        """Answer a question as events, numbered from 1."""
        question = checked(_asked(request), self._defaults)
        sequence = 0
        async with aclosing(self._answering.answer(question, current().request_id)) as answer:
            async for event in answer:
                sequence += 1
                yield _response(sequence, event)


def _asked(request: pb.GenerateRequest) -> Asked:
    """Return the question of a request.

    Raises:
        InvalidInput: BAD_MODE for a mode this service does not know.
    """
    if request.mode not in _MODES:
        raise InvalidInput("mode is none of those known.", "BAD_MODE", value=str(request.mode))
    return Asked(
        text=request.question,
        top_k=request.top_k if request.HasField("top_k") else None,
        mode=_MODES[request.mode],
        min_score=request.min_score if request.HasField("min_score") else None,
        filter=request.filter.SerializeToString(deterministic=True),
        max_tokens=request.max_tokens if request.HasField("max_tokens") else None,
        temperature=request.temperature if request.HasField("temperature") else None,
    )


def _response(sequence: int, event: events.Event) -> pb.GenerateResponse:
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
    return pb.Source(number=source.number, passage=passage, title=source.title, score=source.score)


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
        cache_layer=pb.CACHE_LAYER_NONE,
        stages=[pb.StageTime(stage=_STAGES[s.stage], elapsed_ms=s.elapsed_ms) for s in event.stages],
        first_token_ms=event.first_token_ms,
        total_ms=event.total_ms,
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
