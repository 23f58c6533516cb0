"""The messages about the index as the domain's own words, and back."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from rag.v1 import passage_pb2
from rag.v1 import retriever_pb2 as pb
from services.retriever.opening import Index
from services.retriever.rebuild.describing import Description
from services.retriever.rebuild.requests import Event, Request
from services.retriever.rebuild.standing import Comparison, Labelled, Outcome, Progress, Stage

_STAGES = {
    Stage.COPYING: pb.REBUILD_STAGE_COPYING,
    Stage.COMPARING: pb.REBUILD_STAGE_COMPARING,
    Stage.SWITCHING: pb.REBUILD_STAGE_SWITCHING,
}


def to_request(request: pb.RebuildIndexRequest) -> Request:
    """Return what is asked for."""
    defaults = Request()
    loss = request.max_precision_loss if request.HasField("max_precision_loss") else defaults.max_precision_loss
    return Request(
        analyzer=request.analyzer,
        resplit=request.resplit,
        force=request.force,
        dry_run=request.dry_run,
        min_overlap=request.min_overlap if request.HasField("min_overlap") else defaults.min_overlap,
        max_precision_loss=loss,
        queries=tuple(Labelled(item.query, tuple(item.document_ids)) for item in request.queries),
    )


def from_rebuild_event(event: Event, live: pb.IndexVersion | None) -> pb.RebuildIndexResponse:
    """Return an event as a message; `live` is the index that is live at the end."""
    match event:
        case Progress():
            return pb.RebuildIndexResponse(progress=_progress(event))
        case Comparison():
            return pb.RebuildIndexResponse(comparison=_comparison(event))
        case Outcome():
            result = pb.RebuildResult(switched=event.switched, reason=event.reason, message=event.message, live=live)
            return pb.RebuildIndexResponse(result=result)


def from_description(described: Description) -> pb.GetIndexResponse:
    """Return a description as a message."""
    standing, problem = described.standing, described.problem
    response = pb.GetIndexResponse(documents=described.documents, passages=described.passages)
    if standing.live:
        response.live.CopyFrom(_version(standing.live, described, live_at_ms=standing.live_at_ms))
    if standing.building:
        response.building.CopyFrom(_version(standing.building.wish.target, described))
        response.progress.CopyFrom(_progress(standing.building.progress))
    for kept in standing.retired:
        version = _version(kept.index, described, live_at_ms=kept.live_at_ms, drop_at_ms=kept.drop_at_ms)
        response.retired.append(version)
    if standing.comparison:
        response.comparison.CopyFrom(_comparison(standing.comparison))
    if problem:
        response.problem.CopyFrom(passage_pb2.Notice(code=problem.code, message=problem.message))
    return response


def _version(index: Index, described: Description, *, live_at_ms: int = 0, drop_at_ms: int = 0) -> pb.IndexVersion:
    return from_index(
        index, rows=described.rows.get(index.collection, 0), live_at=_moment(live_at_ms), drop_at=_moment(drop_at_ms)
    )


def from_index(
    index: Index, *, rows: int = 0, live_at: Timestamp | None = None, drop_at: Timestamp | None = None
) -> pb.IndexVersion:
    """Return an index as a message."""
    return pb.IndexVersion(
        collection=index.collection,
        model=index.model.name,
        revision=index.model.revision,
        dimension=index.model.dimension,
        analyzer=index.analyzer,
        rows=rows,
        live_at=live_at,
        drop_at=drop_at,
    )


def _moment(milliseconds: int) -> Timestamp | None:
    if not milliseconds:
        return None
    moment = Timestamp()
    moment.FromMilliseconds(milliseconds)
    return moment


def _progress(progress: Progress) -> pb.RebuildProgress:
    return pb.RebuildProgress(
        stage=_STAGES[progress.stage],
        documents_done=progress.documents_done,
        documents_total=progress.documents_total,
        passages_done=progress.passages_done,
        passages_total=progress.passages_total,
        seconds_left=progress.seconds_left,
    )


def _comparison(found: Comparison) -> pb.IndexComparison:
    return pb.IndexComparison(
        queries=found.queries,
        overlap_at_5=found.overlap_at_5,
        labelled=found.labelled,
        precision_at_5_before=found.precision_before,
        precision_at_5_after=found.precision_after,
    )
