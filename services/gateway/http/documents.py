"""Documents: uploads and the catalogue."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response

from rag.v1 import ingestor_pb2, retriever_pb2
from rag.v1.ingestor_pb2_grpc import IngestorServiceStub
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub
from services.gateway.http import schemas, wire
from services.gateway.http.bodies import PageSize, PageToken
from services.gateway.http.calls import allow, json_response, while_connected
from services.gateway.http.deps import Deps
from services.gateway.http.uploads import TextBody, Upload


class Documents:
    """The routes of documents."""

    def __init__(self, deps: Deps) -> None:
        self._settings = deps.settings
        self._retriever = deps.peers.retriever
        self._catalogue = RetrieverServiceStub(deps.peers.retriever.channel)
        self._ingestor = deps.peers.ingestor
        self._submission = IngestorServiceStub(deps.peers.ingestor.channel)

    async def submit(self, request: Request) -> Response:
        """Upload a document. The answer comes when it is on disk; its job makes it searchable.

        As a form, send the fields before the file. As raw bytes, send `name` in the query, and `document_id`, `title` and
        `metadata` (a JSON object) too if you like. As JSON, send the text, if it is
        a short one.
        """
        allow(self._settings.upload_timeout_s)
        upload = Upload(request, self._settings.max_upload_bytes, self._settings.max_body_bytes)
        answer = await while_connected(request, self._submit(upload), upload.body_read)
        job = wire.to_json(answer.job)
        return json_response(job, 202, {"location": f"/v1/jobs/{answer.job.id}"})

    async def list_all(self, request: Request, page_size: PageSize = 0, page_token: PageToken = "") -> Response:
        """List the documents, newest first."""
        asked = retriever_pb2.ListDocumentsRequest(page_size=page_size, page_token=page_token)
        return json_response(wire.to_json(await self._ask(request, self._catalogue.ListDocuments, asked)))

    async def get(self, request: Request, document_id: str) -> Response:
        """Return one document."""
        asked = retriever_pb2.GetDocumentRequest(document_id=document_id)
        answer = await self._ask(request, self._catalogue.GetDocument, asked)
        return json_response(wire.to_json(answer.document))

    async def passages(
        self, request: Request, document_id: str, page_size: PageSize = 0, page_token: PageToken = ""
    ) -> Response:
        """List the passages of a document, in their order."""
        asked = retriever_pb2.ListPassagesRequest(document_id=document_id, page_size=page_size, page_token=page_token)
        return json_response(wire.to_json(await self._ask(request, self._catalogue.ListPassages, asked)))

    async def delete(self, request: Request, document_id: str) -> Response:
        """Delete a document. It is gone for every reader when the answer comes."""
        asked = retriever_pb2.DeleteDocumentRequest(document_id=document_id)
        await self._ask(request, self._catalogue.DeleteDocument, asked)
        return Response(status_code=204)

    async def _ask(self, request: Request, method: Any, asked: Any) -> Any:
        allow(self._settings.unary_timeout_s)
        return await while_connected(request, self._retriever.unary(method, asked))

    async def _submit(self, upload: Upload) -> ingestor_pb2.SubmitDocumentResponse:
        try:
            return await self._ingestor.upload(self._submission.SubmitDocument, upload.requests())
        except asyncio.CancelledError:
            if upload.failure is not None:  # not we were cancelled: gRPC cancelled the call, since the body broke
                raise upload.failure from None
            raise
        finally:
            upload.close()


_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "document_id": {"type": "string"},
                        "title": {"type": "string"},
                        "metadata": {"type": "string", "description": "A JSON object of texts, numbers and booleans."},
                        "file": {"type": "string", "format": "binary", "description": "The last part."},
                    },
                }
            },
            "application/json": {
                "schema": TextBody.model_json_schema(),
                "example": {"text": "# Keys\n\nRotate them monthly.", "name": "keys.md", "metadata": {"team": "ops"}},
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    "parameters": [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}, "description": "Of raw bytes."}
        for name in ("name", "document_id", "title", "metadata")
    ],
}


def routes(deps: Deps) -> APIRouter:
    """Return the routes under /v1/documents."""
    documents = Documents(deps)
    router = APIRouter(prefix="/v1/documents", tags=["documents"])
    catalogue, live = retriever_pb2.ListDocumentsResponse.DESCRIPTOR, retriever_pb2.Document.DESCRIPTOR
    passages, job = retriever_pb2.ListPassagesResponse.DESCRIPTOR, ingestor_pb2.Job.DESCRIPTOR

    def add(path: str, method: str, handler: Any, name: str, summary: str, **more: Any) -> None:
        router.add_api_route(path, handler, methods=[method], operation_id=name, summary=summary, **more)

    accepted = schemas.answers(schemas.of(job), 413, status=202)
    add("", "POST", documents.submit, "submitDocument", "Upload a document",
        responses=accepted, status_code=202, openapi_extra=_UPLOAD)  # fmt: skip
    add("", "GET", documents.list_all, "listDocuments", "List documents",
        responses=schemas.answers(schemas.of(catalogue)))  # fmt: skip
    add("/{document_id}", "GET", documents.get, "getDocument", "Get a document",
        responses=schemas.answers(schemas.of(live), 404))  # fmt: skip
    add("/{document_id}/passages", "GET", documents.passages, "listPassages", "List a document's passages",
        responses=schemas.answers(schemas.of(passages), 404))  # fmt: skip
    add("/{document_id}", "DELETE", documents.delete, "deleteDocument", "Delete a document",
        responses=schemas.answers(None, 404, status=204), status_code=204)  # fmt: skip
    return router
