"""The gRPC face of the retriever: protobuf <-> domain."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc

from rag.passage_proto import to_proto as passage_to_proto
from rag.runtime.context import current
from rag.runtime.errors import InvalidInput
from rag.v1 import retriever_pb2 as pb
from rag.v1.retriever_pb2_grpc import RetrieverServiceServicer
from services.retriever.catalogue import Catalogue
from services.retriever.checking import Checking
from services.retriever.evaluation import Evaluations
from services.retriever.exporting import Exporting
from services.retriever.indexing import Indexing, Written
from services.retriever.messages.checking import from_checked, to_versions
from services.retriever.messages.documents import from_document, from_exported, to_parts
from services.retriever.messages.index import from_description, from_rebuild_event, to_request
from services.retriever.messages.searches import from_event, to_figures, to_query
from services.retriever.rebuild.describing import Describing
from services.retriever.rebuild.requests import Event, Rebuilds
from services.retriever.rebuild.standing import Outcome
from services.retriever.retrieval.search import Search
from services.retriever.snapshots import Snapshots
from services.retriever.tenants import Tenants
from services.retriever.upkeep.deletion import Deleting

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Operators:
    """What operators ask for."""

    exporting: Exporting
    snapshots: Snapshots
    tenants: Tenants
    rebuilds: Rebuilds
    describing: Describing
    evaluations: Evaluations


class RetrieverServicer(RetrieverServiceServicer):
    """Serves `rag.v1.RetrieverService`."""

    def __init__(
        self,
        search: Search,
        indexing: Indexing,
        catalogue: Catalogue,
        *,
        checking: Checking,
        deleting: Deleting,
        operators: Operators,
    ) -> None:
        self._search = search
        self._indexing = indexing
        self._catalogue = catalogue
        self._checking = checking
        self._deleting = deleting
        self._operators = operators

    async def Retrieve(self, request: pb.RetrieveRequest, context: Context) -> AsyncIterator[pb.RetrieveResponse]:
        """Yield progress, hits in rank order, one summary."""
        async with aclosing(self._search.retrieve(current().tenant, to_query(request))) as events:
            async for event in events:
                yield from_event(event)

    async def Index(
        self, request_iterator: AsyncIterator[pb.IndexRequest], context: Context
    ) -> AsyncIterator[pb.IndexResponse]:
        """Yield progress after each batch, then the committed document."""
        async with aclosing(self._indexing.index(current().tenant, to_parts(request_iterator))) as events:
            async for event in events:
                if isinstance(event, Written):
                    yield pb.IndexResponse(progress=pb.IndexProgress(passages_written=event.passages))
                else:
                    yield pb.IndexResponse(document=from_document(event))

    async def CheckDocuments(self, request: pb.CheckDocumentsRequest, context: Context) -> pb.CheckDocumentsResponse:
        """Tell the state of the documents, and what became of some."""
        since = request.since_commit if request.HasField("since_commit") else None
        return from_checked(await self._checking.check(current().tenant, to_versions(request), since))

    async def ListDocuments(self, request: pb.ListDocumentsRequest, context: Context) -> pb.ListDocumentsResponse:
        """Return one page of the catalogue, newest first."""
        page = await self._catalogue.list(current().tenant, request.page_size, request.page_token)
        documents = [from_document(document) for document in page.documents]
        return pb.ListDocumentsResponse(documents=documents, next_page_token=page.next_page_token)

    async def GetDocument(self, request: pb.GetDocumentRequest, context: Context) -> pb.GetDocumentResponse:
        """Return one document."""
        document = await self._catalogue.get(current().tenant, request.document_id)
        return pb.GetDocumentResponse(document=from_document(document))

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

    async def GetIndex(self, request: pb.GetIndexRequest, context: Context) -> pb.GetIndexResponse:
        """Describe the index."""
        return from_description(await self._operators.describing.describe(current().tenant))

    async def RebuildIndex(
        self, request: pb.RebuildIndexRequest, context: Context
    ) -> AsyncIterator[pb.RebuildIndexResponse]:
        """Yield progress, the comparison, one result."""
        async with aclosing(self._rebuild(request)) as events:
            async for event in events:
                live = None
                if isinstance(event, Outcome):
                    live = from_description(await self._operators.describing.describe(current().tenant)).live
                yield from_rebuild_event(event, live)

    def _rebuild(self, request: pb.RebuildIndexRequest) -> AsyncGenerator[Event, None]:
        match request.action:
            case pb.REBUILD_ACTION_UNSPECIFIED | pb.REBUILD_ACTION_BUILD:
                return self._operators.rebuilds.build(current().tenant, to_request(request))
            case pb.REBUILD_ACTION_ROLL_BACK:
                return self._operators.rebuilds.roll_back()
            case pb.REBUILD_ACTION_CANCEL:
                return self._operators.rebuilds.cancel()
        raise InvalidInput("action is not one of the known actions.", "BAD_ACTION")

    async def ExportIndex(
        self, request: pb.ExportIndexRequest, context: Context
    ) -> AsyncIterator[pb.ExportIndexResponse]:
        """Yield the index, then each document with its passages."""
        async with aclosing(self._operators.exporting.export(current().tenant, request.after_document_id)) as parts:
            async for part in parts:
                yield from_exported(part)

    async def SnapshotIndex(self, request: pb.SnapshotIndexRequest, context: Context) -> pb.SnapshotIndexResponse:
        """Copy the embedded index."""
        made = await self._operators.snapshots.make(request.name)
        return pb.SnapshotIndexResponse(path=made.path, size_bytes=made.size_bytes, sha256=made.sha256)

    async def ListTenants(self, request: pb.ListTenantsRequest, context: Context) -> pb.ListTenantsResponse:
        """Return one page of the tenants that have documents."""
        page = await self._operators.tenants.list(request.page_size, request.page_token)
        return pb.ListTenantsResponse(tenants=page.tenants, next_page_token=page.next_page_token)

    async def ForgetRankings(self, request: pb.ForgetRankingsRequest, context: Context) -> pb.ForgetRankingsResponse:
        """Erase the cached rankings of the tenant."""
        return pb.ForgetRankingsResponse(forgotten=await self._search.forget(current().tenant))

    async def GetStored(self, request: pb.GetStoredRequest, context: Context) -> pb.GetStoredResponse:
        """Tell how much the tenant stores."""
        stored = await self._catalogue.stored(current().tenant)
        return pb.GetStoredResponse(documents=stored.documents, bytes=stored.bytes)

    async def ReportEvaluation(
        self, request: pb.ReportEvaluationRequest, context: Context
    ) -> pb.ReportEvaluationResponse:
        """Keep the figures of an evaluation and export them."""
        await self._operators.evaluations.report(to_figures(request))
        return pb.ReportEvaluationResponse()
