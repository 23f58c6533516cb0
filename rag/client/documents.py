"""Documents that are searchable: what the retriever's catalogue has."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from rag.client.connection import Connection
from rag.v1 import passage_pb2
from rag.v1 import retriever_pb2 as pb


class Documents(Connection):
    """Lists, reads and deletes documents."""

    def documents(self) -> AsyncGenerator[pb.Document, None]:
        """List all documents, newest first."""
        return self._listed(self._catalogue.ListDocuments, pb.ListDocumentsRequest(), "documents")

    async def document(self, document_id: str) -> pb.Document:
        """Return a document as the catalogue has it."""
        request = pb.GetDocumentRequest(document_id=document_id)
        return (await self._once(self._catalogue.GetDocument, request)).document

    def passages(self, document_id: str) -> AsyncGenerator[passage_pb2.Passage, None]:
        """List the passages of a document's live version, in their order."""
        request = pb.ListPassagesRequest(document_id=document_id)
        return self._listed(self._catalogue.ListPassages, request, "passages")

    async def delete(self, document_id: str) -> None:
        """Delete a document and end its jobs; it is gone for every reader when this returns."""
        await self._once(self._catalogue.DeleteDocument, pb.DeleteDocumentRequest(document_id=document_id))
