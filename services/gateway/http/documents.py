"""Documents: uploads and the catalogue."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response

from rag.runtime.errors import TooLarge
from rag.v1 import ingestor_pb2, retriever_pb2
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub
from services.gateway.http import examples, schemas, wire
from services.gateway.http.arrival import Arrival
from services.gateway.http.bodies import PageSize, PageToken, media_type
from services.gateway.http.calls import allow, json_response, while_connected
from services.gateway.http.deps import Deps
from services.gateway.http.multipart import Form
from services.gateway.http.problems import Problem, problem_of
from services.gateway.http.submission import Outcome, Submission, too_large
from services.gateway.http.upload_docs import REFUSED, UPLOAD
from services.gateway.http.uploads import SentHeaders, of_json, of_query

_FORM_OVERHEAD_BYTES = 1024 * 1024
"""What a form may hold beside its files."""


class Documents:
    """The routes of documents."""

    def __init__(self, deps: Deps) -> None:
        self._settings = deps.settings
        self._retriever = deps.peers.retriever
        self._catalogue = RetrieverServiceStub(deps.peers.retriever.channel)
        self._submission = Submission(deps.peers.ingestor, deps.settings.max_upload_bytes)

    async def submit(self, request: Request) -> Response:
        """Upload documents. The answer comes when they are on disk; their jobs make them searchable.

        As a form, send the fields before the file. Several files in one form are several documents: a field counts for all
        files after it, until it is sent again; a `document_id` counts for one file. One file is answered with its job; several
        with what became of each: 202 when any was accepted, else the problem of the first with `results` in it. A file that is
        refused does not stop the others.

        As raw bytes, send `name` in the query, and `document_id`, `title`, `metadata` (a JSON object) and `request_id` too
        if you like. As JSON, send a short text, or the URL of a document.
        """
        allow(self._settings.upload_timeout_s)
        sent = SentHeaders.of(request)
        kind = media_type(request)
        if kind == "multipart/form-data":
            return await self._form(request, sent)
        if kind == "application/json" and "name" not in request.query_params:
            return await self._json(request, sent)
        return await self._raw(request, sent)

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

    async def _form(self, request: Request, sent: SentHeaders) -> Response:
        limit = max(self._settings.max_form_bytes, self._settings.max_upload_bytes) + _FORM_OVERHEAD_BYTES
        error = TooLarge(f"The form is larger than {limit} bytes.", "FORM_TOO_LARGE", limit_bytes=str(limit))
        arrival = Arrival(request, limit, error)
        async with aclosing(arrival.chunks()) as chunks:
            form = Form(request.headers["content-type"], chunks, self._settings.max_files)
            outcomes = await while_connected(request, self._submission.files(form, sent), arrival.over)
        if len(outcomes) > 1:
            return _results(outcomes, request.url.path)
        return _accepted(_job_or_raise(outcomes[0]))

    async def _json(self, request: Request, sent: SentHeaders) -> Response:
        # Text in JSON must be held whole to be read; larger texts come as raw bytes.
        limit = min(self._settings.max_upload_bytes, self._settings.max_body_bytes)
        arrival = Arrival(request, limit, too_large(limit))
        body = sent.over(of_json(await arrival.whole()))
        if body.text is None:
            return _accepted(await while_connected(request, self._submission.url(body)))
        return _accepted(await while_connected(request, self._submission.one(body, _once(body.text.encode()))))

    async def _raw(self, request: Request, sent: SentHeaders) -> Response:
        limit = self._settings.max_upload_bytes
        header = sent.over(of_query(request.query_params))
        arrival = Arrival(request, limit, too_large(limit))
        async with aclosing(arrival.chunks()) as chunks:
            return _accepted(await while_connected(request, self._submission.one(header, chunks), arrival.over))


async def _once(content: bytes) -> AsyncGenerator[bytes, None]:
    yield content


def _accepted(job: ingestor_pb2.Job) -> Response:
    return json_response(wire.to_json(job), 202, {"location": f"/v1/jobs/{job.id}"})


def _job_or_raise(outcome: Outcome) -> ingestor_pb2.Job:
    if isinstance(outcome.end, Exception):
        raise outcome.end
    return outcome.end


def _results(outcomes: Sequence[Outcome], instance: str) -> Response:
    """Return what became of the files: 202 when any was accepted, else the problem of the first."""
    results: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for outcome in outcomes:
        if isinstance(outcome.end, Exception):
            problems.append(problem_of(outcome.end))
            results.append({"name": outcome.name, "problem": problems[-1].body(instance)})
        else:
            results.append({"name": outcome.name, "job": wire.to_json(outcome.end)})
    if len(problems) == len(outcomes):
        return problems[0].response(instance, results=results)
    return json_response({"results": results}, 202)


def routes(deps: Deps) -> APIRouter:
    """Return the routes under /v1/documents."""
    documents = Documents(deps)
    router = APIRouter(prefix="/v1/documents", tags=["documents"])
    catalogue, live = retriever_pb2.ListDocumentsResponse.DESCRIPTOR, retriever_pb2.Document.DESCRIPTOR
    passages, job = retriever_pb2.ListPassagesResponse.DESCRIPTOR, ingestor_pb2.Job.DESCRIPTOR

    def add(path: str, method: str, handler: Any, name: str, summary: str, **more: Any) -> None:
        router.add_api_route(path, handler, methods=[method], operation_id=name, summary=summary, **more)

    away = ("CATALOGUE_UNAVAILABLE", "INDEX_NOT_OPEN", "RETRIEVER_UNAVAILABLE")
    none = ("DOCUMENT_NOT_FOUND",)
    paged = ("BAD_PAGE_SIZE", "BAD_PAGE_TOKEN")
    accepted = schemas.answers(
        schemas.accepted(job), status=202, scope="ingest", reads_body=True, example=examples.JOB, reasons=REFUSED
    )
    add("", "POST", documents.submit, "submitDocument", "Upload documents",
        responses=accepted, status_code=202, openapi_extra=UPLOAD)  # fmt: skip
    add("", "GET", documents.list_all, "listDocuments", "List documents",
        responses=schemas.answers(schemas.of(catalogue), example=examples.DOCUMENTS, reasons=(*paged, *away)))  # fmt: skip
    add("/{document_id}", "GET", documents.get, "getDocument", "Get a document",
        responses=schemas.answers(schemas.of(live), example=examples.DOCUMENT, reasons=("BAD_ID", *none, *away)))  # fmt: skip
    add("/{document_id}/passages", "GET", documents.passages, "listPassages", "List a document's passages",
        responses=schemas.answers(schemas.of(passages), example=examples.PASSAGES,
                                  reasons=("BAD_ID", "DOCUMENT_CHANGED", *none, *paged, *away)))  # fmt: skip
    add("/{document_id}", "DELETE", documents.delete, "deleteDocument", "Delete a document",
        responses=schemas.answers(None, status=204, scope="ingest", reasons=("BAD_ID", *none, *away)), status_code=204)  # fmt: skip
    return router
