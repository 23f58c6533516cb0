"""The gRPC face of the retriever: protobuf <-> domain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from rag.metadata import to_proto, to_python
from rag.passage_proto import from_proto as passage_from_proto
from rag.passage_proto import to_proto as passage_to_proto
from rag.runtime.context import current
from rag.runtime.errors import InvalidInput
from rag.v1 import passage_pb2
from rag.v1 import retriever_pb2 as pb
from rag.v1.retriever_pb2_grpc import RetrieverServiceServicer
from services.retriever.catalogue import Catalogue, Document
from services.retriever.deletion import Deleting
from services.retriever.filters import AnyOf, Condition, Equals, Filter, NotEquals, Test, Within
from services.retriever.indexing import Indexing, Written
from services.retriever.parts import Commit, Header, Part, Passages
from services.retriever.passages import Model, Scalar
from services.retriever.query import DEFAULT_TOP_K, Event, Hit, Mode, Progress, Query, Stage, Summary
from services.retriever.search import Search

Context = grpc.aio.ServicerContext[Any, Any]

_MODES = {
    pb.RETRIEVAL_MODE_UNSPECIFIED: Mode.HYBRID,
    pb.RETRIEVAL_MODE_HYBRID: Mode.HYBRID,
    pb.RETRIEVAL_MODE_DENSE: Mode.DENSE,
    pb.RETRIEVAL_MODE_KEYWORD: Mode.KEYWORD,
}
_STAGES = {Stage.EMBEDDING: pb.RETRIEVAL_STAGE_EMBEDDING, Stage.SEARCH: pb.RETRIEVAL_STAGE_SEARCH}


class RetrieverServicer(RetrieverServiceServicer):
    """Serves `rag.v1.RetrieverService`."""

    def __init__(self, search: Search, indexing: Indexing, catalogue: Catalogue, deleting: Deleting) -> None:
        self._search = search
        self._indexing = indexing
        self._catalogue = catalogue
        self._deleting = deleting

    async def Retrieve(self, request: pb.RetrieveRequest, context: Context) -> AsyncIterator[pb.RetrieveResponse]:
        """Yield progress, hits in rank order, one summary."""
        async with aclosing(self._search.retrieve(current().tenant, _query(request))) as events:
            async for event in events:
                yield _event(event)

    async def Index(
        self, request_iterator: AsyncIterator[pb.IndexRequest], context: Context
    ) -> AsyncIterator[pb.IndexResponse]:
        """Yield progress after each batch, then the committed document."""
        async with aclosing(self._indexing.index(current().tenant, _parts(request_iterator))) as events:
            async for event in events:
                if isinstance(event, Written):
                    yield pb.IndexResponse(progress=pb.IndexProgress(passages_written=event.passages))
                else:
                    yield pb.IndexResponse(document=_document(event))

    async def ListDocuments(self, request: pb.ListDocumentsRequest, context: Context) -> pb.ListDocumentsResponse:
        """Return one page of the catalogue, newest first."""
        page = await self._catalogue.list(current().tenant, request.page_size, request.page_token)
        documents = [_document(document) for document in page.documents]
        return pb.ListDocumentsResponse(documents=documents, next_page_token=page.next_page_token)

    async def GetDocument(self, request: pb.GetDocumentRequest, context: Context) -> pb.GetDocumentResponse:
        """Return one document."""
        document = await self._catalogue.get(current().tenant, request.document_id)
        return pb.GetDocumentResponse(document=_document(document))

    async def ListPassages(self, request: pb.ListPassagesRequest, context: Context) -> pb.ListPassagesResponse:
        """Return one page of a document's passages, in their order."""
        page = await self._catalogue.passages(
            current().tenant, request.document_id, request.page_size, request.page_token
        )
        passages = [passage_to_proto(passage) for passage in page.passages]
        return pb.ListPassagesResponse(passages=passages, next_page_token=page.next_page_token)

    async def RevokeIndex(self, request: pb.RevokeIndexRequest, context: Context) -> pb.RevokeIndexResponse:
        """Refuse the versions of one piece of work, or tell the live one."""
        version = await self._indexing.revoke(current().tenant, request.document_id, request.accepted_us)
        return pb.RevokeIndexResponse(version=version)

    async def DeleteDocument(self, request: pb.DeleteDocumentRequest, context: Context) -> pb.DeleteDocumentResponse:
        """Delete a document and the jobs that would make it."""
        version = await self._deleting.delete(current().tenant, request.document_id)
        return pb.DeleteDocumentResponse(version=version)


def _query(request: pb.RetrieveRequest) -> Query:
    mode = _MODES.get(request.mode)
    if mode is None:
        raise InvalidInput("mode is not one of the known modes.", "BAD_MODE")
    top_k = request.top_k if request.HasField("top_k") else DEFAULT_TOP_K
    min_score = request.min_score if request.HasField("min_score") else None
    conditions = tuple(Condition(item.key, _test(item)) for item in request.filter.conditions)
    return Query(request.query, top_k, mode, min_score, Filter(tuple(request.filter.document_ids), conditions))


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


def _event(event: Event) -> pb.RetrieveResponse:
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
    )


def _document(document: Document) -> pb.Document:
    message = pb.Document(
        id=document.id,
        version=document.version,
        name=document.name,
        title=document.title,
        media_type=document.media_type,
        content_hash=document.content_hash,
        size_bytes=document.size_bytes,
        page_count=document.page_count,
        passage_count=document.passage_count,
        fingerprint=document.fingerprint,
    )
    to_proto(document.metadata, message.metadata)
    message.created_at.FromMilliseconds(document.created_ms)
    message.updated_at.FromMilliseconds(document.updated_ms)
    return message


async def _parts(requests: AsyncIterator[pb.IndexRequest]) -> AsyncIterator[Part]:
    async for request in requests:
        match request.WhichOneof("part"):
            case "header":
                yield _header(request.header)
            case "passages":
                passages = [passage_from_proto(passage) for passage in request.passages.passages]
                yield Passages(passages, request.passages.vectors)
            case "commit":
                yield Commit(request.commit.passage_count, request.commit.page_count, request.commit.title)
            case _:
                raise InvalidInput("A message of the stream carries no part.", "EMPTY_PART")


def _header(header: pb.IndexHeader) -> Header:
    return Header(
        document_id=header.document_id,
        name=header.name,
        media_type=header.media_type,
        content_hash=header.content_hash,
        size_bytes=header.size_bytes,
        metadata=to_python(header.metadata),
        model=Model(header.model, header.revision, header.dimension),
        accepted_us=header.accepted_us,
        fence=header.fence,
        fingerprint=header.fingerprint,
    )
