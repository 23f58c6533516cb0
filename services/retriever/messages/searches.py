"""Searches: queries, events, and the figures of evaluations."""

from __future__ import annotations

from rag.passage_proto import to_proto as passage_to_proto
from rag.runtime.errors import InvalidInput
from rag.v1 import passage_pb2
from rag.v1 import retriever_pb2 as pb
from services.retriever.evaluation import Figures
from services.retriever.passages import Scalar
from services.retriever.retrieval.filters import AnyOf, Condition, Equals, Filter, NotEquals, Test, Within
from services.retriever.retrieval.query import DEFAULT_TOP_K, Event, Hit, Mode, Progress, Query, Stage, Summary

_MODES = {
    pb.RETRIEVAL_MODE_UNSPECIFIED: Mode.HYBRID,
    pb.RETRIEVAL_MODE_HYBRID: Mode.HYBRID,
    pb.RETRIEVAL_MODE_DENSE: Mode.DENSE,
    pb.RETRIEVAL_MODE_KEYWORD: Mode.KEYWORD,
}
_STAGES = {
    Stage.EMBEDDING: pb.RETRIEVAL_STAGE_EMBEDDING,
    Stage.SEARCH: pb.RETRIEVAL_STAGE_SEARCH,
    Stage.RERANK: pb.RETRIEVAL_STAGE_RERANK,
}


def to_query(request: pb.RetrieveRequest) -> Query:
    """Return the query that a request asks; InvalidInput when it is not well formed."""
    mode = _MODES.get(request.mode)
    if mode is None:
        raise InvalidInput("mode is not one of the known modes.", "BAD_MODE")
    top_k = request.top_k if request.HasField("top_k") else DEFAULT_TOP_K
    min_score = request.min_score if request.HasField("min_score") else None
    conditions = tuple(Condition(item.key, _test(item)) for item in request.filter.conditions)
    return Query(
        request.query,
        top_k,
        mode,
        min_score,
        Filter(tuple(request.filter.document_ids), conditions),
        per_document=request.per_document if request.HasField("per_document") else None,
        use_cache=request.use_cache if request.HasField("use_cache") else True,
        rerank=request.rerank if request.HasField("rerank") else True,
    )


def _test(condition: passage_pb2.Condition) -> Test:
    match condition.WhichOneof("test"):
        case "equals":
            return Equals(_scalar(condition.equals))
        case "not_equals":
            return NotEquals(_scalar(condition.not_equals))
        case "any_of":
            return AnyOf(tuple(_scalar(value) for value in condition.any_of.values))
        case "range":
            bounds = condition.range
            least = bounds.min if bounds.HasField("min") else None
            return Within(least, bounds.max if bounds.HasField("max") else None)
    raise InvalidInput("A condition needs a test.", "BAD_FILTER")


def _scalar(value: passage_pb2.MetadataValue) -> Scalar:
    kind = value.WhichOneof("value")
    if kind is None:
        raise InvalidInput("A value of the filter is not set.", "BAD_FILTER")
    scalar: Scalar = getattr(value, kind)
    return scalar


def from_event(event: Event) -> pb.RetrieveResponse:
    """Return an event of a search as a message."""
    match event:
        case Progress(stage, elapsed_ms):
            return pb.RetrieveResponse(progress=pb.RetrieveProgress(stage=_STAGES[stage], elapsed_ms=elapsed_ms))
        case Hit():
            return pb.RetrieveResponse(hit=_hit(event))
        case Summary():
            return pb.RetrieveResponse(summary=_summary(event))


def _hit(hit: Hit) -> pb.Hit:
    return pb.Hit(
        rank=hit.rank,
        score=hit.score,
        dense_score=hit.dense_score,
        keyword_score=hit.keyword_score,
        passage=passage_to_proto(hit.passage),
        title=hit.title,
        rerank_score=hit.rerank_score,
    )


def _summary(summary: Summary) -> pb.RetrieveSummary:
    return pb.RetrieveSummary(
        hits=summary.hits,
        dense_candidates=summary.dense_candidates,
        keyword_candidates=summary.keyword_candidates,
        embedding_ms=summary.embedding_ms,
        search_ms=summary.search_ms,
        total_ms=summary.total_ms,
        notices=[passage_pb2.Notice(code=notice.code, message=notice.message) for notice in summary.notices],
        rerank_ms=summary.rerank_ms,
        from_cache=summary.from_cache,
    )


def to_figures(request: pb.ReportEvaluationRequest) -> Figures:
    """Return the figures that a request reports."""
    mode = _MODES.get(request.mode)
    if mode is None:
        raise InvalidInput("mode is not one of the known modes.", "BAD_MODE")
    return Figures(
        request.dataset, mode, request.queries, request.precision_at_5, request.ndcg_at_10, request.recall_at_10
    )
