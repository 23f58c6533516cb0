"""Documents that are searchable: what the retriever's catalogue has."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from rag.client.connection import Connection
from rag.v1 import passage_pb2
from rag.v1 import retriever_pb2 as pb
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub

if TYPE_CHECKING:
    from rag.v1.retriever_pb2_grpc import RetrieverServiceAsyncStub


class Documents(Connection):
    """Lists, reads and deletes documents."""

    async def documents(self) -> AsyncGenerator[pb.Document, None]:
        """List all documents, newest first."""
        listing = self._pages(self._catalogue.ListDocuments, pb.ListDocumentsRequest())
        async with aclosing(listing) as pages:
            async for page in pages:
                for document in page.documents:
                    yield document

    async def document(self, document_id: str) -> pb.Document:
        """Return a document as the catalogue has it."""
        request = pb.GetDocumentRequest(document_id=document_id)
        return (await self._once(self._catalogue.GetDocument, request)).document

    async def passages(self, document_id: str) -> AsyncGenerator[passage_pb2.Passage, None]:
        """List the passages of a document's live version, in their order."""
        listing = self._pages(self._catalogue.ListPassages, pb.ListPassagesRequest(document_id=document_id))
        async with aclosing(listing) as pages:
            async for page in pages:
                for passage in page.passages:
                    yield passage

    async def delete(self, document_id: str) -> None:
        """Delete a document and end its jobs; it is gone for every reader when this returns."""
        await self._once(self._catalogue.DeleteDocument, pb.DeleteDocumentRequest(document_id=document_id))

    @property
    def _catalogue(self) -> RetrieverServiceAsyncStub:
        return RetrieverServiceStub(self._peer.channel)
